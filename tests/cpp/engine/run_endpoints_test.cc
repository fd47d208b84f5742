// A run whose requests go to several endpoints.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <memory>
#include <set>
#include <string>
#include <thread>
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
using testing::SeenRequest;

RunConfig Several(const std::vector<std::unique_ptr<LoopbackServer>>& servers, Balancing balancing,
                  int concurrency, int requests) {
  RunConfig config = ClosedLoop(1, concurrency, requests);
  config.endpoints.clear();
  for (const auto& server : servers) config.endpoints.push_back(Local(server->port()));
  config.balancing = balancing;
  config.warm_connections = concurrency;
  return config;
}

std::vector<std::unique_ptr<LoopbackServer>> EchoServers(int n) {
  std::vector<std::unique_ptr<LoopbackServer>> servers;
  for (int i = 0; i < n; ++i) servers.push_back(std::make_unique<LoopbackServer>(Echo));
  return servers;
}

std::vector<int> CountByEndpoint(const MemoryWriter& writer, size_t endpoints) {
  std::vector<int> counts(endpoints);
  for (const auto& [id, row] : writer.rows()) ++counts.at(static_cast<size_t>(row.record.endpoint));
  return counts;
}

TEST(RunOfSeveralEndpoints, RequestsReachTheEndpointTheirRowNames) {
  for (const Balancing balancing :
       {Balancing::kRoundRobin, Balancing::kRandom, Balancing::kLeastInFlight, Balancing::kSticky}) {
    const auto servers = EchoServers(3);
    MemoryWriter writer;
    RunConfig config = Several(servers, balancing, 4, 60);
    config.workers = 2;
    const RunReport report = Measure(config, writer);
    ExpectAllOk(writer, 0, 60);
    EXPECT_EQ(report.addresses, (std::vector<std::string>(3, "127.0.0.1")));
    for (size_t i = 0; i < servers.size(); ++i) {
      std::set<std::string> seen, expected;
      const std::string host = "127.0.0.1:" + std::to_string(servers[i]->port());
      for (const SeenRequest& request : servers[i]->seen()) {
        seen.insert(request.id);
        EXPECT_EQ(LoopbackServer::Header(request.head, "Host"), host);  // its own head
      }
      for (const auto& [id, row] : writer.rows()) {
        if (row.record.endpoint == static_cast<int32_t>(i)) expected.insert("r" + std::to_string(id));
      }
      EXPECT_EQ(seen, expected);
    }
  }
}

TEST(RunOfSeveralEndpoints, TheChoiceOfEndpointsDoesNotDependOnTheNumberOfWorkers) {
  for (const Balancing balancing : {Balancing::kRoundRobin, Balancing::kRandom, Balancing::kSticky}) {
    std::vector<std::vector<int32_t>> choices;
    for (const int workers : {1, 2, 3}) {
      const auto servers = EchoServers(3);
      MemoryWriter writer;
      RunConfig config = Several(servers, balancing, 0, 60);
      config.arrivals.kind = Arrival::kBurst;
      config.warm_connections = 60;
      config.workload = Bodies(20);
      config.order = DrawOrder::kShuffled;
      config.workers = workers;
      config.seed = 3;
      config.warmup_requests = 7;
      Measure(config, writer);
      ExpectAllOk(writer, -7, 60);
      choices.emplace_back();
      for (const auto& [id, row] : writer.rows()) choices.back().push_back(row.record.endpoint);
      if (balancing == Balancing::kRoundRobin) {
        EXPECT_EQ(CountByEndpoint(writer, 3), (std::vector<int>{23, 22, 22}));
      }
      if (balancing == Balancing::kSticky) {  // the same prompt meets the same replica
        for (const auto& [id, row] : writer.rows()) EXPECT_EQ(row.record.endpoint, row.record.workload % 3);
      }
    }
    EXPECT_EQ(choices[0], choices[1]);
    EXPECT_EQ(choices[0], choices[2]);
  }
}

