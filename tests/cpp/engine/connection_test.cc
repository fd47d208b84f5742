#include "llmbench/engine/connection.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <memory>
#include <string>

namespace llmbench {
namespace {

// Two ends of a TCP connection over loopback: only there does the kernel stamp.
struct TcpPair {
  TcpPair() {
    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    EXPECT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(listen(listener, 1), 0);
    getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size);
    client = socket(AF_INET, SOCK_STREAM, 0);
    EXPECT_EQ(connect(client, reinterpret_cast<sockaddr*>(&address), size), 0);
    server = accept(listener, nullptr, nullptr);
    close(listener);
  }
  ~TcpPair() {
    if (server >= 0) close(server);
  }
  int client, server;
};

ReadResult ReadWhenReady(Connection& connection, char* buffer, size_t size, const KernelClock& clock) {
  pollfd wait{.fd = connection.fd(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(poll(&wait, 1, 10'000), 1);
  return connection.Read(buffer, size, clock);
}

TEST(PlainConnection, ReadsWithTheKernelsTime) {
  TcpPair pair;
  EnableReceiveTimes(pair.server);  // keeps stamping switched on
  PlainConnection connection(pair.client);
  const KernelClock clock;
  std::array<char, 64> buffer;
  EXPECT_EQ(connection.Read(buffer.data(), buffer.size(), clock).state, ReadResult::State::kNothing);

  // The kernel switches stamping on in the background: the first packets may have no stamp.
  ReadResult read;
  int64_t before = 0;
  for (const int64_t deadline = MonotonicNs() + 10 * kNsPerSecond;
       !read.stamped && MonotonicNs() < deadline;) {
    before = MonotonicNs();
    ASSERT_EQ(send(pair.server, "hello", 5, 0), 5);
    read = ReadWhenReady(connection, buffer.data(), buffer.size(), clock);
    ASSERT_EQ(read.state, ReadResult::State::kData);
    EXPECT_EQ(std::string(buffer.data(), read.size), "hello");
    EXPECT_TRUE(read.drained);
  }
  ASSERT_TRUE(read.stamped);
  EXPECT_GE(read.time_ns, before - kNsPerMs);
  EXPECT_LE(read.time_ns, MonotonicNs() + kNsPerMs);
}

TEST(PlainConnection, SaysThatMoreIsThere) {
  TcpPair pair;
  PlainConnection connection(pair.client);
  const KernelClock clock;
  ASSERT_EQ(send(pair.server, "abcdef", 6, 0), 6);
  std::array<char, 4> buffer;
  const ReadResult first = ReadWhenReady(connection, buffer.data(), buffer.size(), clock);
  EXPECT_EQ(first.size, 4u);
  EXPECT_FALSE(first.drained);
  const ReadResult second = connection.Read(buffer.data(), buffer.size(), clock);
  EXPECT_EQ(second.size, 2u);
  EXPECT_TRUE(second.drained);
}

TEST(PlainConnection, TellsCloseFromReset) {
  {
    TcpPair pair;
    PlainConnection connection(pair.client);
    close(pair.server);
    pair.server = -1;
    char byte;
    EXPECT_EQ(ReadWhenReady(connection, &byte, 1, KernelClock()).state, ReadResult::State::kClosed);
  }
  {
    TcpPair pair;
    PlainConnection connection(pair.client);
    const linger hard{.l_onoff = 1, .l_linger = 0};
    setsockopt(pair.server, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close(pair.server);
    pair.server = -1;
    char byte;
    const ReadResult read = ReadWhenReady(connection, &byte, 1, KernelClock());
    EXPECT_EQ(read.state, ReadResult::State::kReset);
    EXPECT_NE(read.error, 0);
    std::array<iovec, 1> part = {{{&byte, 1}}};
    EXPECT_EQ(connection.Write(part), -1);  // and no SIGPIPE
  }
}

TEST(PlainConnection, GathersItsParts) {
  TcpPair pair;
  PlainConnection connection(pair.client);
  std::string a = "one ", b = "two";
  std::array<iovec, 2> parts = {{{a.data(), a.size()}, {b.data(), b.size()}}};
  EXPECT_EQ(connection.Write(parts), 7);
  std::array<char, 16> buffer;
  EXPECT_EQ(recv(pair.server, buffer.data(), buffer.size(), 0), 7);
  EXPECT_EQ(std::string(buffer.data(), 7), "one two");
}

TEST(PlainConnection, StopsWhenTheSocketIsFull) {
  TcpPair pair;
  fcntl(pair.client, F_SETFL, O_NONBLOCK);
  PlainConnection connection(pair.client);
  std::string block(1 << 20, 'x');
  std::array<iovec, 1> part = {{{block.data(), block.size()}}};
  ptrdiff_t put = 1;
  for (int i = 0; i < 1000 && put > 0; ++i) put = connection.Write(part);
  EXPECT_EQ(put, 0);
}

}  // namespace
}  // namespace llmbench
