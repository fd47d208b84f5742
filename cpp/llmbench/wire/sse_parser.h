// Server-sent events by the WHATWG rules: lines into events.
//
// Lines end in LF, CRLF or CR; an empty line dispatches; one byte order mark may open the stream. Comments
// and the fields event, id, retry and any unknown one are skipped. The `data` lines of an event are joined by
// LF. A line whose field is called `error` makes its event an error event: llama.cpp reports failures so.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "llmbench/wire/framing.h"
#include "llmbench/wire/padded_buffer.h"

namespace llmbench::wire {

using SseEvent = Frame;

class SseParser final : public Framing {
 public:
  using Step = FrameStep;

  explicit SseParser(size_t max_event_bytes) : max_event_bytes_(max_event_bytes) {}

  void Reset() override;
  Step Next(std::string_view& input, SseEvent& event) override;
  // The rules say to drop an event that lacks its empty line; the caller knows better whether it is whole.
  Step Finish(SseEvent& event) override;
  // A comment is not part of an event.
  bool begun() const override {
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
