// How long one step of the simulated engine takes: linear in what the step contains.
//
//   t = a + p·P + q·A + b·B + c·C + (tensor parallelism) latency + m·(P + B)
//
// P prompt tokens computed, A (prompt token, earlier token) pairs that attention looks at, B sequences
// decoded, C tokens of context that they read. For a mixture of experts, `a` grows with the share of experts
// that the step's tokens touch.
#pragma once

#include <cmath>
#include <cstdint>

namespace llmbench::sim {

struct StepLoad {
  int64_t prefill_tokens = 0;
  double prefill_pairs = 0;
  int64_t decodes = 0;
  int64_t context_tokens = 0;

  bool empty() const { return prefill_tokens == 0 && decodes == 0; }
};

// Seconds.
struct StepCosts {
  double base_s = 0;           // a: host work, launches, and reading the weights that every token uses
  double experts_s = 0;        // reading all experts once; 0 for a dense model
  double expert_share = 1;     // experts per token / experts
  double prefill_token_s = 0;  // p
  double prefill_pair_s = 0;   // q
  double decode_s = 0;         // b
  double context_token_s = 0;  // c
  double link_latency_s = 0;   // all-reduces of one step that carry next to nothing
  double link_token_s = 0;     // m: all-reduce bytes of one token

  double Seconds(const StepLoad& load) const {
    const auto tokens = static_cast<double>(load.prefill_tokens + load.decodes);
    double seconds = base_s + link_latency_s + link_token_s * tokens;
    if (experts_s > 0) seconds += experts_s * (1 - std::pow(1 - expert_share, tokens));
    seconds +=
        prefill_token_s * static_cast<double>(load.prefill_tokens) + prefill_pair_s * load.prefill_pairs;
    seconds += decode_s * static_cast<double>(load.decodes) +
               context_token_s * static_cast<double>(load.context_tokens);
    return seconds;
  }
};

}  // namespace llmbench::sim
