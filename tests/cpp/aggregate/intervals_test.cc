#include "llmbench/aggregate/intervals.h"

#include <gtest/gtest.h>

#include <cmath>

#include "llmbench/aggregate/percentiles.h"
#include "series.h"

namespace llmbench {
namespace {

Interval PercentileInterval(const std::vector<double>& series, double percent) {
  std::vector<double> scratch = series;
  const std::vector<double> percents = {percent};
  const std::vector<double> values = Percentiles(scratch, percents);
  return PercentileIntervals(series, scratch, percents, values)[0];
}

std::vector<double> OneTo(int n) {
  std::mt19937_64 random(5);
  std::vector<double> values;
  for (int i = 1; i <= n; ++i) values.push_back(i);
  std::shuffle(values.begin(), values.end(), random);
  return values;
}

TEST(PercentileBounds, AreOrderStatisticsAtClopperAndPearsonsLimits) {
  // 50 of 100: 39.83 % to 60.17 %.
  EXPECT_EQ(PercentileBounds(50, 100, 100).low, 38u);
  EXPECT_EQ(PercentileBounds(50, 100, 100).high, 60u);
  // A quarter of the values' worth: 12.5 of 25, but ranks among all 100.
  EXPECT_LT(PercentileBounds(50, 25, 100).low, 32u);
  EXPECT_GT(PercentileBounds(50, 25, 100).high, 68u);
  EXPECT_EQ(PercentileBounds(99, 100, 100).high, 99u);
  EXPECT_EQ(PercentileBounds(0, 100, 100).low, 0u);
  EXPECT_EQ(PercentileBounds(100, 100, 100).high, 99u);
  EXPECT_EQ(PercentileBounds(50, 0, 0).high, 0u);
}

TEST(PercentileIntervals, AreSupportedFromTheSizeOnThatTellsThem) {
  struct Row {
    double percent;
    int n;
    bool supported;
    double needs;
  };
  const Row rows[] = {{50, 5, false, 6},         {50, 6, true, 6},        {90, 35, false, 36},
                      {90, 36, true, 36},        {99, 367, false, 368},   {99, 368, true, 368},
                      {99.9, 3687, false, 3688}, {99.9, 3688, true, 3688}};
  for (const Row& row : rows) {
    const Interval interval =
        JudgedPercentile(1, 2, row.percent, row.n, static_cast<size_t>(row.n), std::nullopt);
    EXPECT_EQ(interval.supported, row.supported) << "p" << row.percent << " of " << row.n;
    EXPECT_EQ(std::isnan(interval.high), !row.supported);
    EXPECT_EQ(interval.low, 1);
    EXPECT_EQ(interval.needs_requests, row.needs);
    EXPECT_EQ(interval.reason.empty(), row.supported);
  }
  // Half as many where two requests are worth one.
  EXPECT_EQ(JudgedPercentile(1, 2, 99, 100, 200, std::nullopt).needs_requests, 736);
}

TEST(PercentileIntervals, AreFlaggedWhereTheTailIsAHandfulOfExcursions) {
  const Interval few = JudgedPercentile(1, 2, 99, 1000, 5000, 7);
  EXPECT_FALSE(few.supported);
  EXPECT_EQ(few.reason, "from 7 excursions");
  EXPECT_EQ(few.needs_requests, std::ceil(5000 * 20 / 7.0));
  EXPECT_TRUE(JudgedPercentile(1, 2, 99, 1000, 5000, 20).supported);
  EXPECT_EQ(JudgedPercentile(1, 2, 99, 1000, 5000, 1).reason, "from 1 excursion");
  EXPECT_EQ(JudgedPercentile(1, 2, 99, 1000, 5000, 0).needs_requests, 100000);

  // One overload, and quiet before and after.
  std::mt19937_64 random(1);
  std::vector<double> series = Lognormal(5000, 0, 0.1, random);
  for (size_t i = 2000; i < 2200; ++i) series[i] += 10;
  const Interval tail = PercentileInterval(series, 99);
  EXPECT_FALSE(tail.supported);
  EXPECT_TRUE(tail.excursions && *tail.excursions < 20) << tail.reason;
  EXPECT_TRUE(PercentileInterval(Lognormal(5000, 0, 0.1, random), 99).supported);
}

// 20 ms but for microseconds, in which neighbours hang together; one request in `every` is far from it, in
// stretches of `stretch`.
std::vector<double> AtAPace(int n, int every, int stretch, double far) {
  std::vector<double> values;
  for (int i = 0; i < n; ++i)
    values.push_back(every != 0 && i / stretch % every == every - 1 ? far : 20 + 1e-3 * (i / 16 % 7));
  return values;
}

TEST(PercentileIntervals, InTheBulkAreJudgedByTheRest) {
  struct Row {
    const char* name;
    std::vector<double> series;
    double percent;
    bool supported;
    double needs;
    const char* reason;
  };
  const Row rows[] = {
      {"as good as one value", AtAPace(400, 0, 1, 0), 50, true, 6, ""},
      {"its tail too", AtAPace(400, 0, 1, 0), 99, true, 368, ""},
      {"which few requests do not tell", AtAPace(64, 0, 1, 0), 99, false, 368, "too few independent values"},
      {"nor these", AtAPace(30, 0, 1, 0), 90, false, 36, "too few independent values"},
      {"one stretch of 8 elsewhere: no 20 such are half", AtAPace(400, 50, 8, 90), 50, true, 40, ""},
      {"but a tenth", AtAPace(400, 50, 8, 90), 90, false, 8000, "from 1 excursion"},
      {"nor is their own pace the bulk", AtAPace(400, 50, 8, 90), 99, false, 8000, "from 1 excursion"},
      {"below the median, what is below counts", AtAPace(400, 50, 8, 9), 10, false, 1600,
       "from 5 excursions"},
      {"what is above does not", AtAPace(400, 50, 8, 90), 10, true, 10, ""},
  };
  for (const Row& row : rows) {
    const Interval interval = PercentileInterval(row.series, row.percent);
    EXPECT_EQ(interval.supported, row.supported) << row.name;
    EXPECT_EQ(interval.reason, row.reason) << row.name;
    if (!row.supported) {
      EXPECT_EQ(interval.needs_requests, row.needs) << row.name;
      continue;
    }
    EXPECT_GE(interval.low, 20 * (1 - kSame)) << row.name;
    EXPECT_LE(interval.high, 20.006 * (1 + kSame)) << row.name;
  }
}

TEST(PercentileIntervals, OfIndependentValues) {
  const Interval median = PercentileInterval(OneTo(1000), 50);
  EXPECT_NEAR(median.low, 469, 6);
  EXPECT_NEAR(median.high, 532, 6);
  EXPECT_GT(median.n_eff, 800);
}

TEST(WiderPercent, LiesAboveTheMedianOrNotAtAll) {
  EXPECT_EQ(WiderPercent(99), 96);
  EXPECT_EQ(WiderPercent(90), 60);
  EXPECT_FALSE(WiderPercent(87));
  EXPECT_FALSE(WiderPercent(50));
}

TEST(MeanInterval, OfIndependentValues) {
  const Interval interval = MeanInterval(OneTo(1000));
  const double half = 1.962 * 1000 / std::sqrt(12.0) / std::sqrt(interval.n_eff);
  EXPECT_NEAR(interval.low, 500.5 - half, 1);
  EXPECT_NEAR(interval.high, 500.5 + half, 1);
  EXPECT_FALSE(interval.needs_requests);
}

TEST(Intervals, OfDegenerateSeriesAreDefined) {
  const std::vector<double> nothing, one = {5}, two = {5, 7}, same(1000, 5);
  EXPECT_EQ(MeanInterval(nothing).reason, "no values");
  EXPECT_EQ(MeanInterval(nothing).n_eff, 0);
  EXPECT_TRUE(std::isnan(MeanInterval(nothing).low));
  EXPECT_EQ(MeanInterval(one).reason, "too few independent values");
  EXPECT_TRUE(MeanInterval(two).supported);
  EXPECT_EQ(MeanInterval(same).low, 5);
  EXPECT_EQ(MeanInterval(same).high, 5);

  EXPECT_EQ(PercentileInterval(nothing, 99).reason, "no values");
  EXPECT_TRUE(std::isnan(PercentileInterval(nothing, 99).low));
  EXPECT_EQ(PercentileInterval(one, 99).low, 5);
  EXPECT_TRUE(std::isnan(PercentileInterval(one, 99).high));
  EXPECT_EQ(PercentileInterval(same, 99).low, 5);
  EXPECT_EQ(PercentileInterval(same, 99).high, 5);
  EXPECT_EQ(PercentileInterval(same, 99).n_eff, 1000);
}

TEST(RateInterval, OfWholeSeconds) {
  const std::vector<double> bins = {9, 11, 10, 12, 8, 10, 9, 11, 10, 10};
  const Interval interval = RateInterval(bins, 10.2);
  EXPECT_TRUE(interval.supported);
  EXPECT_NEAR((interval.low + interval.high) / 2, 10.2, 1e-9) << "about the rate that is reported";
  EXPECT_GT(interval.high - interval.low, 1);
  EXPECT_LT(interval.high - interval.low, 4);
  const Interval even = RateInterval(std::vector<double>(4, 20), 20.9);
  EXPECT_DOUBLE_EQ(even.low, 20.65) << "as many in every second, to one in all of them";
  EXPECT_DOUBLE_EQ(even.high, 21.15);
  EXPECT_EQ(RateInterval(std::vector<double>{100, 0, 0, 0}, 1).low, 0) << "no rate is negative";
  for (const size_t seconds : {0u, 1u}) {
    const Interval none = RateInterval(std::vector<double>(seconds, 3), 3);
    EXPECT_FALSE(none.supported);
    EXPECT_TRUE(std::isnan(none.low));
    EXPECT_EQ(none.reason, "under two whole seconds");
  }
}

}  // namespace
}  // namespace llmbench
