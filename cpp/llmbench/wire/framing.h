// Where one event of a stream ends and the next begins: what all framings have in common.
//
// Any slicing of the bytes gives the same frames. A frame that lies whole in one input is handed out as a
// view into it; only what is split over several inputs is copied.
#pragma once

#include <cstdint>
#include <string_view>

namespace llmbench::wire {

struct Frame {
  std::string_view payload;  // valid until the next call; kPadding bytes after it may be read
  bool error = false;        // the framing itself marks it as an error
};

enum class FrameStep : uint8_t {
  kNeedMore,  // the input is used up
  kEvent,
  kTooLarge,  // an event or a line exceeds the limit; the framing takes nothing more
};

class Framing {
 public:
  virtual ~Framing() = default;

  // Gets ready for the next stream; keeps its memory.
  virtual void Reset() = 0;

  // Takes bytes from the front of `input` until an event is complete. kPadding bytes after the input may be
  // read.
  virtual FrameStep Next(std::string_view& input, Frame& frame) = 0;

  // The stream ended: kEvent hands out an event that lacks its end. Whether it is whole the caller must find
  // out.
  virtual FrameStep Finish(Frame& frame) = 0;

  // Bytes of a next event were read that do not complete it.
  virtual bool begun() const = 0;
};

}  // namespace llmbench::wire
