#include "llmbench/sim/metrics_page.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
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
  // One set of labels per engine, as they stand between the braces.
  Page(std::vector<const Metrics*> engines, std::vector<std::string> labels)
      : engines_(std::move(engines)), labels_(std::move(labels)) {}

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
        Line(text + "_bucket", With(labels_[i], "le=\"" + bound + '"'), static_cast<double>(count));
      }
      Line(text + "_count", labels_[i], static_cast<double>(count));
      Line(text + "_sum", labels_[i], histogram.sum());
    }
  }

  // A family with one more label, each of whose values has a value.
  template <typename Value>
  void Labelled(const char* name, const char* kind, const char* help, const char* label,
                const std::vector<std::pair<const char*, Value>>& values) {
    Family(name, kind, help);
    for (size_t i = 0; i < engines_.size(); ++i) {
      for (const auto& [text, value] : values) {
        Line(name, With(labels_[i], std::string(label) + "=\"" + text + '"'),
             static_cast<double>(value(*engines_[i])));
      }
    }
  }

  std::string Take() { return std::move(text_); }

 private:
  // As Prometheus' Python client writes them: 3.0, 0.25.
  static std::string Number(double value) {
    char text[32];
    if (std::isinf(value)) return "inf";
    std::snprintf(text, sizeof text, "%.15g", value);
    std::string number = text;
    if (number.find_first_of(".en") == std::string::npos) number += ".0";
    return number;
  }

  void Family(const char* name, const char* kind, const char* help) {
    text_ += std::string("# HELP ") + name + ' ' + help + "\n# TYPE " + name + ' ' + kind + '\n';
  }

  static std::string With(const std::string& labels, const std::string& more) {
    return labels.empty() ? more : labels + ',' + more;
  }

  void Line(const std::string& name, const std::string& labels, double value) {
    text_ += name;
    if (!labels.empty()) text_ += '{' + labels + '}';
    text_ += ' ' + Number(value) + '\n';
  }

  const std::vector<const Metrics*> engines_;
  const std::vector<std::string> labels_;
  std::string text_;
};

using M = Metrics;
using Reader = double (*)(const Metrics&);

double Stopped(const M& m) { return static_cast<double>(m.stopped); }
double ToLength(const M& m) { return static_cast<double>(m.to_length); }
double Aborted(const M& m) { return static_cast<double>(m.aborted); }
double Running(const M& m) { return static_cast<double>(m.running); }
double Waiting(const M& m) { return static_cast<double>(m.waiting); }
double PromptTokens(const M& m) { return static_cast<double>(m.prompt_tokens); }
double OutputTokens(const M& m) { return static_cast<double>(m.generation_tokens); }
double Requests(const M& m) { return static_cast<double>(m.requests()); }
double Succeeded(const M& m) { return static_cast<double>(m.stopped + m.to_length); }
double KvUsage(const M& m) { return m.kv_usage; }
double Nothing(const M& /*m*/) { return 0; }
double HitRate(const M& m) {
  return m.prefix_queries == 0 ? 0
                               : static_cast<double>(m.prefix_hits) / static_cast<double>(m.prefix_queries);
}

void Finished(const char* name, Page* page) {
  page->Labelled<Reader>(name, "counter", "Count of successfully processed requests.", "finished_reason",
                         {{"stop", Stopped}, {"length", ToLength}, {"abort", Aborted}});
}

