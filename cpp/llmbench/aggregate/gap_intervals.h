// Intervals of the mean and the percentiles of gaps, of which a request has many that hang together.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "llmbench/aggregate/gap_sample.h"
#include "llmbench/aggregate/intervals.h"

namespace llmbench {

struct GapIntervals {
  Interval mean;
  std::vector<Interval> percentiles;
};

// Request j with m gaps, k of them at most the percentile, contributes k − p·m to a sum whose variance, with
// the τ of that series, is the percentile's: requests count, not gaps. `send_order` has the sample's requests
// in the order in which they were sent; `moments` and `values` are those of the view, at `percents`; of an
// empty one they do not matter. Nanoseconds.
GapIntervals IntervalsOfGaps(const GapView& view, std::span<const uint32_t> send_order,
                             const GapView::Moments& moments, std::span<const double> percents,
                             std::span<const double> values);

}  // namespace llmbench
