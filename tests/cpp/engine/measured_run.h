// Runs against loopback servers: their configurations, and what every good row holds.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "llmbench/engine/run.h"
#include "loopback_server.h"
#include "memory_writer.h"

namespace llmbench::testing {

inline constexpr int64_t kPatienceNs = 60 * kNsPerSecond;

// Answers every request with its own id as the first token.
inline bool Echo(int fd, const SeenRequest& request) {
  return LoopbackServer::Send(fd, WholeStream({request.id, "x"}));
}

inline std::shared_ptr<const Workload> Bodies(int n) {
  auto workload = std::make_shared<Workload>();
  for (int i = 0; i < n; ++i) workload->Add("{\"prompt\":\"" + std::to_string(i) + "\"}", 1, 2);
  return workload;
}

inline Endpoint Local(uint16_t port) {
  Endpoint endpoint;
  endpoint.host = "127.0.0.1";
  endpoint.port = port;
  endpoint.path = "/v1/completions";
  return endpoint;
}

inline RunConfig ClosedLoop(uint16_t port, int concurrency, int requests) {
  RunConfig config;
  config.endpoints = {Local(port)};
  config.workload = Bodies(std::max(1, requests));
  config.request_id_prefix = "r";
  config.arrivals.kind = Arrival::kClosed;
  config.max_concurrency = concurrency;
  config.num_requests = requests;
  config.save_text = true;
  return config;
}

inline RunConfig OpenLoop(uint16_t port, Arrival kind, double rate, int requests) {
  RunConfig config = ClosedLoop(port, 0, requests);
  config.arrivals.kind = kind;
  config.arrivals.rate = rate;
  return config;
}

inline RunReport Measure(const RunConfig& config, MemoryWriter& writer) {
  auto run = Run::Create(config, &writer);
  EXPECT_TRUE(run.ok()) << run.status();
  if (!run.ok()) return {};
  const absl::Status started = (*run)->Start();
  EXPECT_TRUE(started.ok()) << started;
  EXPECT_TRUE((*run)->Wait(kPatienceNs));
  return (*run)->Report();
}

inline void ExpectAllOk(const MemoryWriter& writer, int64_t first, int64_t end) {
  EXPECT_EQ(writer.duplicates(), 0u);
  ASSERT_EQ(writer.rows().size(), static_cast<size_t>(end - first));
  for (int64_t id = first; id < end; ++id) {
    ASSERT_TRUE(writer.rows().contains(id)) << id;
    const auto& row = writer.rows().at(id);
    EXPECT_EQ(row.record.outcome, Outcome::kOk) << id << ": " << row.error;
    EXPECT_EQ(row.text, "r" + std::to_string(id) + "x");  // its own answer, not another's
    EXPECT_EQ(row.events.size(), 2u);
    const RequestRecord& r = row.record;
    EXPECT_LE(r.scheduled_ns, r.slot_ns);
    EXPECT_LE(r.slot_ns, r.connected_ns);
    EXPECT_LE(r.connected_ns, r.sent_ns);
    EXPECT_LE(r.sent_ns, r.send_done_ns);
    EXPECT_LE(r.sent_ns, r.first_byte_ns);
    EXPECT_LE(r.first_byte_ns, r.first_token_ns);
    EXPECT_LE(r.first_token_ns, r.last_token_ns);
    EXPECT_LE(r.last_token_ns, r.end_ns);
    EXPECT_EQ(r.output_tokens, 2);
    EXPECT_EQ(r.prompt_tokens, 3);
    EXPECT_EQ(r.attempts, 1);
  }
}

}  // namespace llmbench::testing
