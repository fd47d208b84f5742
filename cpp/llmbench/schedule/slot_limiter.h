// The concurrency limit: one atomic count of free slots, shared by all workers and touched once per request.
#pragma once

#include <atomic>
#include <cstdint>
#include <limits>

namespace llmbench {

class SlotLimiter {
 public:
  static constexpr int64_t kUnlimited = std::numeric_limits<int64_t>::max();

  explicit SlotLimiter(int64_t slots) : limited_(slots != kUnlimited), free_(slots) {}

  bool limited() const { return limited_; }

  bool TryAcquire() {
    if (!limited_) return true;
    int64_t free = free_.load(std::memory_order_relaxed);
    while (free > 0) {
      if (free_.compare_exchange_weak(free, free - 1, std::memory_order_acquire)) return true;
    }
    return false;
  }

  // freed_ns: when the request that held the slot ended. Whoever takes it next was scheduled then.
  void Release(int64_t freed_ns) {
    if (!limited_) return;
    last_freed_ns_.store(freed_ns, std::memory_order_relaxed);
    free_.fetch_add(1, std::memory_order_release);
  }

  int64_t last_freed_ns() const { return last_freed_ns_.load(std::memory_order_relaxed); }

 private:
  const bool limited_;
  alignas(64) std::atomic<int64_t> free_;
  std::atomic<int64_t> last_freed_ns_{0};
};

}  // namespace llmbench
