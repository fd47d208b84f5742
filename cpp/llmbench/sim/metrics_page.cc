#include "llmbench/sim/metrics_page.h"

#include <cstdio>
#include <utility>

namespace llmbench::sim {
namespace {

// vLLM's buckets, in seconds and in tokens.
const std::vector<double>& TtftBounds() {
  static const auto* bounds =
      new std::vector<double>{0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75,
                              1,     2.5,   5,    7.5,  10,   20,   40,   80,  160,  640, 2560};
  return *bounds;
}

const std::vector<double>& TokenBounds() {
  static const auto* bounds = new std::vector<double>{0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5,
                                                      0.75, 1,     2.5,  5,     7.5, 10,   20,  40,  80};
  return *bounds;
}

const std::vector<double>& RequestBounds() {
  static const auto* bounds = new std::vector<double>{0.3, 0.5, 0.8, 1,  1.5, 2,   2.5, 5,   10,   15,  20,
                                                      30,  40,  50,  60, 120, 240, 480, 960, 1920, 7680};
  return *bounds;
}

const std::vector<double>& CountBounds() {
  static const auto* bounds = new std::vector<double>{1,   2,    5,    10,   20,    50,    100,   200,
                                                      500, 1000, 2000, 5000, 10000, 20000, 50000, 100000};
  return *bounds;
}

class Page {
 public:
  Page(const std::vector<const Metrics*>& engines, const std::string& model) : engines_(engines) {
    for (size_t i = 0; i < engines.size(); ++i) {
      std::string labels = "engine=\"" + std::to_string(i) + "\",model_name=\"";
      for (const char c : model) {
        if (c == '"' || c == '\\') labels += '\\';
        labels += c == '\n' ? ' ' : c;
      }
      labels_.push_back(labels + '"');
    }
  }

  template <typename Value>
  void Gauge(const char* name, const char* help, Value value) {
    Family(name, "gauge", help);
    for (size_t i = 0; i < engines_.size(); ++i)
      Line(name, labels_[i], static_cast<double>(value(*engines_[i])));
  }

  template <typename Value>
  void Counter(const char* name, const char* help, Value value) {
    Family(name, "counter", help);
    for (size_t i = 0; i < engines_.size(); ++i)
      Line(name, labels_[i], static_cast<double>(value(*engines_[i])));
  }

  void Histogram(const char* name, const char* help, MetricHistogram Metrics::*member) {
    Family(name, "histogram", help);
    const std::string text = name;
    for (size_t i = 0; i < engines_.size(); ++i) {
      const MetricHistogram& histogram = engines_[i]->*member;
      uint64_t count = 0;
      for (size_t bucket = 0; bucket < histogram.counts().size(); ++bucket) {
        count += histogram.counts()[bucket];
        const bool bounded = bucket < histogram.bounds().size();
        const std::string bound = bounded ? Number(histogram.bounds()[bucket]) : "+Inf";
        Line(text + "_bucket", labels_[i] + ",le=\"" + bound + '"', static_cast<double>(count));
      }
      Line(text + "_count", labels_[i], static_cast<double>(count));
      Line(text + "_sum", labels_[i], histogram.sum());
    }
  }

  void FinishedRequests() {
    const char* name = "vllm:request_success_total";
    Family(name, "counter", "Count of successfully processed requests.");
    for (size_t i = 0; i < engines_.size(); ++i) {
      Line(name, labels_[i] + ",finished_reason=\"stop\"", static_cast<double>(engines_[i]->stopped));
      Line(name, labels_[i] + ",finished_reason=\"length\"", static_cast<double>(engines_[i]->to_length));
      Line(name, labels_[i] + ",finished_reason=\"abort\"", static_cast<double>(engines_[i]->aborted));
    }
  }

  std::string Take() { return std::move(text_); }

 private:
  // As Prometheus' Python client writes them: 3.0, 0.25.
  static std::string Number(double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.15g", value);
    std::string number = text;
    if (number.find_first_of(".en") == std::string::npos) number += ".0";
    return number;
  }

  void Family(const char* name, const char* kind, const char* help) {
    text_ += std::string("# HELP ") + name + ' ' + help + "\n# TYPE " + name + ' ' + kind + '\n';
  }

  void Line(const std::string& name, const std::string& labels, double value) {
    text_ += name + '{' + labels + "} " + Number(value) + '\n';
  }

  const std::vector<const Metrics*>& engines_;
  std::vector<std::string> labels_;
  std::string text_;
};

}  // namespace

Metrics::Metrics()
    : ttft_s(TtftBounds()),
      itl_s(TokenBounds()),
      e2e_s(RequestBounds()),
      tpot_s(TokenBounds()),
      request_prompt_tokens(CountBounds()),
      request_generation_tokens(CountBounds()) {}

std::string MetricsPage(const std::vector<const Metrics*>& engines, const std::string& model) {
  using M = Metrics;
  Page page(engines, model);
  page.Gauge("vllm:num_requests_running", "Number of requests in model execution batches.",
             [](const M& m) { return m.running; });
  page.Gauge("vllm:num_requests_waiting", "Number of requests waiting to be processed.",
             [](const M& m) { return m.waiting; });
  page.Gauge("vllm:kv_cache_usage_perc", "KV-cache usage. 1 means 100 percent usage.",
             [](const M& m) { return m.kv_usage; });
  page.Counter("vllm:prefix_cache_queries_total",
               "Prefix cache queries, in terms of number of queried tokens.",
               [](const M& m) { return m.prefix_queries; });
  page.Counter("vllm:prefix_cache_hits_total", "Prefix cache hits, in terms of number of cached tokens.",
               [](const M& m) { return m.prefix_hits; });
  page.Counter("vllm:num_preemptions_total", "Cumulative number of preemption from the engine.",
               [](const M& m) { return m.preemptions; });
  page.Counter("vllm:prompt_tokens_total", "Number of prefill tokens processed.",
               [](const M& m) { return m.prompt_tokens; });
  page.Counter("vllm:generation_tokens_total", "Number of generation tokens processed.",
               [](const M& m) { return m.generation_tokens; });
  page.FinishedRequests();
  page.Histogram("vllm:time_to_first_token_seconds", "Histogram of time to first token in seconds.",
                 &M::ttft_s);
  page.Histogram("vllm:inter_token_latency_seconds", "Histogram of inter-token latency in seconds.",
                 &M::itl_s);
  page.Histogram("vllm:request_time_per_output_token_seconds",
                 "Histogram of time per output token per request in seconds.", &M::tpot_s);
  page.Histogram("vllm:e2e_request_latency_seconds", "Histogram of e2e request latency in seconds.",
                 &M::e2e_s);
  page.Histogram("vllm:request_prompt_tokens", "Number of prefill tokens processed.",
                 &M::request_prompt_tokens);
  page.Histogram("vllm:request_generation_tokens", "Number of generation tokens processed.",
                 &M::request_generation_tokens);
  return page.Take();
}

}  // namespace llmbench::sim
