#include "llmbench/engine/http2_transport.h"

#include <gtest/gtest.h>

#include "driven_transport.h"
#include "loopback_server.h"

namespace llmbench {
namespace {

using testing::LoopbackServer;
using testing::SeenRequest;

using Driven = testing::Driven<Http2Transport>;

RunConfig Http2() {
  RunConfig config;
  config.http2 = true;
  return config;
}

TEST(Http2Transport, AServerOfAnotherVersionIsAProtocolError) {
  LoopbackServer server([](int fd, const SeenRequest&) {
    LoopbackServer::Send(fd, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    return false;
  });
  Driven driven({server.port()}, Http2());
  driven.Start(1);
  ASSERT_TRUE(driven.TurnUntilFreed(1));
  EXPECT_EQ(driven.ended[0].outcome, Outcome::kProtocol) << driven.ended[0].error;
  EXPECT_FALSE(driven.ended[0].sent);
}

TEST(Http2Transport, AServerThatSaysNothingIsGivenUp) {
  LoopbackServer* self = nullptr;
  LoopbackServer server([&self](int fd, const SeenRequest&) {
    self->HoldUntilClosed(fd);
    return false;
  });
  self = &server;
  RunConfig config = Http2();
  config.timeouts.connect_ns = 200 * kNsPerMs;
  Driven driven({server.port()}, config);
  driven.Start(1);
  ASSERT_TRUE(driven.TurnUntilFreed(1));
  EXPECT_EQ(driven.ended[0].outcome, Outcome::kTimeoutConnect) << driven.ended[0].error;
  EXPECT_FALSE(driven.ended[0].sent);
}

TEST(Http2Transport, WarmConnectionsAreAsManyAsTheStreamsNeed) {
  LoopbackServer server([](int, const SeenRequest&) { return false; });
  RunConfig config = Http2();
  config.streams_per_connection = 4;
  Driven driven({server.port()}, config);
  for (int i = 0; i < 9; ++i) driven.transport().OpenWarm(0);
  ASSERT_TRUE(driven.TurnUntil([&] { return !driven.transport().warming(); }));
  EXPECT_EQ(server.connections(), 3);
}

}  // namespace
}  // namespace llmbench
