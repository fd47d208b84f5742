// 95 % intervals of means, percentiles and rates from one run, whose requests are not independent of each
// other.
//
// Everything rests on the effective sample size n / τ (autocorrelation.h) in place of n. Series are in the
// order in which requests were sent. docs/metrics.md has the formulas and what was tried.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "llmbench/aggregate/order_statistics.h"

namespace llmbench {

// In the unit of its number. A bound that the run cannot tell is NaN, and `reason` says why.
struct Interval {
  double low = kNaN, high = kNaN;
  double n_eff = 0;
  bool supported = false;
  // Requests that would support it if they were as correlated as these; only of percentiles.
  std::optional<double> needs_requests;
  std::optional<uint64_t> excursions;  // only where they were counted: correlated percentiles
  std::string reason;                  // empty when supported

  void Scale(double factor);
};

// Where requests hang together more than this (τ), the values above a percentile (of one below the median:
// those up to it) may come from a handful of excursions, and these are counted. With fewer than
// kEnoughExcursions the percentile is flagged: not supported.
inline constexpr double kCorrelatedTime = 2;
inline constexpr uint64_t kEnoughExcursions = 20;
inline constexpr double kMedian = 50;
// A run whose excursions happened to be many and low would pass that count. So the level that this many times
// as many values exceed, where there is one above the median, must have as many times the excursions too.
inline constexpr double kWider = 4;

// Student's t with n_eff − 1 degrees of freedom.
Interval MeanInterval(std::span<const double> series);

// One for each percent, whose sample percentiles are `values`. `scratch` holds the series' values in any
// order and is reordered.
std::vector<Interval> PercentileIntervals(std::span<const double> series, std::span<double> scratch,
                                          std::span<const double> percents, std::span<const double> values);

// Of a rate per second, from what was counted in each whole second.
Interval RateInterval(std::span<const double> per_second, double rate);

// The parts, for samples of another form (gap_sample.h).

// Of a mean from its variance and its effective sample size.
Interval MeanIntervalFrom(double mean, double variance_of_mean, double n_eff);

// The order statistics of `count` values, from 0, that bound a percentile known from n_eff independent
// values: those at the Clopper-Pearson limits of a share.
struct RankBounds {
  uint64_t low, high;
};
RankBounds PercentileBounds(double percent, double n_eff, uint64_t count);

// The percentile that kWider times as many values exceed; none when that is below the median.
std::optional<double> WiderPercent(double percent);

// What n_eff and the excursions, where they were counted, make of an interval with these bounds.
Interval JudgedPercentile(double low, double high, double percent, double n_eff, size_t requests,
                          std::optional<uint64_t> excursions);

}  // namespace llmbench
