#include "llmbench/aggregate/run_summary.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <iterator>
#include <limits>
#include <numeric>
#include <span>
#include <utility>

#include "llmbench/aggregate/event_digest.h"
#include "llmbench/aggregate/gap_intervals.h"
#include "llmbench/aggregate/gap_sample.h"
#include "llmbench/aggregate/intervals.h"
#include "llmbench/aggregate/order_statistics.h"
#include "llmbench/aggregate/parallel.h"
#include "llmbench/aggregate/percentiles.h"
#include "llmbench/aggregate/request_times.h"
#include "llmbench/base/clock.h"
#include "llmbench/record/event_blob.h"

namespace llmbench {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
// ITL stands for the run when at least this share of the ok requests has known tokens event by event.
constexpr double kItlShare = 0.95;
constexpr size_t kRowsWorthThreads = 100'000;

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
  bool of_server = true;  // carries intervals; the client's own waits are evidence, not results
};
constexpr RequestMetric kRequestMetrics[] = {
    {"ttft", Of<TtftNs>, true},
    {"ttft_from_schedule", Of<TtftFromScheduleNs>, true},
    {"e2el", Of<E2eNs>, true},
    {"e2el_from_schedule", Of<E2eFromScheduleNs>, true},
    {"tpot", TpotNs, false},
    {"ttfb", Of<TtfbNs>, false},
    {"ttfat", Of<TtfatNs>, false},
    {"client_lag", Of<ClientLagNs>, false, false},
    {"slot_wait", Of<SlotWaitNs>, false, false},
    {"connect_wait", Of<ConnectWaitNs>, false, false},
    {"normalized_latency", NormalizedLatencyNs, false},
    {"connect", [](const RequestRecord& r) { return static_cast<double>(r.connect_ns); }, false, false},
    {"dns", [](const RequestRecord& r) { return static_cast<double>(r.dns_ns); }, false, false},
    {"tls", [](const RequestRecord& r) { return static_cast<double>(r.tls_ns); }, false, false},
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

Distribution Empty(const std::vector<double>& percents) {
  Distribution result{0,  kNaN, kNaN, kNaN, kNaN, kNaN, std::vector<double>(percents.size(), kNaN),
                      {}, {},   {}};
  return result;
}

// Fills in what Percentiles gave for WithMedian(percents), in ms.
void SetPercentiles(Distribution& distribution, std::vector<double> percentiles_ns) {
  for (double& value : percentiles_ns) value = Ms(value);
  distribution.median = percentiles_ns.back();
  percentiles_ns.pop_back();
  distribution.percentiles = std::move(percentiles_ns);
}

// The same for their intervals.
void SetIntervals(Distribution& distribution, Interval mean_ns, std::vector<Interval> percentiles_ns) {
  constexpr double kMsPerNs = 1 / static_cast<double>(kNsPerMs);
  mean_ns.Scale(kMsPerNs);
  for (Interval& interval : percentiles_ns) interval.Scale(kMsPerNs);
  distribution.mean_interval = std::move(mean_ns);
  distribution.median_interval = std::move(percentiles_ns.back());
  percentiles_ns.pop_back();
  distribution.percentile_intervals = std::move(percentiles_ns);
}

// Reorders the values.
Distribution DescribeValues(std::span<double> ns, const std::vector<double>& percents) {
  if (ns.empty()) return Empty(percents);
  const auto n = static_cast<double>(ns.size());
  const double mean = Sum(ns.size(), [&](size_t i) { return ns[i]; }) / n;
  const double squares = Sum(ns.size(), [&](size_t i) { return (ns[i] - mean) * (ns[i] - mean); });
  const auto [min, max] = std::minmax_element(ns.begin(), ns.end());
  Distribution result = Empty(percents);
  result.n = ns.size();
  result.mean = Ms(mean);
  result.std = Ms(std::sqrt(squares / n));
  result.min = Ms(*min);
  result.max = Ms(*max);
  SetPercentiles(result, Percentiles(ns, WithMedian(percents)));
  return result;
}

// `ns` is finite and in send order.
Distribution DescribeSeries(std::span<const double> ns, const std::vector<double>& percents) {
  std::vector<double> scratch(ns.begin(), ns.end());
  Distribution result = DescribeValues(scratch, percents);
  const std::vector<double> asked = WithMedian(percents);
  const std::vector<double> values = Percentiles(scratch, asked);
  SetIntervals(result, MeanInterval(ns), PercentileIntervals(ns, scratch, asked, values));
  return result;
}

Distribution DescribeGaps(const GapView& gaps, std::span<const uint32_t> send_order,
                          const std::vector<double>& percents) {
  Distribution result = Empty(percents);
  const std::vector<double> asked = WithMedian(percents);
  const std::vector<double> values = gaps.Percentiles(asked);
  GapView::Moments moments{kNaN, kNaN, kNaN, kNaN};
  if (gaps.size() != 0) {
    moments = gaps.Describe();
    result.n = gaps.size();
    result.mean = Ms(moments.mean);
    result.std = Ms(moments.deviation);
    result.min = Ms(moments.min);
    result.max = Ms(moments.max);
    SetPercentiles(result, values);
  }
  GapIntervals intervals = IntervalsOfGaps(gaps, send_order, moments, asked, values);
  SetIntervals(result, std::move(intervals.mean), std::move(intervals.percentiles));
  return result;
}

class Summarizer {
 public:
  Summarizer(const std::vector<RequestRecord>& rows, const EventDigest& digest, const SummaryOptions& options)
      : rows_(rows), digest_(digest), options_(options) {}

  RunSummary Run();

 private:
  struct Span {
    int64_t begin_ns, end_ns;
    int64_t Clip(int64_t from_ns, int64_t to_ns) const {
      return std::max<int64_t>(0, std::min(to_ns, end_ns) - std::max(from_ns, begin_ns));
    }
  };

  bool windowed() const { return !options_.window.whole(); }
  bool InWindow(int64_t t_ns) const { return options_.window.Contains(t_ns); }
  bool Belongs(const RequestRecord& r) const { return options_.window.Owns(r); }

  // Calls fn(record) for each row of the measure phase.
  template <typename Fn>
  void ForEachMeasured(Fn&& fn) const {
    for (const RequestRecord& r : rows_) {
      if (r.phase != Phase::kWarmup) fn(r);
    }
  }
  // And for each row of which something may lie in the window.
  template <typename Fn>
  void ForEachSeen(Fn&& fn) const {
    for (const RequestRecord& r : rows_) {
      if (options_.window.Sees(r)) fn(r);
    }
  }
  // The ok rows of the window in the order in which they were sent.
  std::vector<uint32_t> OkRowsInSendOrder() const;
  // The first metric that is the same number for each of these requests, perhaps itself: with the first token
  // mostly come the first byte and the first of the answer, and a latency from the schedule is often that
  // from the sending.
  size_t TwinOf(size_t metric, std::span<const uint32_t> order) const;
  Interval IntervalOf(const SecondBins& amounts, double per_second) const {
    return RateInterval(amounts.Until(span_.end_ns), per_second);
  }

  void FindSpan();
  void CountRequests();
  void CountTokens();
  void DescribeRequests();
  void DescribeGaps();
  void FollowConcurrency();
  void JudgeGoodput();
  bool MeetsGoodput(const RequestRecord& r) const;

  const std::vector<RequestRecord>& rows_;
  const EventDigest& digest_;
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
  ForEachMeasured([&](const RequestRecord& r) {
    end_ns = std::max(end_ns, EndNs(r));
    if (r.sent_ns == kNoTime) return;
    begin_ns = std::min(begin_ns, r.sent_ns);
    if (!Belongs(r)) return;
    ++sent;
    first_sent_ns = std::min(first_sent_ns, r.sent_ns);
    last_sent_ns = std::max(last_sent_ns, r.sent_ns);
  });
  if (begin_ns == kNever) begin_ns = end_ns = 0;  // nothing was sent
  constexpr MeasureWindow kWhole;
  const MeasureWindow& window = options_.window;
  span_ = {window.begin_ns != kWhole.begin_ns ? window.begin_ns : begin_ns,
           window.end_ns != kWhole.end_ns ? window.end_ns : end_ns};
  span_.end_ns = std::max(span_.end_ns, span_.begin_ns);
  summary_.duration_s = Seconds(span_.end_ns - span_.begin_ns);
  // n sends have n − 1 intervals between them.
  if (sent > 1 && last_sent_ns > first_sent_ns) {
    summary_.sent_rate = static_cast<double>(sent - 1) / Seconds(last_sent_ns - first_sent_ns);
  }
}

void Summarizer::CountRequests() {
  ForEachMeasured([&](const RequestRecord& r) {
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
  uint64_t completions = 0;
  SecondBins completed(digest_.origin_ns()), input(digest_.origin_ns());
  ForEachSeen([&](const RequestRecord& r) {
    if (IsFailure(r.outcome)) return;
    if (r.outcome == Outcome::kOk) {
      completions += InWindow(r.end_ns);
      completed.Add(r.end_ns, 1);
    }
    if (Belongs(r)) {
      summary_.input_tokens += static_cast<uint64_t>(std::max(r.prompt_tokens, 0));
      summary_.cached_tokens += static_cast<uint64_t>(std::max(r.cached_tokens, 0));
      summary_.reasoning_tokens += static_cast<uint64_t>(std::max(r.reasoning_tokens, 0));
      input.Add(r.sent_ns, std::max(r.prompt_tokens, 0));
    }
    if (!windowed()) {
      summary_.output_tokens += static_cast<uint64_t>(OutputTokens(r));
      summary_.events += static_cast<uint64_t>(r.events);
      summary_.merged_events += static_cast<uint64_t>(r.merged_events);
    }
  });
  summary_.usage_checked = digest_.usage_checked;
  summary_.usage_apart = digest_.usage_apart;
  if (windowed()) {
    summary_.output_tokens = static_cast<uint64_t>(std::llround(digest_.tokens_in_window));
    summary_.events = digest_.events;
    summary_.merged_events = digest_.merged_events;
  }
  if (summary_.duration_s > 0) {
    summary_.request_throughput = static_cast<double>(completions) / summary_.duration_s;
    summary_.input_throughput = static_cast<double>(summary_.input_tokens) / summary_.duration_s;
    summary_.output_throughput = static_cast<double>(summary_.output_tokens) / summary_.duration_s;
    summary_.total_throughput = summary_.input_throughput + summary_.output_throughput;
  }
  auto& intervals = summary_.rate_intervals;
  intervals["request_throughput"] = IntervalOf(completed, summary_.request_throughput);
  intervals["input_throughput"] = IntervalOf(input, summary_.input_throughput);
  intervals["output_throughput"] = IntervalOf(digest_.output_tokens(), summary_.output_throughput);
  std::vector<double> total = input.Until(span_.end_ns);
  const SecondBins& by_second = digest_.output_tokens();
  const std::vector<double> output = by_second.Until(span_.end_ns);
  if (digest_.origin_ns() != kNoTime) {
    summary_.output_tokens_by_second = by_second.Until(by_second.EndOfSecond(span_.end_ns));
  }
  for (size_t i = 0; i < total.size(); ++i) total[i] += output[i];
  intervals["total_throughput"] = RateInterval(total, summary_.total_throughput);
}

std::vector<uint32_t> Summarizer::OkRowsInSendOrder() const {
  std::vector<uint32_t> order;
  for (size_t i = 0; i < rows_.size(); ++i) {
    const RequestRecord& r = rows_[i];
    if (r.outcome == Outcome::kOk && Belongs(r)) order.push_back(static_cast<uint32_t>(i));
  }
  auto sooner = [this](uint32_t a, uint32_t b) { return rows_[a].sent_ns < rows_[b].sent_ns; };
  if (!std::is_sorted(order.begin(), order.end(), sooner))
    std::stable_sort(order.begin(), order.end(), sooner);
  return order;
}

size_t Summarizer::TwinOf(size_t metric, std::span<const uint32_t> order) const {
  const RequestMetric& mine = kRequestMetrics[metric];
  for (size_t i = 0; i < metric; ++i) {
    const RequestMetric& other = kRequestMetrics[i];
    if (other.of_server != mine.of_server || other.with_failures < mine.with_failures) continue;
    const bool same = std::all_of(order.begin(), order.end(), [&](uint32_t row) {
      const double a = mine.value(rows_[row]), b = other.value(rows_[row]);
      return a == b || (std::isnan(a) && std::isnan(b));
    });
    if (same) return i;
  }
  return metric;
}

void Summarizer::DescribeRequests() {
  const std::vector<uint32_t> order = OkRowsInSendOrder();
  constexpr size_t kMetrics = std::size(kRequestMetrics);
  std::array<size_t, kMetrics> twins;
  for (size_t i = 0; i < kMetrics; ++i) twins[i] = TwinOf(i, order);
  std::array<Distribution, kMetrics> plain, with_failures;
  const size_t threads = order.size() < kRowsWorthThreads ? 1 : ThreadsFor(kMetrics, options_.threads);
  InParallel(kMetrics, threads, [&](size_t, size_t i) {
    if (twins[i] != i) return;
    const RequestMetric& metric = kRequestMetrics[i];
    std::vector<double> values;
    values.reserve(summary_.requests);
    for (const uint32_t row : order) {
      if (const double value = metric.value(rows_[row]); !std::isnan(value)) values.push_back(value);
    }
    plain[i] = metric.of_server ? DescribeSeries(values, options_.percents)
                                : DescribeValues(values, options_.percents);
    if (!metric.with_failures) return;
    values.insert(values.end(), summary_.failed + summary_.cut, kInfinity);
    with_failures[i] = DescribeValues(values, options_.percents);
  });
  for (size_t i = 0; i < kMetrics; ++i) {
    const RequestMetric& metric = kRequestMetrics[i];
    summary_.latency_ms[metric.name] = plain[twins[i]];
    if (metric.with_failures) summary_.with_failures_ms[metric.name] = with_failures[twins[i]];
  }
}

void Summarizer::DescribeGaps() {
  const std::span<const uint32_t> gap_rows = digest_.gap_rows();
  std::vector<uint32_t> order(gap_rows.size());
  std::iota(order.begin(), order.end(), 0u);
  auto sooner = [&](uint32_t a, uint32_t b) {
    return rows_[gap_rows[a]].sent_ns < rows_[gap_rows[b]].sent_ns;
  };
  if (!std::is_sorted(order.begin(), order.end(), sooner))
    std::stable_sort(order.begin(), order.end(), sooner);
  summary_.latency_ms["icl"] =
      llmbench::DescribeGaps(digest_.gaps(GapUnit::kChunks, options_.threads), order, options_.percents);

  const uint64_t ok = digest_.ok, qualifying = digest_.one_token_each + digest_.counted;
  summary_.itl_share = ok == 0 ? 0 : static_cast<double>(qualifying) / static_cast<double>(ok);
  if (summary_.itl_share < kItlShare) {
    summary_.latency_ms["itl"] =
        llmbench::DescribeGaps(GapView(GapSample(), GapUnit::kTokens), {}, options_.percents);
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
  const bool same = digest_.one_token_each == ok && !windowed();
  summary_.latency_ms["itl"] = same ? summary_.latency_ms["icl"]
                                    : llmbench::DescribeGaps(digest_.gaps(GapUnit::kTokens, options_.threads),
                                                             order, options_.percents);
}

void Summarizer::FollowConcurrency() {
  std::vector<int64_t> starts, ends;
  starts.reserve(summary_.requests);
  ends.reserve(summary_.requests);
  double in_flight_ns = 0, waiting_ns = 0;
  ForEachSeen([&](const RequestRecord& r) {
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
  SecondBins good(digest_.origin_ns());
  ForEachSeen([&](const RequestRecord& r) {
    if (r.outcome != Outcome::kOk || !MeetsGoodput(r)) return;
    good.Add(r.end_ns, 1);
    scheduled_good += Belongs(r);
    arrived_good += InWindow(r.end_ns);
  });
  summary_.goodput = summary_.duration_s > 0 ? static_cast<double>(arrived_good) / summary_.duration_s : 0;
  summary_.goodput_share = summary_.requests > 0
                               ? static_cast<double>(scheduled_good) / static_cast<double>(summary_.requests)
                               : 0;
  summary_.rate_intervals["goodput"] = IntervalOf(good, *summary_.goodput);
}

}  // namespace

RunSummary Summarize(const RecordTable& table, const SummaryOptions& options) {
  EventDigest digest(options.window);
  digest.Reserve(table.requests.size(), table.event_times_ns.size());
  for (size_t i = 0; i < table.requests.size(); ++i) {
    const auto begin = static_cast<size_t>(table.event_offsets[i]);
    const size_t count = static_cast<size_t>(table.event_offsets[i + 1]) - begin;
    digest.Add(table.requests[i], std::span(table.event_times_ns).subspan(begin, count),
               std::span(table.event_tokens).subspan(begin, count),
               std::span(table.event_flags).subspan(begin, count));
  }
  return Summarizer(table.requests, digest, options).Run();
}

namespace {

// Takes the events of rows, request by request, into a digest: as RecordTable::LoadRows and KeptRows::Table
// call.
class DigestTaker {
 public:
  explicit DigestTaker(EventDigest& digest) : digest_(digest) {}

  auto on_size() {
    return [this](size_t requests, size_t events) { digest_.Reserve(requests, events); };
  }
  auto on_row() {
    return [this](const RequestRecord& r, std::span<const uint8_t> blob) { Add(r, blob); };
  }

 private:
  void Add(const RequestRecord& r, std::span<const uint8_t> blob) {
    times_ns_.clear();
    tokens_.clear();
    flags_.clear();
    ForEachEvent(blob, r.sent_ns != kNoTime ? r.sent_ns : 0, [this](const BlobEvent& event) {
      times_ns_.push_back(event.time_ns);
      tokens_.push_back(event.tokens);
      flags_.push_back(event.flags);
    });
    digest_.Add(r, times_ns_, tokens_, flags_);
  }

  EventDigest& digest_;
  // The events of one request.
  std::vector<int64_t> times_ns_;
  std::vector<uint32_t> tokens_;
  std::vector<uint8_t> flags_;
};

absl::StatusOr<RecordTable> DigestFile(const std::string& path, EventDigest& digest) {
  DigestTaker taker(digest);
  return RecordTable::LoadRows(path, taker.on_size(), taker.on_row());
}

}  // namespace

absl::StatusOr<RunDigest> RunDigest::Load(const std::string& path) {
  EventDigest events{MeasureWindow()};
  absl::StatusOr<RecordTable> rows = DigestFile(path, events);
  if (!rows.ok()) return rows.status();
  return RunDigest(path, std::make_shared<RecordTable>(*std::move(rows)), std::move(events));
}

RunDigest RunDigest::Of(const KeptRows& kept, const std::string& path) {
  EventDigest events{MeasureWindow()};
  DigestTaker taker(events);
  RecordTable rows = kept.Table(taker.on_size(), taker.on_row());
  return RunDigest(path, std::make_shared<RecordTable>(std::move(rows)), std::move(events));
}

absl::StatusOr<RunSummary> RunDigest::Summarize(const SummaryOptions& options) const {
  if (options.window.whole()) return Summarizer(rows_->requests, events_, options).Run();
  if (const auto part = events_.Within(options.window, rows_->requests)) {
    return Summarizer(rows_->requests, *part, options).Run();
  }
  EventDigest events(options.window);
  const absl::StatusOr<RecordTable> rows = DigestFile(path_, events);
  if (!rows.ok()) return rows.status();
  return Summarizer(rows->requests, events, options).Run();
}

}  // namespace llmbench
