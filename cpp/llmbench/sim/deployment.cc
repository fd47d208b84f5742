#include "llmbench/sim/deployment.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "llmbench/base/return_if_error.h"
#include "llmbench/sim/hardware.h"

namespace llmbench::sim {
namespace {

constexpr const char* kDefaultModel = "meta-llama/Llama-3.1-8B-Instruct";
constexpr double kBytesPerValue = 2;  // activations and KV cache are 16-bit
constexpr int64_t kBlocksWithoutHardware = 16'384;
constexpr int kLargestTp = 64;

struct Memory {
  double weights_bytes;       // all GPUs
  double kv_bytes_per_token;  // all GPUs
  double kv_bytes;            // room for it, all GPUs; may be negative
};

Memory MemoryOf(const ModelSpec& model, const GpuSpec& gpu, double weight_bits, double utilization,
                int gpus) {
  Memory memory;
  memory.weights_bytes = model.parameters_b * 1e9 * weight_bits / 8;
  memory.kv_bytes_per_token = 2.0 * model.layers * model.kv_dim * kBytesPerValue;
  memory.kv_bytes =
      gpus * (gpu.memory_gb * 1e9 * utilization - kReservedGbPerGpu * 1e9) - memory.weights_bytes;
  return memory;
}

StepCosts CostsOf(const ModelSpec& model, const GpuSpec& gpu, const Memory& memory, int gpus) {
  const double bandwidth = gpu.bandwidth_tb_s * 1e12 * kBandwidthEfficiency * gpus;
  const double compute = gpu.tflops * 1e12 * kComputeEfficiency * gpus;
  const double token_s = 2 * model.active_b * 1e9 / compute;

  StepCosts costs;
  double always_read = memory.weights_bytes;
  if (model.experts > 1) {
    // active = dense + experts · share, total = dense + experts
    costs.expert_share = static_cast<double>(model.experts_per_token) / model.experts;
    const double expert_parameters = (model.parameters_b - model.active_b) / (1 - costs.expert_share);
    const double expert_bytes = memory.weights_bytes * expert_parameters / model.parameters_b;
    always_read -= expert_bytes;
    costs.experts_s = expert_bytes / bandwidth;
  }
  costs.base_s = kStepOverheadUs * 1e-6 + always_read / bandwidth;
  costs.prefill_token_s = token_s;
  costs.prefill_pair_s = 4.0 * model.layers * model.hidden / compute;
  costs.decode_s = token_s + kSequenceOverheadUs * 1e-6;
  costs.context_token_s = memory.kv_bytes_per_token / bandwidth;
  if (gpus > 1) {
    // Two all-reduces a layer. A ring moves 2 (n - 1) / n of the bytes over each link.
    const double all_reduces = 2.0 * model.layers;
    const double bytes = model.hidden * kBytesPerValue * 2.0 * (gpus - 1) / gpus;
    costs.link_latency_s = all_reduces * gpu.link_latency_us * 1e-6 * std::log2(gpus);
    costs.link_token_s = all_reduces * bytes / (gpu.link_gb_s * 1e9);
  }
  return costs;
}

absl::Status DoesNotFit(const Options& options, const ModelSpec& model, const GpuSpec& gpu,
                        double weight_bits) {
  char text[160];
  std::snprintf(text, sizeof text,
                "%s takes %.1f GB, more than %d × %s can hold at gpu_memory_utilization %g",
                model.name.c_str(), model.parameters_b * weight_bits / 8, options.tensor_parallel_size,
                gpu.name.c_str(), options.gpu_memory_utilization);
  for (int gpus = 1; gpus <= kLargestTp; gpus *= 2) {
    const Memory memory = MemoryOf(model, gpu, weight_bits, options.gpu_memory_utilization, gpus);
    if (memory.kv_bytes < memory.kv_bytes_per_token * options.block_size) continue;
    return absl::InvalidArgumentError(std::string(text) + "; use tensor_parallel_size " +
                                      std::to_string(gpus) + " or more.");
  }
  return absl::InvalidArgumentError(std::string(text) + ", or than any tensor_parallel_size could.");
}

Deployment FixedDeployment(const Options& options) {
  Deployment deployment;
  deployment.model = options.model.empty() ? "llmbench-sim" : options.model;
  deployment.max_model_len = options.max_model_len;
  char times[96];
  std::snprintf(times, sizeof times, ", fixed: %g ms to the first token, %g ms between tokens",
                options.ttft_ms, options.itl_ms);
  deployment.description = deployment.model + times;
  return deployment;
}

}  // namespace

absl::StatusOr<Deployment> Deploy(const Options& options) {
  if (options.fixed) return FixedDeployment(options);
  Deployment deployment;
  deployment.model = options.model.empty() ? kDefaultModel : options.model;
  deployment.kv_blocks = options.num_kv_blocks;
  int64_t longest = 0;
  if (options.step_ms > 0) {
    deployment.costs.base_s = options.step_ms * 1e-3;
    deployment.costs.decode_s = options.step_seq_us * 1e-6;
    deployment.costs.context_token_s = options.step_context_ns * 1e-9;
    deployment.costs.prefill_token_s = options.step_prefill_us * 1e-6;
    if (deployment.kv_blocks == 0) deployment.kv_blocks = kBlocksWithoutHardware;
    deployment.description = deployment.model + ", continuous batching with given step times";
  } else {
    const absl::StatusOr<ModelSpec> model = FindModel(deployment.model, options.parameters_b);
    if (!model.ok()) return model.status();
    const absl::StatusOr<GpuSpec> gpu = FindGpu(options.gpu);
    if (!gpu.ok()) return gpu.status();
    const int gpus = options.tensor_parallel_size;
    const double bits = options.weight_bits > 0 ? options.weight_bits : model->weight_bits;
    const Memory memory = MemoryOf(*model, *gpu, bits, options.gpu_memory_utilization, gpus);
    const double block_bytes = memory.kv_bytes_per_token * options.block_size;
    if (memory.kv_bytes < block_bytes) return DoesNotFit(options, *model, *gpu, bits);
    if (deployment.kv_blocks == 0) deployment.kv_blocks = static_cast<int64_t>(memory.kv_bytes / block_bytes);
    deployment.costs = CostsOf(*model, *gpu, memory, gpus);
    deployment.weights_gb_per_gpu = memory.weights_bytes / gpus / 1e9;
    longest = model->max_model_len;
    deployment.description =
        deployment.model + " on " + std::to_string(gpus) + " × " + gpu->name + ", continuous batching";
  }

  const int64_t capacity = deployment.kv_blocks * options.block_size;
  if (options.max_model_len > capacity) {
    return absl::InvalidArgumentError("sim option 'max_model_len' is " +
                                      std::to_string(options.max_model_len) +
                                      ", but the KV cache holds only " + std::to_string(capacity) +
                                      " tokens; lower it, or give the model more memory.");
  }
  deployment.max_model_len = options.max_model_len > 0 ? options.max_model_len
                             : longest > 0             ? std::min(longest, capacity)
                                                       : capacity;
  return deployment;
}

}  // namespace llmbench::sim
