#include "llmbench/engine/plan_share.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <vector>

namespace llmbench {
namespace {

constexpr int64_t kStart = 1'000'000;
constexpr int64_t kNever = INT64_MAX;

RunConfig Config(Arrival kind, int workers, int64_t requests) {
  RunConfig config;
  config.arrivals.kind = kind;
  config.arrivals.rate = 100;
  config.arrivals.seed = 5;
  config.workers = workers;
  config.num_requests = requests;
  if (kind == Arrival::kClosed) config.max_concurrency = 4;
  return config;
}

// Everything the workers of a run start, by number, when every slot is freed at once.
std::map<int64_t, PlannedRequest> WholePlan(const RunConfig& config) {
  const DrawSequence draw(7, DrawOrder::kShuffled, 5);
  std::map<int64_t, PlannedRequest> plan;
  for (int worker = 0; worker < config.workers; ++worker) {
    PlanShare share(config, draw, worker);
    share.BeginLoad(kStart);
    while (share.next_due_ns() != kNever) {
      const int64_t due = share.next_due_ns();
      const PlannedRequest request = share.TakeDue();
      EXPECT_EQ(request.scheduled_ns, due);
      EXPECT_EQ(request.id % config.workers, worker);
      EXPECT_TRUE(plan.emplace(request.id, request).second) << request.id;
    }
    while (share.HasNext()) {
      const PlannedRequest request = share.TakeNext(kStart + 1000, kStart + 1000);
      EXPECT_EQ(request.id % config.workers, worker);
      EXPECT_TRUE(plan.emplace(request.id, request).second) << request.id;
    }
    EXPECT_TRUE(share.over());
  }
  return plan;
}

TEST(Share, AddsUp) {
  for (const int64_t total : {0, 1, 7, 50}) {
    for (const int parts : {1, 3, 8}) {
      int64_t sum = 0;
      for (int i = 0; i < parts; ++i) sum += Share(total, parts, i);
      EXPECT_EQ(sum, total);
    }
  }
}

TEST(PlanShare, ThePlanDoesNotDependOnTheNumberOfWorkers) {
  for (const Arrival kind :
       {Arrival::kPoisson, Arrival::kGamma, Arrival::kConstant, Arrival::kBurst, Arrival::kClosed}) {
    const auto one = WholePlan(Config(kind, 1, 50));
    ASSERT_EQ(one.size(), 50u);
    for (const int workers : {2, 3, 8}) {
      const auto many = WholePlan(Config(kind, workers, 50));
      ASSERT_EQ(many.size(), 50u) << workers;
      for (const auto& [id, request] : one) {
        EXPECT_EQ(many.at(id).workload, request.workload);
        EXPECT_EQ(many.at(id).scheduled_ns, request.scheduled_ns);
      }
    }
  }
}

TEST(PlanShare, NumbersAreContiguousFromZero) {
  for (const int workers : {1, 3}) {
    for (const int64_t requests : {2, 4, 50}) {
      RunConfig config = Config(Arrival::kClosed, workers, requests);
      config.arrivals.closed_ramp_s = 1;
      config.arrivals.closed_ramp_random = true;
      const auto plan = WholePlan(config);
      ASSERT_EQ(plan.size(), static_cast<size_t>(requests));
      EXPECT_EQ(plan.begin()->first, 0);
      EXPECT_EQ(plan.rbegin()->first, requests - 1);
    }
  }
}

TEST(PlanShare, SlotsHaveTheNumbersOfTheirFirstRequests) {
  for (const int workers : {1, 3}) {
    RunConfig config = Config(Arrival::kClosed, workers, 50);
    const DrawSequence draw(7, DrawOrder::kInOrder, 0);
    std::set<int32_t> slots;
    for (int worker = 0; worker < workers; ++worker) {
      PlanShare share(config, draw, worker);
      share.BeginLoad(kStart);
      while (share.next_due_ns() != kNever) {
        const PlannedRequest request = share.TakeDue();
        EXPECT_EQ(request.slot, request.id);
        slots.insert(request.slot);
      }
    }
    EXPECT_EQ(slots, (std::set<int32_t>{0, 1, 2, 3}));
  }
  RunConfig open = Config(Arrival::kBurst, 1, 5);
  const DrawSequence draw(7, DrawOrder::kInOrder, 0);
  PlanShare share(open, draw, 0);
  share.BeginLoad(kStart);
  EXPECT_EQ(share.TakeDue().slot, -1);
}

TEST(PlanShare, DurationEndsAnOpenLoop) {
  RunConfig config = Config(Arrival::kConstant, 3, 0);
  config.duration_ns = kNsPerSecond;
  EXPECT_EQ(WholePlan(config).size(), 100u);
}

TEST(PlanShare, WarmupDurationComesOnTop) {
  RunConfig config = Config(Arrival::kConstant, 3, 20);
  config.warmup_duration_ns = kNsPerSecond / 10;
  const auto plan = WholePlan(config);
  ASSERT_EQ(plan.size(), 30u);
  for (const auto& [id, request] : plan) {
    EXPECT_EQ(request.phase, id < 10 ? Phase::kWarmup : Phase::kMeasure) << id;
  }
}

TEST(PlanShare, CountsARequestOfATurnThatBeganBeforeTheLoad) {
  const DrawSequence draw(7, DrawOrder::kInOrder, 0);
  const RunConfig config = Config(Arrival::kClosed, 1, 2);
  PlanShare share(config, draw, 0);
  share.BeginLoad(kStart);
  EXPECT_EQ(share.TakeDue().phase, Phase::kMeasure);
  EXPECT_EQ(share.TakeNext(kStart + 5, kStart - 10).phase, Phase::kMeasure);
  EXPECT_FALSE(share.HasNext());
}

TEST(PlanShare, ClosedLoopCountsMeasuredRequestsOnly) {
  RunConfig config = Config(Arrival::kClosed, 1, 3);
  config.warmup_duration_ns = kNsPerSecond;
  const DrawSequence draw(7, DrawOrder::kInOrder, 0);
  PlanShare share(config, draw, 0);
  share.BeginLoad(kStart);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(share.TakeDue().phase, Phase::kWarmup);
  EXPECT_EQ(share.TakeNext(kStart + 5, kStart + 5).phase, Phase::kWarmup);
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(share.HasNext());
    EXPECT_EQ(share.TakeNext(kStart + 2 * kNsPerSecond, kStart + 2 * kNsPerSecond).phase, Phase::kMeasure);
  }
  EXPECT_FALSE(share.HasNext());
}

// Four slots start 250 ms apart; requests of free slots may not take what the later slots start with.
TEST(PlanShare, AFreeSlotLeavesTheFirstRequestsToTheirSlots) {
  const struct {
    int64_t requests, warmup_ms;
    int started;  // slots, when the first of them is free
    int next;     // measured requests it may still have
  } kCases[] = {
      {4, 0, 1, 0},     // the three that are left are the other slots' own
      {4, 0, 3, 0},     // and the last one
      {6, 0, 1, 2},     // two more than there are slots
      {6, 0, 4, 2},     // no slot is to start
      {3, 0, 1, 0},     // fewer than the limit allows
      {2, 500, 2, 0},   // two slots start in the warm-up, the others take both
      {3, 500, 1, 1},   // a slot that starts in the warm-up takes nothing of the quota
      {3, 500, 3, 1},   // one of the two that are left
      {3, 1000, 4, 3},  // every slot starts in the warm-up
  };
  for (const auto& row : kCases) {
    SCOPED_TRACE(testing::Message() << row.requests << " requests, " << row.warmup_ms << " ms of warm-up, "
                                    << row.started << " slots started");
    RunConfig config = Config(Arrival::kClosed, 1, row.requests);
    config.arrivals.closed_ramp_s = 1;
    config.warmup_duration_ns = row.warmup_ms * (kNsPerSecond / 1000);
    const DrawSequence draw(7, DrawOrder::kInOrder, 0);
    PlanShare share(config, draw, 0);
    share.BeginLoad(kStart);
    int64_t measured = 0;
    const auto count = [&](const PlannedRequest& request) { measured += request.phase == Phase::kMeasure; };
    std::set<int32_t> slots;
    for (int i = 0; i < row.started; ++i) {
      const PlannedRequest request = share.TakeDue();
      count(request);
      slots.insert(request.slot);
    }
    const int64_t late = kStart + 2 * kNsPerSecond;
    int next = 0;
    for (; share.HasNext() && next < 10; ++next) count(share.TakeNext(late, late));
    EXPECT_EQ(next, row.next);
    while (share.next_due_ns() != kNever) {
      const PlannedRequest request = share.TakeDue();
      count(request);
      slots.insert(request.slot);
    }
    EXPECT_TRUE(share.over());
    EXPECT_EQ(measured, row.requests);
    EXPECT_EQ(slots.size(), row.warmup_ms > 0 ? 4u : std::min<size_t>(4, row.requests));
  }
}

TEST(PlanShare, WarmupRequestsHaveNumbersAndPromptsOfTheirOwn) {
  RunConfig config = Config(Arrival::kClosed, 2, 5);
  config.warmup_requests = 5;
  const DrawSequence draw(10, DrawOrder::kInOrder, 0);
  std::set<int64_t> ids;
  std::set<int32_t> items;
  for (int worker = 0; worker < 2; ++worker) {
    PlanShare share(config, draw, worker);
    EXPECT_EQ(share.warmup_concurrency(), 2);
    while (share.warmups_left() > 0) {
      const PlannedRequest request = share.TakeWarmup(kStart);
      EXPECT_EQ(request.phase, Phase::kWarmup);
      ids.insert(request.id);
      items.insert(request.workload);
    }
  }
  EXPECT_EQ(ids, (std::set<int64_t>{-5, -4, -3, -2, -1}));
  EXPECT_EQ(items, (std::set<int32_t>{5, 6, 7, 8, 9}));
}

TEST(PlanShare, AbandonLeavesNothing) {
  for (const Arrival kind : {Arrival::kPoisson, Arrival::kClosed}) {
    const RunConfig config = Config(kind, 1, 50);
    const DrawSequence draw(7, DrawOrder::kInOrder, 0);
    PlanShare share(config, draw, 0);
    share.BeginLoad(kStart);
    EXPECT_FALSE(share.over());
    share.Abandon();
    EXPECT_TRUE(share.over());
    EXPECT_EQ(share.warmups_left(), 0);
  }
}

}  // namespace
}  // namespace llmbench
