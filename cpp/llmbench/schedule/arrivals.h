// When requests should go: arrival processes, planned before the run and never moved by lateness.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "llmbench/workload/counter_rng.h"

namespace llmbench {

enum class Arrival : uint8_t {
  kClosed,    // the next request goes when one ends: no plan in time
  kBurst,     // all at 0
  kConstant,  // gaps of 1/rate
  kPoisson,   // exponential gaps of mean 1/rate
  kGamma,     // gamma gaps of mean 1/rate and squared coefficient of variation 1/burstiness
  kTrace,     // given times
};

enum class RampUp : uint8_t { kNone, kLinear, kExponential };

struct ArrivalSpec {
  Arrival kind = Arrival::kBurst;
  double rate = 0;        // requests per second, > 0 for constant, Poisson and gamma
  double burstiness = 1;  // gamma's shape, > 0; 1 is Poisson
  uint64_t seed = 0;
  std::vector<int64_t> trace_ns;  // non-decreasing offsets from the start
  // Open loop: the rate goes from start_rate to rate over the first ramp_requests requests. Closed loop: the
  // first requests of the slots are spread over ramp_s seconds, uniformly at random (seeded) or linearly.
  RampUp ramp = RampUp::kNone;
  double ramp_start_rate = 0;
  uint64_t ramp_requests = 0;
  double closed_ramp_s = 0;
  bool closed_ramp_random = false;
};

// Gives the planned offsets of requests 0, 1, 2, … in order, as nanoseconds from the start of the load. Every
// worker walks the whole plan and keeps what is its own, so the plan does not depend on how many workers
// there are.
class ArrivalProcess {
 public:
  virtual ~ArrivalProcess() = default;
  // Offset of the next request; never less than the one before. INT64_MAX when the plan (a trace) is at its
  // end.
  virtual int64_t NextOffset() = 0;
};

// Errors name the value that cannot be: a rate or burstiness that is not positive, a trace that goes back in
// time.
absl::StatusOr<std::unique_ptr<ArrivalProcess>> MakeArrivalProcess(const ArrivalSpec& spec);

// The offset at which slot k of n starts under a closed loop.
int64_t ClosedLoopStart(const ArrivalSpec& spec, uint64_t slot, uint64_t slots);

}  // namespace llmbench
