// Exact percentiles of plain values.
#pragma once

#include <span>
#include <vector>

namespace llmbench {

// Percentiles by linear interpolation between order statistics (NumPy's default, method 7 of Hyndman & Fan
// 1996). `values` is reordered; percents in [0, 100], any order; the result has their order. NaN for each
// when values is empty or holds a NaN. +∞ is an ordinary value (a failed request); between a finite value and
// +∞ the result is +∞.
std::vector<double> Percentiles(std::span<double> values, std::span<const double> percents);

// A value that stands for `weight` observations, as a gap stands for each of the tokens that ended it.
struct WeightedValue {
  double value, weight;
};

// What Percentiles gives when each value is written out weight times; with weights that are not whole
// numbers, positions in the cumulative weight. `values` is reordered and holds no NaN.
std::vector<double> WeightedPercentiles(std::span<WeightedValue> values, std::span<const double> percents);

// The same from two columns of one length, which are left as they are.
std::vector<double> WeightedPercentiles(std::span<const double> values, std::span<const double> weights,
                                        std::span<const double> percents);

}  // namespace llmbench
