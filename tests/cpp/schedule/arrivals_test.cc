#include "llmbench/schedule/arrivals.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "llmbench/base/clock.h"

namespace llmbench {
namespace {

std::vector<int64_t> Offsets(const ArrivalSpec& spec, int n) {
  auto process = MakeArrivalProcess(spec);
  EXPECT_TRUE(process.ok()) << process.status();
  std::vector<int64_t> offsets;
  for (int i = 0; i < n; ++i) offsets.push_back((*process)->NextOffset());
  return offsets;
}

ArrivalSpec Spec(Arrival kind, double rate, uint64_t seed = 1) {
  ArrivalSpec spec;
  spec.kind = kind;
  spec.rate = rate;
  spec.seed = seed;
  return spec;
}

// Variance over mean of the counts in bins that expect `mean` arrivals each.
double IndexOfDispersion(const std::vector<int64_t>& offsets, double rate, double mean) {
  const double bin_ns = mean / rate * kNsPerSecond;
  std::vector<double> counts(static_cast<size_t>(static_cast<double>(offsets.back()) / bin_ns));
  for (const int64_t at : offsets) {
    const auto bin = static_cast<size_t>(static_cast<double>(at) / bin_ns);
    if (bin < counts.size()) ++counts[bin];
  }
  double sum = 0, squares = 0;
  for (const double c : counts) sum += c;
  const double average = sum / static_cast<double>(counts.size());
  for (const double c : counts) squares += (c - average) * (c - average);
  return squares / static_cast<double>(counts.size()) / average;
}

TEST(Arrivals, ConstantHasConstantGaps) {
  const auto offsets = Offsets(Spec(Arrival::kConstant, 1000), 10'000);
  for (size_t i = 0; i < offsets.size(); ++i) {
    ASSERT_NEAR(static_cast<double>(offsets[i]), static_cast<double>(i) * 1e6, 2);
  }
}

TEST(Arrivals, PoissonCountsAreDispersedAsPoisson) {
  const auto offsets = Offsets(Spec(Arrival::kPoisson, 200), 30'000);
  EXPECT_NEAR(IndexOfDispersion(offsets, 200, 10), 1, 0.1);
  EXPECT_NEAR(static_cast<double>(offsets.back()) / kNsPerSecond, 150, 5);
}

TEST(Arrivals, GammaHasTheAskedVariation) {
  for (const double burstiness : {0.25, 0.5, 1.0, 4.0}) {
    ArrivalSpec spec = Spec(Arrival::kGamma, 100);
    spec.burstiness = burstiness;
    const auto offsets = Offsets(spec, 40'000);
    double sum = 0, squares = 0;
    for (size_t i = 1; i < offsets.size(); ++i) {
      const double gap = static_cast<double>(offsets[i] - offsets[i - 1]) / kNsPerSecond;
      sum += gap;
      squares += gap * gap;
    }
    const double n = static_cast<double>(offsets.size() - 1);
    const double mean = sum / n;
    EXPECT_NEAR(mean, 0.01, 0.0005) << burstiness;
    EXPECT_NEAR((squares / n - mean * mean) / (mean * mean), 1 / burstiness, 0.12 / burstiness) << burstiness;
  }
}

TEST(Arrivals, GammaOfShapeOneIsPoisson) {
  // Both invert their distribution function; the lower tail here is the upper tail there.
  const auto gamma = Offsets(Spec(Arrival::kGamma, 100), 10'000);
  EXPECT_NEAR(IndexOfDispersion(gamma, 100, 10), 1, 0.15);
}

TEST(Arrivals, TheSameSeedGivesTheSamePlan) {
  for (const Arrival kind : {Arrival::kPoisson, Arrival::kGamma}) {
    EXPECT_EQ(Offsets(Spec(kind, 10, 3), 100), Offsets(Spec(kind, 10, 3), 100));
    EXPECT_NE(Offsets(Spec(kind, 10, 3), 100), Offsets(Spec(kind, 10, 4), 100));
  }
}

TEST(Arrivals, PoissonGoldenValues) {
  // Fixed for good: a plan must be the same on every machine and in every version.
  const auto offsets = Offsets(Spec(Arrival::kPoisson, 10, 42), 4);
  EXPECT_EQ(offsets[0], 0);
  for (size_t i = 1; i < offsets.size(); ++i) {
    const double u = CounterRng(42, ChanceStream::kWhen).Uniform(i - 1);
    EXPECT_NEAR(static_cast<double>(offsets[i] - offsets[i - 1]), -std::log(u) / 10 * 1e9, 2);
  }
  EXPECT_EQ(offsets, (std::vector<int64_t>{0, 206949236, 207804144, 417513443}));
}

TEST(Arrivals, BurstIsAllAtZero) {
  EXPECT_EQ(Offsets(Spec(Arrival::kBurst, 0), 3), (std::vector<int64_t>{0, 0, 0}));
}

TEST(Arrivals, TraceEndsWithNever) {
  ArrivalSpec spec = Spec(Arrival::kTrace, 0);
  spec.trace_ns = {0, 5, 5, 9};
  EXPECT_EQ(Offsets(spec, 5), (std::vector<int64_t>{0, 5, 5, 9, std::numeric_limits<int64_t>::max()}));
}

TEST(Arrivals, RampsReachTheRate) {
  for (const RampUp ramp : {RampUp::kLinear, RampUp::kExponential}) {
    ArrivalSpec spec = Spec(Arrival::kConstant, 100);
    spec.ramp = ramp;
    spec.ramp_start_rate = 10;
    spec.ramp_requests = 50;
    const auto offsets = Offsets(spec, 60);
    EXPECT_NEAR(static_cast<double>(offsets[1] - offsets[0]), 1e8, 2);
    EXPECT_NEAR(static_cast<double>(offsets[59] - offsets[58]), 1e7, 2);
    for (size_t i = 2; i < offsets.size(); ++i) {
      EXPECT_LE(offsets[i] - offsets[i - 1], offsets[i - 1] - offsets[i - 2] + 2);
    }
  }
}

TEST(Arrivals, RefusesWhatCannotBe) {
  struct Row {
    const char* name;
    ArrivalSpec spec;
    const char* says;
  };
  std::vector<Row> rows;
  for (const double rate : {0.0, -1.0, std::nan(""), std::numeric_limits<double>::infinity()}) {
    for (const Arrival kind : {Arrival::kConstant, Arrival::kPoisson, Arrival::kGamma}) {
      rows.push_back({"rate", Spec(kind, rate), "request rate"});
    }
  }
  ArrivalSpec burstiness = Spec(Arrival::kGamma, 1);
  burstiness.burstiness = 0;
  rows.push_back({"burstiness", burstiness, "burstiness"});
  ArrivalSpec trace = Spec(Arrival::kTrace, 0);
  trace.trace_ns = {5, 4};
  rows.push_back({"trace", trace, "back in time"});
  trace.trace_ns = {-5, 4};
  rows.push_back({"negative trace", trace, "before 0"});
  ArrivalSpec ramp = Spec(Arrival::kConstant, 1);
  ramp.ramp = RampUp::kLinear;
  rows.push_back({"ramp", ramp, "ramp-up"});
  for (const Row& row : rows) {
    const auto process = MakeArrivalProcess(row.spec);
    ASSERT_FALSE(process.ok()) << row.name;
    EXPECT_NE(std::string(process.status().message()).find(row.says), std::string::npos) << process.status();
  }
}

TEST(ClosedLoopStart, SpreadsTheSlots) {
  ArrivalSpec spec = Spec(Arrival::kClosed, 0);
  EXPECT_EQ(ClosedLoopStart(spec, 3, 10), 0);
  spec.closed_ramp_s = 2;
  EXPECT_EQ(ClosedLoopStart(spec, 5, 10), kNsPerSecond);
  spec.closed_ramp_random = true;
  for (uint64_t slot = 0; slot < 100; ++slot) {
    EXPECT_GE(ClosedLoopStart(spec, slot, 100), 0);
    EXPECT_LE(ClosedLoopStart(spec, slot, 100), 2 * kNsPerSecond);
  }
  EXPECT_NE(ClosedLoopStart(spec, 0, 10), ClosedLoopStart(spec, 1, 10));
}

}  // namespace
}  // namespace llmbench
