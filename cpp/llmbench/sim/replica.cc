#include "llmbench/sim/replica.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "llmbench/base/clock.h"
#include "llmbench/sim/chance.h"
#include "llmbench/sim/dialect.h"

namespace llmbench::sim {

Replica::Replica(const Service& service, int index)
    : service_(service),
      index_(index),
      end_chance_(ChanceOf(Question::kOutputEnd, service.options.seed, static_cast<uint64_t>(index))),
      fault_chance_(ChanceOf(Question::kFault, service.options.seed, static_cast<uint64_t>(index))),
      idle_chance_(ChanceOf(Question::kIdleClose, service.options.seed, static_cast<uint64_t>(index))) {
  const Options& options = service.options;
  if (options.metrics_reset_s > 0)
    reset_ns_ = MonotonicNs() + static_cast<int64_t>(options.metrics_reset_s * kNsPerSecond);
  if (options.fixed) return;
  BatchingLimits limits;
  limits.max_num_seqs = options.max_num_seqs;
  limits.max_num_batched_tokens = options.max_num_batched_tokens;
  limits.kv_blocks = service.deployment.kv_blocks;
  limits.block_size = options.block_size;
  limits.jitter = options.jitter;
  limits.speed = options.speed;
  const CounterRng chance = ChanceOf(Question::kStepTime, options.seed, static_cast<uint64_t>(index));
  model_ = std::make_unique<BatchingModel>(limits, service.deployment.costs, chance);
}

void Replica::Begin(Answer* answer) {
  answer->number = requests_++;
  answer->id = answer->dialect->IdPrefix(answer->form);
  if (answer->request_id.empty()) {
    answer->id += "sim-" + std::to_string(index_) + "-" + std::to_string(answer->number);
  } else {
    answer->id += answer->request_id;
  }
  if (answer->fault.is(FaultKind::kNone)) answer->fault = service_.faults.Draw(fault_chance_, answer->number);
}

void Replica::PlanOutput(Answer* answer) const {
  const Options& options = service_.options;
  const GenerationRequest& request = answer->request;
  int64_t asked = request.max_tokens >= 0 ? request.max_tokens : options.default_max_tokens;
  if (options.output_tokens > 0) asked = options.output_tokens;
  answer->choices.resize(request.choices());
  answer->unfinished = answer->choices.size();
  for (size_t i = 0; i < answer->choices.size(); ++i) {
    Choice& choice = answer->choices[i];
    choice.target = asked;
    if (request.max_length >= 0 && options.output_tokens == 0) {
      const int64_t left = request.max_length - request.prompts[i / static_cast<size_t>(request.n)].tokens;
      choice.target = std::max<int64_t>(1, request.max_tokens >= 0 ? std::min(asked, left) : left);
    }
    if (const int64_t longest = service_.deployment.max_model_len; longest > 0) {
      choice.target =
          std::min(choice.target, longest - request.prompts[i / static_cast<size_t>(request.n)].tokens);
    }
    if (options.eos_probability <= 0 || request.ignore_eos) continue;
    // The token that ends the output is geometrically distributed.
    const double u = end_chance_.Uniform(answer->number << 16 | i);
    const double p = options.eos_probability;
    const double tokens = p >= 1 ? 1 : std::floor(std::log(u) / std::log1p(-p)) + 1;
    if (tokens > static_cast<double>(choice.target)) continue;
    choice.target =
        std::max({int64_t{1}, static_cast<int64_t>(tokens), std::min(request.min_tokens, choice.target)});
    choice.ends_by_eos = true;
  }
}

int64_t Replica::DrawIdleNs() {
  const auto [low, high] = service_.idle_close_ms;
  const double ms = low + idle_chance_.Uniform(idles_++) * (high - low);
  return static_cast<int64_t>(ms * kNsPerMs);
}

const Metrics& Replica::ReadMetrics() {
  // As after a restart, though seen only by who looks.
  const bool resets = reset_ns_ != 0 && MonotonicNs() >= reset_ns_;
  if (resets) {
    metrics_ = Metrics();
    reset_ns_ = 0;
  }
  metrics_.running = in_flight_;
  if (model_ == nullptr) return metrics_;
  if (resets) {
    before_reset_.preemptions = static_cast<uint64_t>(model_->preemptions());
    before_reset_.prefix_queries = static_cast<uint64_t>(model_->prefix_queries());
    before_reset_.prefix_hits = static_cast<uint64_t>(model_->prefix_hits());
  }
  metrics_.running = model_->running();
  metrics_.waiting = model_->waiting();
  metrics_.kv_usage = model_->kv_usage();
  metrics_.preemptions = static_cast<uint64_t>(model_->preemptions()) - before_reset_.preemptions;
  metrics_.prefix_queries = static_cast<uint64_t>(model_->prefix_queries()) - before_reset_.prefix_queries;
  metrics_.prefix_hits = static_cast<uint64_t>(model_->prefix_hits()) - before_reset_.prefix_hits;
  return metrics_;
}

}  // namespace llmbench::sim
