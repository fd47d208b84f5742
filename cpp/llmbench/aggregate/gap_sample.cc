#include "llmbench/aggregate/gap_sample.h"

#include <algorithm>
#include <cmath>

#include "llmbench/aggregate/order_statistics.h"

namespace llmbench {
namespace {

// Sums block by block, so that rounding errors do not grow with the number of gaps.
template <typename T>
double SquaredDeviations(const std::vector<T>& gaps, double mean) {
  constexpr size_t kBlock = 4096;
  double sum = 0;
  for (size_t begin = 0; begin < gaps.size(); begin += kBlock) {
    const size_t end = std::min(begin + kBlock, gaps.size());
    double block = 0;
    for (size_t i = begin; i < end; ++i) {
      const double deviation = static_cast<double>(gaps[i]) - mean;
      block += deviation * deviation;
    }
    sum += block;
  }
  return sum;
}

}  // namespace

double GapSample::Mean() const {
  int64_t sum = 0;  // exact: 292 years
  for (const uint32_t gap : short_) sum += gap;
  for (const int64_t gap : long_) sum += gap;
  return static_cast<double>(sum) / static_cast<double>(size());
}

double GapSample::StandardDeviation(double mean) const {
  return std::sqrt((SquaredDeviations(short_, mean) + SquaredDeviations(long_, mean)) /
                   static_cast<double>(size()));
}

double GapSample::Min() const {
  return static_cast<double>(short_.empty() ? *std::min_element(long_.begin(), long_.end())
                                            : *std::min_element(short_.begin(), short_.end()));
}

double GapSample::Max() const {
  return static_cast<double>(long_.empty() ? *std::max_element(short_.begin(), short_.end())
                                           : *std::max_element(long_.begin(), long_.end()));
}

double GapSample::At(size_t rank) const {
  return static_cast<double>(rank < short_.size() ? short_[rank] : long_[rank - short_.size()]);
}

std::vector<double> GapSample::Percentiles(std::span<const double> percents) {
  std::vector<double> result(percents.size(), kNaN);
  if (size() == 0) return result;
  std::vector<size_t> ranks = RanksFor(percents, size());
  const auto split = std::lower_bound(ranks.begin(), ranks.end(), short_.size());
  SelectRanks(std::span(short_), std::span<const size_t>(ranks.begin(), split));
  std::for_each(split, ranks.end(), [this](size_t& rank) { rank -= short_.size(); });
  SelectRanks(std::span(long_), std::span<const size_t>(split, ranks.end()));
  for (size_t i = 0; i < percents.size(); ++i) {
    const PercentileRank rank = RankOf(percents[i], static_cast<double>(size()));
    result[i] =
        Interpolate(At(static_cast<size_t>(rank.below)), At(static_cast<size_t>(rank.above)), rank.fraction);
  }
  return result;
}

}  // namespace llmbench
