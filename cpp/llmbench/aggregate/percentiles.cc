#include "llmbench/aggregate/percentiles.h"

#include <algorithm>
#include <cmath>

#include "llmbench/aggregate/order_statistics.h"

namespace llmbench {
namespace {

constexpr size_t kSortBelow = 32;

// Finds the values at several positions of the sequence in which each value stands weight times. Halves the
// range that holds positions until it is small: linear in the number of values, unlike a sort.
class WeightedSelection {
 public:
  // `positions` ascending; the answers come in their order.
  WeightedSelection(std::span<WeightedValue> values, std::span<const double> positions)
      : positions_(positions), found_(positions.size()) {
    Select(values, 0, 0, positions.size());
  }

  double at(double position) const {
    const auto it = std::lower_bound(positions_.begin(), positions_.end(), position);
    return found_[static_cast<size_t>(it - positions_.begin())];
  }

 private:
  // `before` is the weight of all values below this range; positions [from, to) lie in it.
  void Select(std::span<WeightedValue> values, double before, size_t from, size_t to) {
    auto by_value = [](const WeightedValue& a, const WeightedValue& b) { return a.value < b.value; };
    while (from < to) {
      if (values.size() <= kSortBelow) {
        std::sort(values.begin(), values.end(), by_value);
        size_t i = 0;
        for (; from < to; ++from) {
          while (i + 1 < values.size() && before + values[i].weight <= positions_[from])
            before += values[i++].weight;
          found_[from] = values[i].value;
        }
        return;
      }
      const size_t middle = values.size() / 2;
      std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(middle), values.end(),
                       by_value);
      const auto lower = values.first(middle);
      double upper_before = before;
      for (const WeightedValue& value : lower) upper_before += value.weight;
      size_t split = from;
      while (split < to && positions_[split] < upper_before) ++split;
      Select(lower, before, from, split);
      values = values.subspan(middle);
      before = upper_before;
      from = split;
    }
  }

  std::span<const double> positions_;
  std::vector<double> found_;
};

bool HasNaN(std::span<const double> values) {
  return std::any_of(values.begin(), values.end(), [](double value) { return std::isnan(value); });
}

}  // namespace

std::vector<double> Percentiles(std::span<double> values, std::span<const double> percents) {
  std::vector<double> result(percents.size(), kNaN);
  if (values.empty() || HasNaN(values)) return result;
  SelectRanks(values, std::span<const size_t>(RanksFor(percents, values.size())));
  for (size_t i = 0; i < percents.size(); ++i) {
    const PercentileRank rank = RankOf(percents[i], static_cast<double>(values.size()));
    result[i] = Interpolate(values[static_cast<size_t>(rank.below)], values[static_cast<size_t>(rank.above)],
                            rank.fraction);
  }
  return result;
}

std::vector<double> WeightedPercentiles(std::span<WeightedValue> values, std::span<const double> percents) {
  std::vector<double> result(percents.size(), kNaN);
  double total = 0;
  for (const WeightedValue& value : values) total += value.weight;
  if (values.empty() || !(total > 0)) return result;

  std::vector<double> positions;
  for (const double percent : percents) {
    const PercentileRank rank = RankOf(percent, std::max(total, 1.0));
    positions.push_back(rank.below);
    positions.push_back(rank.above);
  }
  std::sort(positions.begin(), positions.end());
  const WeightedSelection selection(values, positions);
  for (size_t i = 0; i < percents.size(); ++i) {
    const PercentileRank rank = RankOf(percents[i], std::max(total, 1.0));
    result[i] = Interpolate(selection.at(rank.below), selection.at(rank.above), rank.fraction);
  }
  return result;
}

std::vector<double> WeightedPercentiles(std::span<const double> values, std::span<const double> weights,
                                        std::span<const double> percents) {
  if (HasNaN(values) || values.size() != weights.size()) return std::vector<double>(percents.size(), kNaN);
  std::vector<WeightedValue> pairs(values.size());
  for (size_t i = 0; i < values.size(); ++i) pairs[i] = {values[i], weights[i]};
  return WeightedPercentiles(pairs, percents);
}

}  // namespace llmbench
