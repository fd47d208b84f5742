#include "llmbench/aggregate/latency_histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <numeric>

namespace llmbench {
namespace {

// Values below this are their own index; above, each power of two has kSubBuckets buckets.
constexpr int kLinearBits = LatencyHistogram::kSubBucketBits + 1;
constexpr size_t kSubBuckets = size_t{1} << LatencyHistogram::kSubBucketBits;
constexpr size_t kLinear = size_t{1} << kLinearBits;
constexpr int kMaxBits = std::bit_width(static_cast<uint64_t>(LatencyHistogram::kMaxNs));
constexpr size_t kBuckets = kLinear + static_cast<size_t>(kMaxBits - kLinearBits) * kSubBuckets;

}  // namespace

LatencyHistogram::LatencyHistogram() : counts_(kBuckets) {}

size_t LatencyHistogram::IndexOf(int64_t value_ns) {
  const auto value = static_cast<uint64_t>(std::clamp<int64_t>(value_ns, 0, kMaxNs));
  if (value < kLinear) return static_cast<size_t>(value);
  // How far to shift so that kSubBucketBits + 1 significant bits are left; the leading one is implied by the
  // power of two.
  const int shift = std::bit_width(value) - kLinearBits;
  return kLinear + static_cast<size_t>(shift - 1) * kSubBuckets +
         (static_cast<size_t>(value >> shift) - kSubBuckets);
}

int64_t LatencyHistogram::LowerBound(size_t index) {
  if (index < kLinear) return static_cast<int64_t>(index);
  const size_t power = (index - kLinear) / kSubBuckets + 1;
  const size_t part = (index - kLinear) % kSubBuckets + kSubBuckets;
  return static_cast<int64_t>(part << power);
}

void LatencyHistogram::RecordN(int64_t value_ns, uint64_t count) {
  if (count == 0) return;
  value_ns = std::max<int64_t>(value_ns, 0);
  counts_[IndexOf(value_ns)] += count;
  min_ = count_ == 0 ? value_ns : std::min(min_, value_ns);
  max_ = count_ == 0 ? value_ns : std::max(max_, value_ns);
  count_ += count;
  sum_ += static_cast<double>(value_ns) * static_cast<double>(count);
}

void LatencyHistogram::Merge(const LatencyHistogram& other) {
  if (other.count_ == 0) return;
  for (size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
  min_ = count_ == 0 ? other.min_ : std::min(min_, other.min_);
  max_ = count_ == 0 ? other.max_ : std::max(max_, other.max_);
  count_ += other.count_;
  sum_ += other.sum_;
}

void LatencyHistogram::Clear() {
  std::fill(counts_.begin(), counts_.end(), 0);
  count_ = 0;
  min_ = max_ = 0;
  sum_ = 0;
}

double LatencyHistogram::ShareFrom(int64_t value_ns) const {
  if (count_ == 0) return 0;
  const auto first = counts_.begin() + static_cast<std::ptrdiff_t>(IndexOf(value_ns));
  return static_cast<double>(std::accumulate(first, counts_.end(), uint64_t{0})) /
         static_cast<double>(count_);
}

double LatencyHistogram::mean() const { return count_ == 0 ? 0 : sum_ / static_cast<double>(count_); }

int64_t LatencyHistogram::Percentile(double p) const {
  if (count_ == 0) return 0;
  // 0.999 of 50 000 comes out as 49950.00000000001, which is not meant to be the next rank.
  const double wanted = std::ceil(std::clamp(p, 0.0, 1.0) * static_cast<double>(count_) - 1e-6);
  const uint64_t rank = std::clamp<uint64_t>(static_cast<uint64_t>(wanted), 1, count_);
  if (rank == count_) return max_;
  uint64_t seen = 0;
  size_t index = IndexOf(min_);
  while ((seen += counts_[index]) < rank) ++index;
  const int64_t lower = LowerBound(index);
  const int64_t upper = LowerBound(index + 1) - 1;
  return std::clamp(lower + (upper - lower) / 2, min_, max_);
}

}  // namespace llmbench
