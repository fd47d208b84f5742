#include "llmbench/aggregate/event_digest.h"

#include <algorithm>

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

void EventDigest::Add(const RequestRecord& r, std::span<const int64_t> times_ns,
                      std::span<const uint32_t> tokens, std::span<const uint8_t> flags) {
  const uint32_t row = rows_++;
  if (r.phase == Phase::kWarmup) return;
  if (origin_ns_ == kNoTime && r.sent_ns != kNoTime) {
    origin_ns_ = window_.begin_ns != kNoTime ? window_.begin_ns : r.sent_ns;
    output_tokens_ = SecondBins(origin_ns_);
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
  double weight_of_second = 0;
  int64_t second_ends_ns = output_tokens_.EndOfSecond(times_ns.front());
  for (size_t i = 0; i < times_ns.size(); ++i) {
    const double weight = all_counted ? tokens[i] : 1;
    if (window_.Contains(times_ns[i])) {
      ++events;
      merged_events += (flags[i] & kEventMerged) != 0;
      weight_in_window += weight;
    }
    if (times_ns[i] >= second_ends_ns) {
      output_tokens_.Add(second_ends_ns - 1, weight_of_second * tokens_per_weight);
      weight_of_second = 0;
      second_ends_ns = output_tokens_.EndOfSecond(times_ns[i]);
    }
    weight_of_second += weight;
  }
  output_tokens_.Add(second_ends_ns - 1, weight_of_second * tokens_per_weight);
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
  for (size_t i = 1; i < times_ns.size(); ++i) {
    if (!window_.Contains(times_ns[i])) continue;
    gaps_.Add(times_ns[i] - times_ns[i - 1], one_each || !all_counted ? 1 : tokens[i]);
  }
  gaps_.EndRequest(one_each || all_counted);
}

}  // namespace llmbench
