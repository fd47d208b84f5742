// One worker's share of the plan: which requests are its own and when they go. Knows neither sockets nor
// clocks.
//
// Of W workers, worker w has the requests whose number leaves the remainder w. Numbers, times and bodies do
// not depend on W.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <utility>

#include "llmbench/engine/planned_request.h"
#include "llmbench/engine/run.h"
#include "llmbench/schedule/arrivals.h"
#include "llmbench/workload/workload.h"

namespace llmbench {

// total cut into `parts`; the first ones take what does not divide.
int64_t Share(int64_t total, int parts, int index);

class PlanShare {
 public:
  // Both outlive the share.
  PlanShare(const RunConfig& config, const DrawSequence& draw, int worker);

  // Warm-up by count, before the load. Its requests are numbered -1, -2, … over all workers and take the
  // workload's items behind those of the load, so that no prompt is sent twice where there are enough.
  int64_t warmups_left() const { return warmups_left_; }
  int64_t warmup_concurrency() const;
  PlannedRequest TakeWarmup(int64_t scheduled_ns);

  // The load starts at start_ns.
  void BeginLoad(int64_t start_ns);

  // When the next request with a time of its own goes: an arrival, or the first request of a closed loop's
  // slot. INT64_MAX when there is none.
  int64_t next_due_ns() const { return closed_ ? SlotDue() : planned_ns_; }
  PlannedRequest TakeDue();

  // Closed loop: whether a slot that became free has another request of this worker, and that request.
  // now_ns: when it starts, which decides whether it still belongs to the warm-up. The caller knows the slot.
  bool HasNext() const { return closed_ && quota_ > measured_starts_; }
  PlannedRequest TakeNext(int64_t scheduled_ns, int64_t now_ns);

  // Nothing is left to start.
  bool over() const { return next_due_ns() == kNever && !HasNext(); }
  // Sending ends here, INT64_MAX without a duration.
  int64_t load_end_ns() const { return load_end_ns_; }
  // Forgets what is left.
  void Abandon();

 private:
  static constexpr int64_t kNever = INT64_MAX;

  int64_t SlotDue() const {
    return slot_starts_.empty() || quota_ == 0 ? kNever : slot_starts_.front().first;
  }
  PlannedRequest Make(int64_t id, int64_t scheduled_ns, int64_t now_ns) const;
  PlannedRequest CountClosed(PlannedRequest request);
  void PlanNextArrival();

  const RunConfig& config_;
  const DrawSequence& draw_;
  const int worker_;
  const bool closed_;
  int64_t warmups_left_;
  int64_t warmups_taken_ = 0;
  int64_t start_ns_ = 0;
  int64_t measure_from_ns_ = 0;  // start_ns_ + warm-up duration
  int64_t load_end_ns_ = kNever;

  // Open loop.
  std::unique_ptr<ArrivalProcess> arrivals_;
  int64_t cursor_ = 0;           // requests drawn from arrivals_, of all workers
  int64_t warmup_requests_ = 0;  // how many of them fell into the warm-up duration
  int64_t planned_id_ = 0;
  int64_t planned_ns_ = kNever;

  // Closed loop.
  int64_t quota_ = 0;            // measured requests still to start
  int64_t measured_starts_ = 0;  // of slot_starts_, those whose requests quota_ counts
  int64_t next_id_ = 0;
  std::deque<std::pair<int64_t, int64_t>>
      slot_starts_;  // (time, number) of the first request of each own slot
};

}  // namespace llmbench
