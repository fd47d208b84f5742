// One simulated engine: its metrics, its chances, and in the batching mode its model.
#pragma once

#include <cstdint>
#include <memory>

#include "llmbench/sim/answer.h"
#include "llmbench/sim/batching_model.h"
#include "llmbench/sim/metrics_page.h"
#include "llmbench/sim/service.h"
#include "llmbench/workload/counter_rng.h"

namespace llmbench::sim {

class Replica {
 public:
  // `index` counts the replicas of the whole server. The service outlives the replica.
  Replica(const Service& service, int index);

  // Numbers the answer's request, names the answer and draws its fault.
  void Begin(Answer* answer);
  // How many tokens each choice will have.
  void PlanOutput(Answer* answer) const;
  // A time for an idle connection to live, in nanoseconds.
  int64_t DrawIdleNs();

  // Null in fixed mode.
  BatchingModel* model() { return model_.get(); }
  Metrics& metrics() { return metrics_; }
  // With the gauges brought up to date.
  const Metrics& ReadMetrics();

  int64_t in_flight() const { return in_flight_; }
  void Entered() { ++in_flight_; }
  void Left() { --in_flight_; }

 private:
  const Service& service_;
  const int index_;
  const CounterRng end_chance_;
  const CounterRng fault_chance_;
  const CounterRng idle_chance_;
  std::unique_ptr<BatchingModel> model_;
  Metrics metrics_;
  Metrics before_reset_;  // of the model's own counters
  int64_t reset_ns_ = 0;  // when the counters begin anew; 0: not any more
  uint64_t requests_ = 0;
  uint64_t idles_ = 0;
  int64_t in_flight_ = 0;
};

}  // namespace llmbench::sim
