// Opens connections: resolve (pinned), connect, proxy tunnel and TLS by libcurl, asynchronously; then the
// socket is ours.
//
// Each worker owns one. libcurl's sockets sit in the worker's event loop while they connect; the worker hands
// their events and the passing of time to this class and gets finished connections back. A plain socket is
// duplicated out of libcurl; a TLS one stays with its handle in the multi, attached for good (an unattached
// one would be closed behind our back).
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "llmbench/engine/connection.h"
#include "llmbench/engine/curl/handles.h"
#include "llmbench/engine/endpoint.h"
#include "llmbench/engine/event_loop.h"
#include "llmbench/record/outcome.h"

namespace llmbench::curl {

struct Opened {
  uint64_t ticket = 0;                     // what Open was called with
  std::unique_ptr<Connection> connection;  // null when it failed
  Outcome outcome = Outcome::kOk;          // why it failed
  std::string error;
  int64_t connect_ns = 0;  // TCP (and proxy), without TLS
  int64_t tls_ns = 0;
};

class Connector {
 public:
  // `addresses` are the endpoint's, resolved beforehand; empty with a proxy or a Unix socket. `tag_of(fd)`
  // must give tags the worker recognises as belonging to this connector. `http2`: over TLS the server must
  // agree to speak HTTP/2, or the connection fails.
  Connector(const Endpoint& endpoint, const std::vector<std::string>& addresses, int64_t timeout_ns,
            EventLoop* loop, EventLoop::Tag tag_bits, bool http2 = false);
  ~Connector();
  Connector(const Connector&) = delete;
  Connector& operator=(const Connector&) = delete;

  // At most this many connect at once, the rest wait in order: libcurl walks
  // the list of its unread messages for every handle that leaves it, and ten
  // thousand connects that end in one turn would stop the loop for minutes.
  static constexpr size_t kMaxConnecting = 512;

  // Starts one connection; its end comes out of TakeOpened with the same
  // ticket.
  void Open(uint64_t ticket);
  // Gives up on everything that is still connecting; nothing comes back for it.
  void CancelAll();
  size_t connecting() const { return connecting_; }

  void OnSocket(int fd, uint32_t epoll_events);
  // When OnTime wants to be called at the latest; INT64_MAX for never.
  int64_t deadline_ns() const { return deadline_ns_; }
  void OnTime(int64_t now_ns);

  // Connections that finished, well or not, since the last call. Swap in an empty vector.
  void TakeOpened(std::vector<Opened>& out);
  bool has_opened() const { return !opened_.empty(); }

 private:
  struct Attempt;
  static int OnCurlSocket(CURL* easy, curl_socket_t fd, int what, void* self, void* known);
  static int OnCurlTimer(CURLM* multi, long timeout_ms, void* self);
  static curl_socket_t OpenSocket(void* attempt, curlsocktype purpose, curl_sockaddr* address);
  std::unique_ptr<Attempt> MakeAttempt();
  void Start(uint64_t ticket);
  void StartWaiting();
  void CollectFinished();
  void Finish(Attempt* attempt, CURLcode code);

  const Endpoint endpoint_;
  const int64_t timeout_ns_;
  EventLoop* const loop_;
  const EventLoop::Tag tag_bits_;
  const std::string ca_file_;
  const bool http2_;
  List resolve_;
  Multi multi_;
  std::vector<std::unique_ptr<Attempt>> idle_;  // plain handles are used again
  std::vector<std::unique_ptr<Attempt>> active_;
  std::deque<uint64_t> waiting_;  // tickets
  std::vector<Opened> opened_;
  size_t connecting_ = 0;  // waiting ones included
  int64_t deadline_ns_;
};

}  // namespace llmbench::curl
