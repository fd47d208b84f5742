// A bounded queue between exactly one producing and one consuming thread, without locks and without waiting.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <type_traits>

namespace llmbench {

// Holds up to kCapacity values (a power of two). What the producer wrote before TryPush is visible to the
// consumer after TryPop. Each side keeps a copy of the other's index and looks at the real one only when the
// copy says full or empty, so that the two cores rarely share a cache line.
template <typename T, size_t kCapacity>
class SpscRing {
  static_assert(std::is_trivially_copyable_v<T>);
  static_assert(kCapacity > 0 && (kCapacity & (kCapacity - 1)) == 0, "a power of two");

 public:
  // Producer only. False when full.
  bool TryPush(T value) {
    const size_t at = producer_.own.load(std::memory_order_relaxed);
    if (at - producer_.seen == kCapacity) {
      producer_.seen = consumer_.own.load(std::memory_order_acquire);
      if (at - producer_.seen == kCapacity) return false;
    }
    values_[at % kCapacity] = value;
    producer_.own.store(at + 1, std::memory_order_release);
    return true;
  }

  // Consumer only. False when empty.
  bool TryPop(T& value) {
    const size_t at = consumer_.own.load(std::memory_order_relaxed);
    if (at == consumer_.seen) {
      consumer_.seen = producer_.own.load(std::memory_order_acquire);
      if (at == consumer_.seen) return false;
    }
    value = values_[at % kCapacity];
    consumer_.own.store(at + 1, std::memory_order_release);
    return true;
  }

 private:
  // Indices only grow; their difference is the number of values in the queue.
  struct alignas(64) Side {
    std::atomic<size_t> own{0};
    size_t seen = 0;  // the other side's index when last looked at
  };
  Side producer_;
  Side consumer_;
  alignas(64) std::array<T, kCapacity> values_{};
};

}  // namespace llmbench
