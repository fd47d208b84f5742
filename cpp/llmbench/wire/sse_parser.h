// Server-sent events by the WHATWG rules: lines into events.
//
// Lines end in LF, CRLF or CR; an empty line dispatches; one byte order mark may open the stream. Comments
// and the fields event, id, retry and any unknown one are skipped. The `data` lines of an event are joined by
// LF. A line whose field is called `error` makes its event an error event: llama.cpp reports failures so.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "llmbench/wire/padded_buffer.h"
#include "llmbench/wire/stream_decoder.h"

namespace llmbench::wire {

struct SseEvent {
  std::string_view payload;  // valid until the next call; kPadding bytes after it may be read
  bool error = false;
};

class SseParser {
 public:
  enum class Step : uint8_t {
    kNeedMore,  // the input is used up
    kEvent,
    kTooLarge,  // an event or a line exceeds the limit; the parser takes nothing more
  };

  explicit SseParser(size_t max_event_bytes) : max_event_bytes_(max_event_bytes) {}

  // Gets ready for the next stream; keeps its memory.
  void Reset();

  // Takes bytes from the front of `input` until an event is complete. An event that lies whole in the input
  // is handed out as a view into it; only what is split over several inputs is copied. kPadding bytes after
  // the input may be read.
  Step Next(std::string_view& input, SseEvent& event);

  // The stream ended: kEvent hands out an event that lacks its empty line. The rules say to drop it; the
  // caller knows better whether it is whole.
  Step Finish(SseEvent& event);

  // Bytes of a next event were read that do not complete it. A comment is not part of an event.
  bool begun() const {
    return !dispatched_ && (has_data_ || (line_begin_ < held_.size() && held_.view()[line_begin_] != ':'));
  }

 private:
  Step NextSlow(std::string_view& input, SseEvent& event);
  bool TakeLine(std::string_view line, bool held);
  void Dispatch(SseEvent& event);
  void ForgetEvent();

  const size_t max_event_bytes_;
  // Of the unfinished event: first its data lines so far, joined, then the bytes of an unfinished line from
  // line_begin_.
  PaddedBuffer held_;
  size_t data_begin_ = 0;
  size_t line_begin_ = 0;
  bool has_data_ = false;
  bool error_ = false;
  bool skip_lf_ = false;  // the last byte was a CR that ended a line
  bool at_start_ = true;  // no byte of the stream has been seen
  bool too_large_ = false;
  bool dispatched_ = false;  // the last event lay in held_
};

}  // namespace llmbench::wire
