// Time as the whole program sees it: nanoseconds on CLOCK_MONOTONIC.
#pragma once

#include <time.h>

#include <cstdint>

namespace llmbench {

inline constexpr int64_t kNsPerUs = 1'000;
inline constexpr int64_t kNsPerMs = 1'000'000;
inline constexpr int64_t kNsPerSecond = 1'000'000'000;

inline int64_t ToNs(const timespec& t) { return int64_t{t.tv_sec} * kNsPerSecond + t.tv_nsec; }

inline int64_t MonotonicNs() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return ToNs(t);
}

inline int64_t RealtimeNs() {
  timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return ToNs(t);
}

// Maps the kernel's receive times, which are CLOCK_REALTIME, onto CLOCK_MONOTONIC.
//
// The offset is the best of kReadings bracketed readings and is taken anew every second. A jump of more than
// kStepNs between two readings is a step of the wall clock (an administrator, a suspended machine): it is
// counted, and the new offset is used from then on. Not thread-safe: each worker owns one.
class KernelClock {
 public:
  static constexpr int kReadings = 20;
  static constexpr int64_t kStepNs = kNsPerMs;

  KernelClock() { Refresh(MonotonicNs()); }

  // Takes the offset anew when a second has passed since the last time.
  void MaybeRefresh(int64_t now_ns) {
    if (now_ns - refreshed_ns_ >= kNsPerSecond) Refresh(now_ns);
  }
  void Refresh(int64_t now_ns);

  int64_t ToMonotonic(int64_t realtime_ns) const { return realtime_ns - offset_ns_; }

  // Half the width of the bracket the offset was read in: what a kernel stamp may be off by.
  int64_t uncertainty_ns() const { return uncertainty_ns_; }
  int steps() const { return steps_; }

 private:
  int64_t offset_ns_ = 0;
  int64_t uncertainty_ns_ = 0;
  int64_t refreshed_ns_ = 0;
  int steps_ = 0;
  bool known_ = false;
};

}  // namespace llmbench