void VllmV1(Page* page) {
  page->Gauge("vllm:num_requests_running", "Number of requests in model execution batches.",
              [](const M& m) { return m.running; });
  page->Gauge("vllm:num_requests_waiting", "Number of requests waiting to be processed.",
              [](const M& m) { return m.waiting; });
  page->Gauge("vllm:kv_cache_usage_perc", "KV-cache usage. 1 means 100 percent usage.",
              [](const M& m) { return m.kv_usage; });
  page->Counter("vllm:prefix_cache_queries_total",
                "Prefix cache queries, in terms of number of queried tokens.",
                [](const M& m) { return m.prefix_queries; });
  page->Counter("vllm:prefix_cache_hits_total", "Prefix cache hits, in terms of number of cached tokens.",
                [](const M& m) { return m.prefix_hits; });
  page->Counter("vllm:num_preemptions_total", "Cumulative number of preemption from the engine.",
                [](const M& m) { return m.preemptions; });
  page->Counter("vllm:prompt_tokens_total", "Number of prefill tokens processed.",
                [](const M& m) { return m.prompt_tokens; });
  page->Counter("vllm:generation_tokens_total", "Number of generation tokens processed.",
                [](const M& m) { return m.generation_tokens; });
  Finished("vllm:request_success_total", page);
  page->Histogram("vllm:time_to_first_token_seconds", "Histogram of time to first token in seconds.",
                  &M::ttft_s);
  page->Histogram("vllm:inter_token_latency_seconds", "Histogram of inter-token latency in seconds.",
                  &M::itl_s);
  page->Histogram("vllm:request_time_per_output_token_seconds",
                  "Histogram of time per output token per request in seconds.", &M::tpot_s);
  page->Histogram("vllm:e2e_request_latency_seconds", "Histogram of e2e request latency in seconds.",
                  &M::e2e_s);
  page->Histogram("vllm:request_prompt_tokens", "Number of prefill tokens processed.",
                  &M::request_prompt_tokens);
  page->Histogram("vllm:request_generation_tokens", "Number of generation tokens processed.",
                  &M::request_generation_tokens);
}

void VllmV0(Page* page) {
  page->Gauge("vllm:num_requests_running", "Number of requests currently running on GPU.", Running);
  page->Gauge("vllm:num_requests_waiting", "Number of requests waiting to be processed.", Waiting);
  page->Gauge("vllm:num_requests_swapped", "Number of requests swapped to CPU.", Nothing);
  page->Gauge("vllm:gpu_cache_usage_perc", "GPU KV-cache usage. 1 means 100 percent usage.", KvUsage);
  page->Gauge("vllm:cpu_cache_usage_perc", "CPU KV-cache usage. 1 means 100 percent usage.", Nothing);
  page->Gauge("vllm:gpu_prefix_cache_hit_rate", "GPU prefix cache block hit rate.", HitRate);
  page->Counter("vllm:num_preemptions_total", "Cumulative number of preemption from the engine.",
                [](const M& m) { return m.preemptions; });
  page->Counter("vllm:prompt_tokens_total", "Number of prefill tokens processed.", PromptTokens);
  page->Counter("vllm:generation_tokens_total", "Number of generation tokens processed.", OutputTokens);
  Finished("vllm:request_success_total", page);
  page->Histogram("vllm:time_to_first_token_seconds", "Histogram of time to first token in seconds.",
                  &M::ttft_s);
  page->Histogram("vllm:time_per_output_token_seconds", "Histogram of time per output token in seconds.",
                  &M::itl_s);
  page->Histogram("vllm:e2e_request_latency_seconds", "Histogram of end to end request latency in seconds.",
                  &M::e2e_s);
  page->Histogram("vllm:request_prompt_tokens", "Number of prefill tokens processed.",
                  &M::request_prompt_tokens);
  page->Histogram("vllm:request_generation_tokens", "Number of generation tokens processed.",
                  &M::request_generation_tokens);
}

void Tgi(Page* page) {
  page->Counter("tgi_request_count", "Number of requests.", Requests);
  page->Counter("tgi_request_success", "Number of successful requests.", Succeeded);
  page->Labelled<Reader>("tgi_request_failure", "counter", "Number of failed requests.", "err",
                         {{"overloaded", Nothing}, {"generation", Aborted}});
  page->Gauge("tgi_batch_current_size", "Current batch size.", Running);
  page->Gauge("tgi_queue_size", "Current queue size.", Waiting);
  page->Histogram("tgi_request_duration", "Duration of requests, in seconds.", &M::e2e_s);
  page->Histogram("tgi_request_mean_time_per_token_duration", "Mean time per token, in seconds.", &M::tpot_s);
  page->Histogram("tgi_request_input_length", "Input length.", &M::request_prompt_tokens);
  page->Histogram("tgi_request_generated_tokens", "Generated tokens.", &M::request_generation_tokens);
}

