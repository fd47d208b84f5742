// GET /metrics: counters, gauges and histograms under vLLM's V1 names, in Prometheus' text format.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

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

// `engines` are the replicas behind one port; each is labelled with its index, as vLLM labels data-parallel
// engines.
std::string MetricsPage(const std::vector<const Metrics*>& engines, const std::string& model);

}  // namespace llmbench::sim
