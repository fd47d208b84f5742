#include "llmbench/aggregate/intervals.h"

#include <algorithm>
#include <boost/math/distributions/students_t.hpp>
#include <boost/math/special_functions/beta.hpp>
#include <cmath>
#include <memory>

#include "llmbench/aggregate/autocorrelation.h"

namespace llmbench {
namespace {

constexpr double kMissed = 0.025;  // on either side

using boost::math::policies::errno_on_error;
// Errors become NaN or infinity: the core throws nothing.
using NoThrow = boost::math::policies::policy<boost::math::policies::domain_error<errno_on_error>,
                                              boost::math::policies::pole_error<errno_on_error>,
                                              boost::math::policies::overflow_error<errno_on_error>,
                                              boost::math::policies::evaluation_error<errno_on_error>>;

// The largest share that `hits` of n would still be rare for, and the smallest: Clopper and Pearson 1934.
// Both may be fractions.
double LowestShare(double hits, double n) {
  return hits > 0 ? boost::math::ibeta_inv(hits, n - hits + 1, kMissed, NoThrow()) : 0;
}
double HighestShare(double hits, double n) {
  return n > hits ? boost::math::ibeta_inv(hits + 1, n - hits, 1 - kMissed, NoThrow()) : 1;
}

double StudentQuantile(double degrees) {
  const boost::math::students_t_distribution<double, NoThrow> t(degrees);
  return boost::math::quantile(t, 1 - kMissed);
}

// Independent values of which at least one lies above the percentile, except in one case in forty: without
// that the largest of them bounds nothing.
double NeededSize(double share) {
  return share > 0 && share < 1 ? std::ceil(std::log(kMissed) / std::log(share)) : 1;
}

}  // namespace

void Interval::Scale(double factor) {
  low *= factor;
  high *= factor;
}

Interval MeanIntervalFrom(double mean, double variance_of_mean, double n_eff) {
  Interval interval;
  interval.n_eff = n_eff;
  if (n_eff < 2) {
    interval.reason = n_eff > 0 ? "too few independent values" : "no values";
    return interval;
  }
  const double half = variance_of_mean > 0 ? StudentQuantile(n_eff - 1) * std::sqrt(variance_of_mean) : 0;
  interval.low = mean - half;
  interval.high = mean + half;
  interval.supported = true;
  return interval;
}

Interval MeanInterval(std::span<const double> series) {
  const auto n = static_cast<double>(series.size());
  if (series.empty()) return MeanIntervalFrom(kNaN, kNaN, 0);
  double mean = 0;
  for (const double value : series) mean += value;
  mean /= n;
  double squares = 0;
  for (const double value : series) squares += (value - mean) * (value - mean);
  const double n_eff = n / AutocorrelationTime(series);
  return MeanIntervalFrom(mean, squares / std::max(n - 1, 1.0) / n_eff, n_eff);
}

RankBounds PercentileBounds(double percent, double n_eff, uint64_t count) {
  if (count == 0) return {0, 0};
  const double share = std::clamp(percent, 0.0, 100.0) / 100;
  const auto n = static_cast<double>(count);
  const double low = std::floor(LowestShare(share * n_eff, n_eff) * n) - 1;
  const double high = std::ceil(HighestShare(share * n_eff, n_eff) * n) - 1;
  return {static_cast<uint64_t>(std::clamp(low, 0.0, n - 1)),
          static_cast<uint64_t>(std::clamp(high, 0.0, n - 1))};
}

double LevelOf(double percentile, double largest) {
  return percentile < largest ? percentile : std::nextafter(percentile, -INFINITY);
}

std::optional<double> WiderPercent(double percent) {
  const double wider = 100 - kWider * (100 - percent);
  return wider >= kMedian ? std::optional(wider) : std::nullopt;
}

uint64_t OfWider(uint64_t excursions) {
  return std::max<uint64_t>(static_cast<uint64_t>(static_cast<double>(excursions) / kWider), 1);
}

Interval JudgedPercentile(double low, double high, double percent, double n_eff, size_t requests,
                          std::optional<uint64_t> excursions) {
  Interval interval;
  interval.low = low;
  interval.high = high;
  interval.n_eff = n_eff;
  interval.excursions = excursions;
  const auto count = static_cast<double>(requests);
  const double needed_size = NeededSize(std::clamp(percent, 0.0, 100.0) / 100);
  double needed = n_eff > 0 ? std::ceil(needed_size * count / n_eff) : needed_size;
  if (n_eff < needed_size) interval.reason = n_eff > 0 ? "too few independent values" : "no values";
  if (excursions && *excursions < kEnoughExcursions) {
    const auto seen = static_cast<double>(std::max<uint64_t>(*excursions, 1));
    needed = std::max(needed, std::ceil(count * static_cast<double>(kEnoughExcursions) / seen));
    interval.reason =
        "from " + std::to_string(*excursions) + (*excursions == 1 ? " excursion" : " excursions");
  }
  interval.needs_requests = needed;
  interval.supported = interval.reason.empty();
  if (!interval.supported) interval.high = kNaN;
  return interval;
}

bool Part::Surely(double limit) const {
  if (HighestShare(share * n_eff, n_eff) > limit) return false;
  if (!excursions || *excursions >= kEnoughExcursions) return true;
  const auto seen = static_cast<double>(std::max<uint64_t>(*excursions, 1));
  return share * static_cast<double>(kEnoughExcursions) / seen <= limit;
}

Interval JudgedBulk(const Bulk& bulk, Interval wanting, double value, double percent, size_t requests) {
  const double share = std::clamp(percent, 0.0, 100.0) / 100;
  const bool below = bulk.below.Surely(share), above = bulk.above.Surely(1 - share);
  const bool upper = percent >= kMedian;
  const Part& rest = upper ? bulk.above : bulk.below;
  const bool surely = upper ? above : below;
  const double low = below ? Bulk::Lowest(value) : std::min(wanting.low, Bulk::Lowest(value));
  Interval interval = JudgedPercentile(low, Bulk::Highest(value), percent, rest.n_eff, requests,
                                       surely ? std::nullopt : rest.excursions);
  if (interval.supported ? surely : interval.needs_requests < wanting.needs_requests) return interval;
  return wanting;
}

namespace {

// A series against a level.
class Level {
 public:
  explicit Level(std::span<const double> series)
      : series_(series), at_most_(series.size()), beyond_(std::make_unique<bool[]>(series.size())) {}

