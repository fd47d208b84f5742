// A scripted HTTP server for the engine's tests: one thread per connection, blocking sockets, real kernel.
#pragma once

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace llmbench::testing {

// One request as it came over the wire.
struct SeenRequest {
  std::string head, body, id;  // id: the X-Request-Id
  int connection = 0;          // number of the connection
  int on_connection = 0;       // how many came before on it
};

class LoopbackServer {
 public:
  // Answers one request on `fd`; returns whether the connection stays open.
  using Handler = std::function<bool(int fd, const SeenRequest& request)>;

  explicit LoopbackServer(Handler handler) : handler_(std::move(handler)) {
    listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 || listen(listener_, 1024) != 0 ||
        getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
      throw std::runtime_error("cannot listen on loopback");
    }
    port_ = ntohs(address.sin_port);
    acceptor_ = std::thread([this] { Accept(); });
  }

  ~LoopbackServer() {
    stopping_ = true;
    shutdown(listener_, SHUT_RDWR);
    acceptor_.join();
    {
      std::lock_guard lock(mutex_);
      for (const int fd : open_) shutdown(fd, SHUT_RDWR);
    }
    for (std::thread& thread : threads_) thread.join();
    close(listener_);
  }

  uint16_t port() const { return port_; }
  bool stopping() const { return stopping_; }

  std::vector<SeenRequest> seen() const {
    std::lock_guard lock(mutex_);
    return seen_;
  }
  int connections() const {
    std::lock_guard lock(mutex_);
    return connections_;
  }

 private:
  void Accept() {
    for (;;) {
      const int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) return;
      const int on = 1;
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      std::lock_guard lock(mutex_);
      open_.push_back(fd);
      threads_.emplace_back([this, fd, number = connections_++] { Serve(fd, number); });
    }
  }

  void Serve(int fd, int number) {
    std::string buffer;
    for (int count = 0; !stopping_; ++count) {
      SeenRequest request;
      request.connection = number;
      request.on_connection = count;
      if (!ReadRequest(fd, buffer, request)) break;
      {
        std::lock_guard lock(mutex_);
        seen_.push_back(request);
      }
      if (!handler_(fd, request)) break;
    }
    std::lock_guard lock(mutex_);
    std::erase(open_, fd);
    close(fd);
  }

  static bool ReadRequest(int fd, std::string& buffer, SeenRequest& request) {
    char chunk[65536];
    size_t end;
    while ((end = buffer.find("\r\n\r\n")) == std::string::npos) {
      const ssize_t got = recv(fd, chunk, sizeof chunk, 0);
      if (got <= 0) return false;
      buffer.append(chunk, static_cast<size_t>(got));
    }
    request.head = buffer.substr(0, end + 4);
    const size_t length = std::stoul(Header(request.head, "Content-Length"));
    while (buffer.size() < end + 4 + length) {
      const ssize_t got = recv(fd, chunk, sizeof chunk, 0);
      if (got <= 0) return false;
      buffer.append(chunk, static_cast<size_t>(got));
    }
    request.body = buffer.substr(end + 4, length);
    request.id = Header(request.head, "X-Request-Id");
    buffer.erase(0, end + 4 + length);
    return true;
  }

 public:
  static std::string Header(const std::string& head, const std::string& name) {
    const size_t at = head.find("\r\n" + name + ": ");
    if (at == std::string::npos) return "0";
    const size_t begin = at + name.size() + 4;
    return head.substr(begin, head.find("\r\n", begin) - begin);
  }

  static bool Send(int fd, std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t put = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (put <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(put));
    }
    return true;
  }

  static void Reset(int fd) {  // close will send RST
    const linger hard{.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
  }

  // Holds the connection until the peer goes away or the server stops.
  void HoldUntilClosed(int fd) const {
    pollfd wait{.fd = fd, .events = POLLIN | POLLRDHUP, .revents = 0};
    while (!stopping_ && poll(&wait, 1, 20) == 0) {
    }
  }

 private:
  const Handler handler_;
  int listener_ = -1;
  uint16_t port_ = 0;
  std::atomic<bool> stopping_{false};
  std::thread acceptor_;
  mutable std::mutex mutex_;
  std::vector<std::thread> threads_;
  std::vector<int> open_;
  std::vector<SeenRequest> seen_;
  int connections_ = 0;
};

// A streamed completions answer of these texts, as vLLM frames it: one HTTP chunk per event, usage, [DONE].
inline std::string Chunk(const std::string& payload) {
  char size[16];
  snprintf(size, sizeof size, "%zx\r\n", payload.size());
  return size + payload + "\r\n";
}
inline std::string StreamHead() {
  return "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
}
inline std::string TokenEvent(const std::string& text) {
  return Chunk("data: {\"choices\":[{\"index\":0,\"text\":\"" + text + "\",\"finish_reason\":null}]}\n\n");
}
inline std::string StreamTail(int prompt_tokens, int output_tokens) {
  return Chunk("data: {\"choices\":[{\"index\":0,\"text\":\"\",\"finish_reason\":\"length\"}]}\n\n") +
         Chunk("data: {\"choices\":[],\"usage\":{\"prompt_tokens\":" + std::to_string(prompt_tokens) +
               ",\"completion_tokens\":" + std::to_string(output_tokens) + "}}\n\n") +
         Chunk("data: [DONE]\n\n") + "0\r\n\r\n";
}
inline std::string WholeStream(const std::vector<std::string>& texts) {
  std::string all = StreamHead();
  for (const std::string& text : texts) all += TokenEvent(text);
  return all + StreamTail(3, static_cast<int>(texts.size()));
}

}  // namespace llmbench::testing
