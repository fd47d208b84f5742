// Whether 95 % intervals hold the truth about 95 times in 100: a thousand runs each of series whose truth is
// known. Seeds are fixed, so every run of the test sees the same.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "llmbench/aggregate/intervals.h"
#include "llmbench/aggregate/percentiles.h"
#include "series.h"

namespace llmbench {
namespace {

constexpr int kRuns = 1000;
constexpr size_t kRequests = 5000;
constexpr double kPerSecond = 50;
const std::vector<double> kPercents = {50, 90, 99};

enum Number { kMean, kP50, kP90, kP99, kRate, kNumbers };
constexpr const char* kNames[kNumbers] = {"mean", "p50", "p90", "p99", "rate"};
using Truth = std::array<double, kNumbers>;

struct Sample {
  std::vector<double> latencies;    // in send order
  std::vector<double> completions;  // seconds
};

struct Coverage {
  int supported = 0, covered = 0;
  double width = 0;  // summed over the supported ones

  double share() const { return supported == 0 ? 1 : static_cast<double>(covered) / supported; }
};
using Coverages = std::array<Coverage, kNumbers>;

std::vector<Interval> IntervalsOf(const Sample& run) {
  std::vector<double> scratch = run.latencies;
  const std::vector<double> values = Percentiles(scratch, kPercents);
  std::vector<Interval> intervals = {MeanInterval(run.latencies)};
  for (Interval& each : PercentileIntervals(run.latencies, scratch, kPercents, values))
    intervals.push_back(each);
  const double end = *std::max_element(run.completions.begin(), run.completions.end());
  std::vector<double> seconds(static_cast<size_t>(end));
  for (const double at : run.completions) {
    if (at < static_cast<double>(seconds.size())) ++seconds[static_cast<size_t>(at)];
  }
  intervals.push_back(RateInterval(seconds, static_cast<double>(run.completions.size()) / end));
  return intervals;
}

Coverages Try(const std::string& name, const Truth& truth,
              const std::function<Sample(std::mt19937_64&)>& make) {
  Coverages coverages;
  for (int i = 0; i < kRuns; ++i) {
    std::mt19937_64 random(static_cast<uint64_t>(i) + 1);
    const std::vector<Interval> intervals = IntervalsOf(make(random));
    for (size_t number = 0; number < kNumbers; ++number) {
      const Interval& interval = intervals[number];
      if (!interval.supported) continue;
      Coverage& coverage = coverages[number];
      ++coverage.supported;
      coverage.covered += interval.low <= truth[number] && truth[number] <= interval.high;
      coverage.width += interval.high - interval.low;
    }
  }
  std::printf("%-22s", name.c_str());
  for (size_t number = 0; number < kNumbers; ++number) {
    std::printf("  %s %.1f %% of %d", kNames[number], 100 * coverages[number].share(),
                coverages[number].supported);
  }
  std::printf("\n");
  return coverages;
}

constexpr double kSpread = 0.5, kTypicalS = 0.05;

Truth LognormalTruth() {
  constexpr double kNormalP90 = 1.2815515655446004, kNormalP99 = 2.3263478740408408;
  return {kTypicalS * std::exp(kSpread * kSpread / 2), kTypicalS, kTypicalS * std::exp(kSpread * kNormalP90),
          kTypicalS * std::exp(kSpread * kNormalP99), kPerSecond};
}

// Latencies, and the gaps between arrivals, both with correlation rho.
Sample LognormalSample(double rho, std::mt19937_64& random) {
  Sample run{Lognormal(kRequests, rho, kSpread, random), {}};
  const std::vector<double> gaps = Lognormal(kRequests, rho, kSpread, random);
  double now = 0;
  for (size_t i = 0; i < kRequests; ++i) {
    run.latencies[i] *= kTypicalS;
    now += gaps[i] / std::exp(kSpread * kSpread / 2) / kPerSecond;
    run.completions.push_back(now + run.latencies[i]);
  }
  return run;
}

TEST(IntervalCoverage, OfIndependentValues) {
  const Coverages found = Try("independent", LognormalTruth(),
                              [](std::mt19937_64& random) { return LognormalSample(0, random); });
  for (size_t number = 0; number < kNumbers; ++number) {
    EXPECT_EQ(found[number].supported, kRuns) << kNames[number];
    EXPECT_GE(found[number].share(), 0.92) << kNames[number];
  }
  // The widths that the distribution itself gives: of the mean by its variance, of a percentile by its order
  // statistics' binomial ranks.
  const double z = 1.959963984540054, root_n = std::sqrt(static_cast<double>(kRequests));
  const Truth truth = LognormalTruth();
  const double deviation = truth[kMean] * std::sqrt(std::exp(kSpread * kSpread) - 1);
  EXPECT_LE(found[kMean].width / kRuns, 1.3 * 2 * z * deviation / root_n);
  for (size_t i = 0; i < kPercents.size(); ++i) {
    const double share = kPercents[i] / 100, value = truth[kP50 + i];
    const double standing = std::log(value / kTypicalS) / kSpread;
    const double density =
        std::exp(-standing * standing / 2) / std::sqrt(2 * 3.141592653589793) / (value * kSpread);
    const double exact = 2 * z * std::sqrt(share * (1 - share)) / root_n / density;
    EXPECT_LE(found[kP50 + i].width / kRuns, 1.3 * exact) << kNames[kP50 + i];
  }
}

TEST(IntervalCoverage, OfCorrelatedValues) {
  const Coverages found = Try("AR(1), rho 0.8", LognormalTruth(),
                              [](std::mt19937_64& random) { return LognormalSample(0.8, random); });
  for (size_t number = 0; number < kNumbers; ++number) {
    EXPECT_GE(found[number].supported, kRuns / 2) << kNames[number];
    EXPECT_GE(found[number].share(), 0.90) << kNames[number];
  }
}

// The value that a share of a Gaussian's lies below.
double GaussianQuantile(double share) {
  double low = -9, high = 9;
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    (std::erfc(-middle / std::sqrt(2)) / 2 < share ? low : high) = middle;
  }
  return low;
}

// Of Paced, of which a share is stalled.
double PacedQuantile(double share, double stalled) {
  const bool stalls = share > 1 - stalled;
  const double within = stalls ? (share - (1 - stalled)) / stalled : share / (1 - stalled);
  return (stalls ? 2 : 1) * std::exp(kPacedSpread * GaussianQuantile(within));
}

// Values that hang together, but within a thousandth: nobody needs more of them than if they did not.
TEST(IntervalCoverage, OfAPacedServer) {
  struct Row {
    size_t requests;
    double running, stalled;
    bool always;  // is every percentile supported
  };
  for (const Row& row : {Row{400, 1, 0, true}, Row{5000, 1, 0, true}, Row{5000, 190, 10, false},
                         Row{5000, 180, 20, false}, Row{5000, 140, 20, false}, Row{5000, 20, 20, false}}) {
    int supported[3] = {}, covered[3] = {};
    for (int run = 0; run < kRuns; ++run) {
      std::mt19937_64 random(static_cast<uint64_t>(run) + 1);
      const std::vector<double> series = Paced(row.requests, row.running, row.stalled, random);
      std::vector<double> scratch = series;
      const std::vector<double> values = Percentiles(scratch, kPercents);
      const std::vector<Interval> intervals = PercentileIntervals(series, scratch, kPercents, values);
      for (size_t k = 0; k < 3; ++k) {
        const double truth = PacedQuantile(kPercents[k] / 100, row.stalled / (row.running + row.stalled));
        supported[k] += intervals[k].supported;
        covered[k] += intervals[k].supported && intervals[k].low <= truth && truth <= intervals[k].high;
      }
    }
    std::printf("paced, %g running, %g stalled:", row.running, row.stalled);
    for (size_t k = 0; k < 3; ++k) std::printf("  %s %d of %d", kNames[kP50 + k], covered[k], supported[k]);
    std::printf("\n");
    for (size_t k = 0; k < 3; ++k) {
      if (row.always) {
        EXPECT_EQ(supported[k], kRuns) << kNames[kP50 + k];
      }
      const int missed = supported[k] - covered[k];
      EXPECT_TRUE(covered[k] >= 0.92 * supported[k] || missed <= kRuns * 25 / 1000)
          << kNames[kP50 + k] << " of " << row.requests << ": " << covered[k] << " of " << supported[k];
    }
  }
}

// The hard one: what lies above a percentile comes in a few overloads, so that runs differ a lot and many do
// not tell. Those that pass for telling although they hardly can must be rare, for they are the ones whose
// overloads were many and low.
TEST(IntervalCoverage, OfAQueue) {
  Coverages all;
  for (const double utilisation : {0.5, 0.6, 0.7, 0.8}) {
    const double mean = 1 / (1 / utilisation - 1) / kPerSecond;
    const Truth truth = {mean, mean * std::log(2), mean * std::log(10), mean * std::log(100), kPerSecond};
    char name[32];
    std::snprintf(name, sizeof name, "M/M/1, utilisation %.1f", utilisation);
    const Coverages found = Try(name, truth, [utilisation](std::mt19937_64& random) {
      Queue queue = SingleServer(kRequests, utilisation, random);
      for (double& each : queue.sojourns) each /= kPerSecond;
      for (double& each : queue.departures) each /= kPerSecond;
      return Sample{std::move(queue.sojourns), std::move(queue.departures)};
    });
    for (size_t number = 0; number < kNumbers; ++number) {
      const Coverage& each = found[number];
      const int missed = each.supported - each.covered;
      EXPECT_TRUE(each.share() >= 0.88 || missed <= kRuns * 2 / 100)
          << kNames[number] << " at " << utilisation << ": " << each.covered << " of " << each.supported;
      all[number].supported += each.supported;
      all[number].covered += each.covered;
    }
    EXPECT_EQ(found[kMean].supported, kRuns);
    EXPECT_EQ(found[kRate].supported, kRuns);
  }
  for (size_t number = 0; number < kNumbers; ++number) {
    const Coverage& each = all[number];
    EXPECT_TRUE(each.share() >= 0.88 || each.supported < kRuns / 100)
        << kNames[number] << ": " << each.covered << " of " << each.supported;
  }
}

}  // namespace
}  // namespace llmbench
