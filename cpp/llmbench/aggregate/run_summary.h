// Every number of docs/metrics.md that a run reports, computed from its rows.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "llmbench/aggregate/event_digest.h"
#include "llmbench/aggregate/intervals.h"
#include "llmbench/record/kept_rows.h"
#include "llmbench/record/record_table.h"

namespace llmbench {

// One latency metric over ok requests (gaps for icl, tokens for itl). Milliseconds. NaN when n is 0.
struct Distribution {
  uint64_t n = 0;
  // std: population, as vLLM's (NumPy's default); NaN when a failure stands in as +∞.
  double mean, median, std, min, max;
  std::vector<double> percentiles;  // in the order of SummaryOptions::percents
  // 95 %. None (no percentile_intervals) of what counts failures as +∞ and of the client's own waits.
  Interval mean_interval, median_interval;
  std::vector<Interval> percentile_intervals;
};

struct SummaryOptions {
  std::vector<double> percents = {50, 90, 95, 99};
  // Per-request limits in ms, by metric name: ttft, tpot, e2el. Empty: no goodput. A request without a first
  // token misses a ttft limit; one of a single token meets any tpot limit.
  std::map<std::string, double> goodput;
  bool goodput_from_schedule = false;  // open loop: ttft and e2el of the goodput count from the schedule
  bool ignore_eos = false;
  // Requests sent in it (never sent: scheduled in it); gaps, tokens and completions that arrived in it.
  MeasureWindow window;
  size_t threads = 0;  // at most; 0: one per processor. The result is the same
};

// Rows of the warm-up count nowhere, but for what MeasureWindow::Sees. Tokens and events are those of ok and
// cut requests.
struct RunSummary {
  uint64_t requests = 0, completed = 0, failed = 0, cut = 0;
  std::map<std::string, uint64_t> errors;          // outcome name → requests, failures only
  std::map<std::string, uint64_t> finish_reasons;  // of ok requests
  std::map<std::string, uint64_t> token_sources;
  double duration_s = 0;  // first sent → last end
  uint64_t input_tokens = 0, output_tokens = 0, cached_tokens = 0, reasoning_tokens = 0;
  uint64_t usage_checked = 0, usage_apart = 0;  // event_digest.h
  uint64_t events = 0, merged_events = 0, retried = 0, reused = 0, length_mismatched = 0;
  double request_throughput = 0, input_throughput = 0, output_throughput = 0,
         total_throughput = 0;                     // per second
  std::optional<double> goodput, goodput_share;    // requests/s; share of all scheduled requests
  std::map<std::string, Interval> rate_intervals;  // of the rates above, by their names, and of goodput
  // ttft tpot itl icl e2el ttfb ttfat ttft_from_schedule e2el_from_schedule client_lag slot_wait connect_wait
  // normalized_latency connect dns tls
  std::map<std::string, Distribution> latency_ms;
  std::map<std::string, Distribution>
      with_failures_ms;            // ttft, e2el and their from_schedule forms, failures and cut as +∞
  double itl_share = 0;            // share of ok requests whose tokens are known event by event
  std::string itl_absent_because;  // empty when itl is reported
  // Time-weighted over [first sent, last end].
  double concurrency_mean = 0, waiting_mean = 0, decoding_mean = 0;
  uint64_t concurrency_peak = 0;
  double sent_rate = 0;  // requests sent per second, first to last send
  // Output tokens by the second they came in, from the first row that was sent (or the window's begin) on,
  // the last second begun included.
  std::vector<double> output_tokens_by_second;
};

RunSummary Summarize(const RecordTable& table, const SummaryOptions& options);

// A run's rows, and of its events what summaries are made of: read once from a file, summarized as often as
// wanted. A gap takes four bytes.
class RunDigest {
 public:
  static absl::StatusOr<RunDigest> Load(const std::string& path);
  // The same from the rows that its writer has kept, without reading the file. They must be all.
  static RunDigest Of(const KeptRows& kept, const std::string& path);

  // Everything but events and texts; it does not change.
  const std::shared_ptr<RecordTable>& rows() const { return rows_; }
  // As of the table. Only a window that does not begin and end with a second of output_tokens_by_second makes
  // it read the file's events again.
  absl::StatusOr<RunSummary> Summarize(const SummaryOptions& options) const;

 private:
  RunDigest(std::string path, std::shared_ptr<RecordTable> rows, EventDigest events)
      : path_(std::move(path)), rows_(std::move(rows)), events_(std::move(events)) {}

  std::string path_;
  std::shared_ptr<RecordTable> rows_;
  EventDigest events_;
};

}  // namespace llmbench
