#include "llmbench/engine/plan_share.h"

#include <algorithm>

namespace llmbench {
namespace {

// An open loop has no concurrency of its own to warm up with.
constexpr int64_t kOpenLoopWarmupConcurrency = 16;

}  // namespace

int64_t Share(int64_t total, int parts, int index) { return total / parts + (index < total % parts ? 1 : 0); }

PlanShare::PlanShare(const RunConfig& config, const DrawSequence& draw, int worker)
    : config_(config),
      draw_(draw),
      worker_(worker),
      closed_(config.arrivals.kind == Arrival::kClosed),
      warmups_left_(Share(config.warmup_requests, config.workers, worker)) {}

int64_t PlanShare::warmup_concurrency() const {
  const int64_t limit = config_.max_concurrency > 0 ? config_.max_concurrency : kOpenLoopWarmupConcurrency;
  return std::max<int64_t>(1, Share(limit, config_.workers, worker_));
}

PlannedRequest PlanShare::TakeWarmup(int64_t scheduled_ns) {
  const int64_t number = worker_ + warmups_taken_++ * config_.workers;
  --warmups_left_;
  PlannedRequest request;
  request.id = -1 - number;
  request.phase = Phase::kWarmup;
  request.scheduled_ns = request.slot_ns = scheduled_ns;
  request.workload = static_cast<int32_t>(draw_.At(static_cast<uint64_t>(config_.num_requests + number)));
  return request;
}

void PlanShare::BeginLoad(int64_t start_ns) {
  start_ns_ = start_ns;
  measure_from_ns_ = start_ns + config_.warmup_duration_ns;
  if (config_.duration_ns > 0) load_end_ns_ = measure_from_ns_ + config_.duration_ns;
  if (!closed_) {
    arrivals_ = std::move(*MakeArrivalProcess(config_.arrivals));  // the run has checked it
    PlanNextArrival();
    return;
  }
  quota_ = config_.num_requests > 0 ? Share(config_.num_requests, config_.workers, worker_) : kNever;
  int64_t slots = config_.max_concurrency;
  if (config_.num_requests > 0 && config_.warmup_duration_ns == 0)
    slots = std::min(slots, config_.num_requests);
  for (int64_t id = worker_; id < slots; id += config_.workers) {
    slot_starts_.emplace_back(start_ns + ClosedLoopStart(config_.arrivals, static_cast<uint64_t>(id),
                                                         static_cast<uint64_t>(config_.max_concurrency)),
                              id);
  }
  next_id_ = worker_ + static_cast<int64_t>(slot_starts_.size()) * config_.workers;
  std::sort(slot_starts_.begin(), slot_starts_.end());
  measured_starts_ = std::count_if(slot_starts_.begin(), slot_starts_.end(),
                                   [this](const auto& start) { return start.first >= measure_from_ns_; });
}

PlannedRequest PlanShare::Make(int64_t id, int64_t scheduled_ns, int64_t now_ns) const {
  PlannedRequest request;
  request.id = id;
  request.scheduled_ns = scheduled_ns;
  request.phase = now_ns < measure_from_ns_ ? Phase::kWarmup : Phase::kMeasure;
  request.workload = static_cast<int32_t>(draw_.At(static_cast<uint64_t>(id)));
  return request;
}

PlannedRequest PlanShare::CountClosed(PlannedRequest request) {
  if (request.phase == Phase::kMeasure && quota_ != kNever) --quota_;
  request.slot_ns = request.scheduled_ns;  // the slot's being free is what scheduled it
  return request;
}

PlannedRequest PlanShare::TakeDue() {
  if (closed_) {
    const auto [scheduled_ns, id] = slot_starts_.front();
    slot_starts_.pop_front();
    PlannedRequest request = CountClosed(Make(id, scheduled_ns, scheduled_ns));
    if (request.phase == Phase::kMeasure) --measured_starts_;
    request.slot = static_cast<int32_t>(id);  // a slot's number is that of its first request
    return request;
  }
  const PlannedRequest request = Make(planned_id_, planned_ns_, planned_ns_);
  PlanNextArrival();
  return request;
}

PlannedRequest PlanShare::TakeNext(int64_t scheduled_ns, int64_t now_ns) {
  const int64_t id = next_id_;
  next_id_ += config_.workers;
  // The turn that begins the load began before it did.
  return CountClosed(Make(id, scheduled_ns, std::max(now_ns, start_ns_)));
}

void PlanShare::PlanNextArrival() {
  for (;;) {
    const int64_t offset = arrivals_->NextOffset();
    const int64_t id = cursor_++;
    if (offset == kNever) break;
    if (offset < config_.warmup_duration_ns) warmup_requests_ = id + 1;
    if (config_.num_requests > 0 && id >= warmup_requests_ + config_.num_requests) break;
    if (config_.duration_ns > 0 && offset >= config_.warmup_duration_ns + config_.duration_ns) break;
    if (id % config_.workers != worker_) continue;
    planned_id_ = id;
    planned_ns_ = start_ns_ + offset;
    return;
  }
  planned_ns_ = kNever;
}

void PlanShare::Abandon() {
  planned_ns_ = kNever;
  slot_starts_.clear();
  quota_ = measured_starts_ = warmups_left_ = 0;
}

}  // namespace llmbench
