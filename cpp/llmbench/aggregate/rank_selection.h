// Order statistics of a sequence too large to copy, to sort or to reorder: it is only walked, once per digit.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "llmbench/aggregate/parallel.h"

namespace llmbench {

// The elements under one prefix of the key, by the digit after it.
struct DigitCounts {
  static constexpr int kBits = 16;
  static constexpr size_t kRadix = size_t{1} << kBits;
  static constexpr uint32_t kNowhere = ~uint32_t{0};

  DigitCounts() : counts(kRadix), next(kRadix, kNowhere) {}

  std::vector<uint64_t> counts;  // weights
  std::vector<uint32_t> next;    // the same of the next digit, by their place in the list of all
};

// Keys below 2^(16 · kDigits). `for_each(part, fn)` calls fn(key, weight) for every element of a part, always
// in full and from several threads for different parts; an element stands for `weight` of its kind. Returns
// the key at each of `ranks`, positions from 0 in the sorted sequence, each below the sum of the weights.
// Counts by the leading 16 bits, then, where a rank falls, by the next: memory is 768 KB for each different
// prefix that a rank falls under, and 512 KB for each further thread.
template <int kDigits, typename ForEach>
std::vector<uint64_t> SelectKeys(const ForEach& for_each, size_t parts, size_t threads,
                                 std::span<const uint64_t> ranks) {
  constexpr int kBits = DigitCounts::kBits;
  constexpr size_t kRadix = DigitCounts::kRadix;
  constexpr uint32_t kNowhere = DigitCounts::kNowhere;
  struct Target {
    uint64_t left;  // rank within the node
    uint32_t node = 0;
    uint64_t key = 0;
  };
  std::array<std::vector<DigitCounts>, kDigits + 1> levels;
  levels[0].resize(1);
  std::vector<Target> targets;
  for (const uint64_t rank : ranks) targets.push_back({rank});
  for (int depth = 0; depth < kDigits; ++depth) {
    std::vector<DigitCounts>& nodes = levels[static_cast<size_t>(depth)];
    // Each thread counts for itself: the first one where all will be, the others beside.
    std::vector<std::vector<uint64_t>> beside(threads);
    for (size_t thread = 1; thread < threads; ++thread) beside[thread].resize(nodes.size() * kRadix);
    InParallel(parts, threads, [&](size_t thread, size_t part) {
      for_each(part, [&levels, &nodes, &mine = beside[thread], thread, depth](uint64_t key, uint64_t weight) {
        uint32_t node = 0;
        int shift = kBits * (kDigits - 1);
        for (int level = 0; level < depth; ++level, shift -= kBits) {
          node = levels[static_cast<size_t>(level)][node].next[(key >> shift) % kRadix];
          if (node == kNowhere) return;
        }
        const size_t digit = (key >> shift) % kRadix;
        (thread == 0 ? nodes[node].counts[digit] : mine[node * kRadix + digit]) += weight;
      });
    });
    for (size_t thread = 1; thread < threads; ++thread) {
      for (size_t i = 0; i < beside[thread].size(); ++i)
        nodes[i / kRadix].counts[i % kRadix] += beside[thread][i];
    }
    std::vector<DigitCounts>& children = levels[static_cast<size_t>(depth) + 1];
    for (Target& target : targets) {
      DigitCounts& node = nodes[target.node];
      size_t digit = 0;
      while (digit + 1 < kRadix && target.left >= node.counts[digit]) target.left -= node.counts[digit++];
      target.key = target.key << kBits | digit;
      if (depth + 1 == kDigits) continue;
      if (node.next[digit] == kNowhere) {
        node.next[digit] = static_cast<uint32_t>(children.size());
        children.emplace_back();
      }
      target.node = node.next[digit];
    }
  }
  std::vector<uint64_t> keys;
  for (const Target& target : targets) keys.push_back(target.key);
  return keys;
}

}  // namespace llmbench
