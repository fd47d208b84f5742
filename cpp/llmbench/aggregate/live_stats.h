// Numbers of a run while it is running, from histograms: for the progress display and the client's evidence.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <utility>
#include <vector>

#include "llmbench/aggregate/latency_histogram.h"
#include "llmbench/record/recorder.h"

namespace llmbench {

// Milliseconds, within 0.1 %. NaN while n is 0.
struct LiveLatency {
  uint64_t n = 0;
  double mean_ms, p50_ms, p90_ms, p99_ms, max_ms;
};

// Requests, counts and latencies are those of the measure phase (warm-up rows are only counted); latencies
// those of ok requests.
struct LiveSnapshot {
  uint64_t warmup = 0;
  uint64_t requests = 0;  // ended so far
  std::array<uint64_t, static_cast<size_t>(Outcome::kCount)> outcomes = {};
  uint64_t completed = 0, failed = 0, cut = 0;
  uint64_t input_tokens = 0, output_tokens = 0, output_events = 0,
           merged_events = 0;  // of ok and cut requests
  uint64_t retried = 0, reused = 0;
  LiveLatency ttft, e2el, icl, client_lag;
  // The client about itself, over every read and every merged event, warm-up included.
  LiveLatency read_lateness, merged_width;
};

// What one stretch of the run adds to its time series. Of ok requests that ended in it, warm-up left out.
struct LiveInterval {
  uint64_t output_tokens = 0;
  LiveLatency ttft, client_lag;
  LiveLatency read_lateness;  // of every read
};

// Fed by the writer's thread, read by any.
class LiveStats final : public RecordObserver {
 public:
  void OnRecord(const RequestRecord& record, std::span<const uint8_t> events) override;
  void OnSamples(ClientSample kind, std::span<const int64_t> values_ns) override;

  LiveSnapshot Snapshot() const;
  // How the widths of merged events are spread: what share of them is at least so many milliseconds wide, for
  // widths a quarter of a power of two apart. Empty without any.
  std::vector<std::pair<double, double>> MergedWidthShares() const;
  // What came since the call before. For one reader only.
  LiveInterval TakeInterval();

 private:
  mutable std::mutex mutex_;
  LiveSnapshot counts_;  // its latencies are filled in by Snapshot
  LatencyHistogram ttft_, e2el_, icl_, client_lag_, read_lateness_, merged_width_;
  LatencyHistogram ttft_now_, client_lag_now_, read_lateness_now_;
  uint64_t output_tokens_now_ = 0;
};

}  // namespace llmbench
