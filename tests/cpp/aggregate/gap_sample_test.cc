#include "llmbench/aggregate/gap_sample.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "llmbench/aggregate/percentiles.h"

namespace llmbench {
namespace {

constexpr int64_t kLong = int64_t{1} << 32;  // the first gap that does not fit in four bytes
const std::vector<double> kPercents = {0, 1, 50, 90, 99, 99.9, 100, 33.3};

void ExpectSameAsPlainValues(const std::vector<int64_t>& gaps) {
  GapSample sample;
  std::vector<double> plain;
  double sum = 0, squares = 0;
  for (const int64_t gap : gaps) {
    sample.Add(gap);
    plain.push_back(static_cast<double>(gap));
    sum += plain.back();
  }
  const double mean = sum / static_cast<double>(plain.size());
  for (const double gap : plain) squares += (gap - mean) * (gap - mean);
  EXPECT_EQ(sample.size(), gaps.size());
  EXPECT_NEAR(sample.Mean(), mean, 1e-9 * mean);
  EXPECT_NEAR(sample.StandardDeviation(mean), std::sqrt(squares / static_cast<double>(plain.size())),
              1e-9 * mean + 1e-9);
  const std::vector<double> found = sample.Percentiles(kPercents);
  const std::vector<double> expected = Percentiles(plain, kPercents);
  for (size_t i = 0; i < found.size(); ++i) EXPECT_DOUBLE_EQ(found[i], expected[i]) << kPercents[i];
  EXPECT_EQ(sample.Min(), found[0]);
  EXPECT_EQ(sample.Max(), found[6]);
}

TEST(GapSample, IsExactWhateverTheLengths) {
  ExpectSameAsPlainValues({5});
  ExpectSameAsPlainValues({kLong});
  ExpectSameAsPlainValues({kLong - 1, kLong, 0});
  ExpectSameAsPlainValues({kLong + 7, 3 * kLong, kLong + 6});
  std::mt19937_64 random(3);
  for (const int64_t longest : {int64_t{100}, kLong, 4 * kLong}) {
    std::vector<int64_t> gaps;
    for (int i = 0; i < 3001; ++i)
      gaps.push_back(static_cast<int64_t>(random() % static_cast<uint64_t>(longest)));
    ExpectSameAsPlainValues(gaps);
  }
}

TEST(GapSample, NegativeGapsCountAsNone) {
  GapSample sample;
  sample.Add(-5);
  EXPECT_EQ(sample.Min(), 0);
  EXPECT_EQ(sample.Percentiles(std::vector<double>{50})[0], 0);
}

TEST(GapSample, EmptyHasNoPercentiles) {
  GapSample sample;
  EXPECT_EQ(sample.size(), 0u);
  EXPECT_TRUE(std::isnan(sample.Percentiles(std::vector<double>{50})[0]));
}

}  // namespace
}  // namespace llmbench
