#include "llmbench/aggregate/event_digest.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "llmbench/aggregate/request_times.h"
#include "llmbench/base/clock.h"
#include "llmbench/record/event_blob.h"

namespace llmbench {

void SecondBins::Add(int64_t t_ns, double amount) {
  if (t_ns < origin_ns_) return;
  // Both may be anything in a damaged file; unsigned, the difference wraps rather than overflows.
  const uint64_t second =
      (static_cast<uint64_t>(t_ns) - static_cast<uint64_t>(origin_ns_)) / static_cast<uint64_t>(kNsPerSecond);
  if (second >= kMostBins) return;
  if (second >= bins_.size()) bins_.resize(second + 1);
  bins_[second] += amount;
}

int64_t SecondBins::EndOfSecond(int64_t t_ns) const {
  if (t_ns < origin_ns_) return origin_ns_;
  const uint64_t into =
      (static_cast<uint64_t>(t_ns) - static_cast<uint64_t>(origin_ns_)) % static_cast<uint64_t>(kNsPerSecond);
  const int64_t left = kNsPerSecond - static_cast<int64_t>(into);
  return t_ns > std::numeric_limits<int64_t>::max() - left ? std::numeric_limits<int64_t>::max()
                                                           : t_ns + left;
}

std::vector<double> SecondBins::Until(int64_t end_ns) const {
  if (end_ns <= origin_ns_) return {};
  const uint64_t seconds = (static_cast<uint64_t>(end_ns) - static_cast<uint64_t>(origin_ns_)) /
                           static_cast<uint64_t>(kNsPerSecond);
  if (seconds > kMostBins) return {};
  std::vector<double> whole(
      bins_.begin(), bins_.begin() + static_cast<std::ptrdiff_t>(std::min<uint64_t>(seconds, bins_.size())));
  whole.resize(seconds);
  return whole;
}

SecondBins SecondBins::Within(int64_t begin_ns, int64_t end_ns) const {
  SecondBins within(begin_ns);
  const auto first = static_cast<size_t>((begin_ns - origin_ns_) / kNsPerSecond);
  const auto last = static_cast<size_t>((end_ns - origin_ns_) / kNsPerSecond);
  for (size_t second = first; second < std::min(last, bins_.size()); ++second) {
    within.bins_.push_back(bins_[second]);
  }
  return within;
}

double SecondBins::sum() const { return std::accumulate(bins_.begin(), bins_.end(), 0.0); }

std::optional<EventDigest> EventDigest::Within(const MeasureWindow& window,
                                               std::span<const RequestRecord> rows) const {
  const auto aligned = [this](int64_t t_ns) {
    return t_ns >= origin_ns_ && (t_ns - origin_ns_) % kNsPerSecond == 0;
  };
  if (!window_.whole() || origin_ns_ == kNoTime || !aligned(window.begin_ns) || !aligned(window.end_ns))
    return {};
  if (warmup_end_ns_ != kNoTime && warmup_end_ns_ >= window.begin_ns) return {};
  EventDigest part(window);
  part.origin_ns_ = window.begin_ns;
  part.rows_ = rows_;
  part.gaps_ = gaps_;
  part.gap_rows_ = gap_rows_;
  std::vector<int64_t> first_ns;
  first_ns.reserve(gap_rows_.size());
  for (size_t i = 0; i < gap_rows_.size(); ++i) {
    const RequestRecord& r = rows[gap_rows_[i]];
    first_ns.push_back(r.first_token_ns);
    if (!window.Owns(r)) continue;
    ++part.ok;
    part.counted += gaps_->tokens_known(i);
  }
  part.ranges_ = RangesWithin(*gaps_, first_ns, window.begin_ns, window.end_ns);
  part.output_tokens_ = output_tokens_.Within(window.begin_ns, window.end_ns);
  part.tokens_in_window = part.output_tokens_.sum();
  part.events = static_cast<uint64_t>(events_by_second_.Within(window.begin_ns, window.end_ns).sum());
  part.merged_events = static_cast<uint64_t>(merged_by_second_.Within(window.begin_ns, window.end_ns).sum());
  return part;
}

void EventDigest::Add(const RequestRecord& r, std::span<const int64_t> times_ns,
                      std::span<const uint32_t> tokens, std::span<const uint8_t> flags) {
  const uint32_t row = rows_++;
  if (r.phase == Phase::kWarmup) warmup_end_ns_ = std::max(warmup_end_ns_, EndNs(r));
  if (!window_.Sees(r)) return;
  if (origin_ns_ == kNoTime && r.sent_ns != kNoTime) {
    origin_ns_ = window_.begin_ns != kNoTime ? window_.begin_ns : r.sent_ns;
    output_tokens_ = events_by_second_ = merged_by_second_ = SecondBins(origin_ns_);
  }
  if (IsFailure(r.outcome)) return;
  const bool all_counted = !tokens.empty() && std::find(tokens.begin(), tokens.end(), 0u) == tokens.end();
  AddTokens(r, times_ns, tokens, flags, all_counted);
  if (r.outcome != Outcome::kOk) return;
  gap_rows_.push_back(row);
  AddGaps(r, times_ns, tokens, all_counted);
}

void EventDigest::AddTokens(const RequestRecord& r, std::span<const int64_t> times_ns,
                            std::span<const uint32_t> tokens, std::span<const uint8_t> flags,
                            bool all_counted) {
  const auto total = static_cast<double>(OutputTokens(r));
  if (times_ns.empty()) {
    const int64_t end_ns = EndNs(r);
    if (window_.Contains(end_ns)) tokens_in_window += total;
    output_tokens_.Add(end_ns, total);
    return;
  }
  double weights = static_cast<double>(times_ns.size());
  if (all_counted) {
    uint64_t sum = 0;
    for (const uint32_t count : tokens) sum += count;
    weights = static_cast<double>(sum);
  }
  const double tokens_per_weight = total / weights;
  double weight_in_window = 0;
  // Most events come within the same second as the one before.
  double weight_of_second = 0, events_of_second = 0, merged_of_second = 0;
  int64_t second_ends_ns = output_tokens_.EndOfSecond(times_ns.front());
  auto put_down = [&] {
    output_tokens_.Add(second_ends_ns - 1, std::exchange(weight_of_second, 0) * tokens_per_weight);
    events_by_second_.Add(second_ends_ns - 1, std::exchange(events_of_second, 0));
    merged_by_second_.Add(second_ends_ns - 1, std::exchange(merged_of_second, 0));
  };
  for (size_t i = 0; i < times_ns.size(); ++i) {
    const double weight = all_counted ? tokens[i] : 1;
    const bool merged = (flags[i] & kEventMerged) != 0;
    if (window_.Contains(times_ns[i])) {
      ++events;
      merged_events += merged;
      weight_in_window += weight;
    }
    if (times_ns[i] >= second_ends_ns) {
      put_down();
      second_ends_ns = output_tokens_.EndOfSecond(times_ns[i]);
    }
    weight_of_second += weight;
    ++events_of_second;
    merged_of_second += merged;
  }
  put_down();
  tokens_in_window += weight_in_window * tokens_per_weight;
}

void EventDigest::AddGaps(const RequestRecord& r, std::span<const int64_t> times_ns,
                          std::span<const uint32_t> tokens, bool all_counted) {
  const bool exact = r.token_source == TokenSource::kUsage || r.token_source == TokenSource::kTokenIds;
  const bool one_each =
      exact && !times_ns.empty() && r.output_tokens == static_cast<int64_t>(times_ns.size());
  if (window_.Owns(r)) {
    ++ok;
    one_token_each += one_each;
    counted += all_counted && !one_each;
  }
  if (window_.whole() && all_counted && r.token_source == TokenSource::kUsage) {
    const int64_t unseen = r.output_tokens - std::accumulate(tokens.begin(), tokens.end(), int64_t{0});
    ++usage_checked;
    usage_apart += unseen < 0 || unseen > 1;
  }
  for (size_t i = 1; i < times_ns.size(); ++i) {
    if (!window_.Contains(times_ns[i])) continue;
    gaps_->Add(times_ns[i] - times_ns[i - 1], one_each || !all_counted ? 1 : tokens[i]);
  }
  gaps_->EndRequest(one_each || all_counted);
}

}  // namespace llmbench
