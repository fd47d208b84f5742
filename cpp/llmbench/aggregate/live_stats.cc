#include "llmbench/aggregate/live_stats.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "llmbench/aggregate/order_statistics.h"
#include "llmbench/aggregate/request_times.h"
#include "llmbench/record/event_blob.h"

namespace llmbench {
namespace {

double Ms(double ns) { return ns / static_cast<double>(kNsPerMs); }

LiveLatency Describe(const LatencyHistogram& histogram) {
  LiveLatency latency{histogram.count(), kNaN, kNaN, kNaN, kNaN, kNaN};
  if (latency.n == 0) return latency;
  latency.mean_ms = Ms(histogram.mean());
  latency.p50_ms = Ms(static_cast<double>(histogram.Percentile(0.50)));
  latency.p90_ms = Ms(static_cast<double>(histogram.Percentile(0.90)));
  latency.p99_ms = Ms(static_cast<double>(histogram.Percentile(0.99)));
  latency.max_ms = Ms(static_cast<double>(histogram.max()));
  return latency;
}

void RecordIfKnown(LatencyHistogram& histogram, int64_t value_ns) {
  if (value_ns != kNoTime) histogram.Record(value_ns);
}

}  // namespace

void LiveStats::OnRecord(const RequestRecord& record, std::span<const uint8_t> events) {
  const std::lock_guard lock(mutex_);
  if (record.phase == Phase::kWarmup) {
    ++counts_.warmup;
    return;
  }
  ++counts_.requests;
  ++counts_.outcomes[std::min(static_cast<size_t>(record.outcome), counts_.outcomes.size() - 1)];
  counts_.retried += record.attempts > 1;
  counts_.reused += (record.flags & kReusedConnection) != 0;
  if (IsFailure(record.outcome)) {
    ++counts_.failed;
    return;
  }
  counts_.input_tokens += static_cast<uint64_t>(std::max(record.prompt_tokens, 0));
  counts_.output_tokens += static_cast<uint64_t>(OutputTokens(record));
  counts_.output_events += static_cast<uint64_t>(record.events);
  counts_.merged_events += static_cast<uint64_t>(record.merged_events);
  if (record.outcome == Outcome::kCut) {
    ++counts_.cut;
    return;
  }
  ++counts_.completed;
  RecordIfKnown(ttft_, TtftNs(record));
  RecordIfKnown(e2el_, E2eNs(record));
  RecordIfKnown(client_lag_, ClientLagNs(record));
  RecordIfKnown(ttft_now_, TtftNs(record));
  RecordIfKnown(client_lag_now_, ClientLagNs(record));
  output_tokens_now_ += static_cast<uint64_t>(OutputTokens(record));
  int64_t previous_ns = kNoTime;
  ForEachEvent(events, record.sent_ns, [&](const BlobEvent& event) {
    if (previous_ns != kNoTime) icl_.Record(event.time_ns - previous_ns);
    previous_ns = event.time_ns;
  });
}

void LiveStats::OnSamples(ClientSample kind, std::span<const int64_t> values_ns) {
  const std::lock_guard lock(mutex_);
  for (const int64_t value_ns : values_ns) {
    if (kind == ClientSample::kMergedWidth) {
      merged_width_.Record(value_ns);
    } else {
      read_lateness_.Record(value_ns);
      read_lateness_now_.Record(value_ns);
    }
  }
}

LiveSnapshot LiveStats::Snapshot() const {
  const std::lock_guard lock(mutex_);
  LiveSnapshot snapshot = counts_;
  snapshot.ttft = Describe(ttft_);
  snapshot.e2el = Describe(e2el_);
  snapshot.icl = Describe(icl_);
  snapshot.client_lag = Describe(client_lag_);
  snapshot.read_lateness = Describe(read_lateness_);
  snapshot.merged_width = Describe(merged_width_);
  return snapshot;
}

std::vector<std::pair<double, double>> LiveStats::MergedWidthShares() const {
  constexpr double kNarrowestNs = 10'000, kStep = 0.25;
  const std::lock_guard lock(mutex_);
  std::vector<std::pair<double, double>> shares;
  const auto widest = static_cast<double>(merged_width_.max());
  for (int i = 0; kNarrowestNs * std::exp2(kStep * i) <= widest; ++i) {
    const double width_ns = std::floor(kNarrowestNs * std::exp2(kStep * i));
    shares.emplace_back(Ms(width_ns), merged_width_.ShareFrom(static_cast<int64_t>(width_ns)));
  }
  return shares;
}

LiveInterval LiveStats::TakeInterval() {
  const std::lock_guard lock(mutex_);
  const LiveInterval interval{std::exchange(output_tokens_now_, 0), Describe(ttft_now_),
                              Describe(client_lag_now_), Describe(read_lateness_now_)};
  for (LatencyHistogram* histogram : {&ttft_now_, &client_lag_now_, &read_lateness_now_}) {
    if (histogram->count() > 0) histogram->Clear();
  }
  return interval;
}

}  // namespace llmbench