void Triton(Page* page) {
  page->Counter("nv_inference_request_success", "Number of successful inference requests, all batch sizes",
                Succeeded);
  page->Labelled<Reader>("nv_inference_request_failure", "counter",
                         "Number of failed inference requests, all batch sizes", "reason",
                         {{"CANCELED", Aborted}, {"REJECTED", Nothing}});
  page->Counter("nv_inference_count", "Number of inferences performed", Succeeded);
  page->Counter("nv_inference_exec_count", "Number of model executions performed", Succeeded);
  page->Counter("nv_inference_request_duration_us", "Cumulative inference request duration in microseconds",
                [](const M& m) { return std::floor(m.e2e_s.sum() * 1e6); });
  page->Gauge("nv_inference_pending_request_count", "Instantaneous number of pending requests", Waiting);
  page->Labelled<Reader>(
      "nv_trt_llm_request_metrics", "gauge", "TRT LLM request metrics", "request_type",
      {{"active", Running}, {"scheduled", Running}, {"context", Nothing}, {"waiting", Waiting}});
  page->Labelled<Reader>("nv_trt_llm_kv_cache_block_metrics", "gauge", "TRT LLM KV cache block metrics",
                         "kv_cache_block_type", {{"fraction", KvUsage}});
  page->Labelled<Reader>("nv_trt_llm_inflight_batcher_metrics", "gauge", "TRT LLM inflight_batcher metrics",
                         "inflight_batcher_specific_metric", {{"generation_requests", Running}});
}

void Sglang(Page* page) {
  page->Gauge("sglang:num_running_reqs", "The number of running requests.", Running);
  page->Gauge("sglang:num_queue_reqs", "The number of requests in the waiting queue.", Waiting);
  page->Gauge("sglang:token_usage", "The token usage.", KvUsage);
  page->Gauge("sglang:cache_hit_rate", "The prefix cache hit rate.", HitRate);
  page->Counter("sglang:prompt_tokens_total", "Number of prefill tokens processed.", PromptTokens);
  page->Counter("sglang:generation_tokens_total", "Number of generation tokens processed.", OutputTokens);
  page->Counter("sglang:cached_tokens_total", "Number of cached prompt tokens.",
                [](const M& m) { return m.prefix_hits; });
  page->Counter("sglang:num_requests_total", "Number of requests processed.", Requests);
  page->Counter("sglang:num_aborted_requests_total", "Number of requests aborted.", Aborted);
  page->Histogram("sglang:time_to_first_token_seconds", "Histogram of time to first token in seconds.",
                  &M::ttft_s);
  page->Histogram("sglang:inter_token_latency_seconds", "Histogram of inter-token latency in seconds.",
                  &M::itl_s);
  page->Histogram("sglang:e2e_request_latency_seconds", "Histogram of end-to-end request latency in seconds.",
                  &M::e2e_s);
}

void LlamaCpp(const M& now, M* scraped, Page* page) {
  const auto rate = [](double tokens, double seconds) { return tokens / seconds; };
  const double prompt_s = now.ttft_s.sum();
  const double predicted_s = std::max(0.0, now.e2e_s.sum() - now.ttft_s.sum());
  const double old_prompt_s = scraped->ttft_s.sum();
  const double old_predicted_s = std::max(0.0, scraped->e2e_s.sum() - scraped->ttft_s.sum());
  page->Counter("llamacpp:prompt_tokens_total", "Number of prompt tokens processed.", PromptTokens);
  page->Counter("llamacpp:prompt_seconds_total", "Prompt process time", [&](const M&) { return prompt_s; });
  page->Counter("llamacpp:tokens_predicted_total", "Number of generation tokens processed.", OutputTokens);
  page->Counter("llamacpp:tokens_predicted_seconds_total", "Predict process time",
                [&](const M&) { return predicted_s; });
  // No time has passed before any request: infinity, as there.
  page->Gauge("llamacpp:prompt_tokens_seconds", "Average prompt throughput in tokens/s.", [&](const M& m) {
    const double seconds = prompt_s - old_prompt_s;
    return seconds > 0 ? rate(static_cast<double>(m.prompt_tokens - scraped->prompt_tokens), seconds)
                       : std::numeric_limits<double>::infinity();
  });
  page->Gauge(
      "llamacpp:predicted_tokens_seconds", "Average generation throughput in tokens/s.", [&](const M& m) {
        const double seconds = predicted_s - old_predicted_s;
        return seconds > 0
                   ? rate(static_cast<double>(m.generation_tokens - scraped->generation_tokens), seconds)
                   : std::numeric_limits<double>::infinity();
      });
  page->Gauge("llamacpp:kv_cache_usage_ratio", "KV-cache usage. 1 means 100 percent usage.", KvUsage);
  page->Gauge("llamacpp:requests_processing", "Number of requests processing.", Running);
  page->Gauge("llamacpp:requests_deferred", "Number of requests deferred.", Waiting);
  *scraped = now;
}

