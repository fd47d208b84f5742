// A large sample of gaps between events, four bytes each: a hundred million of them fit in 400 MB.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace llmbench {

// Exact. Gaps of 4.29 s and more, which do not fit in 32 bits, are kept apart: they are rare, and all of them
// sort after all others.
class GapSample {
 public:
  void Reserve(size_t gaps) { short_.reserve(gaps); }
  void Add(int64_t gap_ns) {  // negative ones count as 0
    if (gap_ns < kLongNs) {
      short_.push_back(gap_ns > 0 ? static_cast<uint32_t>(gap_ns) : 0);
    } else {
      long_.push_back(gap_ns);
    }
  }

  size_t size() const { return short_.size() + long_.size(); }
  // Nanoseconds; the sample is not empty.
  double Mean() const;
  double StandardDeviation(double mean) const;  // of the population
  double Min() const;
  double Max() const;
  // As llmbench::Percentiles, in nanoseconds. Reorders the sample.
  std::vector<double> Percentiles(std::span<const double> percents);

 private:
  static constexpr int64_t kLongNs = int64_t{1} << 32;

  double At(size_t rank) const;

  std::vector<uint32_t> short_;
  std::vector<int64_t> long_;
};

}  // namespace llmbench
