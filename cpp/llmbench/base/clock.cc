#include "llmbench/base/clock.h"

#include <cstdlib>
#include <limits>

namespace llmbench {

void KernelClock::Refresh(int64_t now_ns) {
  int64_t best_width = std::numeric_limits<int64_t>::max();
  int64_t best_offset = 0;
  for (int i = 0; i < kReadings; ++i) {
    const int64_t before = MonotonicNs();
    const int64_t real = RealtimeNs();
    const int64_t after = MonotonicNs();
    if (after - before < best_width) {
      best_width = after - before;
      best_offset = real - (before + (after - before) / 2);
    }
  }
  if (known_ && std::abs(best_offset - offset_ns_) > kStepNs) ++steps_;
  offset_ns_ = best_offset;
  uncertainty_ns_ = best_width / 2;
  refreshed_ns_ = now_ns;
  known_ = true;
}

}  // namespace llmbench
