// What is sent: ready-made request bodies, and the seeded order in which they are drawn.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "llmbench/workload/counter_rng.h"

namespace llmbench {

class Workload {
 public:
  struct Item {
    std::string_view body;    // the request's body, byte for byte; lives as long as the workload
    int32_t prompt_tokens;    // -1 when unknown
    int32_t asked_tokens;     // -1 when unknown
    std::string_view prompt;  // as the server sees it, for formats that repeat it; empty when not kept
  };

  void Add(std::string_view body, int32_t prompt_tokens, int32_t asked_tokens, std::string_view prompt = {});
  size_t size() const { return items_.size(); }
  Item operator[](size_t i) const;

 private:
  struct Entry {
    uint64_t offset;  // of the body; the prompt lies behind it
    uint32_t size, prompt_size;
    int32_t prompt_tokens, asked_tokens;
  };
  std::string bytes_;
  std::vector<Entry> items_;
};

enum class DrawOrder : uint8_t { kInOrder, kShuffled, kWithReplacement };

// Which item request i sends. In order and shuffled wrap around: request size() + k draws what request k
// drew.
class DrawSequence {
 public:
  DrawSequence(size_t size, DrawOrder order, uint64_t seed);
  uint32_t At(uint64_t request) const;

 private:
  size_t size_;
  DrawOrder order_;
  CounterRng rng_;
  std::vector<uint32_t> shuffled_;
};

}  // namespace llmbench
