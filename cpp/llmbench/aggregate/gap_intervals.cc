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

// The gaps up to a level: k − share · m of each request.
struct Against {
  Contributions requests;
  double share = 0;  // of all gaps
  double n_eff = 0;

  // A request lies above when more than their share of its gaps do; or below.
  uint64_t Excursions(bool above) const;
  // The gaps above the level, or those up to it.
  Part Beyond(bool above) const;
};

uint64_t Against::Excursions(bool above) const {
  const std::vector<double>& values = requests.values;
  const auto beyond = std::make_unique<bool[]>(values.size());
  for (size_t i = 0; i < values.size(); ++i) beyond[i] = above ? values[i] < 0 : values[i] > 0;
  return CountExcursions({beyond.get(), values.size()}, requests.tau);
}

Part Against::Beyond(bool above) const {
  Part part{above ? 1 - share : share, n_eff, std::nullopt};
  if (requests.tau > kCorrelatedTime) part.excursions = Excursions(above);
  return part;
}

class Judging {
 public:
  Judging(const GapView& view, std::span<const uint32_t> send_order) : view_(view), send_order_(send_order) {}

  Interval Mean(double mean, const GapView::PerRequest& requests) const;
  std::vector<Interval> Percentiles(std::span<const double> percents, std::span<const double> values,
                                    const GapView::PerRequest& requests) const;

 private:
  double total() const { return static_cast<double>(view_.size()); }
  Against At(const GapView::PerRequest& requests, size_t level) const;
  // Replaces what was found wanting and lies in the bulk.
  void JudgeByBulk(std::span<const double> percents, std::span<const double> values, size_t clusters,
                   std::vector<Interval>& intervals) const;

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

Against Judging::At(const GapView::PerRequest& requests, size_t level) const {
  double all = 0;
  for (const uint32_t request : send_order_) all += requests.at_most[level][request];
  Against against;
  against.share = all / total();
  std::vector<double> values;
  for (const uint32_t request : send_order_) {
    if (requests.sizes[request] != 0)
      values.push_back(requests.at_most[level][request] - against.share * requests.sizes[request]);
  }
  against.requests = Judge(std::move(values));
  const auto clusters = static_cast<double>(against.requests.values.size());
  const double variance = against.requests.squares / (total() * total());
  // Gaps are never worth more than they are, nor a single request more than one value; nor is a request more
  // than one where all of them say the same.
  against.n_eff = clusters > 1 && variance > 0
                      ? std::clamp(against.share * (1 - against.share) / variance, 1.0, total())
                      : clusters;
  return against;
}

void Judging::JudgeByBulk(std::span<const double> percents, std::span<const double> values, size_t clusters,
                          std::vector<Interval>& intervals) const {
  std::vector<size_t> wanting;
  std::vector<double> levels;
  for (size_t i = 0; i < intervals.size(); ++i) {
    if (intervals[i].supported) continue;
    wanting.push_back(i);
    levels.push_back(Bulk::Under(values[i]));
    levels.push_back(Bulk::Highest(values[i]));
  }
  if (wanting.empty()) return;
  const GapView::PerRequest requests = view_.ByRequest(levels);
  for (size_t k = 0; k < wanting.size(); ++k) {
    const size_t i = wanting[k];
    const Bulk bulk{At(requests, 2 * k).Beyond(false), At(requests, 2 * k + 1).Beyond(true)};
    if (bulk.found())
      intervals[i] = JudgedBulk(bulk, std::move(intervals[i]), values[i], percents[i], clusters);
  }
}

std::vector<Interval> Judging::Percentiles(std::span<const double> percents, std::span<const double> values,
                                           const GapView::PerRequest& requests) const {
  std::vector<double> n_effs;
  std::vector<uint64_t> ranks;
  std::vector<std::optional<uint64_t>> excursions;
  std::vector<double> wider_percents;  // of those whose requests hang together
  std::vector<size_t> wider_of;
  size_t clusters = 0;
  for (size_t i = 0; i < percents.size(); ++i) {
    const Against at = At(requests, i);
    clusters = at.requests.values.size();
    n_effs.push_back(at.n_eff);
    const RankBounds bounds = PercentileBounds(percents[i], at.n_eff, view_.size());
    ranks.push_back(bounds.low);
    ranks.push_back(bounds.high);
    excursions.emplace_back();
    if (at.requests.tau <= kCorrelatedTime) continue;
    excursions.back() = at.Excursions(percents[i] >= kMedian);
    if (const std::optional<double> wider = WiderPercent(percents[i])) {
      wider_percents.push_back(*wider);
      wider_of.push_back(i);
    }
  }
  if (!wider_percents.empty()) {
    const GapView::PerRequest wider = view_.ByRequest(view_.Percentiles(wider_percents));
    for (size_t i = 0; i < wider_percents.size(); ++i) {
      std::optional<uint64_t>& counted = excursions[wider_of[i]];
      counted = std::min(*counted, OfWider(At(wider, i).Excursions(true)));
    }
  }
  const std::vector<double> bounds = view_.AtRanks(ranks);
  std::vector<Interval> intervals;
  for (size_t i = 0; i < percents.size(); ++i) {
    intervals.push_back(
        JudgedPercentile(bounds[2 * i], bounds[2 * i + 1], percents[i], n_effs[i], clusters, excursions[i]));
  }
  JudgeByBulk(percents, values, clusters, intervals);
  return intervals;
}

}  // namespace

GapIntervals IntervalsOfGaps(const GapView& view, std::span<const uint32_t> send_order,
                             const GapView::Moments& moments, std::span<const double> percents,
                             std::span<const double> values) {
  GapIntervals intervals;
  if (view.size() == 0) {
    intervals.mean = MeanIntervalFrom(kNaN, kNaN, 0);
    for (const double percent : percents) {
      intervals.percentiles.push_back(JudgedPercentile(kNaN, kNaN, percent, 0, 0, std::nullopt));
    }
    return intervals;
  }
  std::vector<double> levels;
  for (const double value : values) levels.push_back(LevelOf(value, moments.max));
  const GapView::PerRequest requests = view.ByRequest(levels);
  const Judging judging(view, send_order);
  intervals.mean = judging.Mean(moments.mean, requests);
  intervals.percentiles = judging.Percentiles(percents, values, requests);
  return intervals;
}

}  // namespace llmbench
