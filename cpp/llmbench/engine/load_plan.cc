#include "llmbench/engine/load_plan.h"

#include "llmbench/engine/worker.h"

namespace llmbench {

LoadPlan::LoadPlan(RunConfig the_config, int64_t free_slots)
    : config(std::move(the_config)), draw(0, DrawOrder::kInOrder, 0), limiter(free_slots) {}

LoadPlan::~LoadPlan() = default;

void LoadPlan::WakeAll() const {
  for (const auto& worker : workers) worker->Wake();
}

}  // namespace llmbench
