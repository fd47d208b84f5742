// A server whose own times are known: what clients are compared with, llmbench's among them.
//
// It shares no code with the engine or the simulator: one thread, epoll, the standard library and Linux. It
// speaks as much of the OpenAI protocol as five clients need: streamed completions and chat over HTTP/1.1,
// with usage where asked. Token i of a request is due --ttft-ms + i × --itl-ms after its last byte came,
// by the kernel's receive time; with --events-per-s all streams together get that many, in turn, evenly
// spaced.
//
//   received  kernel receive time of the segment with the request's last byte, on CLOCK_MONOTONIC
//   event     read from that clock just before the write of each token
//
// SIGTERM ends it: --log gets a line of JSON per request in the order of receipt, stdout one line of summary.
// When p99 of the lateness of its own writes is over --late-ms it did not keep its plan: exit code 1.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>
// After the C library's headers, whose timespec it uses.
#include <linux/net_tstamp.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <deque>
#include <functional>
#include <limits>
#include <map>
#include <numeric>
#include <queue>
#include <string>
#include <string_view>
#include <vector>

namespace {

constexpr int64_t kSecond = 1'000'000'000;
constexpr int64_t kSpin = 20'000;    // what is due sooner than this is waited for awake, ns
constexpr int kWritesPerTurn = 256;  // before it looks at the sockets again
constexpr int kFaultyToken = 5;      // after so many tokens the error comes

std::map<std::string, std::string> flags = {
    {"--port", "0"},          // 0: one of the kernel's choice; the first line of output tells it
    {"--ttft-ms", "50"},      // 0: answers at once
    {"--itl-ms", "10"},       //
    {"--events-per-s", "0"},  // instead of --itl-ms
    {"--tokens", "64"},       // of every answer
    {"--finish",
     "with-last"},        // the finish reason as vLLM sends it; alone: in an event of its own, as OpenAI
    {"--fault", "none"},  // role: a role delta at once; error: an error object; u2028: in a token's text
    {"--log", ""},        //
    {"--late-ms", "5"},   //
};

int64_t Nanoseconds(const char* flag) { return static_cast<int64_t>(std::stod(flags.at(flag)) * 1e6); }

[[noreturn]] void Fail(const std::string& what) {
  std::perror(what.c_str());
  std::exit(2);
}

int64_t Now(clockid_t clock = CLOCK_MONOTONIC) {
  timespec t{};
  clock_gettime(clock, &t);
  return int64_t{t.tv_sec} * kSecond + t.tv_nsec;
}

// What takes a kernel time (CLOCK_REALTIME) to CLOCK_MONOTONIC: the best of twenty readings.
int64_t MonotonicOffset() {
  int64_t narrowest = std::numeric_limits<int64_t>::max(), offset = 0;
  for (int i = 0; i < 20; ++i) {
    const int64_t before = Now(), between = Now(CLOCK_REALTIME), after = Now();
    if (after - before >= narrowest) continue;
    narrowest = after - before;
    offset = (before + after) / 2 - between;
  }
  return offset;
}

std::string Chunk(const std::string& bytes) {
  char size[24];
  std::snprintf(size, sizeof size, "%zx\r\n", bytes.size());
  return size + bytes + "\r\n";
}

std::string Whole(const std::string& status, const std::string& body) {
  const std::string length = std::to_string(body.size());
  return "HTTP/1.1 " + status + "\r\nContent-Type: application/json\r\nContent-Length: " + length +
         "\r\n\r\n" + body;
}

// The bytes of an answer, the same for every request of one protocol.
struct Answer {
  std::string head, token, third, last, usage, done;

