// What a worker and its transport share: the loop, the clock, where rows go, and the numbers both count.
#pragma once

#include <atomic>
#include <cstdint>
#include <ctime>

#include "llmbench/base/clock.h"
#include "llmbench/engine/event_loop.h"
#include "llmbench/engine/load_plan.h"
#include "llmbench/engine/run.h"
#include "llmbench/record/recorder.h"

namespace llmbench {

// Adds to a counter that one thread writes and others read: no locked instruction is needed.
template <typename T>
void Bump(std::atomic<T>& counter, T by) {
  counter.store(counter.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
}

// Written by its worker's thread alone, read by anyone.
struct alignas(64) LiveCounters {
  std::atomic<int64_t> started{0}, sent{0}, completed{0}, failed{0}, in_flight{0}, waiting{0};
  std::atomic<int64_t> output_events{0}, bytes_in{0};
  std::atomic<bool> measuring{false};
  std::atomic<clockid_t> cpu_clock{CLOCK_MONOTONIC};
  std::atomic<bool> has_cpu_clock{false};
};

struct WorkerContext {
  WorkerContext(LoadPlan* the_plan, int the_index, Recorder* the_recorder)
      : plan(the_plan), index(the_index), recorder(the_recorder) {}

  LoadPlan* const plan;
  const int index;  // of the worker
  Recorder* const recorder;
  EventLoop loop;
  KernelClock clock;
  LiveCounters live;
  WorkerReport report;
  // When this turn of the loop began (the time of reads that have no kernel time), and the one before.
  int64_t turn_ns = 0;
  int64_t previous_turn_ns = 0;
  // So far: output events that shared a read, reads without a kernel time.
  int64_t merged_events = 0;
  int64_t unstamped_reads = 0;
};

}  // namespace llmbench
