// A model on GPUs: what a step costs, and how much KV cache the weights leave room for.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "llmbench/sim/options.h"
#include "llmbench/sim/step_time.h"

namespace llmbench::sim {

// Shares of the data sheet's figures that well-tuned servers reach, and what a step costs beside the GPU's
// work.
inline constexpr double kBandwidthEfficiency = 0.80;
inline constexpr double kComputeEfficiency = 0.55;
inline constexpr double kStepOverheadUs = 1000;   // scheduler, launch, sampling
inline constexpr double kSequenceOverheadUs = 8;  // per decoded sequence: sampling and its bookkeeping
inline constexpr double kReservedGbPerGpu = 2;    // activations, CUDA graphs, communication buffers

struct Deployment {
  std::string model;  // as served
  StepCosts costs;
  int64_t kv_blocks = 0;
  int64_t max_model_len = 0;  // 0: no limit
  double weights_gb_per_gpu = 0;
  std::string description;  // for people
};

// Of the batching model's options; in fixed mode there is only a name and a limit. InvalidArgument for an
// unknown model or GPU, and when the weights do not fit: the message says which tensor-parallel size would
// do.
absl::StatusOr<Deployment> Deploy(const Options& options);

}  // namespace llmbench::sim
