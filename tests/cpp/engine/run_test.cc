#include "llmbench/engine/run.h"

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "dead_port.h"
#include "measured_run.h"

namespace llmbench {
namespace {

using testing::Bodies;
using testing::ClosedLoop;
using testing::DeadPort;
using testing::Echo;
using testing::ExpectAllOk;
using testing::kPatienceNs;
using testing::Local;
using testing::LoopbackServer;
using testing::Measure;
using testing::MemoryWriter;
using testing::OpenLoop;
using testing::SeenRequest;
using testing::StreamHead;
using testing::TokenEvent;

TEST(Run, ClosedLoopAnswersEveryRequestOnce) {
  for (const int workers : {1, 3}) {
    for (const ConnectMode connect : {ConnectMode::kPooled, ConnectMode::kNew, ConnectMode::kSticky}) {
      LoopbackServer server(Echo);
      MemoryWriter writer;
      RunConfig config = ClosedLoop(server.port(), 4, 50);
      config.workers = workers;
      config.connect = connect;
      config.warm_connections = 4;
      const RunReport report = Measure(config, writer);
      ExpectAllOk(writer, 0, 50);
      EXPECT_EQ(report.stopped_because, "count");
      EXPECT_EQ(report.addresses, std::vector<std::string>{"127.0.0.1"});
      if (connect == ConnectMode::kNew) {
        EXPECT_EQ(server.connections(), 50);
      } else if (workers == 1) {
        EXPECT_EQ(server.connections(), 4);
      } else {
        EXPECT_LT(server.connections(), 16);  // a slot that moves to another worker needs a connection there
      }
    }
  }
}

TEST(Run, ClosedLoopIsScheduledByTheEndOfTheRequestBefore) {
  LoopbackServer server(Echo);
  MemoryWriter writer;
  Measure(ClosedLoop(server.port(), 1, 5), writer);
  ExpectAllOk(writer, 0, 5);
  EXPECT_EQ(writer.rows().at(0).record.scheduled_ns, 0);
  for (int64_t id = 1; id < 5; ++id) {
    EXPECT_EQ(writer.rows().at(id).record.scheduled_ns, writer.rows().at(id - 1).record.end_ns);
  }
}

TEST(Run, MoreSlotsThanRequests) {
  LoopbackServer server(Echo);
  MemoryWriter writer;
  RunConfig config = ClosedLoop(server.port(), 16, 3);
  config.workers = 4;
  Measure(config, writer);
  ExpectAllOk(writer, 0, 3);
}

TEST(Run, FewerSlotsThanWorkers) {
  LoopbackServer server(Echo);
  MemoryWriter writer;
  RunConfig config = ClosedLoop(server.port(), 1, 12);
  config.workers = 3;  // two workers wait for the slot of the first
  Measure(config, writer);
  ExpectAllOk(writer, 0, 12);
  EXPECT_EQ(server.seen().size(), 12u);
}

TEST(Run, OpenLoopFollowsThePlanWhateverTheNumberOfWorkers) {
  std::vector<std::vector<int64_t>> plans;
  std::vector<std::vector<int32_t>> draws;
  for (const int workers : {1, 4}) {
    LoopbackServer server(Echo);
    MemoryWriter writer;
    RunConfig config = OpenLoop(server.port(), Arrival::kPoisson, 2000, 100);
    config.seed = 9;
    config.order = DrawOrder::kShuffled;
    config.workers = workers;
    Measure(config, writer);
    ExpectAllOk(writer, 0, 100);
    plans.emplace_back();
    draws.emplace_back();
    for (const auto& [id, row] : writer.rows()) {
      plans.back().push_back(row.record.scheduled_ns);
      draws.back().push_back(row.record.workload);
      EXPECT_EQ(row.record.worker, id % workers);
    }
  }
  EXPECT_EQ(plans[0], plans[1]);
  EXPECT_EQ(draws[0], draws[1]);
}

TEST(Run, OpenLoopKeepsTheScheduleWhenTheCapHoldsRequestsBack) {
  for (const int workers : {1, 2}) {
    LoopbackServer server(Echo);
    MemoryWriter writer;
    RunConfig config = OpenLoop(server.port(), Arrival::kBurst, 0, 40);
    config.max_concurrency = 2;
    config.workers = workers;
    Measure(config, writer);
    ExpectAllOk(writer, 0, 40);
    int waited = 0;
    for (const auto& [id, row] : writer.rows()) {
      EXPECT_EQ(row.record.scheduled_ns, 0);
      waited += (row.record.flags & kSlotWaited) != 0;
    }
    EXPECT_GE(waited, 36);
    // A slot that moves to another worker needs a connection there.
    EXPECT_LE(server.connections(), workers == 1 ? 2 : 8);
  }
}

TEST(Run, WarmupComesBeforeTheClock) {
  LoopbackServer server(Echo);
  MemoryWriter writer;
  RunConfig config = ClosedLoop(server.port(), 2, 6);
  config.warmup_requests = 5;
  config.workload = Bodies(11);
  Measure(config, writer);
  ExpectAllOk(writer, -5, 6);
  for (const auto& [id, row] : writer.rows()) {
    EXPECT_EQ(row.record.phase, id < 0 ? Phase::kWarmup : Phase::kMeasure);
    if (id < 0) {
      EXPECT_LT(row.record.end_ns, 0);
      EXPECT_GE(row.record.workload, 6);  // prompts of their own
    } else {
      EXPECT_GE(row.record.sent_ns, 0);
    }
  }
  EXPECT_EQ(server.connections(), 2);  // warm-up shares the measured connections
}

TEST(Run, WarmupDurationMarksTheFirstRequests) {
  LoopbackServer server(Echo);
  MemoryWriter writer;
  RunConfig config = OpenLoop(server.port(), Arrival::kConstant, 1000, 20);
  config.warmup_duration_ns = 50 * kNsPerMs;
  config.workers = 2;
  Measure(config, writer);
  int measured = 0;
  for (const auto& [id, row] : writer.rows()) {
    EXPECT_EQ(row.record.phase, id < 50 ? Phase::kWarmup : Phase::kMeasure) << id;
    measured += row.record.phase == Phase::kMeasure;
  }
  EXPECT_EQ(measured, 20);
}

TEST(Run, DurationEndsTheLoadAndCutsWhatRunsOn) {
  LoopbackServer* self = nullptr;
  LoopbackServer server([&](int fd, const SeenRequest& request) {
    if (request.on_connection < 3) return Echo(fd, request);
    LoopbackServer::Send(fd, StreamHead() + TokenEvent("a"));
    self->HoldUntilClosed(fd);
    return false;
  });
  self = &server;
  MemoryWriter writer;
  RunConfig config = ClosedLoop(server.port(), 2, 0);
  config.workload = Bodies(4);
  config.duration_ns = 300 * kNsPerMs;
  config.drain_ns = 50 * kNsPerMs;
  const RunReport report = Measure(config, writer);
  EXPECT_EQ(report.stopped_because, "duration");
  EXPECT_FALSE(report.interrupted);
  ASSERT_EQ(writer.rows().size(), 8u);
  int cut = 0;
  for (const auto& [id, row] : writer.rows()) {
    if (row.record.outcome != Outcome::kCut) continue;
    ++cut;
    EXPECT_EQ(row.record.events, 1);  // its tokens count
    EXPECT_GE(row.record.end_ns, 350 * kNsPerMs);
  }
  EXPECT_EQ(cut, 2);
}

TEST(Run, StopDrainsAndCancelCuts) {
  for (const bool cancel : {false, true}) {
    LoopbackServer* self = nullptr;
    std::atomic<int> holding{0};
    LoopbackServer server([&](int fd, const SeenRequest&) {
      ++holding;
      self->HoldUntilClosed(fd);
      return false;
    });
    self = &server;
    MemoryWriter writer;
    RunConfig config = OpenLoop(server.port(), Arrival::kBurst, 0, 10);
    config.max_concurrency = 3;
    config.drain_ns = cancel ? kPatienceNs : 10 * kNsPerMs;
    auto run = Run::Create(config, &writer);
    ASSERT_TRUE(run.ok()) << run.status();
    ASSERT_TRUE((*run)->Start().ok());
    for (const int64_t deadline = MonotonicNs() + kPatienceNs; holding < 3 && MonotonicNs() < deadline;) {
      EXPECT_FALSE((*run)->Wait(kNsPerMs));
    }
    EXPECT_EQ((*run)->Snapshot().in_flight, 3);
    cancel ? (*run)->Cancel() : (*run)->Stop();
    ASSERT_TRUE((*run)->Wait(kPatienceNs));
    const RunReport report = (*run)->Report();
    EXPECT_TRUE(report.interrupted);
    EXPECT_EQ(report.stopped_because, cancel ? "cancelled" : "interrupted");
    // Three were running and seven never went: all are told.
    EXPECT_EQ(writer.rows().size(), 10u);
    for (const auto& [id, row] : writer.rows()) EXPECT_EQ(row.record.outcome, Outcome::kCut);
    EXPECT_EQ((*run)->Snapshot().in_flight, 0);
  }
}

TEST(Run, AConnectionThatClosesBehindTheRequestIsReplacedOnce) {
  // Every second request on a connection finds it closing: read, and closed without a byte.
  LoopbackServer server([](int fd, const SeenRequest& request) {
    if (request.on_connection % 2 == 1) return false;
    return Echo(fd, request);
  });
  MemoryWriter writer;
  Measure(ClosedLoop(server.port(), 2, 20), writer);
  ASSERT_EQ(writer.rows().size(), 20u);
  int again = 0;
  for (const auto& [id, row] : writer.rows()) {
    EXPECT_EQ(row.record.outcome, Outcome::kOk) << row.error;
    EXPECT_EQ(row.text, "r" + std::to_string(id) + "x");
    EXPECT_LE(row.record.attempts, 2);
    again += row.record.attempts == 2;
  }
  EXPECT_GT(again, 0);
  EXPECT_EQ(server.seen().size(), 20u + static_cast<size_t>(again));
}

TEST(Run, AFreshConnectionThatClosesIsAFailure) {
  LoopbackServer server([](int, const SeenRequest&) { return false; });
  MemoryWriter writer;
  Measure(ClosedLoop(server.port(), 1, 3), writer);
  for (const auto& [id, row] : writer.rows()) {
    EXPECT_EQ(row.record.outcome, Outcome::kEmptyReply);
    EXPECT_EQ(row.record.attempts, 1);
  }
  EXPECT_EQ(server.seen().size(), 3u);
}

TEST(Run, RetriesOnlyWhenAsked) {
  for (const int retries : {0, 1}) {
    LoopbackServer server([](int fd, const SeenRequest& request) {
      if (request.connection > 0) return Echo(fd, request);
      LoopbackServer::Send(fd, "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
      return false;
    });
    MemoryWriter writer;
    RunConfig config = ClosedLoop(server.port(), 1, 2);
    config.retries = retries;
    Measure(config, writer);
    EXPECT_EQ(writer.rows().at(0).record.outcome, retries ? Outcome::kOk : Outcome::kHttp5xx);
    EXPECT_EQ(writer.rows().at(0).record.attempts, 1 + retries);
    EXPECT_EQ(writer.rows().at(1).record.outcome, Outcome::kOk);
  }
}

TEST(Run, FaultsHaveTheirNames) {
  struct Row {
    const char* name;
    std::function<bool(int, const SeenRequest&)> handler;
    Outcome outcome;
    int32_t events;
  };
  const std::vector<Row> rows = {
      {"404",
       [](int fd, auto&) {
         return LoopbackServer::Send(fd,
                                     "HTTP/1.1 404 Not Found\r\nContent-Length: 34\r\n\r\n"
                                     "{\"error\":{\"message\":\"no such model\"}}");
       },
       Outcome::kHttp4xx, 0},
      {"429",
       [](int fd, auto&) {
         return LoopbackServer::Send(fd, "HTTP/1.1 429 Slow\r\nContent-Length: 0\r\n\r\n");
       },
       Outcome::kHttp429, 0},
      {"reset before headers",
       [](int fd, auto&) {
         LoopbackServer::Reset(fd);
         return false;
       },
       Outcome::kResetBeforeHeaders, 0},
      {"cut in the middle",
       [](int fd, auto&) {
         LoopbackServer::Send(fd, StreamHead() + TokenEvent("a") + TokenEvent("b"));
         return false;
       },
       Outcome::kTruncated, 2},
      {"garbage", [](int fd, auto&) { return LoopbackServer::Send(fd, "SSH-2.0-OpenSSH\r\n\r\n"); },
       Outcome::kProtocol, 0},
      {"html",
       [](int fd, auto&) {
         return LoopbackServer::Send(
             fd, "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>");
       },
       Outcome::kContentType, 0},
  };
  for (const Row& row : rows) {
    LoopbackServer server(row.handler);
    MemoryWriter writer;
    RunConfig config = ClosedLoop(server.port(), 1, 1);
    const RunReport report = Measure(config, writer);
    ASSERT_EQ(writer.rows().size(), 1u) << row.name;
    const auto& stored = writer.rows().at(0);
    EXPECT_EQ(stored.record.outcome, row.outcome)
        << row.name << ": " << OutcomeName(stored.record.outcome) << ", " << stored.error;
    EXPECT_EQ(stored.record.events, row.events) << row.name;
    EXPECT_FALSE(report.first_error.empty()) << row.name;
  }
}

TEST(Run, SecretsThatAServerRepeatsAreBlanked) {
  LoopbackServer server([](int fd, auto&) {
    return LoopbackServer::Send(fd,
                                "HTTP/1.1 401 No\r\nContent-Length: 41\r\n\r\n"
                                "{\"error\":{\"message\":\"bad key sk-123456\"}}");
  });
  MemoryWriter writer;
  RunConfig config = ClosedLoop(server.port(), 1, 1);
  config.secrets = {"sk-123456", ""};
  const RunReport report = Measure(config, writer);
  EXPECT_EQ(writer.rows().at(0).error.find("sk-123456"), std::string::npos);
  EXPECT_NE(writer.rows().at(0).error.find("bad key **********"), std::string::npos)
      << writer.rows().at(0).error;
  EXPECT_EQ(report.first_error.find("sk-123456"), std::string::npos);
}

TEST(Run, TimeoutsHaveTheirNames) {
  LoopbackServer* self = nullptr;
  struct Row {
    const char* name;
    std::string sends;
    Timeouts timeouts;
    Outcome outcome;
  };
  const int64_t kSoon = 30 * kNsPerMs;
  const std::vector<Row> rows = {
      {"no headers", "", {.idle_ns = kSoon}, Outcome::kTimeoutFirstByte},
      {"no first token", StreamHead(), {.first_token_ns = kSoon}, Outcome::kTimeoutFirstByte},
      {"stall", StreamHead() + TokenEvent("a"), {.idle_ns = kSoon}, Outcome::kTimeoutIdle},
      {"total", StreamHead() + TokenEvent("a"), {.total_ns = kSoon}, Outcome::kTimeoutTotal},
  };
  for (const Row& row : rows) {
    LoopbackServer server([&](int fd, const SeenRequest&) {
      LoopbackServer::Send(fd, row.sends);
      self->HoldUntilClosed(fd);
      return false;
    });
    self = &server;
    MemoryWriter writer;
    RunConfig config = ClosedLoop(server.port(), 1, 1);
    config.timeouts = row.timeouts;
    Measure(config, writer);
    ASSERT_EQ(writer.rows().size(), 1u) << row.name;
    EXPECT_EQ(writer.rows().at(0).record.outcome, row.outcome) << row.name;
    EXPECT_FALSE(writer.rows().at(0).error.empty());
  }
}

TEST(Run, RefusedConnectionsEndTheRunEarly) {
  DeadPort dead;
  MemoryWriter writer;
  RunConfig config = ClosedLoop(dead.port(), 2, 10'000);
  config.abort_after_failures = 20;
  const RunReport report = Measure(config, writer);
  EXPECT_EQ(report.stopped_because, "all-failed");
  EXPECT_GE(writer.rows().size(), 20u);
  EXPECT_LT(writer.rows().size(), 40u);
  EXPECT_EQ(writer.rows().at(0).record.outcome, Outcome::kConnectRefused);
  EXPECT_EQ(writer.rows().at(0).record.sent_ns, kNoTime);
}

TEST(Run, SlotsRestWhenThereIsNoConnection) {
  DeadPort dead;
  for (const size_t workers : {1, 2}) {
    MemoryWriter writer;
    RunConfig config = ClosedLoop(dead.port(), 2, 0);
    config.workers = static_cast<int>(workers);
    config.duration_ns = 350 * kNsPerMs;
    const RunReport report = Measure(config, writer);
    EXPECT_EQ(report.stopped_because, "duration");
    // At first at once, then every 100 ms.
    EXPECT_GE(writer.rows().size(), 20u * workers);
    EXPECT_LE(writer.rows().size(), 20u * workers + 10);
  }
}

TEST(Run, StopsWhenRowsCannotBeKept) {
  LoopbackServer server(Echo);
  MemoryWriter writer;
  RunConfig config = ClosedLoop(server.port(), 1, 0);
  config.duration_ns = kPatienceNs;
  auto run = Run::Create(config, &writer);
  ASSERT_TRUE(run.ok()) << run.status();
  ASSERT_TRUE((*run)->Start().ok());
  writer.FailWith(absl::DataLossError("disk full"));
  const int64_t deadline = MonotonicNs() + kPatienceNs;
  while (!(*run)->Wait(kNsPerMs)) ASSERT_LT(MonotonicNs(), deadline);
  EXPECT_EQ((*run)->Report().stopped_because, "results");
}

TEST(Run, LargeRequestsAreSentInPieces) {
  LoopbackServer server(Echo);
  MemoryWriter writer;
  RunConfig config = ClosedLoop(server.port(), 2, 4);
  auto workload = std::make_shared<Workload>();
  workload->Add(std::string(8 << 20, 'x'), 1, 2);
  config.workload = workload;
  Measure(config, writer);
  ExpectAllOk(writer, 0, 4);
  for (const SeenRequest& request : server.seen()) EXPECT_EQ(request.body.size(), size_t{8 << 20});
}

TEST(Run, RefusesWhatCannotBe) {
  MemoryWriter writer;
  struct Row {
    std::function<void(RunConfig&)> spoil;
    const char* says;
  };
  const std::vector<Row> rows = {
      {[](RunConfig& c) { c.workers = 0; }, "workers is 0"},
      {[](RunConfig& c) { c.max_concurrency = 0; }, "concurrency"},
      {[](RunConfig& c) { c.max_concurrency = -3; }, "-3"},
      {[](RunConfig& c) { c.num_requests = 0; }, "nothing ends this run"},
      {[](RunConfig& c) { c.workload = std::make_shared<Workload>(); }, "workload is empty"},
      {[](RunConfig& c) { c.workload = nullptr; }, "workload is empty"},
      {[](RunConfig& c) { c.arrivals.kind = Arrival::kPoisson; }, "request rate"},
      {[](RunConfig& c) { c.endpoints.clear(); }, "no endpoint"},
      {[](RunConfig& c) { c.endpoints.push_back(Local(0)); }, "port is 0"},
      {[](RunConfig& c) { c.endpoints[0].host = "no-such-host.invalid"; }, "no-such-host.invalid"},
      {[](RunConfig& c) { c.max_concurrency = c.num_requests = 2'000'000'000; }, "file descriptors"},
  };
  for (const Row& row : rows) {
    RunConfig config = ClosedLoop(1, 1, 1);
    row.spoil(config);
    const auto run = Run::Create(config, &writer);
    ASSERT_FALSE(run.ok()) << row.says;
    EXPECT_NE(std::string(run.status().message()).find(row.says), std::string::npos) << run.status();
  }
}

}  // namespace
}  // namespace llmbench
