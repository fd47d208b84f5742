#include "llmbench/aggregate/percentiles.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

namespace llmbench {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
using Doubles = std::vector<double>;

TEST(Percentiles, AreNumPys) {
  // numpy.percentile(values, percents), NumPy 2.4
  const struct {
    Doubles values, percents, expected;
  } kCases[] = {
      {{5}, {0, 50, 100}, {5, 5, 5}},
      {{4, 1, 3, 2}, {0, 25, 50, 75, 100}, {1, 1.75, 2.5, 3.25, 4}},
      {{4, 1, 3, 2}, {99, 50, 1}, {3.97, 2.5, 1.03}},
      {{10, 10, 10, 20}, {50, 90}, {10, 17}},
      {{-1, -2}, {30}, {-1.7}},
  };
  for (const auto& c : kCases) {
    Doubles values = c.values;
    const Doubles found = Percentiles(values, c.percents);
    ASSERT_EQ(found.size(), c.expected.size());
    for (size_t i = 0; i < found.size(); ++i) EXPECT_DOUBLE_EQ(found[i], c.expected[i]);
  }
}

TEST(Percentiles, FailuresAreInfinite) {
  Doubles values = {1, kInf, 2, kInf};
  EXPECT_EQ(Percentiles(values, Doubles{0, 50, 100}), (Doubles{1, kInf, kInf}));
  Doubles three = {1, 2, kInf};
  EXPECT_EQ(Percentiles(three, Doubles{50}), Doubles{2});  // on a value, not between
}

TEST(Percentiles, WithoutAnAnswerAreNaN) {
  Doubles none;
  EXPECT_TRUE(std::isnan(Percentiles(none, Doubles{50})[0]));
  Doubles broken = {1, std::nan(""), 2};
  EXPECT_TRUE(std::isnan(Percentiles(broken, Doubles{50})[0]));
  EXPECT_TRUE(std::isnan(WeightedPercentiles(none, none, Doubles{50})[0]));
  EXPECT_TRUE(std::isnan(WeightedPercentiles(Doubles{1}, Doubles{0}, Doubles{50})[0]));
}

TEST(WeightedPercentiles, AreThoseOfTheValuesWrittenOut) {
  std::mt19937_64 random(7);
  const Doubles percents = {50, 99, 0, 100, 1, 12.5, 90, 99.9};
  for (const size_t n : {1u, 2u, 5u, 33u, 100u, 5000u}) {
    Doubles values(n), weights(n), written_out;
    for (size_t i = 0; i < n; ++i) {
      values[i] = static_cast<double>(random() % 1000) / 8;
      weights[i] = static_cast<double>(random() % 5);
      if (i == 0) weights[i] = 1;
      written_out.insert(written_out.end(), static_cast<size_t>(weights[i]), values[i]);
    }
    const Doubles found = WeightedPercentiles(values, weights, percents);
    const Doubles expected = Percentiles(written_out, percents);
    for (size_t i = 0; i < percents.size(); ++i)
      EXPECT_DOUBLE_EQ(found[i], expected[i]) << n << ", p" << percents[i];
  }
}

TEST(WeightedPercentiles, WeightsNeedNotBeWhole) {
  EXPECT_EQ(WeightedPercentiles(Doubles{2, 1}, Doubles{0.25, 0.25}, Doubles{0, 100}), (Doubles{1, 1}));
  EXPECT_EQ(WeightedPercentiles(Doubles{2, 1}, Doubles{2.5, 0.5}, Doubles{0, 50, 100}), (Doubles{1, 2, 2}));
}

}  // namespace
}  // namespace llmbench