  explicit Answer(bool chat) {
    const std::string begin = std::string(R"(data: {"id":"cmpl-7f3d5a0c9e1b4d2f8a6c","object":")") +
                              (chat ? "chat.completion.chunk" : "text_completion") +
                              R"(","created":1767225600,"model":"m","choices":[)";
    const auto event = [&](const std::string& text, const char* finish_reason) {
      return Chunk(begin + R"({"index":0,)" + (chat ? R"("delta":{"content":")" : R"("text":")") + text +
                   (chat ? R"("},)" : R"(",)") + R"("logprobs":null,"finish_reason":)" + finish_reason +
                   R"(,"stop_reason":null}]})" + "\n\n");
    };
    const int tokens = std::stoi(flags.at("--tokens"));
    const std::string counts = R"("usage":{"prompt_tokens":8,"completion_tokens":)" + std::to_string(tokens) +
                               R"(,"total_tokens":)" + std::to_string(8 + tokens) + "}}";
    head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    if (chat) head += Chunk(begin + R"({"index":0,"delta":{"role":"assistant","content":""}}]})" + "\n\n");
    token = event(" the", "null");
    third = flags.at("--fault") == "u2028" ? event(" a\u2028b", "null") : token;
    last = flags.at("--finish") == "alone" ? token + event("", "\"length\"") : event(" the", "\"length\"");
    usage = Chunk(begin + "]," + counts + "\n\n");
    done = Chunk("data: [DONE]\n\n") + "0\r\n\r\n";
  }
};

struct Request {
  std::string id;  // its X-Request-Id, if it had one
  int64_t received = 0;
  std::vector<int64_t> events;
  bool complete = false;
};

struct Connection {
  int fd = -1;
  std::string in, out;
  bool chat = false, usage = false, close = false;
  bool busy = false;   // a request is being answered; others wait in `in`
  int written = 0;     // tokens of it
  size_t request = 0;  // its place in the list
};

struct Due {
  int64_t at;
  uint32_t connection;
  uint32_t generation;  // of the connection's number: what is due to an earlier holder is due to nobody
  bool operator>(const Due& other) const { return at > other.at; }
};

