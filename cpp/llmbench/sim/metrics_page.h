// GET /metrics: counters, gauges and histograms under the names of one server or another, in Prometheus' text
// format.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "llmbench/sim/options.h"

namespace llmbench::sim {

// Counts per bucket, as Prometheus has them: a bucket holds what is at most its bound.
class MetricHistogram {
 public:
  explicit MetricHistogram(const std::vector<double>& bounds)
      : bounds_(&bounds), counts_(bounds.size() + 1) {}

  void Observe(double value) {
    size_t at = 0;
    while (at < bounds_->size() && value > (*bounds_)[at]) ++at;
    ++counts_[at];
    sum_ += value;
  }

  // Of the same bounds.
  void Add(const MetricHistogram& other) {
    for (size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
    sum_ += other.sum_;
  }

  const std::vector<double>& bounds() const { return *bounds_; }
  const std::vector<uint64_t>& counts() const { return counts_; }
  double sum() const { return sum_; }

 private:
  const std::vector<double>* bounds_;  // static
  std::vector<uint64_t> counts_;
  double sum_ = 0;
};

// Of one replica. The gauges are filled in when the page is asked for.
struct Metrics {
  Metrics();
  void Add(const Metrics& other);
  uint64_t requests() const { return stopped + to_length + aborted; }

  int64_t running = 0;
  int64_t waiting = 0;
  double kv_usage = 0;
  uint64_t preemptions = 0;
  uint64_t prefix_queries = 0;
  uint64_t prefix_hits = 0;
  uint64_t prompt_tokens = 0;
  uint64_t generation_tokens = 0;
  uint64_t stopped = 0;  // requests by finish reason
  uint64_t to_length = 0;
  uint64_t aborted = 0;
  MetricHistogram ttft_s;
  MetricHistogram itl_s;
  MetricHistogram e2e_s;
  MetricHistogram tpot_s;
  MetricHistogram request_prompt_tokens;
  MetricHistogram request_generation_tokens;
};

// The page of the replicas behind one port. vLLM's V1 labels each with its index; other servers know of no
// others, and show the sum. `names` is one of a server's; `scraped` is what the page was made of the last
// time, for llama.cpp, whose rates are of the time since.
std::string MetricsPage(const std::vector<const Metrics*>& engines, const std::string& model,
                        MetricsNames names, Metrics* scraped);

// The names that a dialect's own server has.
MetricsNames MetricsNamesOf(const Options& options);

}  // namespace llmbench::sim
