#include "llmbench/base/clock.h"

#include <gtest/gtest.h>

namespace llmbench {
namespace {

TEST(MonotonicNs, NeverGoesBack) {
  int64_t last = MonotonicNs();
  for (int i = 0; i < 1000; ++i) {
    const int64_t now = MonotonicNs();
    ASSERT_GE(now, last);
    last = now;
  }
}

TEST(KernelClock, MapsRealTimeOntoMonotonicTime) {
  const KernelClock clock;
  const int64_t before = MonotonicNs();
  const int64_t mapped = clock.ToMonotonic(RealtimeNs());
  const int64_t after = MonotonicNs();
  EXPECT_GE(mapped, before - clock.uncertainty_ns() - kNsPerMs);
  EXPECT_LE(mapped, after + clock.uncertainty_ns() + kNsPerMs);
  EXPECT_EQ(clock.steps(), 0);
}

TEST(KernelClock, KeepsItsOffsetWithinASecond) {
  KernelClock clock;
  const int64_t now = MonotonicNs();
  const int64_t mapped = clock.ToMonotonic(1'000'000'000);
  clock.MaybeRefresh(now + kNsPerMs);
  EXPECT_EQ(clock.ToMonotonic(1'000'000'000), mapped);
}

}  // namespace
}  // namespace llmbench
