#include "llmbench/wire/sse_parser.h"

#include <algorithm>
#include <cstring>

namespace llmbench::wire {
namespace {

// The first CR or LF, null when there is none. In windows, so that a stream whose lines end in CR alone is
// not searched to its end for an LF again and again.
const char* FindLineEnd(const char* begin, const char* end) {
  constexpr size_t kWindow = 4096;
  while (begin < end) {
    const size_t size = std::min<size_t>(static_cast<size_t>(end - begin), kWindow);
    const auto* lf = static_cast<const char*>(std::memchr(begin, '\n', size));
    const size_t before_lf = lf != nullptr ? static_cast<size_t>(lf - begin) : size;
    const auto* cr = static_cast<const char*>(std::memchr(begin, '\r', before_lf));
    if (cr != nullptr) return cr;
    if (lf != nullptr) return lf;
    begin += size;
  }
  return nullptr;
}

// The value of a line's field, null data when the field has another name.
std::string_view FieldValue(std::string_view line, std::string_view name) {
  if (!line.starts_with(name)) return {};
  line.remove_prefix(name.size());
  if (line.empty()) return line;
  if (line[0] != ':') return {};
  line.remove_prefix(1);
  if (line.starts_with(' ')) line.remove_prefix(1);
  return line;
}

}  // namespace

void SseParser::Reset() {
  ForgetEvent();
  skip_lf_ = too_large_ = false;
  at_start_ = true;
}

void SseParser::ForgetEvent() {
  held_.Clear();
  data_begin_ = line_begin_ = 0;
  has_data_ = error_ = dispatched_ = false;
}

SseParser::Step SseParser::Next(std::string_view& input, SseEvent& event) {
  if (dispatched_) ForgetEvent();
  // One data line and its empty line, all in the input: nearly every event there is.
  if (held_.empty() && !has_data_ && !skip_lf_ && !error_ && input.size() > 6 &&
      std::memcmp(input.data(), "data:", 5) == 0) {
    const char* const begin = input.data();
    const char* const end = begin + input.size();
    const char* const payload = begin + (begin[5] == ' ' ? 6 : 5);
    const char* const line_end = FindLineEnd(payload, end);
    if (line_end != nullptr && static_cast<size_t>(line_end - begin) <= max_event_bytes_) {
      // An end that could be half a CRLF at the end of the input is left to the slow path.
      const char* next = line_end + (*line_end == '\r' && line_end + 1 < end && line_end[1] == '\n' ? 2 : 1);
      const bool empty_line = next < end && (*next == '\n' || (*next == '\r' && next + 1 < end));
      if (empty_line) {
        next += *next == '\r' && next[1] == '\n' ? 2 : 1;
        event = {{payload, static_cast<size_t>(line_end - payload)}, false};
        input.remove_prefix(static_cast<size_t>(next - begin));
        at_start_ = false;
        return Step::kEvent;
      }
    }
  }
  return NextSlow(input, event);
}

SseParser::Step SseParser::NextSlow(std::string_view& input, SseEvent& event) {
  if (too_large_) return Step::kTooLarge;
  while (!input.empty()) {
    if (skip_lf_) {
      skip_lf_ = false;
      if (input[0] == '\n') {
        input.remove_prefix(1);
        continue;
      }
    }
    const char* const begin = input.data();
    const char* const end = begin + input.size();
    const char* const line_end = FindLineEnd(begin, end);
    const size_t here = static_cast<size_t>((line_end != nullptr ? line_end : end) - begin);
    if (held_.size() - line_begin_ + here > max_event_bytes_) {
      too_large_ = true;
      return Step::kTooLarge;
    }
    const bool held = held_.size() > line_begin_ || line_end == nullptr;
    if (held) held_.Append(input.substr(0, here));
    input.remove_prefix(here);
    if (line_end == nullptr) return Step::kNeedMore;

    if (input[0] == '\r') {
      skip_lf_ = input.size() == 1;
      if (!skip_lf_ && input[1] == '\n') input.remove_prefix(1);
    }
    input.remove_prefix(1);
    if (!TakeLine(held ? held_.view().substr(line_begin_) : std::string_view(begin, here), held)) {
      if (has_data_) {
        Dispatch(event);
        return Step::kEvent;
      }
      error_ = false;
    }
    if (line_begin_ - data_begin_ > max_event_bytes_) {
      too_large_ = true;
      return Step::kTooLarge;
    }
  }
  return Step::kNeedMore;
}

SseParser::Step SseParser::Finish(SseEvent& event) {
  if (dispatched_) ForgetEvent();
  if (too_large_) return Step::kTooLarge;
  if (held_.size() > line_begin_) TakeLine(held_.view().substr(line_begin_), true);
  if (!has_data_) return Step::kNeedMore;
  Dispatch(event);
  return Step::kEvent;
}

// Adds a line to the event; false when it is the empty one. `held`: it lies in held_ from line_begin_ on.
bool SseParser::TakeLine(std::string_view line, bool held) {
  if (at_start_) {
    at_start_ = false;
    if (line.starts_with("\xef\xbb\xbf")) line.remove_prefix(3);
  }
  std::string_view value = FieldValue(line, "data");
  if (value.data() == nullptr && line.starts_with("error:")) {
    value = FieldValue(line, "error");
    error_ = true;
  }
  if (value.data() == nullptr) {
    held_.Truncate(line_begin_);
    return !line.empty();
  }
  if (!has_data_ && held) {
    data_begin_ = static_cast<size_t>(value.data() - held_.data());
  } else if (held) {
    char* const to = held_.data() + line_begin_;
    *to = '\n';
    if (!value.empty()) std::memmove(to + 1, value.data(), value.size());
    held_.Truncate(line_begin_ + 1 + value.size());
  } else {
    if (has_data_) held_.Append("\n");
    held_.Append(value);
  }
  has_data_ = true;
  line_begin_ = held_.size();
  return true;
}

void SseParser::Dispatch(SseEvent& event) {
  event = {held_.view().substr(data_begin_, line_begin_ - data_begin_), error_};
  dispatched_ = true;
}

}  // namespace llmbench::wire
