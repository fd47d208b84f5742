#include "llmbench/engine/http1_transport.h"

#include <gtest/gtest.h>

#include "dead_port.h"
#include "driven_transport.h"
#include "loopback_server.h"

namespace llmbench {
namespace {

using testing::DeadPort;
using testing::LoopbackServer;
using testing::SeenRequest;
using testing::StreamHead;
using testing::TokenEvent;
using testing::WholeStream;

using Driven = testing::Driven<Http1Transport>;

bool Answer(int fd, const SeenRequest&) { return LoopbackServer::Send(fd, WholeStream({"a", "b"})); }

TEST(Http1Transport, TheNewestIdleConnectionIsUsedAgain) {
  LoopbackServer server(Answer);
  Driven driven({server.port()});
  driven.transport().OpenWarm(0);
  driven.transport().OpenWarm(0);
  ASSERT_TRUE(driven.TurnUntil([&] { return !driven.transport().warming(); }));
  for (int64_t id = 0; id < 5; ++id) {
    driven.Start(id);
    ASSERT_TRUE(driven.TurnUntilFreed(static_cast<size_t>(id) + 1));
    const auto& end = driven.ended.back();
    EXPECT_EQ(end.outcome, Outcome::kOk) << end.error;
    EXPECT_EQ(end.record.connection, driven.ended.front().record.connection);
    EXPECT_TRUE(end.record.flags & kReusedConnection);
    EXPECT_EQ(end.record.events, 2);
  }
  EXPECT_EQ(server.connections(), 2);
  EXPECT_EQ(driven.live().in_flight.load(), 0);
}

// The request's own header lines, to the byte.
TEST(Http1Transport, ARequestCarriesItsNumberAndLength) {
  LoopbackServer server(Answer);
  Driven driven({server.port()});
  driven.Start(-12);
  driven.Start(9'000'000'000'000'000'000);
  ASSERT_TRUE(driven.TurnUntilFreed(2));
  std::vector<std::string> ids;
  for (const SeenRequest& seen : server.seen()) {
    ids.push_back(seen.id);
    EXPECT_EQ(seen.body, "{}");
    EXPECT_EQ(LoopbackServer::Header(seen.head, "Content-Length"), "2");
    EXPECT_TRUE(seen.head.ends_with("\r\nX-Request-Id: " + seen.id + "\r\n\r\n")) << seen.head;
  }
  std::sort(ids.begin(), ids.end());
  EXPECT_EQ(ids, (std::vector<std::string>{"r-12", "r9000000000000000000"}));
}

TEST(Http1Transport, AnEndpointThatIsDownHoldsNobodyElseUp) {
  DeadPort dead;
  LoopbackServer server(Answer);
  Driven driven({dead.port(), server.port()});
  for (int64_t id = 0; id < 6; ++id) driven.Start(id, static_cast<int32_t>(id % 2));
  ASSERT_TRUE(driven.TurnUntilFreed(6));
  for (const auto& end : driven.ended) {
    EXPECT_EQ(end.outcome, end.id % 2 == 0 ? Outcome::kConnectRefused : Outcome::kOk) << end.id;
  }
}

TEST(Http1Transport, WhatRunsIsCutWithWhatItHas) {
  LoopbackServer* self = nullptr;
  LoopbackServer server([&self](int fd, const SeenRequest&) {
    LoopbackServer::Send(fd, StreamHead() + TokenEvent("a"));
    self->HoldUntilClosed(fd);
    return false;
  });
  self = &server;
  Driven driven({server.port()});
  driven.Start(1);
  ASSERT_TRUE(driven.TurnUntil([&] { return driven.live().output_events.load() == 1; }));
  driven.transport().StopSending(MonotonicNs());
  EXPECT_TRUE(driven.ended.empty());
  driven.transport().CutRunning(MonotonicNs());
  ASSERT_EQ(driven.ended.size(), 1u);
  EXPECT_EQ(driven.ended[0].outcome, Outcome::kCut);
  EXPECT_TRUE(driven.ended[0].sent);
  EXPECT_EQ(driven.ended[0].record.events, 1);
  EXPECT_EQ(driven.freed, std::vector<int64_t>{1});
  EXPECT_EQ(driven.live().in_flight.load(), 0);
}

TEST(Http1Transport, TimeOuts) {
  constexpr int64_t kTimeoutNs = 30 * kNsPerMs;
  const struct {
    const char* name;
    int64_t Timeouts::*timeout;
    bool begins;  // the server sends a token before it falls silent
    Outcome outcome;
  } rows[] = {
      {"no first token", &Timeouts::first_token_ns, false, Outcome::kTimeoutFirstByte},
      {"no byte", &Timeouts::idle_ns, false, Outcome::kTimeoutFirstByte},
      {"no further byte", &Timeouts::idle_ns, true, Outcome::kTimeoutIdle},
      {"too long", &Timeouts::total_ns, true, Outcome::kTimeoutTotal},
  };
  for (const auto& row : rows) {
    LoopbackServer* self = nullptr;
    LoopbackServer server([&](int fd, const SeenRequest&) {
      if (row.begins) LoopbackServer::Send(fd, StreamHead() + TokenEvent("a"));
      self->HoldUntilClosed(fd);
      return false;
    });
    self = &server;
    RunConfig config;
    config.timeouts.*row.timeout = kTimeoutNs;
    Driven driven({server.port()}, config);
    driven.Start(1);
    ASSERT_TRUE(driven.TurnUntil([&] { return driven.live().sent.load() == 1; })) << row.name;
    EXPECT_LE(driven.transport().deadline_ns(), MonotonicNs() + kTimeoutNs) << row.name;
    ASSERT_TRUE(driven.TurnUntilFreed(1)) << row.name;
    EXPECT_EQ(driven.ended[0].outcome, row.outcome) << row.name;
    EXPECT_GE(driven.ended[0].record.end_ns - driven.ended[0].record.sent_ns, kTimeoutNs) << row.name;
  }
}

}  // namespace
}  // namespace llmbench
