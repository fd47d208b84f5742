// Which of several endpoints a request goes to.
//
// One per run, shared by its workers: the choice does not depend on how many there are, except that the
// number of requests in flight, which least-in-flight looks at, never comes twice the same way.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "llmbench/engine/planned_request.h"
#include "llmbench/record/outcome.h"
#include "llmbench/workload/counter_rng.h"

namespace llmbench {

enum class Balancing : uint8_t {
  kRoundRobin,     // by the request's number: equal shares
  kRandom,         // by the seed and the request's number
  kLeastInFlight,  // the endpoint with the fewest requests of all workers; ties go round
  kSticky,         // closed loop: slot k has its endpoint; open loop: a workload's item has
};

class Balancer {
 public:
  // `give_up_after`: an endpoint whose first so many requests have all failed is given up; 0: never.
  Balancer(Balancing balancing, int endpoints, uint64_t seed, int64_t give_up_after);

  // The endpoint of a request that starts now; Ended is to be called when it is over. Any thread.
  int32_t Choose(const PlannedRequest& request);
  void Ended(const PlannedRequest& request);

  // Where a connection goes that is opened beforehand for `request`, one of the first of the plan. Where it
  // is not known what that request will choose, `turn` shares them out.
  int32_t ChooseWarm(const PlannedRequest& request, int64_t turn) const;

  // Learns how a request ended. An endpoint that is given up gets no more requests by least-in-flight (as it
  // fails at once, it would always have the fewest) and sticky (its slots would use up the whole plan).
  // Round-robin and random do not look: their shares are what they promise. True when this was the last
  // endpoint: there is nobody left.
  bool Note(const PlannedRequest& request, Outcome outcome);
  bool given_up(int32_t endpoint) const {
    return states_[static_cast<size_t>(endpoint)].given_up.load(std::memory_order_relaxed);
  }

 private:
  // A cache line each: every worker writes here once a request.
  struct alignas(64) State {
    std::atomic<int64_t> in_flight{0};
    std::atomic<int64_t> failures{0};
    std::atomic<bool> any_ok{false};
    std::atomic<bool> given_up{false};
  };

  int32_t Preferred(const PlannedRequest& request) const;
  int32_t LeastInFlight(int32_t first) const;

  const Balancing balancing_;
  const int32_t endpoints_;
  const int64_t give_up_after_;
  const CounterRng rng_;
  std::vector<State> states_;
  std::atomic<int32_t> given_up_{0};
};

}  // namespace llmbench
