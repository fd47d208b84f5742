// A large sample of gaps between events, request by request, four bytes each: a hundred million of them fit
// in 400 MB.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace llmbench {

// Some of a request's gaps: [first, last) of their numbers within it.
struct GapRange {
  uint32_t first = 0, last = 0;
};

// Exact, in the order in which gaps were added. Gaps of 4.29 s and more, which do not fit in 32 bits, are
// kept apart; they are rare.
class GapSample {
 public:
  void Reserve(size_t gaps, size_t requests);
  // The gap before an event with so many tokens, at least 1. Negative gaps count as 0, and more than 65535
  // tokens as that many.
  void Add(int64_t gap_ns, uint32_t tokens = 1);
  // The gaps since the last call are those of one request, which may have none. `tokens_known`: their numbers
  // of tokens are true.
  void EndRequest(bool tokens_known);

  size_t gaps() const { return short_.size(); }
  size_t requests() const { return sizes_.size(); }
  bool tokens_known(size_t request) const { return tokens_known_[request]; }
  bool several_tokens() const { return !tokens_.empty(); }  // of some gap

 private:
  friend class GapView;
  friend std::vector<GapRange> RangesWithin(const GapSample& sample, std::span<const int64_t> first_ns,
                                            int64_t begin_ns, int64_t end_ns);
  static constexpr uint32_t kLong = ~uint32_t{0};  // stands for the next of long_

  std::vector<uint32_t> short_;
  std::vector<int64_t> long_;
  std::vector<uint16_t> tokens_;  // one per gap once a gap had several, otherwise empty
  std::vector<uint32_t> sizes_;   // gaps of each request
  std::vector<bool> tokens_known_;
  size_t closed_ = 0;
};

// Of every request, the gaps whose end lies in [begin_ns, end_ns). `first_ns` has the time of each request's
// first event.
std::vector<GapRange> RangesWithin(const GapSample& sample, std::span<const int64_t> first_ns,
                                   int64_t begin_ns, int64_t end_ns);

enum class GapUnit { kChunks, kTokens };

// A sample's gaps between chunks; or between tokens: a gap before an event of k tokens is k gaps of a k-th of
// it, and requests whose tokens are not known are left out. `ranges`, one per request, leaves out more; null
// leaves out nothing. The sample and the ranges outlive it and do not change. Large ones are walked by
// several threads, at most `threads` (0: one per processor); the results are the same for any number of them.
// Nanoseconds; Describe asks for a view that is not empty.
class GapView {
 public:
  GapView(const GapSample& sample, GapUnit unit, const std::vector<GapRange>* ranges = nullptr,
          size_t threads = 1);

  uint64_t size() const { return size_; }
  struct Moments {
    double mean, deviation, min, max;  // deviation: of the population
  };
  Moments Describe() const;
  // The values at these positions of the sorted view, in their order.
  std::vector<double> AtRanks(std::span<const uint64_t> ranks) const;
  std::vector<double> Percentiles(std::span<const double> percents) const;  // as llmbench::Percentiles

  // By request, in the order of the sample: how many gaps, their sum, and how many are at most each of
  // `levels`.
  struct PerRequest {
    std::vector<uint32_t> sizes;
    std::vector<double> sums;
    std::vector<std::vector<uint32_t>> at_most;
  };
  PerRequest ByRequest(std::span<const double> levels) const;

 private:
  // Where a part of the sample begins.
  struct Mark {
    size_t request = 0, gap = 0, long_gap = 0;
  };

  // Calls fn(request, gap_ns, tokens) for each gap of a part.
  template <typename Fn>
  void ForEach(size_t part, Fn&& fn) const;
  size_t parts() const { return marks_.size() - 1; }
  void CutIntoParts();
  bool Leaves(size_t request) const { return unit_ == GapUnit::kTokens && !sample_.tokens_known_[request]; }
  bool weighted() const { return unit_ == GapUnit::kTokens && sample_.several_tokens(); }

  const GapSample& sample_;
  const GapUnit unit_;
  const std::vector<GapRange>* const ranges_;
  std::vector<Mark> marks_;  // of every part, and the sample's end
  size_t threads_;
  uint64_t size_ = 0;
};

}  // namespace llmbench
