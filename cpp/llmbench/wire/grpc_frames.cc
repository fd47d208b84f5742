#include "llmbench/wire/grpc_frames.h"

#include <algorithm>

namespace llmbench::wire {
namespace {

size_t MessageBytes(std::string_view prefix) {
  size_t size = 0;
  for (size_t i = 1; i < GrpcFrames::kPrefixBytes; ++i)
    size = size << 8 | static_cast<unsigned char>(prefix[i]);
  return size;
}

}  // namespace

void GrpcFrames::Reset() {
  held_.Clear();
  state_ = State::kOpen;
  dispatched_ = false;
}

FrameStep GrpcFrames::Next(std::string_view& input, Frame& frame) {
  if (dispatched_) {
    held_.Clear();
    dispatched_ = false;
  }
  if (state_ == State::kTooLarge) return FrameStep::kTooLarge;
  if (state_ == State::kCompressed) {
    input = {};
    return FrameStep::kNeedMore;
  }
  if (held_.empty() && input.size() >= kPrefixBytes) {
    const size_t size = MessageBytes(input);
    if (input[0] == 0 && size <= max_message_bytes_ &&
        input.size() - kPrefixBytes >= size) {  // nearly always
      frame = {input.substr(kPrefixBytes, size), false};
      input.remove_prefix(kPrefixBytes + size);
      return FrameStep::kEvent;
    }
  }
  const auto hold_until = [&](size_t size) {  // false when the input does not reach so far
    const size_t more = std::min(size - std::min(size, held_.size()), input.size());
    held_.Append(input.substr(0, more));
    input.remove_prefix(more);
    return held_.size() >= size;
  };
  if (!hold_until(kPrefixBytes)) return FrameStep::kNeedMore;
  const std::string_view prefix = held_.view();
  if (prefix[0] != 0) {
    state_ = State::kCompressed;
    dispatched_ = true;
    input = {};
    frame = {"the message is compressed though nobody asked for it", true};
    return FrameStep::kEvent;
  }
  const size_t size = MessageBytes(prefix);
  if (size > max_message_bytes_) {
    state_ = State::kTooLarge;
    return FrameStep::kTooLarge;
  }
  if (!hold_until(kPrefixBytes + size)) return FrameStep::kNeedMore;
  dispatched_ = true;
  frame = {held_.view().substr(kPrefixBytes), false};
  return FrameStep::kEvent;
}

FrameStep GrpcFrames::Finish(Frame& frame) {
  if (state_ == State::kTooLarge) return FrameStep::kTooLarge;
  if (!begun()) return FrameStep::kNeedMore;
  dispatched_ = true;
  frame = {held_.view(), false};
  return FrameStep::kEvent;
}

}  // namespace llmbench::wire
