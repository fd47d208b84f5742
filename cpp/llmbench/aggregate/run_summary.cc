#include "llmbench/aggregate/run_summary.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <span>
#include <utility>

#include "llmbench/aggregate/gap_sample.h"
#include "llmbench/aggregate/order_statistics.h"
#include "llmbench/aggregate/percentiles.h"
#include "llmbench/aggregate/request_times.h"
#include "llmbench/base/clock.h"
#include "llmbench/record/event_blob.h"

namespace llmbench {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
// ITL stands for the run when at least this share of the ok requests has known tokens event by event.
constexpr double kItlShare = 0.95;

double Ms(double ns) { return ns / static_cast<double>(kNsPerMs); }
double Seconds(int64_t ns) { return static_cast<double>(ns) / static_cast<double>(kNsPerSecond); }

template <int64_t (*kTime)(const RequestRecord&)>
double Of(const RequestRecord& r) {
  const int64_t ns = kTime(r);
  return ns == kNoTime ? kNaN : static_cast<double>(ns);
}

// The latencies of single requests, in nanoseconds; NaN where a request has none.
struct RequestMetric {
  const char* name;
  double (*value)(const RequestRecord&);
  bool with_failures;
};
constexpr RequestMetric kRequestMetrics[] = {
    {"ttft", Of<TtftNs>, true},
    {"ttft_from_schedule", Of<TtftFromScheduleNs>, true},
    {"e2el", Of<E2eNs>, true},
    {"e2el_from_schedule", Of<E2eFromScheduleNs>, true},
    {"tpot", TpotNs, false},
    {"ttfb", Of<TtfbNs>, false},
    {"ttfat", Of<TtfatNs>, false},
    {"client_lag", Of<ClientLagNs>, false},
    {"slot_wait", Of<SlotWaitNs>, false},
    {"connect_wait", Of<ConnectWaitNs>, false},
    {"normalized_latency", NormalizedLatencyNs, false},
    {"connect", [](const RequestRecord& r) { return static_cast<double>(r.connect_ns); }, false},
    {"dns", [](const RequestRecord& r) { return static_cast<double>(r.dns_ns); }, false},
    {"tls", [](const RequestRecord& r) { return static_cast<double>(r.tls_ns); }, false},
};

// Sums block by block, so that rounding errors do not grow with the number of values.
template <typename Value>
double Sum(size_t count, Value&& value) {
  constexpr size_t kBlock = 4096;
  double sum = 0;
  for (size_t begin = 0; begin < count; begin += kBlock) {
    const size_t end = std::min(begin + kBlock, count);
    double block = 0;
    for (size_t i = begin; i < end; ++i) block += value(i);
    sum += block;
  }
  return sum;
}

// Percents with the median at the end.
std::vector<double> WithMedian(std::vector<double> percents) {
  percents.push_back(50);
  return percents;
}

Distribution Empty(size_t percents) {
  return {0, kNaN, kNaN, kNaN, kNaN, kNaN, std::vector<double>(percents, kNaN)};
}

// Fills in what Percentiles gave for WithMedian(percents), in ms.
void SetPercentiles(Distribution& distribution, std::vector<double> percentiles_ns) {
  for (double& value : percentiles_ns) value = Ms(value);
  distribution.median = percentiles_ns.back();
  percentiles_ns.pop_back();
  distribution.percentiles = std::move(percentiles_ns);
}

Distribution Describe(std::span<double> ns, const std::vector<double>& percents) {
  if (ns.empty()) return Empty(percents.size());
  const auto n = static_cast<double>(ns.size());
  const double mean = Sum(ns.size(), [&](size_t i) { return ns[i]; }) / n;
  const double squares = Sum(ns.size(), [&](size_t i) { return (ns[i] - mean) * (ns[i] - mean); });
  const auto [min, max] = std::minmax_element(ns.begin(), ns.end());
  Distribution result{ns.size(), Ms(mean), kNaN, Ms(std::sqrt(squares / n)), Ms(*min), Ms(*max), {}};
  SetPercentiles(result, Percentiles(ns, WithMedian(percents)));
  return result;
}

Distribution Describe(GapSample& gaps, const std::vector<double>& percents) {
  if (gaps.size() == 0) return Empty(percents.size());
  const double mean = gaps.Mean();
  Distribution result{gaps.size(),    Ms(mean),       kNaN, Ms(gaps.StandardDeviation(mean)),
                      Ms(gaps.Min()), Ms(gaps.Max()), {}};
  SetPercentiles(result, gaps.Percentiles(WithMedian(percents)));
  return result;
}

Distribution Describe(std::span<WeightedValue> ns, const std::vector<double>& percents) {
  if (ns.empty()) return Empty(percents.size());
  const double weight = Sum(ns.size(), [&](size_t i) { return ns[i].weight; });
  const double mean = Sum(ns.size(), [&](size_t i) { return ns[i].value * ns[i].weight; }) / weight;
  const double squares =
      Sum(ns.size(), [&](size_t i) { return (ns[i].value - mean) * (ns[i].value - mean) * ns[i].weight; });
  const auto [min, max] = std::minmax_element(
      ns.begin(), ns.end(), [](const WeightedValue& a, const WeightedValue& b) { return a.value < b.value; });
  Distribution result{static_cast<uint64_t>(weight),
                      Ms(mean),
                      kNaN,
                      Ms(std::sqrt(squares / weight)),
                      Ms(min->value),
                      Ms(max->value),
                      {}};
  SetPercentiles(result, WeightedPercentiles(ns, WithMedian(percents)));
  return result;
}

// How an ok request's events stand to its tokens.
enum class EventTokens : uint8_t {
  kUnknown,
  kOneEach,  // as many tokens as events
  kCounted,  // each event says how many
};

class Summarizer {
 public:
  Summarizer(const RecordTable& table, const SummaryOptions& options) : table_(table), options_(options) {}

