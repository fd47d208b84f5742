// Deadlines of one serving loop, earliest first: a binary heap of 16-byte entries.
//
// Nothing is ever cancelled. An entry carries the generation its connection had when the entry was made, and
// whoever pops it ignores it when the connection has moved on.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

namespace llmbench::sim {

enum class TimerKind : uint32_t {
  kEvent = 0,      // the next event of a planned answer is due
  kIdleClose = 1,  // the connection has been idle long enough
  kDrip = 2,       // the next byte of a slow answer, or the rest of a cut write, is due
  kPing = 3,       // nothing was sent for long
};

struct Timer {
  int64_t due_ns;
  uint32_t slot;  // of the connection
  uint32_t tag;   // generation and kind

  static constexpr uint32_t kKindBits = 2;
  static uint32_t Tag(uint32_t generation, TimerKind kind) {
    return generation << kKindBits | static_cast<uint32_t>(kind);
  }
  TimerKind kind() const { return static_cast<TimerKind>(tag & ((1u << kKindBits) - 1)); }
  // Compares modulo 2^30: the generations of one connection.
  bool BelongsTo(uint32_t generation) const {
    return tag >> kKindBits == (generation << kKindBits) >> kKindBits;
  }
};

class TimerQueue {
 public:
  bool empty() const { return heap_.empty(); }
  size_t size() const { return heap_.size(); }
  const Timer& top() const { return heap_.front(); }

  void Push(const Timer& timer) {
    heap_.push_back(timer);
    size_t at = heap_.size() - 1;
    while (at > 0) {
      const size_t parent = (at - 1) / 2;
      if (heap_[parent].due_ns <= timer.due_ns) break;
      heap_[at] = heap_[parent];
      at = parent;
    }
    heap_[at] = timer;
  }

  void Pop() {
    const Timer last = heap_.back();
    heap_.pop_back();
    if (!heap_.empty()) ReplaceTop(last);
  }

  // Pop and Push in one: a stream's next event takes the place of the one just sent.
  void ReplaceTop(const Timer& timer) {
    size_t at = 0;
    while (true) {
      size_t child = 2 * at + 1;
      if (child >= heap_.size()) break;
      if (child + 1 < heap_.size() && heap_[child + 1].due_ns < heap_[child].due_ns) ++child;
      if (timer.due_ns <= heap_[child].due_ns) break;
      heap_[at] = heap_[child];
      at = child;
    }
    heap_[at] = timer;
  }

 private:
  std::vector<Timer> heap_;
};

}  // namespace llmbench::sim
