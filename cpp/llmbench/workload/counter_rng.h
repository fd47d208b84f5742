// Chance by number: the same seed, stream and counter give the same value on every machine, in any order.
//
// Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC'11). A
// schedule that must not depend on the number of workers draws the value of request i from counter i.
#pragma once

#include <array>
#include <cstdint>

namespace llmbench {

// Which question chance answers. Streams with the same seed are independent.
enum class ChanceStream : uint32_t { kWhen = 1, kWhat = 2, kWhere = 3, kSim = 4 };

class CounterRng {
 public:
  CounterRng(uint64_t seed, ChanceStream stream);

  // 128 random bits for this counter.
  std::array<uint32_t, 4> Block(uint64_t counter) const;
  uint64_t Bits(uint64_t counter) const;
  // Uniform in the open interval (0, 1), in steps of 2^-52.
  double Uniform(uint64_t counter) const;
  // Uniform in [0, bound), without bias worth speaking of (multiply-shift on 64 bits).
  uint64_t Below(uint64_t counter, uint64_t bound) const;

 private:
  uint64_t seed_;
  uint32_t stream_;
};

}  // namespace llmbench
