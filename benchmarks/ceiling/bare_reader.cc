// The least a client can do and still count tokens: what the engine's CPU per event is compared with.
//
// N connections in a closed loop, one thread, epoll, recv, split on LF, simdjson on demand; no framing of
// chunks, no times, no rows, no errors worth the name. Right only for a server that never splits a line
// between two HTTP chunks and ends a stream with "data: [DONE]" and the last chunk, as `llmbench sim` does.
// Keep it that simple.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "simdjson.h"

namespace {

constexpr size_t kBufferBytes = 64 * 1024;

struct Connection {
  int fd = -1;
  size_t held = 0;    // bytes of a line begun
  bool done = false;  // [DONE] has come; the last chunk follows
  bool last = false;  // the last chunk's "0" has come; its empty line follows
  std::vector<char> buffer = std::vector<char>(kBufferBytes + simdjson::SIMDJSON_PADDING);
};

[[noreturn]] void Fail(const char* what) {
  std::perror(what);
  std::exit(1);
}

int Connect(uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0) Fail("socket");
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) Fail("connect");
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

// The bytes of every request, asking for the same stream as `llmbench run --ignore-eos` does.
std::string MakeRequest(uint16_t port, int tokens, int prompt_words) {
  std::string prompt = "the";
  for (int i = 1; i < prompt_words; ++i) prompt += " the";
  const std::string body = R"({"model":"sim","prompt":")" + prompt + R"(","max_tokens":)" +
                           std::to_string(tokens) +
                           R"(,"ignore_eos":true,"stream":true,"stream_options":{"include_usage":true}})";
  return "POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1:" + std::to_string(port) +
         "\r\nContent-Type: application/json\r\nAccept: text/event-stream\r\nContent-Length: " +
         std::to_string(body.size()) + "\r\n\r\n" + body;
}

double Seconds(const timeval& t) {
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
}

class Reader {
 public:
  Reader(std::string request, int64_t requests) : request_(std::move(request)), unsent_(requests) {}

  void Run(uint16_t port, int streams) {
    epoll_ = epoll_create1(0);
    connections_.resize(static_cast<size_t>(streams));
    for (Connection& connection : connections_) {
      connection.fd = Connect(port);
      epoll_event event{};
      event.events = EPOLLIN;
      event.data.ptr = &connection;
      if (epoll_ctl(epoll_, EPOLL_CTL_ADD, connection.fd, &event) != 0) Fail("epoll_ctl");
    }
    for (Connection& connection : connections_) Send(connection);
    std::vector<epoll_event> ready(connections_.size());
    while (open_ > 0) {
      const int n = epoll_wait(epoll_, ready.data(), static_cast<int>(ready.size()), -1);
      for (int i = 0; i < n; ++i) Read(*static_cast<Connection*>(ready[static_cast<size_t>(i)].data.ptr));
    }
  }

  int64_t requests() const { return requests_; }
  int64_t events() const { return events_; }

 private:
  void Send(Connection& connection) {
    if (unsent_ == 0) return;
    --unsent_;
    ++open_;
    connection.done = connection.last = false;
    if (send(connection.fd, request_.data(), request_.size(), MSG_NOSIGNAL) !=
        static_cast<ssize_t>(request_.size())) {
      Fail("send");
    }
  }

  void Read(Connection& connection) {
    char* const data = connection.buffer.data();
    const ssize_t n = recv(connection.fd, data + connection.held, kBufferBytes - connection.held, 0);
    if (n <= 0) Fail(n == 0 ? "the server closed a connection" : "recv");
    const char* line = data;
    const char* const end = data + connection.held + n;
    while (const void* lf = std::memchr(line, '\n', static_cast<size_t>(end - line))) {
      const char* const next = static_cast<const char*>(lf) + 1;
      Line(connection, std::string_view(line, static_cast<size_t>(next - 1 - line)));
      line = next;
    }
    connection.held = static_cast<size_t>(end - line);
    if (connection.held > 0) std::memmove(data, line, connection.held);
  }

  void Line(Connection& connection, std::string_view line) {
    if (line.starts_with("data: {")) {
      line.remove_prefix(6);
      const char* const limit = connection.buffer.data() + connection.buffer.size();
      simdjson::ondemand::document document;
      std::string_view text;
      if (parser_.iterate(line.data(), line.size(), static_cast<size_t>(limit - line.data())).get(document) ==
              simdjson::SUCCESS &&
          document["choices"].at(0)["text"].get(text) == simdjson::SUCCESS && !text.empty()) {
        ++events_;
      }
    } else if (line.starts_with("data: [DONE]")) {
      connection.done = true;
    } else if (connection.done && line == "0\r") {
      connection.last = true;
    } else if (connection.last && line == "\r") {
      --open_;
      ++requests_;
      Send(connection);
    }
  }

  const std::string request_;
  int64_t unsent_;
  int64_t open_ = 0, requests_ = 0, events_ = 0;
  int epoll_ = -1;
  std::vector<Connection> connections_;
  simdjson::ondemand::parser parser_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5 || argc > 6) {
    std::fprintf(stderr, "usage: bare_reader PORT STREAMS REQUESTS TOKENS [PROMPT_WORDS]\n");
    return 2;
  }
  const auto port = static_cast<uint16_t>(std::atoi(argv[1]));
  Reader reader(MakeRequest(port, std::atoi(argv[4]), argc > 5 ? std::atoi(argv[5]) : 16),
                std::atoll(argv[3]));
  const auto start = std::chrono::steady_clock::now();
  reader.Run(port, std::atoi(argv[2]));
  const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - start;
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  std::printf(R"({"requests": %lld, "events": %lld, "wall_s": %.6f, "user_s": %.6f, "system_s": %.6f})"
              "\n",
              static_cast<long long>(reader.requests()), static_cast<long long>(reader.events()),
              wall.count(), Seconds(used.ru_utime), Seconds(used.ru_stime));
  return 0;
}