  RunSummary Run();

 private:
  struct Span {
    int64_t begin_ns, end_ns;
    int64_t Clip(int64_t from_ns, int64_t to_ns) const {
      return std::max<int64_t>(0, std::min(to_ns, end_ns) - std::max(from_ns, begin_ns));
    }
  };

  bool windowed() const { return options_.window_begin_ns.has_value() || options_.window_end_ns.has_value(); }
  bool InWindow(int64_t t_ns) const {
    return t_ns >= options_.window_begin_ns.value_or(kNoTime) &&
           t_ns < options_.window_end_ns.value_or(std::numeric_limits<int64_t>::max());
  }
  bool Belongs(const RequestRecord& r) const {
    return !windowed() || InWindow(r.sent_ns != kNoTime ? r.sent_ns : r.scheduled_ns);
  }
  // The last thing known of a request, for those that have no end.
  static int64_t EndNs(const RequestRecord& r) {
    return r.end_ns != kNoTime ? r.end_ns
                               : std::max({r.last_token_ns, r.first_byte_ns, r.send_done_ns, r.sent_ns});
  }
  size_t EventCount(size_t i) const {
    return static_cast<size_t>(table_.event_offsets[i + 1] - table_.event_offsets[i]);
  }

  // Calls fn(index, record) for each row of the measure phase.
  template <typename Fn>
  void ForEachMeasured(Fn&& fn) const {
    for (size_t i = 0; i < table_.requests.size(); ++i) {
      if (table_.requests[i].phase != Phase::kWarmup) fn(i, table_.requests[i]);
    }
  }
  // Calls fn(gap_ns, tokens) for the gap before each event of request i but the first, if the event arrived
  // in the window.
  template <typename Fn>
  void ForEachGap(size_t i, Fn&& fn) const {
    for (auto at = static_cast<size_t>(table_.event_offsets[i]) + 1;
         at < static_cast<size_t>(table_.event_offsets[i + 1]); ++at) {
      const int64_t t_ns = table_.event_times_ns[at];
      if (!windowed() || InWindow(t_ns)) fn(t_ns - table_.event_times_ns[at - 1], table_.event_tokens[at]);
    }
  }

  void FindSpan();
  void CountRequests();
  void CountTokens();
  void CountTokensInWindow(size_t i, const RequestRecord& r, double& tokens);
  void DescribeRequests();
  EventTokens TokensOf(size_t i) const;
  void DescribeGaps();
  void FollowConcurrency();
  void JudgeGoodput();
  bool MeetsGoodput(const RequestRecord& r) const;

