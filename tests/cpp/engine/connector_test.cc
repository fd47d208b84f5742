// Connections by libcurl, against what a server may do before it has read a byte.
#include "llmbench/engine/curl/connector.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "dead_port.h"
#include "loopback_server.h"

namespace llmbench::curl {
namespace {

using llmbench::testing::DeadPort;
using llmbench::testing::LoopbackServer;
using llmbench::testing::SeenRequest;

constexpr EventLoop::Tag kTagBits = EventLoop::Tag{1} << 63;
constexpr int64_t kNever = std::numeric_limits<int64_t>::max();
const std::vector<std::string> kLoopback = {"127.0.0.1"};

Endpoint At(uint16_t port) {
  Endpoint endpoint;
  endpoint.host = "127.0.0.1";
  endpoint.port = port;
  return endpoint;
}

bool AnswersNothing(int, const SeenRequest&) { return false; }

// A connector and the loop that its sockets are in.
class Driven {
 public:
  explicit Driven(const Endpoint& endpoint, const std::vector<std::string>& addresses = kLoopback,
                  int64_t timeout_ns = 60 * kNsPerSecond) {
    EXPECT_TRUE(loop_.Open().ok());
    connector_ = std::make_unique<Connector>(endpoint, addresses, timeout_ns, &loop_, kTagBits);
  }

  Connector& operator*() { return *connector_; }
  Connector* operator->() { return connector_.get(); }

  // What comes of so many attempts, by ticket; fewer when that takes longer than anybody waits.
  std::map<uint64_t, Opened> Take(size_t attempts) {
    std::map<uint64_t, Opened> opened;
    const int64_t give_up_ns = MonotonicNs() + 60 * kNsPerSecond;
    while (opened.size() < attempts && MonotonicNs() < give_up_ns) {
      Turn();
      std::vector<Opened> some;
      connector_->TakeOpened(some);
      EXPECT_FALSE(connector_->has_opened());
      for (Opened& each : some) {
        const uint64_t ticket = each.ticket;
        EXPECT_TRUE(opened.emplace(ticket, std::move(each)).second) << ticket << " came twice";
      }
    }
    return opened;
  }
  Opened OpenOne() {
    connector_->Open(7);
    auto opened = Take(1);
    EXPECT_EQ(opened.count(7), 1u);
    return std::move(opened[7]);
  }

 private:
  void Turn() {
    const int64_t now_ns = MonotonicNs();
    for (const epoll_event& event :
         loop_.Wait(now_ns, std::min(connector_->deadline_ns(), now_ns + 20 * kNsPerMs))) {
      const EventLoop::Tag tag = event.data.u64;
      if (tag >= EventLoop::kTimerTag) continue;
      EXPECT_EQ(tag & ~EventLoop::Tag{0xffffffff}, kTagBits);
      connector_->OnSocket(static_cast<int>(tag & 0xffffffffu), event.events);
    }
    connector_->OnTime(MonotonicNs());
  }

