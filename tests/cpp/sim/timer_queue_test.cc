#include "llmbench/sim/timer_queue.h"

#include <gtest/gtest.h>

#include <random>

namespace llmbench::sim {
namespace {

TEST(TimerQueueTest, PopsInOrderOfTime) {
  TimerQueue queue;
  std::mt19937 random(1);
  for (uint32_t i = 0; i < 1000; ++i) queue.Push({static_cast<int64_t>(random() % 500), i, 0});
  int64_t last = -1;
  for (int i = 0; i < 1000; ++i) {
    ASSERT_GE(queue.top().due_ns, last);
    last = queue.top().due_ns;
    queue.Pop();
    if (i % 3 == 0) {
      queue.Push({last + static_cast<int64_t>(random() % 50), 0, 0});
      queue.Pop();
    }
  }
  EXPECT_TRUE(queue.empty());
}

TEST(TimerQueueTest, ATagCarriesKindAndGeneration) {
  for (const uint32_t generation : {0u, 1u, 0x3fffffffu, 0x7fffffffu}) {
    const Timer timer = {0, 0, Timer::Tag(generation, TimerKind::kDrip)};
    EXPECT_EQ(timer.kind(), TimerKind::kDrip);
    EXPECT_TRUE(timer.BelongsTo(generation));
    EXPECT_FALSE(timer.BelongsTo(generation + 1));
  }
}

}  // namespace
}  // namespace llmbench::sim
