#include "llmbench/schedule/slot_limiter.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace llmbench {
namespace {

TEST(SlotLimiter, HandsOutAsManyAsThereAre) {
  SlotLimiter limiter(2);
  EXPECT_TRUE(limiter.TryAcquire());
  EXPECT_TRUE(limiter.TryAcquire());
  EXPECT_FALSE(limiter.TryAcquire());
  limiter.Release(42);
  EXPECT_EQ(limiter.last_freed_ns(), 42);
  EXPECT_TRUE(limiter.TryAcquire());
  EXPECT_FALSE(limiter.TryAcquire());
}

TEST(SlotLimiter, UnlimitedNeverRefuses) {
  SlotLimiter limiter(SlotLimiter::kUnlimited);
  for (int i = 0; i < 1000; ++i) EXPECT_TRUE(limiter.TryAcquire());
  EXPECT_FALSE(limiter.limited());
}

TEST(SlotLimiter, HoldsAcrossThreads) {
  constexpr int kSlots = 3;
  SlotLimiter limiter(kSlots);
  std::atomic<int> held{0}, most{0}, taken{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 2000; ++i) {
        if (!limiter.TryAcquire()) continue;
        const int now = ++held;
        int seen = most.load();
        while (now > seen && !most.compare_exchange_weak(seen, now)) {
        }
        ++taken;
        --held;
        limiter.Release(i);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_LE(most.load(), kSlots);
  EXPECT_GT(taken.load(), 0);
}

}  // namespace
}  // namespace llmbench
