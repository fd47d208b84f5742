// What one worker does in which order, and when it rests. What workers do together is the run's
// (run_test.cc).
#include "llmbench/engine/worker.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "dead_port.h"
#include "measured_run.h"

namespace llmbench {
namespace {

using testing::ClosedLoop;
using testing::DeadPort;
using testing::LoopbackServer;
using testing::SeenRequest;
using testing::WholeStream;

bool Answer(int fd, const SeenRequest&) { return LoopbackServer::Send(fd, WholeStream({"a", "b"})); }

// Workers that run where the test lets them, and all that they tell, in order.
class Workers {
 public:
  explicit Workers(const RunConfig& config) : plan(config, 0) {
    plan.draw = DrawSequence(config.workload->size(), config.order, config.seed);
    plan.balancer = std::make_unique<Balancer>(config.balancing, 1, config.seed, config.abort_after_failures);
    for (const Endpoint& endpoint : config.endpoints) {
      plan.targets.push_back({endpoint, MakeRequestHead(endpoint, true), {"127.0.0.1"}});
    }
    plan.on_start = [this](int64_t start_ns) {
      EXPECT_GT(start_ns, 0);
      Note("start");
    };
    for (int i = 0; i < config.workers; ++i) {
      recorders_.push_back(std::make_unique<NotingRecorder>(this));
      plan.workers.push_back(std::make_unique<Worker>(&plan, i, recorders_.back().get()));
      EXPECT_TRUE(plan.workers.back()->Open().ok());
    }
  }

  Worker& operator[](size_t i) { return *plan.workers[i]; }

  LoadPlan plan;
  std::vector<std::string> log;  // "start", "row ID", "all": everything was handed over
  std::map<int64_t, RequestRecord> rows;

 private:
  class NotingRecorder final : public Recorder {
   public:
    explicit NotingRecorder(Workers* workers) : workers_(workers) {}
    void Append(const RequestRecord& row, std::span<const uint8_t>, std::string_view,
                std::string_view) override {
      workers_->Note("row " + std::to_string(row.id));
      std::lock_guard lock(workers_->mutex_);
      EXPECT_TRUE(workers_->rows.emplace(row.id, row).second) << row.id;
    }
    void AppendSample(ClientSample, int64_t) override {}
    void HandOver(int64_t, bool all) override {
      if (all) workers_->Note("all");
    }

   private:
    Workers* const workers_;
  };

  void Note(std::string what) {
    std::lock_guard lock(mutex_);
    log.push_back(std::move(what));
  }

  std::mutex mutex_;
  std::vector<std::unique_ptr<NotingRecorder>> recorders_;
};

TEST(Worker, KeepsTheRowsOfItsWarmupUntilTheClockStarts) {
  LoopbackServer server(Answer);
  RunConfig config = ClosedLoop(server.port(), 1, 3);
  config.warmup_requests = 2;
  Workers workers(config);
  workers[0].Main();
  EXPECT_EQ(workers.log,
            (std::vector<std::string>{"start", "row -1", "row -2", "row 0", "row 1", "row 2", "all"}));
  EXPECT_LT(workers.rows[-1].sent_ns, 0);
  EXPECT_LE(workers.rows[-2].end_ns, 0);
  EXPECT_EQ(workers.rows[0].scheduled_ns, 0);
  for (const auto& [id, row] : workers.rows) {
    EXPECT_EQ(row.outcome, Outcome::kOk);
    EXPECT_EQ(row.phase, id < 0 ? Phase::kWarmup : Phase::kMeasure);
    EXPECT_GE(row.end_ns, row.sent_ns);
  }
  const LiveCounters& live = workers[0].live();
  EXPECT_EQ(live.started.load(), 5);
  EXPECT_EQ(live.completed.load(), 5);
  EXPECT_EQ(live.in_flight.load(), 0);
  EXPECT_EQ(workers[0].report().connections_opened, 1);
  EXPECT_EQ(workers[0].first_error(), "");
}

TEST(Worker, WhatIsStoppedBeforeItBeginsSendsNothing) {
  for (const bool cancel : {false, true}) {
    LoopbackServer server(Answer);
    RunConfig config = ClosedLoop(server.port(), 2, 10);
    config.warmup_requests = 2;
    config.warm_connections = 2;
    Workers workers(config);
    (cancel ? workers.plan.cancel : workers.plan.stop) = true;
    workers[0].Main();
    EXPECT_EQ(workers.log, (std::vector<std::string>{"start", "all"}));
    EXPECT_NE(workers.plan.start_ns.load(), 0);
    EXPECT_TRUE(server.seen().empty());
  }
}

TEST(Worker, WaitsForTheOthersBeforeTheLoad) {
  LoopbackServer server(Answer);
  RunConfig config = ClosedLoop(server.port(), 2, 8);
  config.warmup_requests = 1;  // the first worker's
  config.workers = 2;
  Workers workers(config);
  std::thread first([&] { workers[0].Main(); });
  const int64_t deadline = MonotonicNs() + 60 * kNsPerSecond;
  while (workers.plan.ready < 1 && MonotonicNs() < deadline) std::this_thread::yield();
  EXPECT_EQ(workers.plan.start_ns.load(), 0);
  EXPECT_EQ(server.seen().size(), 1u);
  workers[1].Main();
  first.join();
  EXPECT_EQ(workers.log[0], "start");
  EXPECT_EQ(std::count(workers.log.begin(), workers.log.end(), "start"), 1);
  EXPECT_EQ(std::count(workers.log.begin(), workers.log.end(), "all"), 2);
  EXPECT_EQ(workers.rows.size(), 9u);
  EXPECT_LE(workers.rows[-1].end_ns, 0);
  for (const auto& [id, row] : workers.rows) {
    EXPECT_EQ(row.worker, id < 0 ? 0 : id % 2) << id;
  }
}

TEST(Worker, ASlotWhoseServerIsGoneRestsAfterTwentyFailures) {
  DeadPort dead;
  Workers workers(ClosedLoop(dead.port(), 1, 24));
  workers[0].Main();
  ASSERT_EQ(workers.rows.size(), 24u);
  for (int64_t id = 0; id < 24; ++id) {
    const RequestRecord& row = workers.rows[id];
    EXPECT_EQ(row.outcome, Outcome::kConnectRefused);
    EXPECT_EQ(row.sent_ns, kNoTime);
    if (id == 0) continue;
    const int64_t rest_ns = id <= 20 ? 0 : 100 * kNsPerMs;
    EXPECT_EQ(row.scheduled_ns, workers.rows[id - 1].end_ns + rest_ns) << id;
  }
  EXPECT_EQ(workers[0].live().failed.load(), 24);
  EXPECT_EQ(workers[0].first_error().rfind("connect_refused: ", 0), 0u) << workers[0].first_error();
}

}  // namespace
}  // namespace llmbench
