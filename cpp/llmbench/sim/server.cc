#include "llmbench/sim/server.h"

#include <linux/net_tstamp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <utility>

#include "llmbench/base/return_if_error.h"
#include "llmbench/sim/serving_loop.h"
#include "llmbench/sim/truth_log.h"

namespace llmbench::sim {
namespace {

constexpr int kBacklog = 65535;  // the kernel caps it at net.core.somaxconn

// Tens of thousands of streams need as many descriptors.
void RaiseDescriptorLimit() {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

// Accepted sockets inherit these. Stamping is on before the first byte can come.
void SetUp(int fd) {
  const int one = 1;
  const int stamps = SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPING, &stamps, sizeof stamps);
}

absl::StatusOr<int> ListenOn(const addrinfo& address, const std::string& where) {
  const auto failed = [&where](int fd) {
    const std::string why = std::strerror(errno);
    if (fd >= 0) close(fd);
    return absl::UnavailableError("cannot listen on " + where + ": " + why +
                                  ". Choose another port, or 0 for any free one.");
  };
  const int fd = socket(address.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return failed(fd);
  SetUp(fd);
  if (bind(fd, address.ai_addr, address.ai_addrlen) != 0 || listen(fd, kBacklog) != 0) return failed(fd);
  return fd;
}

int PortOf(int fd) {
  sockaddr_storage address;
  socklen_t size = sizeof address;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
  if (address.ss_family == AF_INET6) return ntohs(reinterpret_cast<sockaddr_in6*>(&address)->sin6_port);
  return ntohs(reinterpret_cast<sockaddr_in*>(&address)->sin_port);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Server>> Server::Create(Options options) {
  LLMBENCH_RETURN_IF_ERROR(Validate(options));
  return std::unique_ptr<Server>(new Server(std::move(options)));
}

Server::Server(Options options) : options_(std::move(options)) {}

Server::~Server() { Stop(); }

absl::Status Server::Listen(int port, std::vector<int>* fds) {
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const std::string service = std::to_string(port);
  if (const int error = getaddrinfo(options_.host.c_str(), service.c_str(), &hints, &found); error != 0) {
    return absl::InvalidArgumentError("sim option 'host' is '" + options_.host + "': " + gai_strerror(error) +
                                      ".");
  }
  const absl::StatusOr<int> fd = ListenOn(*found, options_.host + ":" + service);
  freeaddrinfo(found);
  if (!fd.ok()) return fd.status();
  fds->push_back(*fd);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<int>> Server::Start() {
  RaiseDescriptorLimit();
  if (!options_.truth.empty()) {
    auto truth = TruthLog::Open(options_.truth);
    if (!truth.ok()) return truth.status();
    truth_ = *std::move(truth);
  }
  std::vector<int> fds;
  absl::Status status;
  for (int i = 0; i < options_.replicas && status.ok(); ++i)
    status = Listen(options_.port == 0 ? 0 : options_.port + i, &fds);
  if (!status.ok()) {
    for (const int fd : fds) close(fd);
    return status;
  }

  const size_t loops = static_cast<size_t>(std::min(options_.threads, options_.replicas));
  for (size_t i = 0; i < loops; ++i) loops_.push_back(std::make_unique<ServingLoop>(options_, truth_.get()));
  for (size_t i = 0; i < fds.size(); ++i) {
    ports_.push_back(PortOf(fds[i]));
    loops_[i % loops]->AddReplica(fds[i], static_cast<int>(i));
  }
  for (const auto& loop : loops_) threads_.emplace_back([&loop = *loop] { loop.Run(); });
  return ports_;
}

void Server::Stop() {
  const std::lock_guard stop_lock(stop_mutex_);
  for (const auto& loop : loops_) loop->Stop();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  loops_.clear();
  truth_.reset();
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  ended_.notify_all();
}

bool Server::Wait(int64_t timeout_ns) {
  std::unique_lock lock(mutex_);
  return ended_.wait_for(lock, std::chrono::nanoseconds(timeout_ns), [this] { return stopped_; });
}

std::vector<std::string> Server::Urls() const {
  const bool ipv6 = options_.host.find(':') != std::string::npos;
  const std::string host = ipv6 ? "[" + options_.host + "]" : options_.host;
  std::vector<std::string> urls;
  for (const int port : ports_) {
    urls.push_back((options_.tls_cert.empty() ? "http://" : "https://") + host + ":" + std::to_string(port));
  }
  return urls;
}

std::string Server::Description() const {
  const std::string model = options_.model.empty() ? "llmbench-sim" : options_.model;
  char times[96];
  std::snprintf(times, sizeof times, ", fixed: %g ms to the first token, %g ms between tokens",
                options_.ttft_ms, options_.itl_ms);
  return model + times;
}

}  // namespace llmbench::sim
