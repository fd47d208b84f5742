#include "llmbench/aggregate/gap_intervals.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>

#include "llmbench/aggregate/autocorrelation.h"

namespace llmbench {
namespace {

// What each request adds to a sum that is 0 for all of them together, in send order.
struct Contributions {
  std::vector<double> values;
  double tau = 1;
  double squares = 0;  // τ Σ values²: the variance of the sum
};

Contributions Judge(std::vector<double> values) {
  Contributions result;
  result.tau = AutocorrelationTime(values);
  for (const double value : values) result.squares += value * value;
  result.squares *= result.tau;
  result.values = std::move(values);
  return result;
}

class Judging {
 public:
  Judging(const GapView& view, std::span<const uint32_t> send_order) : view_(view), send_order_(send_order) {}

  Interval Mean(double mean, const GapView::PerRequest& requests) const;
  std::vector<Interval> Percentiles(std::span<const double> percents,
                                    const GapView::PerRequest& requests) const;

 private:
  double total() const { return static_cast<double>(view_.size()); }
  Contributions At(double percent, const GapView::PerRequest& requests, size_t level) const;
  static uint64_t Excursions(const Contributions& below, double percent);

  const GapView& view_;
  const std::span<const uint32_t> send_order_;
};

Interval Judging::Mean(double mean, const GapView::PerRequest& requests) const {
  std::vector<double> values;
  for (const uint32_t request : send_order_) {
    if (requests.sizes[request] != 0)
      values.push_back(requests.sums[request] - mean * requests.sizes[request]);
  }
  const auto clusters = static_cast<double>(values.size());
  const Contributions sums = Judge(std::move(values));
  // With one request the sum is 0 for certain, which says nothing.
  const double n_eff = clusters / sums.tau;
  return MeanIntervalFrom(mean, sums.squares / (total() * total()) * clusters / std::max(clusters - 1, 1.0),
                          n_eff);
}

Contributions Judging::At(double percent, const GapView::PerRequest& requests, size_t level) const {
  std::vector<double> values;
  const double share = percent / 100;
  for (const uint32_t request : send_order_) {
    if (requests.sizes[request] == 0) continue;
    values.push_back(requests.at_most[level][request] - share * requests.sizes[request]);
  }
  return Judge(std::move(values));
}

// A request lies above when more than their share of its gaps do.
uint64_t Judging::Excursions(const Contributions& below, double percent) {
  const auto beyond = std::make_unique<bool[]>(below.values.size());
  for (size_t i = 0; i < below.values.size(); ++i) beyond[i] = (below.values[i] < 0) == (percent >= kMedian);
  return CountExcursions({beyond.get(), below.values.size()}, below.tau);
}

std::vector<Interval> Judging::Percentiles(std::span<const double> percents,
                                           const GapView::PerRequest& requests) const {
  std::vector<double> n_effs;
  std::vector<uint64_t> ranks;
  std::vector<std::optional<uint64_t>> excursions;
  std::vector<double> wider_percents;  // of those whose requests hang together
  std::vector<size_t> wider_of;
  size_t clusters = 0;
  for (size_t i = 0; i < percents.size(); ++i) {
    const double share = percents[i] / 100;
    const Contributions below = At(percents[i], requests, i);
    clusters = below.values.size();
    const double variance = below.squares / (total() * total());
    // Gaps are never worth more than they are, nor a single request more than one value.
    const double n_eff = clusters < 2   ? static_cast<double>(clusters)
                         : variance > 0 ? std::clamp(share * (1 - share) / variance, 1.0, total())
                                        : total();
    n_effs.push_back(n_eff);
    const RankBounds bounds = PercentileBounds(percents[i], n_eff, view_.size());
    ranks.push_back(bounds.low);
    ranks.push_back(bounds.high);
    excursions.emplace_back();
    if (below.tau <= kCorrelatedTime) continue;
    excursions.back() = Excursions(below, percents[i]);
    if (const std::optional<double> wider = WiderPercent(percents[i])) {
      wider_percents.push_back(*wider);
      wider_of.push_back(i);
    }
  }
  if (!wider_percents.empty()) {
    const GapView::PerRequest wider = view_.ByRequest(view_.Percentiles(wider_percents));
    for (size_t i = 0; i < wider_percents.size(); ++i) {
      const auto all = static_cast<double>(Excursions(At(wider_percents[i], wider, i), wider_percents[i]));
      std::optional<uint64_t>& counted = excursions[wider_of[i]];
      counted = std::min(*counted, static_cast<uint64_t>(all / kWider));
    }
  }
  const std::vector<double> bounds = view_.AtRanks(ranks);
  std::vector<Interval> intervals;
  for (size_t i = 0; i < percents.size(); ++i) {
    intervals.push_back(
        JudgedPercentile(bounds[2 * i], bounds[2 * i + 1], percents[i], n_effs[i], clusters, excursions[i]));
  }
  return intervals;
}

}  // namespace

GapIntervals IntervalsOfGaps(const GapView& view, std::span<const uint32_t> send_order, double mean,
                             std::span<const double> percents, std::span<const double> values) {
  GapIntervals intervals;
  if (view.size() == 0) {
    intervals.mean = MeanIntervalFrom(kNaN, kNaN, 0);
    for (const double percent : percents) {
      intervals.percentiles.push_back(JudgedPercentile(kNaN, kNaN, percent, 0, 0, std::nullopt));
    }
    return intervals;
  }
  const GapView::PerRequest requests = view.ByRequest(values);
  const Judging judging(view, send_order);
  intervals.mean = judging.Mean(mean, requests);
  intervals.percentiles = judging.Percentiles(percents, requests);
  return intervals;
}

}  // namespace llmbench
