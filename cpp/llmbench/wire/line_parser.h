// One JSON text per line (NDJSON), or per NUL as old vLLM servers send them.
//
// Lines end in LF or CRLF, with `nul` also in NUL: compact JSON escapes all of these, so none occurs within a
// text. Lines of nothing but space are skipped, and the last line needs no end.
#pragma once

#include <cstddef>

#include "llmbench/wire/framing.h"
#include "llmbench/wire/padded_buffer.h"

namespace llmbench::wire {

class LineParser final : public Framing {
 public:
  LineParser(size_t max_event_bytes, bool nul) : max_event_bytes_(max_event_bytes), nul_(nul) {}

  void Reset() override;
  FrameStep Next(std::string_view& input, Frame& frame) override;
  FrameStep Finish(Frame& frame) override;
  bool begun() const override { return !dispatched_ && !held_.empty(); }

 private:
  const size_t max_event_bytes_;
  const bool nul_;
  PaddedBuffer held_;  // of an unfinished line, from its first byte that is not space
  bool too_large_ = false;
  bool dispatched_ = false;  // the last line lay in held_
};

}  // namespace llmbench::wire