TEST(RunOfSeveralEndpoints, StickySlotsStayWithTheirEndpoint) {
  for (const int workers : {1, 2, 4}) {
    // Every server waits until all its slots have come, so that each slot is seen to be its own.
    std::vector<std::unique_ptr<LoopbackServer>> servers;
    std::array<std::atomic<int>, 3> running{};
    std::array<std::atomic<int>, 3> most{};
    for (size_t i = 0; i < 3; ++i) {
      servers.push_back(std::make_unique<LoopbackServer>([&, i](int fd, const SeenRequest& request) {
        const int now = ++running[i];
        for (int seen = most[i]; seen < now && !most[i].compare_exchange_weak(seen, now);) {
        }
        const int64_t deadline = MonotonicNs() + kPatienceNs;
        while (most[i] < 2 && MonotonicNs() < deadline) std::this_thread::yield();
        --running[i];
        return Echo(fd, request);
      }));
    }
    MemoryWriter writer;
    RunConfig config = Several(servers, Balancing::kSticky, 6, 60);
    config.workload = Bodies(1);
    config.workers = workers;
    Measure(config, writer);
    ExpectAllOk(writer, 0, 60);
    for (size_t i = 0; i < 3; ++i) EXPECT_EQ(most[i], 2) << workers;  // slots i and i + 3, never more
    for (int64_t slot = 0; slot < 6; ++slot) EXPECT_EQ(writer.rows().at(slot).record.endpoint, slot % 3);
    EXPECT_EQ(config.workload->size(), 1u);  // the item does not decide
  }
}

TEST(RunOfSeveralEndpoints, LeastInFlightSendsFewerToASlowEndpoint) {
  auto servers = EchoServers(2);
  LoopbackServer* self = nullptr;
  std::atomic<bool> release{false};
  servers.push_back(std::make_unique<LoopbackServer>([&](int fd, const SeenRequest& request) {
    while (!release && !self->stopping()) std::this_thread::yield();
    return Echo(fd, request);
  }));
  self = servers.back().get();
  MemoryWriter writer;
  RunConfig config = Several(servers, Balancing::kLeastInFlight, 6, 200);
  config.workers = 2;
  auto run = Run::Create(config, &writer);
  ASSERT_TRUE(run.ok()) << run.status();
  ASSERT_TRUE((*run)->Start().ok());
  // Everything but what the slow one holds gets done without it.
  const int64_t deadline = MonotonicNs() + kPatienceNs;
  while ((*run)->Snapshot().completed < 190 && MonotonicNs() < deadline) EXPECT_FALSE((*run)->Wait(kNsPerMs));
  release = true;
  ASSERT_TRUE((*run)->Wait(kPatienceNs));
  ExpectAllOk(writer, 0, 200);
  const auto counts = CountByEndpoint(writer, 3);
  EXPECT_LE(counts[2], 20);
  // How the two others share the rest depends on who answers first.
  EXPECT_GT(std::max(counts[0], counts[1]), counts[2]);
}

TEST(RunOfSeveralEndpoints, AnEndpointThatIsDownFailsAlone) {
  DeadPort dead;
  for (const Balancing balancing :
       {Balancing::kRoundRobin, Balancing::kRandom, Balancing::kLeastInFlight, Balancing::kSticky}) {
    for (const int workers : {1, 2}) {
      const auto servers = EchoServers(2);
      MemoryWriter writer;
      RunConfig config = Several(servers, balancing, 6, 120);
      config.endpoints.insert(config.endpoints.begin() + 1, Local(dead.port()));
      config.workers = workers;
      config.abort_after_failures = 10;
      const RunReport report = Measure(config, writer);
      EXPECT_EQ(report.stopped_because, "count");
      EXPECT_EQ(report.given_up, (std::vector<bool>{false, true, false}));
      ASSERT_EQ(writer.rows().size(), 120u);
      int failed = 0;
      for (const auto& [id, row] : writer.rows()) {
        EXPECT_EQ(row.record.outcome, row.record.endpoint == 1 ? Outcome::kConnectRefused : Outcome::kOk)
            << row.error;
        failed += row.record.endpoint == 1;
      }
      if (balancing == Balancing::kRoundRobin) {
        EXPECT_EQ(failed, 40);
      }
      if (balancing == Balancing::kLeastInFlight || balancing == Balancing::kSticky) {
        EXPECT_GE(failed, 10);
        EXPECT_LE(failed, 10 + 6);  // what had started when it was given up
      }
    }
  }
}

TEST(RunOfSeveralEndpoints, ConnectionsAreOpenedBeforehandToEachEndpoint) {
  for (const int workers : {1, 2}) {
    const auto servers = EchoServers(3);
    MemoryWriter writer;
    RunConfig config = Several(servers, Balancing::kSticky, 6, 60);
    config.workers = workers;
    Measure(config, writer);
    ExpectAllOk(writer, 0, 60);
    for (int64_t slot = 0; slot < 6; ++slot) EXPECT_EQ(writer.rows().at(slot).record.connect_ns, 0);
    for (const auto& server : servers) {
      EXPECT_GE(server->connections(), 2);
      // A slot that moves to another worker needs a connection there.
      EXPECT_LE(server->connections(), workers == 1 ? 2 : 4);
    }
  }
}

}  // namespace
}  // namespace llmbench
