// Which order statistics a percentile is made of, and how to find several of them without sorting.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <vector>

namespace llmbench {

inline constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// A percentile of n sorted values lies `fraction` of the way from values[below] to values[above].
struct PercentileRank {
  double below, above;  // whole numbers; double because weights may sum to anything
  double fraction;
};

// `count` is at least 1, percent in [0, 100]. The arithmetic is NumPy's, operation by operation, so that a
// percentile that falls on a value does so in both.
inline PercentileRank RankOf(double percent, double count) {
  const double at = (count - 1) * (std::clamp(percent, 0.0, 100.0) / 100);
  const double below = std::floor(at);
  return {below, std::min(below + 1, count - 1), at - below};
}

// Between a finite value and +∞ there is only +∞.
inline double Interpolate(double a, double b, double fraction) {
  if (fraction == 0 || a == b) return a;
  if (std::isinf(b)) return b;
  const double difference = b - a;
  return fraction < 0.5 ? a + difference * fraction : b - difference * (1 - fraction);
}

// Reorders values so that values[r] is the r-th smallest for each r of `ranks`, which ascend.
template <typename T>
void SelectRanks(std::span<T> values, std::span<const size_t> ranks) {
  // Ascending, each selection works on what the ones before left above them.
  size_t from = 0;
  for (const size_t rank : ranks) {
    if (rank < from) continue;  // the same rank again
    const auto first = values.begin() + static_cast<std::ptrdiff_t>(from);
    const auto wanted = values.begin() + static_cast<std::ptrdiff_t>(rank);
    if (rank == from) {
      std::iter_swap(first, std::min_element(first, values.end()));
    } else {
      std::nth_element(first, wanted, values.end());
    }
    from = rank + 1;
  }
}

// The order statistics all of `percents` need, ascending.
inline std::vector<size_t> RanksFor(std::span<const double> percents, size_t count) {
  std::vector<size_t> ranks;
  ranks.reserve(percents.size() * 2);
  for (const double percent : percents) {
    const PercentileRank rank = RankOf(percent, static_cast<double>(count));
    ranks.push_back(static_cast<size_t>(rank.below));
    ranks.push_back(static_cast<size_t>(rank.above));
  }
  std::sort(ranks.begin(), ranks.end());
  return ranks;
}

}  // namespace llmbench
