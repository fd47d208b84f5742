// What all workers of a run look at: its configuration, where requests go, and the few shared flags.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "llmbench/engine/balancer.h"
#include "llmbench/engine/endpoint.h"
#include "llmbench/engine/run.h"
#include "llmbench/schedule/slot_limiter.h"
#include "llmbench/workload/workload.h"

namespace llmbench {

class Worker;

// An endpoint as the workers need it: made ready once, before any of them starts.
struct Target {
  Endpoint endpoint;
  std::string head;                    // MakeRequestHead
  std::vector<std::string> addresses;  // empty with a proxy or a Unix socket
};

struct LoadPlan {
  LoadPlan(RunConfig the_config, int64_t free_slots);
  ~LoadPlan();

  RunConfig config;
  DrawSequence draw;
  std::vector<Target> targets;  // as config.endpoints
  std::unique_ptr<Balancer> balancer;
  // Open loop: free places under the cap. Closed loop: slots whose worker has no more requests for them.
  SlotLimiter limiter;
  // Closed loop: the numbers of those slots.
  std::mutex spare_slots_mutex;
  std::vector<int32_t> spare_slots;

  std::atomic<int> ready{0};            // workers that are connected and warm
  std::atomic<int64_t> start_ns{0};     // t0; 0 until all are ready
  std::atomic<bool> stop{false};        // no new requests
  std::atomic<bool> cancel{false};      // cut what is running
  std::atomic<bool> all_failed{false};  // stopped because of abort_after_failures
  std::vector<std::unique_ptr<Worker>> workers;
  // Called once, by the worker that became ready last, just before the load starts.
  std::function<void(int64_t start_ns)> on_start;

  void WakeAll() const;
};

}  // namespace llmbench
