// Ways to wait for tokens on many connections, side by side: CPU per event, and how long a token lies in the
// kernel before it is looked at.
//
// N connections in a closed loop against `llmbench sim --fixed`. Every way reads with the kernel's receive
// time and counts events by their prefix; nothing is parsed and nothing is kept, so that what differs is the
// waiting.
#include <arpa/inet.h>
#include <linux/net_tstamp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifdef LLMBENCH_HAVE_URING
#include <liburing.h>
#endif

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace {

constexpr size_t kBufferBytes = 16 * 1024;
constexpr int64_t kDeadlineNs = 50'000'000;

[[noreturn]] void Fail(const char* what) {
  std::perror(what);
  std::exit(1);
}

int64_t Now(clockid_t clock) {
  timespec t;
  clock_gettime(clock, &t);
  return t.tv_sec * 1'000'000'000 + t.tv_nsec;
}

int Connect(uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0 || connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) Fail("connect");
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  const int stamps = SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE;
  setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPING, &stamps, sizeof stamps);
  return fd;
}

int64_t ReceiveTime(const msghdr& message) {
  for (const cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr;
       c = CMSG_NXTHDR(const_cast<msghdr*>(&message), const_cast<cmsghdr*>(c))) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SO_TIMESTAMPING) continue;
    timespec t;
    std::memcpy(&t, CMSG_DATA(c), sizeof t);
    return t.tv_sec * 1'000'000'000 + t.tv_nsec;
  }
  return 0;
}

// The load and what is counted of it; the ways to wait only bring bytes.
class Load {
 public:
  Load(uint16_t port, int streams, int64_t requests, int tokens) : unsent_(requests) {
    const std::string body = R"({"model":"sim","prompt":"the","max_tokens":)" + std::to_string(tokens) +
                             R"(,"ignore_eos":true,"stream":true})";
    request_ =
        "POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        "Content-Length: " +
        std::to_string(body.size()) + "\r\n\r\n" + body;
    for (int i = 0; i < streams; ++i) fds_.push_back(Connect(port));
  }

  const std::vector<int>& fds() const { return fds_; }
  void Begin() {
    for (size_t i = 0; i < fds_.size(); ++i) Send(i);
  }
  bool over() const { return open_ == 0; }

  // What one read of connection i brought. Events are whole in a read: the simulator writes them so.
  void Take(size_t i, std::string_view bytes, int64_t received_ns) {
    ++reads_;
    if (received_ns != 0) lateness_.push_back(Now(CLOCK_REALTIME) - received_ns);
    for (size_t at = 0; (at = bytes.find("data: {", at)) != std::string_view::npos; at += 7) ++events_;
    if (bytes.find("\r\n0\r\n\r\n") == std::string_view::npos) return;
    --open_;
    Send(i);
  }

  void Report(int64_t wakeups, double wall_s) {
    rusage used{};
    getrusage(RUSAGE_SELF, &used);
    const auto at = [this](double share) {
      if (lateness_.empty()) return 0.0;
      const auto place =
          lateness_.begin() + static_cast<ptrdiff_t>(share * static_cast<double>(lateness_.size() - 1));
      std::nth_element(lateness_.begin(), place, lateness_.end());
      return static_cast<double>(*place) / 1e6;
    };
    std::printf(
        R"({"events": %lld, "reads": %lld, "wakeups": %lld, "wall_s": %.3f, "cpu_s": %.6f, "lateness_p50_ms": %.4f, "lateness_p99_ms": %.4f})"
        "\n",
        static_cast<long long>(events_), static_cast<long long>(reads_), static_cast<long long>(wakeups),
        wall_s,
        static_cast<double>(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
            static_cast<double>(used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1e-6,
        at(0.5), at(0.99));
  }

 private:
  void Send(size_t i) {
    if (unsent_ == 0) return;
    --unsent_;
    ++open_;
    if (send(fds_[i], request_.data(), request_.size(), MSG_NOSIGNAL) !=
        static_cast<ssize_t>(request_.size()))
      Fail("send");
  }

  std::string request_;
  std::vector<int> fds_;
  int64_t unsent_, open_ = 0, events_ = 0, reads_ = 0;
  std::vector<int64_t> lateness_;
};

// ---- epoll, with different ways to sleep ----

int64_t RunEpoll(Load& load, const std::function<int(int epoll, epoll_event* ready, int most)>& wait) {
  const int epoll = epoll_create1(0);
  for (size_t i = 0; i < load.fds().size(); ++i) {
    epoll_event event{};
    event.events = EPOLLIN | EPOLLET;
    event.data.u64 = i;
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, load.fds()[i], &event) != 0) Fail("epoll_ctl");
  }
  load.Begin();
  std::vector<char> buffer(kBufferBytes);
  std::vector<epoll_event> ready(load.fds().size());
  int64_t wakeups = 0;
  while (!load.over()) {
    const int n = wait(epoll, ready.data(), static_cast<int>(ready.size()));
    ++wakeups;
    for (int k = 0; k < n; ++k) {
      const size_t i = ready[static_cast<size_t>(k)].data.u64;
      alignas(cmsghdr) char control[128];
      iovec part{buffer.data(), buffer.size()};
      msghdr message{};
      message.msg_iov = &part;
      message.msg_iovlen = 1;
      message.msg_control = control;
      message.msg_controllen = sizeof control;
      const ssize_t size = recvmsg(load.fds()[i], &message, MSG_DONTWAIT);
      if (size <= 0) Fail("recvmsg");
      load.Take(i, {buffer.data(), static_cast<size_t>(size)}, ReceiveTime(message));
    }
  }
  return wakeups;
}

