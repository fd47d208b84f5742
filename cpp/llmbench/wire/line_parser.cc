#include "llmbench/wire/line_parser.h"

#include <algorithm>
#include <cstring>

namespace llmbench::wire {
namespace {

constexpr std::string_view kSpace(" \t\r\n\0", 5);

// The first LF or NUL, null when there is none. The NUL is looked for only before the LF.
const char* FindEnd(std::string_view bytes, bool nul) {
  const auto* lf = static_cast<const char*>(std::memchr(bytes.data(), '\n', bytes.size()));
  if (!nul) return lf;
  const size_t before_lf = lf != nullptr ? static_cast<size_t>(lf - bytes.data()) : bytes.size();
  const auto* zero = static_cast<const char*>(std::memchr(bytes.data(), '\0', before_lf));
  return zero != nullptr ? zero : lf;
}

std::string_view TrimEnd(std::string_view line) {
  return line.ends_with('\r') ? line.substr(0, line.size() - 1) : line;
}

}  // namespace

void LineParser::Reset() {
  held_.Clear();
  too_large_ = dispatched_ = false;
}

FrameStep LineParser::Next(std::string_view& input, Frame& frame) {
  if (too_large_) return FrameStep::kTooLarge;
  if (dispatched_) {
    held_.Clear();
    dispatched_ = false;
  }
  if (held_.empty()) {
    const size_t space =
        nul_ ? input.find_first_not_of(kSpace) : input.find_first_not_of(kSpace.substr(0, 4));
    input.remove_prefix(std::min(space, input.size()));
  }
  if (input.empty()) return FrameStep::kNeedMore;
  const char* const end = FindEnd(input, nul_);
  const size_t here = end != nullptr ? static_cast<size_t>(end - input.data()) : input.size();
  if (held_.size() + here > max_event_bytes_) {
    too_large_ = true;
    return FrameStep::kTooLarge;
  }
  const std::string_view line = input.substr(0, here);
  input.remove_prefix(here + (end != nullptr ? 1 : 0));
  if (end == nullptr) {
    held_.Append(line);
    return FrameStep::kNeedMore;
  }
  if (held_.empty()) {
    frame = {TrimEnd(line), false};
    return FrameStep::kEvent;
  }
  held_.Append(line);
  dispatched_ = true;
  frame = {TrimEnd(held_.view()), false};
  return FrameStep::kEvent;
}

FrameStep LineParser::Finish(Frame& frame) {
  if (too_large_) return FrameStep::kTooLarge;
  if (dispatched_ || held_.empty()) return FrameStep::kNeedMore;
  dispatched_ = true;
  frame = {TrimEnd(held_.view()), false};
  return FrameStep::kEvent;
}

}  // namespace llmbench::wire