void Jetstream(Page* page) {
  page->Gauge("jetstream_prefill_backlog_size", "Size of prefill queue", Waiting);
  page->Gauge("jetstream_generate_backlog_size", "Size of generate queue", Nothing);
  page->Gauge("jetstream_slots_used_percentage", "The percentage of decode slots currently being used",
              KvUsage);
  page->Counter("jetstream_request_success_count_total", "Number of requests successfully completed",
                Succeeded);
  page->Histogram("jetstream_time_to_first_token", "Time to first token per request in seconds", &M::ttft_s);
  page->Histogram("jetstream_time_per_output_token", "Average time per output token in seconds", &M::tpot_s);
  page->Histogram("jetstream_time_per_request", "End to end request latency in seconds", &M::e2e_s);
  page->Histogram("jetstream_request_input_length", "Number of input tokens per request",
                  &M::request_prompt_tokens);
  page->Histogram("jetstream_request_output_length", "Number of output tokens per request",
                  &M::request_generation_tokens);
}

std::string Quoted(const std::string& text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c == '\n' ? ' ' : c;
  }
  return quoted + '"';
}

}  // namespace

Metrics::Metrics()
    : ttft_s(TtftBounds()),
      itl_s(TokenBounds()),
      e2e_s(RequestBounds()),
      tpot_s(TokenBounds()),
      request_prompt_tokens(CountBounds()),
      request_generation_tokens(CountBounds()) {}

void Metrics::Add(const Metrics& other) {
  running += other.running;
  waiting += other.waiting;
  kv_usage += other.kv_usage;
  preemptions += other.preemptions;
  prefix_queries += other.prefix_queries;
  prefix_hits += other.prefix_hits;
  prompt_tokens += other.prompt_tokens;
  generation_tokens += other.generation_tokens;
  stopped += other.stopped;
  to_length += other.to_length;
  aborted += other.aborted;
  ttft_s.Add(other.ttft_s);
  itl_s.Add(other.itl_s);
  e2e_s.Add(other.e2e_s);
  tpot_s.Add(other.tpot_s);
  request_prompt_tokens.Add(other.request_prompt_tokens);
  request_generation_tokens.Add(other.request_generation_tokens);
}

MetricsNames MetricsNamesOf(const Options& options) {
  if (options.metrics != MetricsNames::kAuto) return options.metrics;
  switch (options.dialect) {
    case DialectName::kTgi:
      return MetricsNames::kTgi;
    case DialectName::kTriton:
      return MetricsNames::kTriton;
    case DialectName::kSglang:
      return MetricsNames::kSglang;
    case DialectName::kLlamaCpp:
      return MetricsNames::kLlamaCpp;
    case DialectName::kJetstream:
    case DialectName::kJetstreamV1:
      return MetricsNames::kJetstream;
    default:
      return MetricsNames::kVllm;
  }
}

std::string MetricsPage(const std::vector<const Metrics*>& engines, const std::string& model,
                        MetricsNames names, Metrics* scraped) {
  const std::string label = "model_name=" + Quoted(model);
  if (names == MetricsNames::kVllm) {
    std::vector<std::string> labels;
    for (size_t i = 0; i < engines.size(); ++i)
      labels.push_back("engine=\"" + std::to_string(i) + "\"," + label);
    Page page(engines, std::move(labels));
    VllmV1(&page);
    return page.Take();
  }
  Metrics sum;
  for (const Metrics* engine : engines) sum.Add(*engine);
  sum.kv_usage /= static_cast<double>(engines.size());
  std::string labels;
  if (names == MetricsNames::kVllmV0 || names == MetricsNames::kSglang) labels = label;
  if (names == MetricsNames::kTriton) labels = "model=" + Quoted(model) + ",version=\"1\"";
  if (names == MetricsNames::kJetstream) labels = "id=\"0\"";
  Page page({&sum}, {labels});
  switch (names) {
    case MetricsNames::kVllmV0:
      VllmV0(&page);
      break;
    case MetricsNames::kTgi:
      Tgi(&page);
      break;
    case MetricsNames::kTriton:
      Triton(&page);
      break;
    case MetricsNames::kSglang:
      Sglang(&page);
      break;
    case MetricsNames::kLlamaCpp:
      LlamaCpp(sum, scraped, &page);
      break;
    case MetricsNames::kJetstream:
      Jetstream(&page);
      break;
    default:
      break;
  }
  return page.Take();
}

}  // namespace llmbench::sim