  const RecordTable& table_;
  const SummaryOptions& options_;
  RunSummary summary_;
  Span span_{0, 0};  // what rates and concurrency are over
};

RunSummary Summarizer::Run() {
  FindSpan();
  CountRequests();
  CountTokens();
  DescribeRequests();
  DescribeGaps();
  FollowConcurrency();
  JudgeGoodput();
  return std::move(summary_);
}

void Summarizer::FindSpan() {
  constexpr int64_t kNever = std::numeric_limits<int64_t>::max();
  int64_t begin_ns = kNever, end_ns = kNoTime;             // of all rows
  int64_t first_sent_ns = kNever, last_sent_ns = kNoTime;  // of those that belong to the window
  uint64_t sent = 0;
  ForEachMeasured([&](size_t, const RequestRecord& r) {
    end_ns = std::max(end_ns, EndNs(r));
    if (r.sent_ns == kNoTime) return;
    begin_ns = std::min(begin_ns, r.sent_ns);
    if (!Belongs(r)) return;
    ++sent;
    first_sent_ns = std::min(first_sent_ns, r.sent_ns);
    last_sent_ns = std::max(last_sent_ns, r.sent_ns);
  });
  if (begin_ns == kNever) begin_ns = end_ns = 0;  // nothing was sent
  span_ = {options_.window_begin_ns.value_or(begin_ns), options_.window_end_ns.value_or(end_ns)};
  span_.end_ns = std::max(span_.end_ns, span_.begin_ns);
  summary_.duration_s = Seconds(span_.end_ns - span_.begin_ns);
  // n sends have n − 1 intervals between them.
  if (sent > 1 && last_sent_ns > first_sent_ns) {
    summary_.sent_rate = static_cast<double>(sent - 1) / Seconds(last_sent_ns - first_sent_ns);
  }
}

void Summarizer::CountRequests() {
  ForEachMeasured([&](size_t, const RequestRecord& r) {
    if (!Belongs(r)) return;
    ++summary_.requests;
    summary_.retried += r.attempts > 1;
    summary_.reused += (r.flags & kReusedConnection) != 0;
    if (r.outcome == Outcome::kCut) {
      ++summary_.cut;
    } else if (IsFailure(r.outcome)) {
      ++summary_.failed;
      ++summary_.errors[std::string(OutcomeName(r.outcome))];
    } else {
      ++summary_.completed;
      const std::string reason(r.finish_reason, std::find(r.finish_reason, std::end(r.finish_reason), '\0'));
      if (!reason.empty()) ++summary_.finish_reasons[reason];
      const std::string source(TokenSourceName(r.token_source));
      ++summary_.token_sources[source.empty() ? "none" : source];
      const bool counted = r.token_source != TokenSource::kNone && r.token_source != TokenSource::kEvents;
      if (options_.ignore_eos && counted && r.asked_tokens != kNoCount) {
        summary_.length_mismatched += r.output_tokens != r.asked_tokens;
      }
    }
  });
}

void Summarizer::CountTokens() {
  double tokens_in_window = 0;
  uint64_t completions = 0;
  ForEachMeasured([&](size_t i, const RequestRecord& r) {
    if (IsFailure(r.outcome)) return;
    completions += r.outcome == Outcome::kOk && InWindow(r.end_ns);
    if (Belongs(r)) {
      summary_.input_tokens += static_cast<uint64_t>(std::max(r.prompt_tokens, 0));
      summary_.cached_tokens += static_cast<uint64_t>(std::max(r.cached_tokens, 0));
      summary_.reasoning_tokens += static_cast<uint64_t>(std::max(r.reasoning_tokens, 0));
    }
    if (windowed()) {
      CountTokensInWindow(i, r, tokens_in_window);
    } else {
      summary_.output_tokens += static_cast<uint64_t>(OutputTokens(r));
      summary_.events += static_cast<uint64_t>(r.events);
      summary_.merged_events += static_cast<uint64_t>(r.merged_events);
    }
  });
  if (windowed()) summary_.output_tokens = static_cast<uint64_t>(std::llround(tokens_in_window));
  if (summary_.duration_s <= 0) return;
  summary_.request_throughput = static_cast<double>(completions) / summary_.duration_s;
  summary_.input_throughput = static_cast<double>(summary_.input_tokens) / summary_.duration_s;
  summary_.output_throughput = static_cast<double>(summary_.output_tokens) / summary_.duration_s;
  summary_.total_throughput = summary_.input_throughput + summary_.output_throughput;
}

// A request's tokens are spread over its events by the counts these carry, else evenly. Without events they
// came with the end.
void Summarizer::CountTokensInWindow(size_t i, const RequestRecord& r, double& tokens) {
  const auto total = static_cast<double>(OutputTokens(r));
  if (EventCount(i) == 0) {
    if (InWindow(EndNs(r))) tokens += total;
    return;
  }
  const auto begin = static_cast<size_t>(table_.event_offsets[i]),
             end = static_cast<size_t>(table_.event_offsets[i + 1]);
  uint64_t counted = 0;
  bool all_counted = true;
  for (size_t at = begin; at < end; ++at) {
    counted += table_.event_tokens[at];
    all_counted = all_counted && table_.event_tokens[at] != 0;
  }
  double weight_in_window = 0;
  for (size_t at = begin; at < end; ++at) {
    if (!InWindow(table_.event_times_ns[at])) continue;
    ++summary_.events;
    summary_.merged_events += (table_.event_flags[at] & kEventMerged) != 0;
    weight_in_window += all_counted ? table_.event_tokens[at] : 1;
  }
  tokens += total * weight_in_window / static_cast<double>(all_counted ? counted : end - begin);
}

void Summarizer::DescribeRequests() {
  std::vector<double> values;
  values.reserve(summary_.requests);
  for (const RequestMetric& metric : kRequestMetrics) {
    values.clear();
    ForEachMeasured([&](size_t, const RequestRecord& r) {
      if (r.outcome != Outcome::kOk || !Belongs(r)) return;
      if (const double value = metric.value(r); !std::isnan(value)) values.push_back(value);
    });
    summary_.latency_ms[metric.name] = Describe(values, options_.percents);
    if (!metric.with_failures) continue;
    values.insert(values.end(), summary_.failed + summary_.cut, kInfinity);
    summary_.with_failures_ms[metric.name] = Describe(values, options_.percents);
  }
}

EventTokens Summarizer::TokensOf(size_t i) const {
  const RequestRecord& r = table_.requests[i];
  const size_t events = EventCount(i);
  const bool exact = r.token_source == TokenSource::kUsage || r.token_source == TokenSource::kTokenIds;
  if (exact && events != 0 && r.output_tokens == static_cast<int64_t>(events)) return EventTokens::kOneEach;
  const auto begin = table_.event_tokens.begin() + table_.event_offsets[i];
  const bool all_counted = events != 0 && std::find(begin, begin + static_cast<int64_t>(events), 0u) ==
                                              begin + static_cast<int64_t>(events);
  return all_counted ? EventTokens::kCounted : EventTokens::kUnknown;
}

void Summarizer::DescribeGaps() {
  std::vector<EventTokens> known(table_.requests.size(), EventTokens::kUnknown);
  uint64_t ok = 0, one_each = 0, counted = 0;
  GapSample gaps;
  // One reservation: growing would for a moment hold the sample twice.
  gaps.Reserve(table_.event_times_ns.size());
  ForEachMeasured([&](size_t i, const RequestRecord& r) {
    if (r.outcome != Outcome::kOk) return;
    known[i] = TokensOf(i);
    if (Belongs(r)) {
      ++ok;
      one_each += known[i] == EventTokens::kOneEach;
      counted += known[i] == EventTokens::kCounted;
    }
    ForEachGap(i, [&](int64_t gap_ns, uint32_t) { gaps.Add(gap_ns); });
  });
  summary_.latency_ms["icl"] = Describe(gaps, options_.percents);

  const uint64_t qualifying = one_each + counted;
  summary_.itl_share = ok == 0 ? 0 : static_cast<double>(qualifying) / static_cast<double>(ok);
  if (summary_.itl_share < kItlShare) {
    summary_.latency_ms["itl"] = Empty(options_.percents.size());
    char reason[256];
    std::snprintf(reason, sizeof reason,
                  "how many tokens each event holds is known for %llu of %llu ok requests, 95 %% are needed; "
                  "the inter-chunk "
                  "latency (icl) stands",
                  static_cast<unsigned long long>(qualifying), static_cast<unsigned long long>(ok));
    summary_.itl_absent_because = ok == 0 ? "no request completed" : reason;
    return;
  }
  // Where every event is one token, gaps between tokens are the gaps between events.
  if (one_each == ok && !windowed()) {
    summary_.latency_ms["itl"] = summary_.latency_ms["icl"];
    return;
  }
  gaps = GapSample();
  if (counted == 0 && !windowed()) {
    gaps.Reserve(table_.event_times_ns.size());
    ForEachMeasured([&](size_t i, const RequestRecord&) {
      if (known[i] == EventTokens::kOneEach)
        ForEachGap(i, [&](int64_t gap_ns, uint32_t) { gaps.Add(gap_ns); });
    });
    summary_.latency_ms["itl"] = Describe(gaps, options_.percents);
    return;
  }
  std::vector<WeightedValue> weighted;
  weighted.reserve(table_.event_times_ns.size());
  ForEachMeasured([&](size_t i, const RequestRecord&) {
    if (known[i] == EventTokens::kUnknown) return;
    ForEachGap(i, [&](int64_t gap_ns, uint32_t tokens) {
      const double weight = known[i] == EventTokens::kOneEach ? 1 : tokens;
      weighted.push_back({static_cast<double>(std::max<int64_t>(gap_ns, 0)) / weight, weight});
    });
  });
  summary_.latency_ms["itl"] = Describe(weighted, options_.percents);
}

void Summarizer::FollowConcurrency() {
  std::vector<int64_t> starts, ends;
  starts.reserve(summary_.requests);
  ends.reserve(summary_.requests);
  double in_flight_ns = 0, waiting_ns = 0;
  ForEachMeasured([&](size_t, const RequestRecord& r) {
    if (r.sent_ns == kNoTime) return;
    const int64_t end_ns = EndNs(r);
    const int64_t first_ns = FirstTokenNs(r) != kNoTime ? std::min(FirstTokenNs(r), end_ns) : end_ns;
    in_flight_ns += static_cast<double>(span_.Clip(r.sent_ns, end_ns));
    waiting_ns += static_cast<double>(span_.Clip(r.sent_ns, first_ns));
    if (end_ns > r.sent_ns && span_.Clip(r.sent_ns, end_ns) > 0) {
      starts.push_back(std::max(r.sent_ns, span_.begin_ns));
      ends.push_back(std::min(end_ns, span_.end_ns));
    }
  });
  const auto duration_ns = static_cast<double>(span_.end_ns - span_.begin_ns);
  if (duration_ns <= 0) return;
  summary_.concurrency_mean = in_flight_ns / duration_ns;
  summary_.waiting_mean = waiting_ns / duration_ns;
  summary_.decoding_mean = (in_flight_ns - waiting_ns) / duration_ns;

  // One that ends at the moment another is sent has made room for it.
  std::sort(starts.begin(), starts.end());
  std::sort(ends.begin(), ends.end());
  size_t ended = 0;
  for (size_t started = 0; started < starts.size(); ++started) {
    while (ends[ended] <= starts[started]) ++ended;
    summary_.concurrency_peak = std::max<uint64_t>(summary_.concurrency_peak, started + 1 - ended);
  }
}

bool Summarizer::MeetsGoodput(const RequestRecord& r) const {
  const bool from_schedule = options_.goodput_from_schedule;
  for (const auto& [name, limit_ms] : options_.goodput) {
    double value_ns = kNaN;
    if (name == "ttft") value_ns = from_schedule ? Of<TtftFromScheduleNs>(r) : Of<TtftNs>(r);
    if (name == "e2el") value_ns = from_schedule ? Of<E2eFromScheduleNs>(r) : Of<E2eNs>(r);
    if (name == "tpot") {
      value_ns = TpotNs(r);
      if (std::isnan(value_ns) && OutputTokens(r) < 2) continue;
    }
    if (!(Ms(value_ns) <= limit_ms)) return false;
  }
  return true;
}

void Summarizer::JudgeGoodput() {
  if (options_.goodput.empty()) return;
  uint64_t scheduled_good = 0, arrived_good = 0;
  ForEachMeasured([&](size_t, const RequestRecord& r) {
    if (r.outcome != Outcome::kOk || !MeetsGoodput(r)) return;
    scheduled_good += Belongs(r);
    arrived_good += InWindow(r.end_ns);
  });
  summary_.goodput = summary_.duration_s > 0 ? static_cast<double>(arrived_good) / summary_.duration_s : 0;
  summary_.goodput_share = summary_.requests > 0
                               ? static_cast<double>(scheduled_good) / static_cast<double>(summary_.requests)
                               : 0;
}

}  // namespace

RunSummary Summarize(const RecordTable& table, const SummaryOptions& options) {
  return Summarizer(table, options).Run();
}

}  // namespace llmbench
