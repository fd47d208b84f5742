#include "llmbench/workload/counter_rng.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <set>

namespace llmbench {
namespace {

TEST(CounterRng, GivesThePublishedAnswers) {
  // Known-answer test of Random123 for philox4x32-10: counter and key all zero.
  const CounterRng rng(0, static_cast<ChanceStream>(0));
  EXPECT_EQ(rng.Block(0), (std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
}

TEST(CounterRng, DependsOnSeedStreamAndCounterOnly) {
  const CounterRng when(7, ChanceStream::kWhen), again(7, ChanceStream::kWhen), what(7, ChanceStream::kWhat);
  const CounterRng other(8, ChanceStream::kWhen);
  EXPECT_EQ(when.Bits(123), again.Bits(123));
  EXPECT_NE(when.Bits(123), what.Bits(123));
  EXPECT_NE(when.Bits(123), other.Bits(123));
  EXPECT_NE(when.Bits(123), when.Bits(124));
}

TEST(CounterRng, IsUniform) {
  const CounterRng rng(1, ChanceStream::kWhat);
  constexpr int kDraws = 100'000;
  double sum = 0, squares = 0;
  std::array<int, 10> below{};
  for (int i = 0; i < kDraws; ++i) {
    const double u = rng.Uniform(i);
    ASSERT_GT(u, 0);
    ASSERT_LT(u, 1);
    sum += u;
    squares += u * u;
    ++below[rng.Below(i, 10)];
  }
  EXPECT_NEAR(sum / kDraws, 0.5, 0.005);
  EXPECT_NEAR(squares / kDraws, 1.0 / 3, 0.005);
  for (const int count : below) EXPECT_NEAR(count, kDraws / 10, 5 * std::sqrt(kDraws * 0.09));
}

}  // namespace
}  // namespace llmbench
