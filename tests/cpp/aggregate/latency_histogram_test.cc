#include "llmbench/aggregate/latency_histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace llmbench {
namespace {

constexpr int64_t kMax = LatencyHistogram::kMaxNs;

TEST(LatencyHistogram, BucketsAreContiguousAndNarrow) {
  const LatencyHistogram histogram;
  const size_t buckets = histogram.counts().size();
  EXPECT_EQ(LatencyHistogram::LowerBound(0), 0);
  EXPECT_EQ(LatencyHistogram::LowerBound(buckets), kMax + 1);
  for (size_t i = 0; i < buckets; ++i) {
    const int64_t lower = LatencyHistogram::LowerBound(i);
    const int64_t next = LatencyHistogram::LowerBound(i + 1);
    ASSERT_LT(lower, next);
    ASSERT_EQ(LatencyHistogram::IndexOf(lower), i);
    ASSERT_EQ(LatencyHistogram::IndexOf(next - 1), i);
    ASSERT_LE(static_cast<double>(next - 1 - lower), 0.001 * static_cast<double>(lower)) << lower;
  }
}

TEST(LatencyHistogram, ValuesOutsideItsRangeCountAsItsEnds) {
  EXPECT_EQ(LatencyHistogram::IndexOf(-1), 0u);
  const size_t last = LatencyHistogram().counts().size() - 1;
  EXPECT_EQ(LatencyHistogram::IndexOf(kMax), last);
  EXPECT_EQ(LatencyHistogram::IndexOf(kMax + 1), last);
  EXPECT_EQ(LatencyHistogram::IndexOf(std::numeric_limits<int64_t>::max()), last);

  LatencyHistogram histogram;
  histogram.Record(-3);
  histogram.Record(kMax * 2);
  EXPECT_EQ(histogram.min(), 0);
  EXPECT_EQ(histogram.max(), kMax * 2);
  EXPECT_EQ(histogram.Percentile(0.5), 0);
  EXPECT_EQ(histogram.Percentile(1), kMax * 2);
}

TEST(LatencyHistogram, EmptyIsZero) {
  LatencyHistogram histogram;
  EXPECT_EQ(histogram.count(), 0u);
  EXPECT_EQ(histogram.min(), 0);
  EXPECT_EQ(histogram.max(), 0);
  EXPECT_EQ(histogram.mean(), 0);
  EXPECT_EQ(histogram.Percentile(0.99), 0);
  histogram.RecordN(5, 0);
  EXPECT_EQ(histogram.count(), 0u);
}

TEST(LatencyHistogram, SmallValuesAreExact) {
  LatencyHistogram histogram;
  for (int64_t value = 1; value <= 2000; ++value) histogram.Record(value);
  const struct {
    double p;
    int64_t value;
  } kCases[] = {{0, 1}, {0.0005, 1}, {0.001, 2}, {0.5, 1000}, {0.99, 1980}, {0.999, 1998}, {1, 2000}};
  for (const auto& c : kCases) EXPECT_EQ(histogram.Percentile(c.p), c.value) << c.p;
  EXPECT_EQ(histogram.mean(), 1000.5);
}

TEST(LatencyHistogram, RanksAreNotMovedByRounding) {
  LatencyHistogram histogram;
  for (int64_t value = 1; value <= 1000; ++value) histogram.Record(value);
  for (int64_t rank = 1; rank <= 1000; ++rank) {
    EXPECT_EQ(histogram.Percentile(static_cast<double>(rank) / 10 / 100), rank);  // 99.9 / 100 is above 0.999
  }
}

TEST(LatencyHistogram, PercentilesAreWithinATenthOfAPercent) {
  LatencyHistogram histogram;
  std::vector<int64_t> values;
  for (int i = 0; i < 10'000; ++i) values.push_back(static_cast<int64_t>(1000 * std::pow(1.0015, i)));
  for (const int64_t value : values) histogram.Record(value);
  for (size_t rank = 1; rank <= values.size(); rank += 7) {
    const auto exact = static_cast<double>(values[rank - 1]);
    const double p = static_cast<double>(rank) / static_cast<double>(values.size());
    EXPECT_NEAR(static_cast<double>(histogram.Percentile(p)),
                std::min(exact, static_cast<double>(histogram.max())), 0.001 * exact);
  }
}

TEST(LatencyHistogram, SharesFromAValueOn) {
  LatencyHistogram histogram;
  EXPECT_EQ(histogram.ShareFrom(0), 0);
  histogram.RecordN(100, 3);
  histogram.Record(1'000'000);
  EXPECT_EQ(histogram.ShareFrom(0), 1);
  EXPECT_EQ(histogram.ShareFrom(100), 1);
  EXPECT_EQ(histogram.ShareFrom(101), 0.25);
  EXPECT_EQ(histogram.ShareFrom(1'000'000), 0.25);
  EXPECT_EQ(histogram.ShareFrom(1'002'000), 0);
}

TEST(LatencyHistogram, MergingAddsUpAndClearingEmpties) {
  LatencyHistogram a, b;
  a.RecordN(100, 3);
  b.Record(1'000'000);
  b.Record(10);
  a.Merge(b);
  EXPECT_EQ(a.count(), 5u);
  EXPECT_EQ(a.min(), 10);
  EXPECT_EQ(a.max(), 1'000'000);
  EXPECT_EQ(a.mean(), (300 + 1'000'000 + 10) / 5.0);
  a.Merge(LatencyHistogram());
  EXPECT_EQ(a.min(), 10);
  LatencyHistogram empty;
  empty.Merge(a);
  EXPECT_EQ(empty.min(), 10);
  a.Clear();
  EXPECT_EQ(a.count(), 0u);
  a.Record(7);
  EXPECT_EQ(a.min(), 7);
  EXPECT_EQ(a.Percentile(1), 7);
}

}  // namespace
}  // namespace llmbench
