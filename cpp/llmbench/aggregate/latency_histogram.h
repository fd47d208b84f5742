// A mergeable log-linear histogram of non-negative nanoseconds: relative error at most 0.1 %, fixed memory.
//
// Each power of two is cut into kSubBuckets equal parts, as in HdrHistogram. Exact percentiles come from rows
// (percentiles.h); this is for live display, client evidence and for merging runs later.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace llmbench {

class LatencyHistogram {
 public:
  static constexpr int kSubBucketBits =
      10;  // 1024 parts of each power of two above 2^11: width / value <= 1/1024 < 0.1 %
  static constexpr int64_t kMaxNs = (int64_t{1} << 43) - 1;  // 2.4 hours; larger values count as this

  LatencyHistogram();

  void Record(int64_t value_ns) { RecordN(value_ns, 1); }  // negative values count as 0
  void RecordN(int64_t value_ns, uint64_t count);
  void Merge(const LatencyHistogram& other);
  void Clear();

  uint64_t count() const { return count_; }
  int64_t min() const { return count_ ? min_ : 0; }  // exact; 0 when empty
  int64_t max() const { return count_ ? max_ : 0; }  // exact; 0 when empty
  double mean() const;                               // exact; 0 when empty
  // The smallest bucket's middle such that at least p of all values lie at or below it. p in [0, 1].
  // 0 when empty.
  int64_t Percentile(double p) const;
  // The share of values in the bucket of `value_ns` or above it: those at least so large, and at most 0.1 %
  // smaller. 0 when empty.
  double ShareFrom(int64_t value_ns) const;

  // Bucket counts, for storing and merging elsewhere; index ↔ value by these two.
  std::span<const uint64_t> counts() const { return counts_; }
  static size_t IndexOf(int64_t value_ns);
  static int64_t LowerBound(size_t index);

 private:
  std::vector<uint64_t> counts_;
  uint64_t count_ = 0;
  int64_t min_ = 0, max_ = 0;
  double sum_ = 0;
};

}  // namespace llmbench
