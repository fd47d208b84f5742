// The times of one request's output-carrying events, packed into at most 8 bytes each.
//
// Per event: varint(Δ ns), varint(tokens << 3 | flags), both LEB128. The first Δ counts from the request's
// sent_ns, each later one from the event before it; a Δ is never negative. tokens is 0 when the server
// did not say how many.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "llmbench/base/large_pages.h"

namespace llmbench {

enum EventFlag : uint8_t {
  kEventKernelStamp = 1,  // stamped by the kernel; otherwise by the loop turn
  kEventMerged = 2,       // its read also held bytes of another output-carrying event of the same stream
  kEventReasoning = 4,    // no answer text: reasoning only
};

class EventBlobWriter {
 public:
  // Starts an empty blob; keeps the memory of the one before.
  void Reset(int64_t origin_ns);
  void Append(int64_t time_ns, uint32_t tokens, uint8_t flags);
  // Sets a flag on the event appended last. At least one event must have been appended.
  void FlagLast(uint8_t flag) { bytes_[last_flags_] |= flag; }
  std::span<const uint8_t> bytes() const { return bytes_; }
  void Reserve(size_t events) { bytes_.reserve(events * 8); }
  // Asks for the cache line the next event goes to.
  void Prefetch() const { __builtin_prefetch(bytes_.data() + bytes_.size(), 1); }

 private:
  std::pmr::vector<uint8_t> bytes_{&LargePages()};
  size_t last_flags_ = 0;
  int64_t previous_ns_ = 0;
};

struct BlobEvent {
  int64_t time_ns;
  uint32_t tokens;
  uint8_t flags;
};

// Calls fn(BlobEvent) for each event. Returns false when the blob is torn, after every event before the tear.
template <typename Fn>
bool ForEachEvent(std::span<const uint8_t> blob, int64_t origin_ns, Fn&& fn) {
  size_t at = 0;
  auto varint = [&](uint64_t& value) {
    value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (at == blob.size()) return false;
      const uint8_t byte = blob[at++];
      value |= uint64_t{byte & 0x7fu} << shift;
      if (!(byte & 0x80)) return true;
    }
    return false;
  };
  int64_t time = origin_ns;
  while (at < blob.size()) {
    uint64_t delta, packed;
    if (!varint(delta) || !varint(packed)) return false;
    time = static_cast<int64_t>(static_cast<uint64_t>(time) + delta);  // a damaged Δ wraps around
    fn(BlobEvent{time, static_cast<uint32_t>(packed >> 3), static_cast<uint8_t>(packed & 7)});
  }
  return true;
}

}  // namespace llmbench
