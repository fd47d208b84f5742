// A request as the plan knows it: which one, when, and what it sends.
#pragma once

#include <cstdint>

#include "llmbench/record/request_record.h"

namespace llmbench {

// Times are CLOCK_MONOTONIC.
struct PlannedRequest {
  int64_t id = 0;
  int64_t scheduled_ns = 0;
  int64_t slot_ns = kNoTime;  // when it had its place under the concurrency limit
  int32_t workload = 0;
  int32_t slot = -1;     // closed loop: number of the slot it runs in
  int32_t endpoint = 0;  // chosen when it starts
  int32_t attempts = 0;  // tries so far
  Phase phase = Phase::kMeasure;
  bool slot_waited = false;
  bool connection_waited = false;  // none was free when it had its slot
  bool fresh = false;              // needs a connection nobody used before
};

}  // namespace llmbench