class Server {
 public:
  Server() {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, nullptr);
    epoll_ = epoll_create1(EPOLL_CLOEXEC);
    const int ending = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
    listener_ = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (epoll_ < 0 || ending < 0 || listener_ < 0) Fail("socket");
    Stamp(listener_);  // the kernel stamps for nobody until somebody asks, and then not at once
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(std::stoi(flags.at("--port"))));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 || listen(listener_, 8192) != 0 ||
        getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
      Fail("port " + flags.at("--port"));
    }
    Watch(EPOLL_CTL_ADD, listener_, kListener, EPOLLIN);
    Watch(EPOLL_CTL_ADD, ending, kSignal, EPOLLIN);
    std::printf("http://127.0.0.1:%d\n", ntohs(address.sin_port));
    std::fflush(stdout);
  }

  void Run() {
    std::vector<epoll_event> ready(512);
    for (;;) {
      for (int i = 0; i < kWritesPerTurn && !due_.empty() && due_.top().at <= Now(); ++i) {
        const Due due = due_.top();
        due_.pop();
        if (generations_[due.connection] == due.generation) WriteNext(due.connection, due.at);
      }
      const int64_t left = due_.empty() ? kSecond : std::max<int64_t>(0, due_.top().at - Now() - kSpin);
      const timespec timeout{left / kSecond, left % kSecond};
      const int n = epoll_pwait2(epoll_, ready.data(), static_cast<int>(ready.size()), &timeout, nullptr);
      for (int i = 0; i < n; ++i) {
        const epoll_event& event = ready[static_cast<size_t>(i)];
        if (event.data.u64 == kSignal) return;
        if (event.data.u64 == kListener) {
          Accept();
          continue;
        }
        const auto number = static_cast<uint32_t>(event.data.u64);
        if ((event.events & EPOLLOUT) != 0) Flush(number);
        if ((event.events & ~uint32_t{EPOLLOUT}) != 0) Read(number);
      }
    }
  }

  int Report() {
    std::sort(requests_.begin(), requests_.end(),
              [](const Request& a, const Request& b) { return a.received < b.received; });
    if (!flags.at("--log").empty()) WriteLog();
    const double late = late_.empty() ? 0 : Percentile(late_, 99);
    const bool kept = late <= std::stod(flags.at("--late-ms"));
    Summarize(kept);
    return kept ? 0 : 1;
  }

 private:
  static constexpr uint64_t kListener = uint64_t{1} << 32, kSignal = kListener + 1;

  static void Stamp(int fd) {
    const int kinds = SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE;
    if (setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPING, &kinds, sizeof kinds) != 0) Fail("SO_TIMESTAMPING");
  }

  void Watch(int operation, int fd, uint64_t what, uint32_t events) const {
    epoll_event event{};
    event.events = events;
    event.data.u64 = what;
    if (epoll_ctl(epoll_, operation, fd, &event) != 0) Fail("epoll_ctl");
  }

  void Accept() {
    int fd;
    while ((fd = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
      const int on = 1;
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      Stamp(fd);
      if (free_.empty()) {
        free_.push_back(static_cast<uint32_t>(connections_.size()));
        connections_.emplace_back();
        generations_.push_back(0);
      }
      const uint32_t number = free_.back();
      free_.pop_back();
      connections_[number].fd = fd;
      ++accepted_;
      Watch(EPOLL_CTL_ADD, fd, number, EPOLLIN);
    }
    if (errno == EMFILE || errno == ENFILE) Fail("accept");
  }

  void Close(uint32_t number) {
    Connection& connection = connections_[number];
    close(connection.fd);
    aborted_ += connection.busy;
    connection = Connection();
    ++generations_[number];
    free_.push_back(number);
  }

  void Read(uint32_t number) {
    Connection& connection = connections_[number];
    alignas(cmsghdr) char control[256];
    while (connection.fd >= 0) {
      iovec into{buffer_.data(), buffer_.size()};
      msghdr message{};
      message.msg_iov = &into;
      message.msg_iovlen = 1;
      message.msg_control = control;
      message.msg_controllen = sizeof control;
      const ssize_t n = recvmsg(connection.fd, &message, 0);
      if (n < 0 && errno == EAGAIN) return;
      if (n <= 0) return Close(number);
      const int64_t now = Now();
      int64_t received = 0;
      for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_TIMESTAMPING) continue;
        timespec stamp{};
        std::memcpy(&stamp, CMSG_DATA(c), sizeof stamp);
        if (stamp.tv_sec == 0) continue;
        if (now - offset_taken_ > kSecond) {
          offset_ = MonotonicOffset();
          offset_taken_ = now;
        }
        received = int64_t{stamp.tv_sec} * kSecond + stamp.tv_nsec + offset_;
      }
      without_stamp_ += received == 0;
      connection.in.append(buffer_.data(), static_cast<size_t>(n));
      Serve(number, received == 0 ? now : received);
      if (static_cast<size_t>(n) < buffer_.size()) return;
    }
  }

  // Begins an answer, if a whole request has come and none is being answered.
  void Serve(uint32_t number, int64_t received) {
    Connection& connection = connections_[number];
    const size_t end = connection.in.find("\r\n\r\n");
    if (connection.busy || end == std::string::npos) return;
    const std::string head = connection.in.substr(0, end + 2);
    const size_t length = std::strtoul(Header(head, "content-length").c_str(), nullptr, 10);
    if (!Header(head, "transfer-encoding").empty()) return Close(number);  // none of the clients sends chunks
    if (connection.in.size() < end + 4 + length) return;
    const std::string body = connection.in.substr(end + 4, length);
    connection.in.erase(0, end + 4 + length);
    connection.close = Header(head, "connection") == "close";
    connection.chat = head.starts_with("POST /v1/chat/completions ");
    const bool known = connection.chat || head.starts_with("POST /v1/completions ");
    if (!known || !Asked(body, "stream")) {
      Send(number, Other(head));
      if (connection.close && connection.fd >= 0) Close(number);
      return;
    }
    connection.usage = Asked(body, "include_usage");
    connection.busy = true;
    connection.written = 0;
    connection.request = requests_.size();
    requests_.push_back({Header(head, "x-request-id"), received, {}, false});
    requests_.back().events.reserve(static_cast<size_t>(tokens_));
    if (role_at_once_) Send(number, OfKind(connection).head);
    if (connection.fd < 0) return;
    if (ttft_ == 0 && events_per_s_ == 0) return WriteNext(number, received);
    Plan(number, received + ttft_);
  }

  // Whatever is not a request for a stream.
  static std::string Other(const std::string& head) {
    const bool known = head.starts_with("GET /v1/models") || head.starts_with("GET /health");
    return known
               ? Whole("200 OK",
                       R"({"object":"list","data":[{"id":"m","object":"model","owned_by":"truth"}]})")
               : Whole(
                     "404 Not Found",
                     R"({"error":{"message":"only streams of /v1/completions and /v1/chat/completions","code":404}})");
  }

  // The value of a header field, of a lower-case name; nothing where there is none.
  static std::string Header(const std::string& head, const std::string& name) {
    const auto same = [](char a, char b) { return std::tolower(static_cast<unsigned char>(a)) == b; };
    const std::string start = "\n" + name + ":";
    const auto found = std::search(head.begin(), head.end(), start.begin(), start.end(), same);
    if (found == head.end()) return "";
    const size_t value =
        head.find_first_not_of(' ', static_cast<size_t>(found - head.begin()) + start.size());
    return head.substr(value, head.find('\r', value) - value);
  }

  // Whether this key is true in a JSON body. Prompts that look like JSON are not expected here.
  static bool Asked(const std::string& body, const std::string& key) {
    const std::string quoted = '"' + key + '"';
    return body.find(quoted + ":true") != std::string::npos ||
           body.find(quoted + ": true") != std::string::npos;
  }

  const Answer& OfKind(const Connection& connection) const { return connection.chat ? chat_ : completions_; }

  void Plan(uint32_t number, int64_t at) {
    if (events_per_s_ > 0) {
      slot_ = std::max(slot_ + kSecond / events_per_s_, static_cast<double>(at));
      at = static_cast<int64_t>(slot_);
    }
    due_.push({at, number, generations_[number]});
  }

  void WriteNext(uint32_t number, int64_t due) {
    Connection& connection = connections_[number];
    const Answer& answer = OfKind(connection);
    const int token = connection.written++;
    const bool failed = fails_ && token == kFaultyToken;
    const bool last = failed || token + 1 == tokens_;
    bytes_ = token == 0 && !role_at_once_ ? answer.head : "";
    bytes_ += failed ? error_ : last ? answer.last : token == 2 ? answer.third : answer.token;
    if (last && connection.usage && !failed) bytes_ += answer.usage;
    if (last) bytes_ += answer.done;
    Request& request = requests_[connection.request];
    const int64_t now = Now();
    late_.push_back(static_cast<double>(now - due) / 1e6);
    if (!failed) request.events.push_back(now);
    Send(number, bytes_);
    if (connection.fd < 0) return;
    if (!last) return Plan(number, due + itl_);
    request.complete = true;
    connection.busy = false;
    if (connection.close) return Close(number);
    if (!connection.in.empty()) Serve(number, Now());
  }

  void Send(uint32_t number, const std::string& bytes) {
    Connection& connection = connections_[number];
    ssize_t n = 0;
    if (connection.out.empty()) n = send(connection.fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) return Close(number);
    const size_t sent = static_cast<size_t>(std::max<ssize_t>(n, 0));
    if (sent == bytes.size()) return;
    ++blocked_;
    connection.out.append(bytes, sent);
    Watch(EPOLL_CTL_MOD, connection.fd, number, EPOLLIN | EPOLLOUT);
  }

  void Flush(uint32_t number) {
    Connection& connection = connections_[number];
    const ssize_t n = send(connection.fd, connection.out.data(), connection.out.size(), MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) return Close(number);
    connection.out.erase(0, static_cast<size_t>(std::max<ssize_t>(n, 0)));
    if (connection.out.empty()) Watch(EPOLL_CTL_MOD, connection.fd, number, EPOLLIN);
  }

  static double Percentile(std::vector<double>& values, double percent) {
    const auto place = static_cast<ptrdiff_t>(static_cast<double>(values.size() - 1) * percent / 100);
    std::nth_element(values.begin(), values.begin() + place, values.end());
    return values[static_cast<size_t>(place)];
  }

  static void Describe(const char* name, std::vector<double>& values) {
    if (values.empty()) return;
    std::printf(R"(,"%s":{"mean":%.4f,"p50":%.4f,"p99":%.4f,"max":%.4f})", name,
                std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size()),
                Percentile(values, 50), Percentile(values, 99), Percentile(values, 100));
  }

  void WriteLog() const {
    std::FILE* const log = std::fopen(flags.at("--log").c_str(), "w");
    if (log == nullptr) Fail(flags.at("--log"));
    for (const Request& request : requests_) {
      std::string times, tokens;
      for (const int64_t event : request.events) {
        times += (times.empty() ? "" : ",") + std::to_string(event);
        tokens += tokens.empty() ? "1" : ",1";
      }
      std::fprintf(log,
                   R"({"request_id":"%s","received_ns":%lld,"complete":%s,"event_ns":[%s],"tokens":[%s]})",
                   request.id.c_str(), static_cast<long long>(request.received),
                   request.complete ? "true" : "false", times.c_str(), tokens.c_str());
      std::fputc('\n', log);
    }
    if (std::fclose(log) != 0) Fail(flags.at("--log"));
  }

  void Summarize(bool kept) {
    std::vector<double> ttft, gaps;
    size_t complete = 0;
    for (const Request& request : requests_) {
      complete += request.complete;
      int64_t before = request.received;
      for (const int64_t event : request.events) {
        (before == request.received ? ttft : gaps).push_back(static_cast<double>(event - before) / 1e6);
        before = event;
      }
    }
    std::printf(R"({"kept_its_plan":%s,"requests":%zu,"complete":%zu,"aborted":%zu,"events":%zu,)",
                kept ? "true" : "false", requests_.size(), complete, aborted_, ttft.size() + gaps.size());
    std::printf(R"("connections":%zu,"without_kernel_time":%zu,"blocked_writes":%zu,"cpu_s":%.3f)", accepted_,
                without_stamp_, blocked_, static_cast<double>(std::clock()) / CLOCKS_PER_SEC);
    Describe("late_ms", late_);
    Describe("ttft_ms", ttft);
    Describe("itl_ms", gaps);
    std::printf("}\n");
  }

  const int64_t ttft_ = Nanoseconds("--ttft-ms");
  const double events_per_s_ = std::stod(flags.at("--events-per-s"));
  const int64_t itl_ = events_per_s_ > 0 ? 0 : Nanoseconds("--itl-ms");
  const int tokens_ = std::max(1, std::stoi(flags.at("--tokens")));
  const bool role_at_once_ = flags.at("--fault") == "role", fails_ = flags.at("--fault") == "error";
  const Answer completions_ = Answer(false), chat_ = Answer(true);
  const std::string error_ =
      Chunk("data: {\"error\":{\"message\":\"the engine died\",\"type\":\"server_error\",\"code\":500}}\n\n");

  int64_t offset_ = 0, offset_taken_ = -2 * kSecond;  // taken anew every second
  int epoll_ = -1, listener_ = -1;
  std::deque<Connection> connections_;  // by number; a reference stays good while others come
  std::vector<uint32_t> generations_, free_;
  std::vector<Request> requests_;
  std::priority_queue<Due, std::vector<Due>, std::greater<>> due_;
  double slot_ = 0;           // of the last event planned with --events-per-s
  std::vector<double> late_;  // of every write, behind its plan, ms
  std::vector<char> buffer_ = std::vector<char>(64 << 10);
  std::string bytes_;
  size_t accepted_ = 0, aborted_ = 0, blocked_ = 0, without_stamp_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  for (int i = 1; i < argc; i += 2) {
    const auto flag = flags.find(argv[i]);
    if (flag == flags.end() || i + 1 == argc) {
      std::fprintf(stderr, "usage: truth_server [FLAG VALUE]...; flags and their defaults:\n");
      for (const auto& [name, value] : flags) std::fprintf(stderr, "  %s %s\n", name.c_str(), value.c_str());
      return 2;
    }
    flag->second = argv[i + 1];
  }
  prctl(PR_SET_TIMERSLACK, 1);
  prctl(PR_SET_PDEATHSIG, SIGTERM);  // it ends with whoever started it
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  Server server;
  server.Run();
  return server.Report();
}
