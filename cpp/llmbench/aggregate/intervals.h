// 95 % intervals of means, percentiles and rates from one run, whose requests are not independent of each
// other.
//
// Everything rests on the effective sample size n / τ (autocorrelation.h) in place of n. Series are in the
// order in which requests were sent. docs/metrics.md has the formulas and what was tried.
#pragma once

#include <cmath>
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

// A percentile in the bulk: where at least kBulk of all values are within this share of it, they are as good
// as one value, and how they hang together says nothing that anybody wants to know. Such a percentile is
// judged by the rest of the values instead, and known to this share (JudgedBulk).
inline constexpr double kSame = 0.01;
inline constexpr double kBulk = 0.5;

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

// The level whose indicator "at most this" tells how a percentile's values hang together: the percentile, but
// what lies just below where it is the largest value, which no value exceeds.
double LevelOf(double percentile, double largest);

// The percentile that kWider times as many values exceed; none when that is below the median.
std::optional<double> WiderPercent(double percent);
// How many excursions above the percentile itself those above its wider one are worth: one, if there are any.
uint64_t OfWider(uint64_t excursions);

// What n_eff and the excursions, where they were counted, make of an interval with these bounds.
Interval JudgedPercentile(double low, double high, double percent, double n_eff, size_t requests,
                          std::optional<uint64_t> excursions);

// Some of a sample's values: those above a level, or those below.
struct Part {
  double share = 0;
  double n_eff = 0;                    // of the series that says of each value whether it belongs here
  std::optional<uint64_t> excursions;  // where the series hangs together

  // Whether it is less than `limit` of what all values to come will be. Of few excursions: whether it would
  // be if kEnoughExcursions such had been.
  bool Surely(double limit) const;
};

// What lies around a percentile: the values below Lowest and those above Highest.
struct Bulk {
  Part below, above;

  static double Lowest(double percentile) { return percentile - kSame * std::abs(percentile); }
  static double Highest(double percentile) { return percentile + kSame * std::abs(percentile); }
  // The level that the values below Lowest are at most.
  static double Under(double percentile) { return std::nextafter(Lowest(percentile), -INFINITY); }
  bool found() const { return 1 - below.share - above.share >= kBulk; }
};

// The better judgement of a percentile that was found wanting: by its bulk, where that tells more.
Interval JudgedBulk(const Bulk& bulk, Interval wanting, double value, double percent, size_t requests);

}  // namespace llmbench
