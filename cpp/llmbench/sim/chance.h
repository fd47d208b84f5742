// The simulator's chances: every question has its own stream of every replica, all from one seed.
#pragma once

#include <cstdint>

#include "llmbench/workload/counter_rng.h"

namespace llmbench::sim {

enum class Question : uint64_t { kOutputEnd = 1, kFault = 2, kIdleClose = 3, kStepTime = 4 };

inline CounterRng ChanceOf(Question question, uint64_t seed, uint64_t replica) {
  // Distinct keys for distinct (question, replica) of one seed: an odd multiplier is a bijection on 64 bits.
  const uint64_t key = (replica << 8 | static_cast<uint64_t>(question)) * 0x9E3779B97F4A7C15u;
  return CounterRng(seed ^ key, ChanceStream::kSim);
}

}  // namespace llmbench::sim
