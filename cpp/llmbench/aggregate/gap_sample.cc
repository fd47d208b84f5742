#include "llmbench/aggregate/gap_sample.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <utility>

#include "llmbench/aggregate/order_statistics.h"
#include "llmbench/aggregate/rank_selection.h"

namespace llmbench {

void GapSample::Reserve(size_t gaps, size_t requests) {
  short_.reserve(gaps);
  sizes_.reserve(requests);
  tokens_known_.reserve(requests);
}

void GapSample::Add(int64_t gap_ns, uint32_t tokens) {
  if (tokens != 1 && tokens_.empty()) {
    tokens_.reserve(short_.capacity());
    tokens_.assign(short_.size(), 1);
  }
  if (tokens != 1 || several_tokens()) {
    constexpr uint32_t kMost = std::numeric_limits<uint16_t>::max();
    tokens_.push_back(static_cast<uint16_t>(std::clamp(tokens, 1u, kMost)));
  }
  if (gap_ns < int64_t{kLong}) {
    short_.push_back(gap_ns > 0 ? static_cast<uint32_t>(gap_ns) : 0);
  } else {
    short_.push_back(kLong);
    long_.push_back(gap_ns);
  }
}

void GapSample::EndRequest(bool tokens_known) {
  sizes_.push_back(static_cast<uint32_t>(short_.size() - closed_));
  tokens_known_.push_back(tokens_known);
  closed_ = short_.size();
}

template <typename Fn>
void GapView::ForEach(Fn&& fn) const {
  const bool has_tokens = weighted();
  size_t at = 0, next_long = 0;
  for (size_t request = 0; request < sample_.requests(); ++request) {
    const bool left_out = Leaves(request);
    for (const size_t end = at + sample_.sizes_[request]; at < end; ++at) {
      int64_t gap = sample_.short_[at];
      if (gap == GapSample::kLong) gap = sample_.long_[next_long++];
      if (!left_out) fn(request, gap, has_tokens ? uint32_t{sample_.tokens_[at]} : 1u);
    }
  }
}

GapView::GapView(const GapSample& sample, GapUnit unit) : sample_(sample), unit_(unit) {
  if (weighted()) {
    ForEach([this](size_t, int64_t, uint32_t tokens) { size_ += tokens; });
    return;
  }
  for (size_t i = 0; i < sample.requests(); ++i) size_ += Leaves(i) ? 0 : sample.sizes_[i];
}

GapView::Moments GapView::Describe() const {
  Moments moments{0, 0, std::numeric_limits<double>::infinity(), 0};
  int64_t sum = 0;  // exact: 292 years
  // Squares are of distances from some value of the sample, lest large numbers cancel, and summed request by
  // request, lest rounding errors grow with the number of gaps.
  double origin = kNaN, squares = 0, squares_of_request = 0;
  size_t current = 0;
  ForEach([&](size_t request, int64_t gap, uint32_t tokens) {
    if (request != current) {
      squares += squares_of_request;
      squares_of_request = 0;
      current = request;
    }
    const double value = static_cast<double>(gap) / tokens;
    if (std::isnan(origin)) origin = value;
    sum += gap;
    squares_of_request += (value - origin) * (value - origin) * tokens;
    moments.min = std::min(moments.min, value);
    moments.max = std::max(moments.max, value);
  });
  const auto count = static_cast<double>(size());
  moments.mean = static_cast<double>(sum) / count;
  const double off = moments.mean - origin;
  moments.deviation = std::sqrt(std::max(0.0, (squares + squares_of_request) / count - off * off));
  return moments;
}

std::vector<double> GapView::AtRanks(std::span<const uint64_t> ranks) const {
  std::vector<double> values;
  if (weighted()) {
    // The bits of numbers that are not negative have the order of the numbers.
    const std::vector<uint64_t> keys = SelectKeys<4>(
        [this](auto&& fn) {
          ForEach([&fn](size_t, int64_t gap, uint32_t tokens) {
            fn(std::bit_cast<uint64_t>(static_cast<double>(gap) / tokens), tokens);
          });
        },
        ranks);
    for (const uint64_t key : keys) values.push_back(std::bit_cast<double>(key));
    return values;
  }
  // Long gaps sort after all others and are looked up among themselves.
  std::vector<int64_t> longs;
  if (!sample_.long_.empty()) {
    ForEach([&longs](size_t, int64_t gap, uint32_t) {
      if (gap >= GapSample::kLong) longs.push_back(gap);
    });
    std::sort(longs.begin(), longs.end());
  }
  const uint64_t shorts = size() - longs.size();
  std::vector<uint64_t> among_short;
  for (const uint64_t rank : ranks) among_short.push_back(shorts == 0 ? 0 : std::min(rank, shorts - 1));
  const std::vector<uint64_t> keys = SelectKeys<2>(
      [this](auto&& fn) {
        ForEach([&fn](size_t, int64_t gap, uint32_t) {
          if (gap < GapSample::kLong) fn(static_cast<uint64_t>(gap), 1);
        });
      },
      among_short);
  for (size_t i = 0; i < ranks.size(); ++i) {
    values.push_back(ranks[i] < shorts ? static_cast<double>(keys[i])
                                       : static_cast<double>(longs[ranks[i] - shorts]));
  }
  return values;
}

std::vector<double> GapView::Percentiles(std::span<const double> percents) const {
  std::vector<double> result(percents.size(), kNaN);
  if (size() == 0) return result;
  std::vector<uint64_t> ranks;
  for (const double percent : percents) {
    const PercentileRank rank = RankOf(percent, static_cast<double>(size()));
    ranks.push_back(static_cast<uint64_t>(rank.below));
    ranks.push_back(static_cast<uint64_t>(rank.above));
  }
  const std::vector<double> values = AtRanks(ranks);
  for (size_t i = 0; i < percents.size(); ++i) {
    const double fraction = RankOf(percents[i], static_cast<double>(size())).fraction;
    result[i] = Interpolate(values[2 * i], values[2 * i + 1], fraction);
  }
  return result;
}

GapView::PerRequest GapView::ByRequest(std::span<const double> levels) const {
  PerRequest result;
  result.sizes.resize(sample_.requests());
  result.sums.resize(sample_.requests());
  result.at_most.assign(levels.size(), std::vector<uint32_t>(sample_.requests()));
  // Counted beside, and put down once for each request.
  std::vector<uint32_t> at_most(levels.size());
  size_t current = 0;
  auto put_down = [&] {
    for (size_t i = 0; i < levels.size(); ++i) result.at_most[i][current] = std::exchange(at_most[i], 0);
  };
  ForEach([&](size_t request, int64_t gap, uint32_t tokens) {
    if (request != current) {
      put_down();
      current = request;
    }
    result.sizes[request] += tokens;
    result.sums[request] += static_cast<double>(gap);
    const double value = tokens == 1 ? static_cast<double>(gap) : static_cast<double>(gap) / tokens;
    for (size_t i = 0; i < levels.size(); ++i) at_most[i] += value <= levels[i] ? tokens : 0;
  });
  if (sample_.requests() != 0) put_down();
  return result;
}

}  // namespace llmbench
