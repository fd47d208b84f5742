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
#include "llmbench/sim/service.h"
#include "llmbench/sim/serving_loop.h"

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

absl::StatusOr<int> ListenOn(const addrinfo& address, const std::string& where, int backlog) {
  const auto failed = [&where](int fd) {
    const std::string why = std::strerror(errno);
    if (fd >= 0) close(fd);
    return absl::UnavailableError("cannot listen on " + where + ": " + why +
                                  ". Choose another port, or 0 for any free one.");
  };
  const int fd = socket(address.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return failed(fd);
  SetUp(fd);
  if (bind(fd, address.ai_addr, address.ai_addrlen) != 0 || listen(fd, backlog) != 0) return failed(fd);
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
  absl::StatusOr<std::unique_ptr<Service>> service = Service::Make(std::move(options));
  if (!service.ok()) return service.status();
  return std::unique_ptr<Server>(new Server(*std::move(service)));
}

Server::Server(std::unique_ptr<Service> service) : service_(std::move(service)) {}

Server::~Server() { Stop(); }

absl::Status Server::Listen(int port, std::vector<int>* fds) const {
  const std::string& host = service_->options.host;
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const std::string service = std::to_string(port);
  if (const int error = getaddrinfo(host.c_str(), service.c_str(), &hints, &found); error != 0) {
    return absl::InvalidArgumentError("sim option 'host' is '" + host + "': " + gai_strerror(error) + ".");
  }
  const absl::StatusOr<int> fd =
      ListenOn(*found, host + ":" + service, service_->options.never_accept ? 0 : kBacklog);
  freeaddrinfo(found);
  if (!fd.ok()) return fd.status();
  fds->push_back(*fd);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<int>> Server::Start() {
  const Options& options = service_->options;
  RaiseDescriptorLimit();
  if (!options.truth.empty()) {
    auto truth = TruthLog::Open(options.truth);
    if (!truth.ok()) return truth.status();
    service_->truth = *std::move(truth);
  }
  const int listeners = options.front ? 1 : options.replicas;
  const int replicas_each = options.front ? options.replicas : 1;
  std::vector<int> fds;
  absl::Status status;
  for (int i = 0; i < listeners && status.ok(); ++i)
    status = Listen(options.port == 0 ? 0 : options.port + i, &fds);
  if (!status.ok()) {
    for (const int fd : fds) close(fd);
    return status;
  }

  const size_t loops = static_cast<size_t>(std::min(options.threads, listeners));
  for (size_t i = 0; i < loops; ++i) loops_.push_back(std::make_unique<ServingLoop>(*service_));
  for (size_t i = 0; i < fds.size(); ++i) {
    ports_.push_back(PortOf(fds[i]));
    loops_[i % loops]->AddListener(fds[i], static_cast<int>(i), replicas_each);
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
  service_->truth.reset();
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
  const Options& options = service_->options;
  const bool ipv6 = options.host.find(':') != std::string::npos;
  const std::string host = ipv6 ? "[" + options.host + "]" : options.host;
  std::vector<std::string> urls;
  for (const int port : ports_) {
    urls.push_back((options.tls_cert.empty() ? "http://" : "https://") + host + ":" + std::to_string(port));
  }
  return urls;
}

const std::string& Server::Description() const { return service_->deployment.description; }

}  // namespace llmbench::sim
