#include "llmbench/record/event_blob.h"

namespace llmbench {
namespace {

// Longest: ten bytes of Δ and six of tokens and flags.
constexpr size_t kMaxEventBytes = 16;

uint8_t* PutVarint(uint8_t* out, uint64_t value) {
  while (value >= 0x80) {
    *out++ = static_cast<uint8_t>(value | 0x80);
    value >>= 7;
  }
  *out++ = static_cast<uint8_t>(value);
  return out;
}

}  // namespace

void EventBlobWriter::Reset(int64_t origin_ns) {
  bytes_.clear();
  last_flags_ = 0;
  previous_ns_ = origin_ns;
}

void EventBlobWriter::Append(int64_t time_ns, uint32_t tokens, uint8_t flags) {
  // A kernel stamp may lie a hair before the one it follows (the clock offset is re-read every second).
  const uint64_t delta = time_ns > previous_ns_ ? static_cast<uint64_t>(time_ns - previous_ns_) : 0;
  previous_ns_ += static_cast<int64_t>(delta);

  uint8_t event[kMaxEventBytes];
  uint8_t* end = PutVarint(event, delta);
  const auto flags_at = static_cast<size_t>(end - event);
  end = PutVarint(end, uint64_t{tokens} << 3 | (flags & 7u));
  // The flags are the low bits of their varint's first byte, which is what FlagLast relies on.
  last_flags_ = bytes_.size() + flags_at;
  bytes_.insert(bytes_.end(), event, end);
}

}  // namespace llmbench