int WaitForEver(int epoll, epoll_event* ready, int most) { return epoll_wait(epoll, ready, most, -1); }

int WaitWithDeadline(int epoll, epoll_event* ready, int most) {
  const timespec limit{0, kDeadlineNs};
  return static_cast<int>(syscall(SYS_epoll_pwait2, epoll, ready, most, &limit, nullptr, 0));
}

int WaitNever(int epoll, epoll_event* ready, int most) { return epoll_wait(epoll, ready, most, 0); }

// Looks at everything once in a period.
void SleepOn(int64_t& next_ns, int64_t period_ns) {
  next_ns = std::max(next_ns + period_ns, Now(CLOCK_MONOTONIC));
  const timespec until{next_ns / 1'000'000'000, next_ns % 1'000'000'000};
  clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr);
}

auto WaitGathering(int64_t period_ns) {
  return [period_ns, next_ns = int64_t{0}](int epoll, epoll_event* ready, int most) mutable {
    SleepOn(next_ns, period_ns);
    return epoll_wait(epoll, ready, most, -1);
  };
}

// ---- io_uring ----

#ifdef LLMBENCH_HAVE_URING
// period_ns 0: wakes up for every completion.
int64_t RunUring(Load& load, int64_t period_ns) {
  constexpr unsigned kBuffers = 4096;  // a power of two
  constexpr int kGroup = 0;
  constexpr size_t kEach = 4096;
  io_uring ring;
  io_uring_params params{};
  params.flags = IORING_SETUP_CQSIZE | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
  params.cq_entries = 16384;
  if (const int error = io_uring_queue_init_params(4096, &ring, &params); error != 0) {
    errno = -error;
    Fail("io_uring");
  }
  // Buffers that the kernel picks from.
  void* area = nullptr;
  if (posix_memalign(&area, 4096, kBuffers * sizeof(io_uring_buf)) != 0) Fail("memory");
  auto* const buffers = static_cast<io_uring_buf_ring*>(area);
  io_uring_buf_reg registration{};
  registration.ring_addr = reinterpret_cast<uint64_t>(buffers);
  registration.ring_entries = kBuffers;
  registration.bgid = kGroup;
  if (const int error = io_uring_register_buf_ring(&ring, &registration, 0); error != 0) {
    errno = -error;
    Fail("io_uring_register_buf_ring");
  }
  std::vector<char> memory(kBuffers * kEach);
  io_uring_buf_ring_init(buffers);
  const int mask = io_uring_buf_ring_mask(kBuffers);
  for (unsigned b = 0; b < kBuffers; ++b) {
    io_uring_buf_ring_add(buffers, &memory[b * kEach], kEach, static_cast<unsigned short>(b), mask,
                          static_cast<int>(b));
  }
  io_uring_buf_ring_advance(buffers, kBuffers);

  msghdr shape{};  // what a received message has room for
  shape.msg_controllen = 128;
  const auto arm = [&](size_t i) {
    io_uring_sqe* sqe = io_uring_get_sqe(&ring);
    if (sqe == nullptr) {
      io_uring_submit(&ring);
      sqe = io_uring_get_sqe(&ring);
    }
    io_uring_prep_recvmsg_multishot(sqe, load.fds()[i], &shape, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = kGroup;
    io_uring_sqe_set_data64(sqe, i);
  };
  for (size_t i = 0; i < load.fds().size(); ++i) arm(i);
  io_uring_submit(&ring);
  load.Begin();
  int64_t wakeups = 0;
  while (!load.over()) {
    if (period_ns > 0) {
      // More than can come at once, or the end of the period. Asking for a single one would take only some
      // of what is there, and fall behind.
      __kernel_timespec period{0, period_ns};
      io_uring_cqe* first;
      io_uring_submit_and_wait_timeout(&ring, &first, static_cast<unsigned>(load.fds().size()), &period,
                                       nullptr);
    } else {
      io_uring_submit_and_wait(&ring, 1);
    }
    ++wakeups;
    unsigned head, seen = 0;
    int given_back = 0;
    io_uring_cqe* cqe;
    io_uring_for_each_cqe(&ring, head, cqe) {
      ++seen;
      const size_t i = io_uring_cqe_get_data64(cqe);
      if (!(cqe->flags & IORING_CQE_F_MORE)) arm(i);
      if (cqe->res == -ENOBUFS) continue;
      if (cqe->res <= 0) {
        errno = -cqe->res;
        Fail("recvmsg");
      }
      const unsigned b = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
      char* const data = &memory[b * kEach];
      io_uring_recvmsg_out* const out = io_uring_recvmsg_validate(data, cqe->res, &shape);
      if (out == nullptr) Fail("io_uring_recvmsg_validate");
      msghdr message{};
      message.msg_control = static_cast<char*>(io_uring_recvmsg_name(out)) + shape.msg_namelen;
      message.msg_controllen = out->controllen;
      load.Take(i,
                {static_cast<char*>(io_uring_recvmsg_payload(out, &shape)),
                 io_uring_recvmsg_payload_length(out, cqe->res, &shape)},
                ReceiveTime(message));
      io_uring_buf_ring_add(buffers, data, kEach, static_cast<unsigned short>(b), mask, given_back++);
    }
    io_uring_buf_ring_advance(buffers, given_back);
    io_uring_cq_advance(&ring, seen);
  }
  return wakeups;
}
#endif

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6) {
    std::fprintf(
        stderr,
        "usage: waits epoll|pwait2|busy|gather:US|uring|uring-gather:US PORT STREAMS REQUESTS TOKENS\n");
    return 2;
  }
  std::string_view way = argv[1];
  int64_t period_ns = 0;
  if (const size_t colon = way.find(':'); colon != std::string_view::npos) {
    period_ns = std::atoll(argv[1] + colon + 1) * 1000;
    way = way.substr(0, colon);
  }
  prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
  // The kernel switches receive times on with the first socket that asks and lags behind.
  Load load(static_cast<uint16_t>(std::atoi(argv[2])), std::atoi(argv[3]), std::atoll(argv[4]),
            std::atoi(argv[5]));
  const int64_t began_ns = Now(CLOCK_MONOTONIC);
  int64_t wakeups = 0;
  if (way == "epoll") {
    wakeups = RunEpoll(load, WaitForEver);
  } else if (way == "pwait2") {
    wakeups = RunEpoll(load, WaitWithDeadline);
  } else if (way == "busy") {
    wakeups = RunEpoll(load, WaitNever);
  } else if (way == "gather" && period_ns > 0) {
    wakeups = RunEpoll(load, WaitGathering(period_ns));
#ifdef LLMBENCH_HAVE_URING
  } else if (way == "uring") {
    wakeups = RunUring(load, 0);
  } else if (way == "uring-gather" && period_ns > 0) {
    wakeups = RunUring(load, period_ns);
#endif
  } else {
    std::fprintf(stderr, "waits: %s is no way to wait here\n", argv[1]);
    return 2;
  }
  load.Report(wakeups, static_cast<double>(Now(CLOCK_MONOTONIC) - began_ns) / 1e9);
  return 0;
}