  size_t size() const { return series_.size(); }
  double Tau(double level) {
    for (size_t i = 0; i < series_.size(); ++i) at_most_[i] = series_[i] <= level ? 1 : 0;
    return AutocorrelationTime(at_most_);
  }
  // Beyond the level: above it, or up to it.
  uint64_t Excursions(double level, double tau, bool above) {
    for (size_t i = 0; i < series_.size(); ++i) beyond_[i] = (series_[i] > level) == above;
    return CountExcursions({beyond_.get(), series_.size()}, tau);
  }
  // The values above the level, or those up to it.
  Part Beyond(double level, bool above) {
    const double tau = Tau(level), n = static_cast<double>(series_.size());
    Part part{static_cast<double>(Count(level)) / n, n / tau, std::nullopt};
    if (above) part.share = 1 - part.share;
    if (tau > kCorrelatedTime) part.excursions = Excursions(level, tau, above);
    return part;
  }
  // How many values are at most the level.
  size_t Count(double level) const {
    return static_cast<size_t>(
        std::count_if(series_.begin(), series_.end(), [level](double value) { return value <= level; }));
  }

 private:
  std::span<const double> series_;
  std::vector<double> at_most_;
  std::unique_ptr<bool[]> beyond_;
};

// None where the percentile is not in the bulk.
std::optional<Bulk> BulkAround(double percentile, Level& level) {
  const double under = Bulk::Under(percentile), upto = Bulk::Highest(percentile);
  const size_t bulk = level.Count(upto) - level.Count(under);
  if (static_cast<double>(bulk) < kBulk * static_cast<double>(level.size())) return std::nullopt;
  return Bulk{level.Beyond(under, false), level.Beyond(upto, true)};
}

}  // namespace

std::vector<Interval> PercentileIntervals(std::span<const double> series, std::span<double> scratch,
                                          std::span<const double> percents, std::span<const double> values) {
  const size_t n = series.size();
  std::vector<Interval> intervals;
  Level level(series);
  const double largest = n == 0 ? kNaN : *std::max_element(series.begin(), series.end());
  for (size_t i = 0; i < percents.size(); ++i) {
    if (n == 0) {
      intervals.push_back(JudgedPercentile(kNaN, kNaN, percents[i], 0, 0, std::nullopt));
      continue;
    }
    // The median is asked for by name, and mostly as a percentile too.
    const auto before = percents.first(i);
    if (const auto same = std::find(before.begin(), before.end(), percents[i]); same != before.end()) {
      intervals.push_back(Interval(intervals[static_cast<size_t>(same - before.begin())]));
      continue;
    }
    const double at = LevelOf(values[i], largest), tau = level.Tau(at);
    const double n_eff = static_cast<double>(n) / tau;
    const RankBounds bounds = PercentileBounds(percents[i], n_eff, n);
    std::vector<size_t> ranks = {bounds.low, bounds.high};
    const std::optional<double> wider = tau > kCorrelatedTime ? WiderPercent(percents[i]) : std::nullopt;
    const PercentileRank wider_rank = RankOf(wider.value_or(0), static_cast<double>(n));
    if (wider) ranks.push_back(static_cast<size_t>(wider_rank.below));
    std::sort(ranks.begin(), ranks.end());
    SelectRanks(scratch, std::span<const size_t>(ranks));
    std::optional<uint64_t> excursions;
    if (tau > kCorrelatedTime) excursions = level.Excursions(at, tau, percents[i] >= kMedian);
    if (wider) {
      const double wider_value = scratch[static_cast<size_t>(wider_rank.below)];
      const uint64_t all = level.Excursions(wider_value, level.Tau(wider_value), true);
      excursions = std::min(*excursions, OfWider(all));
    }
    intervals.push_back(
        JudgedPercentile(scratch[bounds.low], scratch[bounds.high], percents[i], n_eff, n, excursions));
    if (intervals.back().supported) continue;
    if (const std::optional<Bulk> bulk = BulkAround(values[i], level))
      intervals.back() = JudgedBulk(*bulk, intervals.back(), values[i], percents[i], n);
  }
  return intervals;
}

Interval RateInterval(std::span<const double> per_second, double rate) {
  Interval interval = MeanInterval(per_second);
  if (!interval.supported) {
    interval.reason = per_second.size() < 2 ? "under two whole seconds" : interval.reason;
    return interval;
  }
  // What was counted is right to one at best: the seconds begin and end anywhere.
  const double half =
      std::max((interval.high - interval.low) / 2, 1 / static_cast<double>(per_second.size()));
  interval.low = std::max(0.0, rate - half);
  interval.high = rate + half;
  return interval;
}

}  // namespace llmbench
