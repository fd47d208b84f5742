// Well-known models and GPUs, as their public configurations and data sheets describe them.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace llmbench::sim {

struct ModelSpec {
  std::string name;     // lower case, without the owner; matches longer names that begin with it
  double parameters_b;  // billions
  double active_b;      // of these, used per token
  int layers;
  int hidden;
  int kv_dim;  // key (or value) elements of one token in one layer: KV heads × head size
  int max_model_len;
  double weight_bits = 16;  // as published
  int experts = 1;
  int experts_per_token = 1;
};

struct GpuSpec {
  std::string name;
  double memory_gb;        // 10^9 bytes
  double bandwidth_tb_s;   // memory
  double tflops;           // dense, 16-bit
  double link_gb_s;        // to its peers, one direction
  double link_latency_us;  // of one small all-reduce, per doubling of the GPUs
};

const std::vector<ModelSpec>& ModelPresets();
const std::vector<GpuSpec>& GpuPresets();

// The preset, or a dense model of the size that the name tells ("my-13b") or that is given in billions (0:
// not given). InvalidArgument with the nearest preset otherwise.
absl::StatusOr<ModelSpec> FindModel(const std::string& name, double parameters_b);

// By name, whatever its case and hyphens.
absl::StatusOr<GpuSpec> FindGpu(const std::string& name);

}  // namespace llmbench::sim
