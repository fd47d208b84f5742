// Exact percentiles of plain values.
#pragma once

#include <span>
#include <vector>

namespace llmbench {

// Percentiles by linear interpolation between order statistics (NumPy's default, method 7 of Hyndman & Fan 1996).
// `values` is reordered; percents in [0, 100], any order; the result has their order. NaN for each when values is empty.
// +∞ is an ordinary value (a failed request); between a finite value and +∞ the result is +∞.
std::vector<double> Percentiles(std::span<double> values, std::span<const double> percents);

// The same for values that stand for `weights[i]` observations each.
std::vector<double> WeightedPercentiles(std::span<const double> values, std::span<const double> weights,
                                        std::span<const double> percents);

}  // namespace llmbench
