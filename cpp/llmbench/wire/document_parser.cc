#include "llmbench/wire/document_parser.h"

#include <algorithm>

namespace llmbench::wire {

void DocumentParser::Reset() {
  held_.Clear();
  where_ = Where::kBetween;
  depth_ = 0;
  too_large_ = dispatched_ = false;
}

size_t DocumentParser::Scan(std::string_view input) {
  const char* at = input.data();
  const char* const end = at + input.size();
  while (at < end) {
    switch (where_) {
      case Where::kBetween:  // the first byte of a document
        where_ = *at == '{' || *at == '[' ? Where::kStructure : Where::kGarbage;
        depth_ = 1;
        ++at;
        break;
      case Where::kStructure:
        for (; at < end; ++at) {
          if (*at == '"') {
            where_ = Where::kString;
            ++at;
            break;
          }
          // Of two brackets that do not match the decoder will say so.
          if (*at == '{' || *at == '[') ++depth_;
          if ((*at == '}' || *at == ']') && --depth_ == 0) {
            where_ = Where::kBetween;
            return static_cast<size_t>(at + 1 - input.data());
          }
        }
        break;
      case Where::kString:
        while (at < end && *at != '"' && *at != '\\') ++at;
        if (at == end) break;
        where_ = *at == '"' ? Where::kStructure : Where::kEscape;
        ++at;
        break;
      case Where::kEscape:
        where_ = Where::kString;
        ++at;
        break;
      case Where::kGarbage:
        at = std::find(at, end, '\n');
        if (at == end) break;
        where_ = Where::kBetween;
        return static_cast<size_t>(at - input.data());
    }
  }
  return input.size();
}

FrameStep DocumentParser::Next(std::string_view& input, Frame& frame) {
  if (too_large_) return FrameStep::kTooLarge;
  if (dispatched_) {
    held_.Clear();
    dispatched_ = false;
  }
  if (where_ == Where::kBetween) {
    constexpr std::string_view kSpace(" \t\r\n\0", 5);
    input.remove_prefix(std::min(input.find_first_not_of(kSpace), input.size()));
  }
  if (input.empty()) return FrameStep::kNeedMore;
  const std::string_view bytes = input.substr(0, Scan(input));
  input.remove_prefix(bytes.size());
  if (held_.size() + bytes.size() > max_event_bytes_) {
    too_large_ = true;
    return FrameStep::kTooLarge;
  }
  const bool whole = where_ == Where::kBetween;
  if (whole && held_.empty()) {
    frame = {bytes, false};
    return FrameStep::kEvent;
  }
  held_.Append(bytes);
  if (!whole) return FrameStep::kNeedMore;
  dispatched_ = true;
  frame = {held_.view(), false};
  return FrameStep::kEvent;
}

FrameStep DocumentParser::Finish(Frame& frame) {
  if (too_large_) return FrameStep::kTooLarge;
  if (where_ == Where::kBetween) return FrameStep::kNeedMore;
  where_ = Where::kBetween;
  dispatched_ = true;
  frame = {held_.view(), false};
  return FrameStep::kEvent;
}

}  // namespace llmbench::wire
