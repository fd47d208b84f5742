// Load on the batching model in simulated time: no sockets, no sleeping.
#pragma once

#include <cstdint>
#include <vector>

#include "llmbench/base/clock.h"
#include "llmbench/sim/batching_model.h"

namespace llmbench::sim {

struct LoadResult {
  double requests_per_s = 0;
  double output_tokens_per_s = 0;
  double mean_ttft_s = 0;
  double last_ttft_s = 0;  // of the request that came last
  double mean_itl_s = 0;
  double duration_s = 0;
  int64_t completed = 0;
  int64_t tokens = 0;
};

struct RequestShape {
  int64_t prompt_tokens = 512;
  int64_t output_tokens = 128;
};

// Requests that come at given times (open loop), or one by one as `clients` become free (closed loop).
class SimulatedLoad {
 public:
  SimulatedLoad(BatchingModel* model, RequestShape shape) : model_(*model), shape_(shape) {}

  LoadResult Closed(int clients, int requests) {
    planned_ = requests;
    for (int i = 0; i < clients && sent_ < planned_; ++i) Send(0);
    Run(true);
    return Summarize();
  }

  LoadResult Open(double rate, int requests) {
    planned_ = requests;
    for (int i = 0; i < requests; ++i) {
      const auto at_ns = static_cast<int64_t>(i / rate * static_cast<double>(kNsPerSecond));
      while (model_.next_ns() <= at_ns) Step(false);
      Send(at_ns);
    }
    Run(false);
    return Summarize();
  }

 private:
  struct Request {
    int64_t sent_ns = 0;
    int64_t first_ns = 0;
    int64_t last_ns = 0;
  };

  void Send(int64_t now_ns) {
    requests_.push_back({now_ns});
    SequenceSpec spec;
    spec.owner = requests_.size() - 1;
    spec.prompt_tokens = shape_.prompt_tokens;
    spec.output_tokens = shape_.output_tokens;
    model_.Add(spec, now_ns);
    ++sent_;
  }

  void Step(bool closed) {
    const int64_t now_ns = model_.next_ns();
    tokens_.clear();
    model_.FinishStep(&tokens_);
    for (const TokenEvent& token : tokens_) {
      Request& request = requests_[token.owner];
      if (token.first) request.first_ns = now_ns;
      request.last_ns = now_ns;
      ++result_.tokens;
      if (!token.last) continue;
      ++result_.completed;
      end_ns_ = now_ns;
      if (closed && sent_ < planned_) Send(now_ns);
    }
  }

  void Run(bool closed) {
    while (model_.next_ns() != BatchingModel::kNever) Step(closed);
  }

  LoadResult Summarize() {
    const double second = static_cast<double>(kNsPerSecond);
    result_.duration_s = static_cast<double>(end_ns_) / second;
    result_.requests_per_s = static_cast<double>(result_.completed) / result_.duration_s;
    result_.output_tokens_per_s = static_cast<double>(result_.tokens) / result_.duration_s;
    double ttft_s = 0;
    double decode_s = 0;
    for (const Request& request : requests_) {
      ttft_s += static_cast<double>(request.first_ns - request.sent_ns) / second;
      decode_s += static_cast<double>(request.last_ns - request.first_ns) / second;
    }
    result_.mean_ttft_s = ttft_s / static_cast<double>(requests_.size());
    result_.last_ttft_s = static_cast<double>(requests_.back().first_ns - requests_.back().sent_ns) / second;
    result_.mean_itl_s = decode_s / static_cast<double>(result_.tokens - result_.completed);
    return result_;
  }

  BatchingModel& model_;
  const RequestShape shape_;
  std::vector<Request> requests_;
  std::vector<TokenEvent> tokens_;
  LoadResult result_;
  int sent_ = 0;
  int planned_ = 0;
  int64_t end_ns_ = 0;
};

}  // namespace llmbench::sim
