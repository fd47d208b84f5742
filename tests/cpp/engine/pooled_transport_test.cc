// What both transports do alike: connections that fail, requests that wait for one, and ends from outside.
#include "llmbench/engine/pooled_transport.h"

#include <gtest/gtest.h>

#include "dead_port.h"
#include "driven_transport.h"
#include "llmbench/engine/http1_transport.h"
#include "llmbench/engine/http2_transport.h"
#include "loopback_server.h"

namespace llmbench {
namespace {

using testing::DeadPort;
using testing::Driven;
using testing::LoopbackServer;
using testing::SeenRequest;

template <typename T>
RunConfig Config() {
  RunConfig config;
  config.http2 = std::is_same_v<T, Http2Transport>;
  return config;
}

template <typename T>
class PooledTransports : public ::testing::Test {};
using Both = ::testing::Types<Http1Transport, Http2Transport>;
TYPED_TEST_SUITE(PooledTransports, Both, );

TYPED_TEST(PooledTransports, ARefusedConnectionEndsTheRequestThatWaitsForIt) {
  DeadPort dead;
  Driven<TypeParam> driven({dead.port()}, Config<TypeParam>());
  driven.Start(1);
  driven.Start(2);
  ASSERT_TRUE(driven.TurnUntilFreed(2));
  ASSERT_EQ(driven.ended.size(), 2u);
  for (const auto& end : driven.ended) {
    EXPECT_EQ(end.outcome, Outcome::kConnectRefused) << end.error;
    EXPECT_FALSE(end.sent);
  }
  EXPECT_EQ(driven.live().sent.load(), 0);
}

TYPED_TEST(PooledTransports, ItIsTriedAgainAsOftenAsTheClientSays) {
  DeadPort dead;
  Driven<TypeParam> driven({dead.port()}, Config<TypeParam>());
  driven.retries = 3;
  driven.Start(7);
  ASSERT_TRUE(driven.TurnUntilFreed(1));
  EXPECT_EQ(driven.ended.size(), 4u);
  EXPECT_EQ(driven.freed, std::vector<int64_t>{7});
}

TYPED_TEST(PooledTransports, AWarmConnectionThatFailsIsForgotten) {
  DeadPort dead;
  Driven<TypeParam> driven({dead.port()}, Config<TypeParam>());
  driven.transport().OpenWarm(0);
  EXPECT_TRUE(driven.transport().warming());
  ASSERT_TRUE(driven.TurnUntil([&] { return !driven.transport().warming(); }));
  EXPECT_TRUE(driven.ended.empty());
  EXPECT_TRUE(driven.freed.empty());
}

TYPED_TEST(PooledTransports, WhatWaitsForAConnectionIsCutWhenSendingStops) {
  LoopbackServer server([](int, const SeenRequest&) { return false; });
  Driven<TypeParam> driven({server.port()}, Config<TypeParam>());
  driven.transport().OpenWarm(0);
  driven.Start(1);
  driven.Start(2);
  driven.transport().StopSending(MonotonicNs());
  EXPECT_FALSE(driven.transport().warming());
  EXPECT_EQ(driven.freed, (std::vector<int64_t>{1, 2}));
  ASSERT_EQ(driven.ended.size(), 2u);
  for (const auto& end : driven.ended) {
    EXPECT_EQ(end.outcome, Outcome::kCut);
    EXPECT_FALSE(end.sent);
  }
}

}  // namespace
}  // namespace llmbench
