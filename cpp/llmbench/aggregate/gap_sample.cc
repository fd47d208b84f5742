#include "llmbench/aggregate/gap_sample.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "llmbench/aggregate/order_statistics.h"
#include "llmbench/aggregate/parallel.h"
#include "llmbench/aggregate/rank_selection.h"

namespace llmbench {
namespace {

// A fixed number, lest sums of fractions depend on the machine.
constexpr size_t kParts = 16;
constexpr size_t kGapsWorthCutting = size_t{1} << 20;

}  // namespace

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

std::vector<GapRange> RangesWithin(const GapSample& sample, std::span<const int64_t> first_ns,
                                   int64_t begin_ns, int64_t end_ns) {
  std::vector<GapRange> ranges(sample.requests());
  size_t at = 0, next_long = 0;
  for (size_t request = 0; request < ranges.size(); ++request) {
    GapRange& range = ranges[request];
    int64_t t_ns = first_ns[request];
    const uint32_t size = sample.sizes_[request];
    for (uint32_t i = 0; i < size; ++i, ++at) {
      const uint32_t gap = sample.short_[at];
      t_ns += gap == GapSample::kLong ? sample.long_[next_long++] : int64_t{gap};
      range.first += t_ns < begin_ns;
      range.last += t_ns < end_ns;
    }
  }
  return ranges;
}

GapView::GapView(const GapSample& sample, GapUnit unit, const std::vector<GapRange>* ranges, size_t threads)
    : sample_(sample), unit_(unit), ranges_(ranges) {
  CutIntoParts();
  threads_ = ThreadsFor(parts(), threads);
  if (weighted()) {
    std::vector<uint64_t> sizes(parts());
    InParallel(parts(), threads_, [&](size_t, size_t part) {
      ForEach(part, [&size = sizes[part]](size_t, int64_t, uint32_t tokens) { size += tokens; });
    });
    size_ = std::accumulate(sizes.begin(), sizes.end(), uint64_t{0});
    return;
  }
  for (size_t i = 0; i < sample.requests(); ++i) {
    if (!Leaves(i)) size_ += ranges_ != nullptr ? (*ranges_)[i].last - (*ranges_)[i].first : sample.sizes_[i];
  }
}

void GapView::CutIntoParts() {
  const size_t wanted = sample_.gaps() < kGapsWorthCutting ? 1 : kParts;
  Mark mark;
  for (size_t request = 0; request < sample_.requests(); ++request) {
    if (marks_.size() < wanted && mark.gap >= sample_.gaps() / wanted * marks_.size()) {
      mark.request = request;
      marks_.push_back(mark);
    }
    const size_t end = mark.gap + sample_.sizes_[request];
    if (!sample_.long_.empty()) {
      for (size_t at = mark.gap; at < end; ++at) mark.long_gap += sample_.short_[at] == GapSample::kLong;
    }
    mark.gap = end;
  }
  if (marks_.empty()) marks_.emplace_back();
  mark.request = sample_.requests();
  marks_.push_back(mark);
}

template <typename Fn>
void GapView::ForEach(size_t part, Fn&& fn) const {
  const bool has_tokens = weighted();
  size_t at = marks_[part].gap, next_long = marks_[part].long_gap;
  for (size_t request = marks_[part].request; request < marks_[part + 1].request; ++request) {
    const uint32_t size = sample_.sizes_[request];
    GapRange wanted = ranges_ != nullptr ? (*ranges_)[request] : GapRange{0, size};
    if (Leaves(request)) wanted.last = wanted.first;
    for (uint32_t i = 0; i < size; ++i, ++at) {
      int64_t gap = sample_.short_[at];
      if (gap == GapSample::kLong) gap = sample_.long_[next_long++];
      if (i < wanted.first || i >= wanted.last) continue;
      fn(request, gap, has_tokens ? uint32_t{sample_.tokens_[at]} : 1u);
    }
  }
}

GapView::Moments GapView::Describe() const {
  struct Sums {
    int64_t sum = 0;  // exact: 292 years
    double min = std::numeric_limits<double>::infinity(), max = 0;
  };
  std::vector<Sums> of_parts(parts());
  InParallel(parts(), threads_, [&](size_t, size_t part) {
    Sums sums;
    ForEach(part, [&sums](size_t, int64_t gap, uint32_t tokens) {
      const double value = static_cast<double>(gap) / tokens;
      sums.sum += gap;
      sums.min = std::min(sums.min, value);
      sums.max = std::max(sums.max, value);
    });
    of_parts[part] = sums;
  });
  Sums all;
  for (const Sums& each : of_parts) {
    all = {all.sum + each.sum, std::min(all.min, each.min), std::max(all.max, each.max)};
  }
  const auto count = static_cast<double>(size());
  const double mean = static_cast<double>(all.sum) / count;

  // Summed request by request, lest rounding errors grow with the number of gaps.
  std::vector<double> squares(parts());
  InParallel(parts(), threads_, [&](size_t, size_t part) {
    double of_part = 0, of_request = 0;
    size_t current = marks_[part].request;
    ForEach(part, [&](size_t request, int64_t gap, uint32_t tokens) {
      if (request != current) {
        of_part += std::exchange(of_request, 0);
        current = request;
      }
      const double off = static_cast<double>(gap) / tokens - mean;
      of_request += off * off * tokens;
    });
    squares[part] = of_part + of_request;
  });
  const double variance = std::accumulate(squares.begin(), squares.end(), 0.0) / count;
  return {.mean = mean, .deviation = std::sqrt(variance), .min = all.min, .max = all.max};
}

std::vector<double> GapView::AtRanks(std::span<const uint64_t> ranks) const {
  std::vector<double> values;
  if (weighted()) {
    // The bits of numbers that are not negative have the order of the numbers.
    const std::vector<uint64_t> keys = SelectKeys<4>(
        [this](size_t part, auto&& fn) {
          ForEach(part, [&fn](size_t, int64_t gap, uint32_t tokens) {
            fn(std::bit_cast<uint64_t>(static_cast<double>(gap) / tokens), tokens);
          });
        },
        parts(), threads_, ranks);
    for (const uint64_t key : keys) values.push_back(std::bit_cast<double>(key));
    return values;
  }
  // Long gaps sort after all others and are looked up among themselves.
  std::vector<int64_t> longs;
  if (!sample_.long_.empty()) {
    for (size_t part = 0; part < parts(); ++part) {
      ForEach(part, [&longs](size_t, int64_t gap, uint32_t) {
        if (gap >= GapSample::kLong) longs.push_back(gap);
      });
    }
    std::sort(longs.begin(), longs.end());
  }
  const uint64_t shorts = size() - longs.size();
  std::vector<uint64_t> among_short;
  for (const uint64_t rank : ranks) among_short.push_back(shorts == 0 ? 0 : std::min(rank, shorts - 1));
  const std::vector<uint64_t> keys = SelectKeys<2>(
      [this](size_t part, auto&& fn) {
        ForEach(part, [&fn](size_t, int64_t gap, uint32_t) {
          if (gap < GapSample::kLong) fn(static_cast<uint64_t>(gap), 1);
        });
      },
      parts(), threads_, among_short);
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
  InParallel(parts(), threads_, [&](size_t, size_t part) {
    // Counted beside, and put down once for each request.
    std::vector<uint32_t> at_most(levels.size());
    size_t current = marks_[part].request;
    auto put_down = [&] {
      for (size_t i = 0; i < levels.size(); ++i) result.at_most[i][current] = std::exchange(at_most[i], 0);
    };
    ForEach(part, [&](size_t request, int64_t gap, uint32_t tokens) {
      if (request != current) {
        put_down();
        current = request;
      }
      result.sizes[request] += tokens;
      result.sums[request] += static_cast<double>(gap);
      const double value = tokens == 1 ? static_cast<double>(gap) : static_cast<double>(gap) / tokens;
      for (size_t i = 0; i < levels.size(); ++i) at_most[i] += value <= levels[i] ? tokens : 0;
    });
    if (current < sample_.requests()) put_down();
  });
  return result;
}

}  // namespace llmbench
