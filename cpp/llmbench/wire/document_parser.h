// JSON objects and arrays one after another, with nothing or white space (or NUL) between them and line ends
// within them: a document ends where its outermost bracket closes.
//
// What stands between documents and is neither of these is handed out to the end of its line, as an event no
// decoder will take.
#pragma once

#include <cstddef>
#include <cstdint>

#include "llmbench/wire/framing.h"
#include "llmbench/wire/padded_buffer.h"

namespace llmbench::wire {

class DocumentParser final : public Framing {
 public:
  explicit DocumentParser(size_t max_event_bytes) : max_event_bytes_(max_event_bytes) {}

  void Reset() override;
  FrameStep Next(std::string_view& input, Frame& frame) override;
  FrameStep Finish(Frame& frame) override;
  bool begun() const override { return where_ != Where::kBetween; }

 private:
  enum class Where : uint8_t { kBetween, kStructure, kString, kEscape, kGarbage };

  // How many bytes of `input` belong to the document; where_ is kBetween when they end it.
  size_t Scan(std::string_view input);

  const size_t max_event_bytes_;
  PaddedBuffer held_;  // of an unfinished document
  Where where_ = Where::kBetween;
  int64_t depth_ = 0;
  bool too_large_ = false;
  bool dispatched_ = false;  // the last document lay in held_
};

}  // namespace llmbench::wire
