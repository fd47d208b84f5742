#include "llmbench/workload/counter_rng.h"

namespace llmbench {
namespace {

constexpr uint32_t kMultiplier0 = 0xD2511F53;
constexpr uint32_t kMultiplier1 = 0xCD9E8D57;
constexpr uint32_t kWeyl0 = 0x9E3779B9;  // golden ratio
constexpr uint32_t kWeyl1 = 0xBB67AE85;  // sqrt(3) - 1
constexpr int kRounds = 10;

}  // namespace

CounterRng::CounterRng(uint64_t seed, ChanceStream stream)
    : seed_(seed), stream_(static_cast<uint32_t>(stream)) {}

std::array<uint32_t, 4> CounterRng::Block(uint64_t counter) const {
  std::array<uint32_t, 4> x = {static_cast<uint32_t>(counter), static_cast<uint32_t>(counter >> 32), stream_,
                               0};
  uint32_t key0 = static_cast<uint32_t>(seed_);
  uint32_t key1 = static_cast<uint32_t>(seed_ >> 32);
  for (int round = 0; round < kRounds; ++round) {
    const uint64_t product0 = uint64_t{kMultiplier0} * x[0];
    const uint64_t product1 = uint64_t{kMultiplier1} * x[2];
    x = {static_cast<uint32_t>(product1 >> 32) ^ x[1] ^ key0, static_cast<uint32_t>(product1),
         static_cast<uint32_t>(product0 >> 32) ^ x[3] ^ key1, static_cast<uint32_t>(product0)};
    key0 += kWeyl0;
    key1 += kWeyl1;
  }
  return x;
}

uint64_t CounterRng::Bits(uint64_t counter) const {
  const auto block = Block(counter);
  return uint64_t{block[1]} << 32 | block[0];
}

double CounterRng::Uniform(uint64_t counter) const {
  // 52 bits and a half: never 0, never 1.
  return (static_cast<double>(Bits(counter) >> 12) + 0.5) * 0x1p-52;
}

uint64_t CounterRng::Below(uint64_t counter, uint64_t bound) const {
  __extension__ using Wide = unsigned __int128;
  return static_cast<uint64_t>(static_cast<Wide>(Bits(counter)) * bound >> 64);
}

}  // namespace llmbench