  EventLoop loop_;
  std::unique_ptr<Connector> connector_;
};

// Sends a request and waits for the server's hanging up, which it does when it has read it.
void Converse(Connection& connection) {
  std::string request = "POST / HTTP/1.1\r\nContent-Length: 2\r\nX-Request-Id: r1\r\n\r\n{}";
  const std::array<iovec, 1> parts = {{{request.data(), request.size()}}};
  EXPECT_EQ(connection.Write(parts), static_cast<ptrdiff_t>(request.size()));
  pollfd wait{.fd = connection.fd(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(poll(&wait, 1, 60'000), 1);
}

TEST(Connector, OpensAConnectionThatIsOurs) {
  LoopbackServer server(AnswersNothing);
  Driven driven(At(server.port()));
  EXPECT_EQ(driven->connecting(), 0u);
  driven->Open(42);
  EXPECT_EQ(driven->connecting(), 1u);
  auto opened = driven.Take(1);
  EXPECT_EQ(driven->connecting(), 0u);
  ASSERT_EQ(opened.count(42), 1u);
  const Opened& one = opened[42];
  ASSERT_NE(one.connection, nullptr) << one.error;
  EXPECT_EQ(one.outcome, Outcome::kOk);
  EXPECT_EQ(one.error, "");
  EXPECT_GT(one.connect_ns, 0);
  EXPECT_EQ(one.tls_ns, 0);
  EXPECT_NE(fcntl(one.connection->fd(), F_GETFD) & FD_CLOEXEC, 0);  // no started program holds it open
  EXPECT_NE(fcntl(one.connection->fd(), F_GETFL) & O_NONBLOCK, 0);
  Converse(*one.connection);
  ASSERT_EQ(server.seen().size(), 1u);
  EXPECT_EQ(server.seen()[0].id, "r1");
}

TEST(Connector, AConnectionOutlivesItsConnector) {
  LoopbackServer server(AnswersNothing);
  Opened opened;
  {
    Driven driven(At(server.port()));
    opened = driven.OpenOne();
  }
  ASSERT_NE(opened.connection, nullptr) << opened.error;
  Converse(*opened.connection);
  EXPECT_EQ(server.seen().size(), 1u);
}

TEST(Connector, EveryConnectionIsNew) {
  LoopbackServer server(AnswersNothing);
  Driven driven(At(server.port()));
  for (uint64_t ticket = 0; ticket < 3; ++ticket) driven->Open(ticket);
  const auto together = driven.Take(3);
  driven->Open(3);  // by a handle that was used before
  const auto later = driven.Take(1);
  ASSERT_EQ(together.size() + later.size(), 4u);
  for (const auto* some : {&together, &later}) {
    for (const auto& [ticket, opened] : *some) {
      ASSERT_NE(opened.connection, nullptr) << opened.error;
      Converse(*opened.connection);
    }
  }
  EXPECT_EQ(server.connections(), 4);
}

TEST(Connector, GoesToTheAddressesItWasGiven) {
  LoopbackServer server(AnswersNothing);
  const std::vector<std::vector<std::string>> kAddresses = {
      {"127.0.0.1"},
      {"127.0.0.2", "127.0.0.1"},  // nobody listens at the first
      {"::1", "127.0.0.1"},
  };
  for (const auto& addresses : kAddresses) {
    Endpoint endpoint = At(server.port());
    endpoint.host = "no-such-host.invalid";
    Driven driven(endpoint, addresses);
    const Opened opened = driven.OpenOne();
    EXPECT_NE(opened.connection, nullptr) << addresses[0] << ": " << opened.error;
  }
}

TEST(Connector, AUnixSocket) {
  char name[] = "/tmp/llmbench-XXXXXX";
  ASSERT_NE(mkdtemp(name), nullptr);
  Endpoint endpoint = At(80);
  endpoint.unix_socket = std::string(name) + "/socket";
  {
    const Opened opened = Driven(endpoint, {}).OpenOne();
    EXPECT_EQ(opened.connection, nullptr);
    EXPECT_EQ(opened.outcome, Outcome::kConnectRefused) << opened.error;
  }
  const int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, endpoint.unix_socket.data(), endpoint.unix_socket.size());
  ASSERT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(listen(listener, 1), 0);
  const Opened opened = Driven(endpoint, {}).OpenOne();
  EXPECT_NE(opened.connection, nullptr) << opened.error;
  close(listener);
  std::filesystem::remove_all(name);
}

TEST(Connector, AProxyIsAskedForATunnel) {
  const struct {
    const char* answer;
    bool opens;
    const char* says;
  } kCases[] = {
      {"HTTP/1.1 200 Connection established\r\n\r\n", true, ""},
      {"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n", false, "407"},
      {"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", false, "403"},
  };
  for (const auto& row : kCases) {
    LoopbackServer proxy([&](int fd, const SeenRequest& request) {
      return request.on_connection == 0 && LoopbackServer::Send(fd, row.answer);
    });
    Endpoint endpoint;
    endpoint.host = "behind.invalid";
    endpoint.port = 8000;
    endpoint.proxy = "http://127.0.0.1:" + std::to_string(proxy.port());
    const Opened opened = Driven(endpoint, {}).OpenOne();
    ASSERT_FALSE(proxy.seen().empty());
    EXPECT_EQ(proxy.seen()[0].head.rfind("CONNECT behind.invalid:8000 HTTP/1.1\r\n", 0), 0u)
        << proxy.seen()[0].head;
    ASSERT_EQ(opened.connection != nullptr, row.opens) << row.answer << opened.error;
    EXPECT_NE(opened.error.find(row.says), std::string::npos) << opened.error;
    if (!row.opens) {
      EXPECT_EQ(opened.outcome, Outcome::kConnectRefused);
      continue;
    }
    Converse(*opened.connection);
    EXPECT_EQ(proxy.seen().back().id, "r1");
  }
}

// A listener whose queue is full: what comes is neither taken nor refused.
class FullListener {
 public:
  FullListener() : listener_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    socklen_t size = sizeof address_;
    address_.sin_family = AF_INET;
    address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(bind(listener_, reinterpret_cast<sockaddr*>(&address_), size), 0);
    EXPECT_EQ(listen(listener_, 0), 0);
    EXPECT_EQ(getsockname(listener_, reinterpret_cast<sockaddr*>(&address_), &size), 0);
    for (int& fd : waiting_) {
      fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
      connect(fd, reinterpret_cast<sockaddr*>(&address_), size);
    }
  }
  ~FullListener() {
    for (const int fd : waiting_) close(fd);
    close(listener_);
  }
  uint16_t port() const { return ntohs(address_.sin_port); }

 private:
  const int listener_;
  sockaddr_in address_{};
  std::array<int, 8> waiting_;
};

TEST(Connector, FailuresHaveTheirNames) {
  DeadPort dead;
  FullListener full;
  LoopbackServer plain([](int fd, const SeenRequest&) {
    LoopbackServer::Send(fd, "HTTP/1.1 400 Bad Request\r\n\r\n");
    return false;
  });
  const struct {
    const char* name;
    uint16_t port;
    bool tls;
    Outcome outcome;
    const char* says;  // what libcurl says differs between its versions
  } kCases[] = {
      {"nobody listens", dead.port(), false, Outcome::kConnectRefused, ""},
      {"the server does not accept", full.port(), false, Outcome::kTimeoutConnect, ""},
      {"the server does not shake hands", plain.port(), true, Outcome::kTlsHandshake,
       "no answer to the TLS handshake: does the server speak http?"},
  };
  for (const auto& row : kCases) {
    Endpoint endpoint = At(row.port);
    endpoint.tls = row.tls;
    Driven driven(endpoint, kLoopback, 100 * kNsPerMs);
    for (int again = 0; again < 2; ++again) {  // the second time by a handle that was used before
      const Opened opened = driven.OpenOne();
      EXPECT_EQ(opened.connection, nullptr) << row.name;
      EXPECT_EQ(opened.outcome, row.outcome) << row.name << ": " << OutcomeName(opened.outcome);
      EXPECT_FALSE(opened.error.empty()) << row.name;
      EXPECT_NE(opened.error.find(row.says), std::string::npos) << row.name << ": " << opened.error;
      EXPECT_EQ(driven->connecting(), 0u) << row.name;
    }
  }
}

TEST(Connector, NoMoreDescriptorsAreTheClientsLimit) {
  DeadPort dead;
  Driven driven(At(dead.port()));
  driven.OpenOne();  // what libcurl opens for itself, it has
  const int next = dup(0);
  close(next);
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit none = before;
  none.rlim_cur = static_cast<rlim_t>(next);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  const Opened opened = driven.OpenOne();
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(opened.outcome, Outcome::kClientLimit) << OutcomeName(opened.outcome);
  EXPECT_EQ(opened.error, std::strerror(EMFILE));
  EXPECT_EQ(driven.OpenOne().outcome, Outcome::kConnectRefused);  // it is not remembered
}

TEST(Connector, WhatIsOverTheNumberThatMayConnectAtOnceWaits) {
  DeadPort dead;
  Driven driven(At(dead.port()));
  const size_t attempts = 2 * Connector::kMaxConnecting + 10;
  for (uint64_t ticket = 0; ticket < attempts; ++ticket) driven->Open(ticket);
  EXPECT_EQ(driven->connecting(), attempts);
  const auto opened = driven.Take(attempts);
  EXPECT_EQ(opened.size(), attempts);
  for (const auto& [ticket, each] : opened) EXPECT_EQ(each.outcome, Outcome::kConnectRefused) << each.error;
  EXPECT_EQ(driven->connecting(), 0u);
}

TEST(Connector, NothingComesOfWhatWasCancelled) {
  FullListener full;
  Driven driven(At(full.port()), kLoopback, 50 * kNsPerMs);
  for (uint64_t ticket = 0; ticket < Connector::kMaxConnecting + 1; ++ticket) driven->Open(ticket);
  driven->CancelAll();
  EXPECT_EQ(driven->connecting(), 0u);
  EXPECT_EQ(driven->deadline_ns(), kNever);
  EXPECT_FALSE(driven->has_opened());
  for (const uint64_t ticket : {1'000'000, 1'000'001}) {  // it goes on
    driven->Open(ticket);
    const auto opened = driven.Take(1);
    ASSERT_EQ(opened.size(), 1u);
    EXPECT_EQ(opened.begin()->first, ticket);
  }
}

}  // namespace
}  // namespace llmbench::curl
