#include "llmbench/aggregate/gap_intervals.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "series.h"

namespace llmbench {
namespace {

constexpr double kTypicalNs = 1e7;
const std::vector<double> kPercents = {50, 90, 99};

struct Found {
  std::vector<double> values;
  GapIntervals intervals;
};

Found IntervalsOf(const GapSample& sample, GapUnit unit = GapUnit::kChunks) {
  const GapView view(sample, unit);
  std::vector<uint32_t> order(sample.requests());
  std::iota(order.begin(), order.end(), 0u);
  Found found;
  const GapView::Moments moments =
      view.size() == 0 ? GapView::Moments{kNaN, kNaN, kNaN, kNaN} : view.Describe();
  found.values = view.Percentiles(kPercents);
  found.intervals = IntervalsOfGaps(view, order, moments, kPercents, found.values);
  return found;
}

// Each request's gaps are its own pace times noise: `shared` is the pace's spread, `own` the noise's.
GapSample Requests(size_t requests, double shared, double own, std::mt19937_64& random) {
  std::normal_distribution<double> normal;
  std::poisson_distribution<int> length(40);
  GapSample sample;
  for (size_t i = 0; i < requests; ++i) {
    const double pace = shared * normal(random);
    for (int j = length(random); j > 0; --j) {
      sample.Add(std::llround(kTypicalNs * std::exp(pace + own * normal(random))));
    }
    sample.EndRequest(true);
  }
  return sample;
}

TEST(GapIntervals, HoldTheTruthWhereGapsOfARequestHangTogether) {
  struct Row {
    double shared, own;
    bool gaps_count;  // as many independent values as gaps, rather than as requests
  };
  for (const Row& row : {Row{0, 0.3, true}, Row{0.3, 0, false}, Row{0.2, 0.2, false}}) {
    const double spread = std::hypot(row.shared, row.own);
    const double truths[] = {kTypicalNs, kTypicalNs * std::exp(1.2815515655 * spread),
                             kTypicalNs * std::exp(2.3263478740 * spread)};
    constexpr int kRuns = 300;
    int mean_covered = 0, covered[3] = {}, supported[3] = {};
    double n_eff = 0;
    for (int i = 0; i < kRuns; ++i) {
      std::mt19937_64 random(static_cast<uint64_t>(i) + 17);
      const Found found = IntervalsOf(Requests(600, row.shared, row.own, random));
      const double mean = kTypicalNs * std::exp(spread * spread / 2);
      mean_covered += found.intervals.mean.low <= mean && mean <= found.intervals.mean.high;
      n_eff += found.intervals.percentiles[0].n_eff / kRuns;
      for (size_t k = 0; k < 3; ++k) {
        const Interval& interval = found.intervals.percentiles[k];
        supported[k] += interval.supported;
        covered[k] += interval.supported && interval.low <= truths[k] && truths[k] <= interval.high;
      }
    }
    EXPECT_GE(mean_covered, 0.92 * kRuns);
    for (size_t k = 0; k < 3; ++k) {
      EXPECT_GE(supported[k], 0.9 * kRuns);
      EXPECT_GE(covered[k], 0.92 * supported[k]) << "p" << kPercents[k] << ", shared " << row.shared;
    }
    if (row.gaps_count) {
      EXPECT_GT(n_eff, 12000);
    } else {
      EXPECT_LT(n_eff, 2000);
    }
  }
}

TEST(GapIntervals, OfTokensWeighThemAsManyTimes) {
  GapSample counted, written_out;
  std::mt19937_64 random(2);
  std::normal_distribution<double> normal;
  for (int i = 0; i < 500; ++i) {
    for (int j = 0; j < 10; ++j) {
      const int64_t token_ns = std::llround(kTypicalNs * std::exp(0.3 * normal(random)));
      const auto tokens = static_cast<uint32_t>(1 + random() % 4);
      counted.Add(token_ns * tokens, tokens);
      for (uint32_t k = 0; k < tokens; ++k) written_out.Add(token_ns);
    }
    counted.EndRequest(true);
    written_out.EndRequest(true);
  }
  const Found a = IntervalsOf(counted, GapUnit::kTokens), b = IntervalsOf(written_out);
  EXPECT_NEAR(a.intervals.mean.low, b.intervals.mean.low, 1e-6 * kTypicalNs);
  EXPECT_NEAR(a.intervals.mean.high, b.intervals.mean.high, 1e-6 * kTypicalNs);
  for (size_t k = 0; k < 3; ++k) {
    EXPECT_DOUBLE_EQ(a.intervals.percentiles[k].low, b.intervals.percentiles[k].low);
    EXPECT_NEAR(a.intervals.percentiles[k].n_eff, b.intervals.percentiles[k].n_eff,
                1e-6 * a.intervals.percentiles[k].n_eff);
  }
}

// Gaps of 10 ms but for microseconds, in which neighbours hang together; `stretch` requests in the middle
// have gaps of 30 ms.
GapSample AtAPace(int requests, int stretch) {
  GapSample sample;
  for (int i = 0; i < requests; ++i) {
    const bool slow = i >= requests / 2 && i < requests / 2 + stretch;
    for (int j = 0; j < 10; ++j) sample.Add(slow ? 30'000'000 : 10'000'000 + i / 16 % 7 * 1000);
    sample.EndRequest(true);
  }
  return sample;
}

TEST(GapIntervals, InTheBulkAreJudgedByTheRest) {
  struct Row {
    int requests, stretch;
    bool supported[3];   // p50, p90, p99
    const char* reason;  // of the p99
  };
  for (const Row& row :
       {Row{400, 0, {true, true, true}, ""}, Row{64, 0, {true, true, false}, "too few independent values"},
        Row{400, 8, {true, false, false}, "from 1 excursion"}}) {
    const Found found = IntervalsOf(AtAPace(row.requests, row.stretch));
    for (size_t k = 0; k < 3; ++k) {
      const Interval& interval = found.intervals.percentiles[k];
      EXPECT_EQ(interval.supported, row.supported[k])
          << "p" << kPercents[k] << " of " << row.requests << ", " << row.stretch << " slow";
      if (!interval.supported) continue;
      EXPECT_GE(interval.low, 0.989e7);
      EXPECT_LE(interval.high, 1.011e7);
    }
    EXPECT_EQ(found.intervals.percentiles[2].reason, row.reason);
  }
}

TEST(GapIntervals, OfDegenerateSamplesAreDefined) {
  const GapSample nothing;
  EXPECT_EQ(IntervalsOf(nothing).intervals.mean.reason, "no values");
  EXPECT_EQ(IntervalsOf(nothing).intervals.percentiles[2].reason, "no values");

  GapSample no_gaps;  // requests of one token each
  for (int i = 0; i < 100; ++i) no_gaps.EndRequest(true);
  EXPECT_EQ(IntervalsOf(no_gaps).intervals.percentiles[0].reason, "no values");

  GapSample one;
  for (int i = 0; i < 1000; ++i) one.Add(i);
  one.EndRequest(true);
  EXPECT_EQ(IntervalsOf(one).intervals.percentiles[0].n_eff, 1) << "one request is one value";
  EXPECT_FALSE(IntervalsOf(one).intervals.percentiles[0].supported);
  EXPECT_FALSE(IntervalsOf(one).intervals.mean.supported);

  GapSample same;
  for (int i = 0; i < 1000; ++i) {
    for (int j = 0; j < 20; ++j) same.Add(7);
    same.EndRequest(true);
  }
  const Found found = IntervalsOf(same);
  EXPECT_EQ(found.intervals.mean.low, 7);
  EXPECT_EQ(found.intervals.mean.high, 7);
  EXPECT_EQ(found.intervals.percentiles[2].low, 7);
  EXPECT_EQ(found.intervals.percentiles[2].high, 7);
}

}  // namespace
}  // namespace llmbench
