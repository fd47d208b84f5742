#include "llmbench/engine/run.h"

#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <csignal>
#include <mutex>
#include <thread>

#include "absl/strings/str_join.h"
#include "llmbench/base/return_if_error.h"
#include "llmbench/engine/connection.h"
#include "llmbench/engine/resolve.h"
#include "llmbench/engine/worker.h"

namespace llmbench {
namespace {

// Beside one descriptor per connection: standard streams, libraries, the result file, each worker's loop.
constexpr int64_t kSpareDescriptors = 64;

absl::Status Bad(const std::string& what) { return absl::InvalidArgumentError(what); }

absl::Status Validate(const RunConfig& config) {
  if (config.endpoints.empty()) return Bad("there is no endpoint; give at least one");
  for (const Endpoint& endpoint : config.endpoints) LLMBENCH_RETURN_IF_ERROR(endpoint.Validate());
  if (!config.workload || config.workload->size() == 0)
    return Bad("the workload is empty; give at least one request");
  if (config.workers < 1 || config.workers > 1024) {
    return Bad("workers is " + std::to_string(config.workers) + "; it must be between 1 and 1024");
  }
  if (config.max_concurrency < 0) {
    return Bad("max concurrency is " + std::to_string(config.max_concurrency) + "; it must be at least 1");
  }
  if (config.arrivals.kind == Arrival::kClosed && config.max_concurrency == 0) {
    return Bad("a closed loop needs a concurrency of at least 1");
  }
  if (config.streams_per_connection < 1) {
    return Bad("streams per connection is " + std::to_string(config.streams_per_connection) +
               "; it must be at least 1");
  }
  for (const Endpoint& endpoint : config.endpoints) {
    if (config.http2 && endpoint.proxy.rfind("https://", 0) == 0) {
      return Bad("HTTP/2 cannot go through the proxy " + endpoint.proxy +
                 ", which speaks TLS itself; use another");
    }
  }
  if (config.num_requests < 0) return Bad("the number of requests is negative");
  if (config.num_requests == 0 && config.duration_ns <= 0 && config.arrivals.kind != Arrival::kTrace) {
    return Bad("nothing ends this run: give a number of requests or a duration");
  }
  if (config.arrivals.kind == Arrival::kBurst && config.num_requests == 0) {
    return Bad("a burst needs a number of requests");
  }
  if (auto arrivals = MakeArrivalProcess(config.arrivals); !arrivals.ok()) return arrivals.status();
  return absl::OkStatus();
}

// Raises the soft limit to what the plan needs; says the number when the hard limit is below it.
absl::Status RaiseFileLimit(const RunConfig& config) {
  const int64_t connections =
      config.max_concurrency > 0
          ? (config.num_requests > 0 ? std::min(config.max_concurrency, config.num_requests)
                                     : config.max_concurrency)
      : config.arrivals.kind == Arrival::kBurst ? config.num_requests
                                                : config.warm_connections;
  const int64_t needed = connections + 4 * config.workers + kSpareDescriptors;
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return absl::OkStatus();
  if (limit.rlim_max != RLIM_INFINITY && static_cast<rlim_t>(needed) > limit.rlim_max) {
    return absl::ResourceExhaustedError(
        "this plan needs " + std::to_string(needed) + " file descriptors and the limit is " +
        std::to_string(limit.rlim_max) + "; run 'ulimit -n " + std::to_string(needed) +
        "' first (as root, or raise the hard limit), or lower the concurrency");
  }
  if (limit.rlim_cur < limit.rlim_max) {
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
  }
  return absl::OkStatus();
}

double ProcessCpuSeconds() {
  timespec cpu;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
  return static_cast<double>(ToNs(cpu)) / kNsPerSecond;
}

int64_t FreeSlots(const RunConfig& config) {
  if (config.arrivals.kind == Arrival::kClosed) return 0;  // each worker holds its own slots
  return config.max_concurrency > 0 ? config.max_concurrency : SlotLimiter::kUnlimited;
}

class RunImpl : public Run {
 public:
  RunImpl(const RunConfig& config, ResultWriter* writer)
      : writer_(writer), plan_(config, FreeSlots(config)) {}

  ~RunImpl() override {
    Cancel();
    for (std::thread& thread : threads_) thread.join();
    if (stamping_socket_ >= 0) close(stamping_socket_);
  }

  absl::Status Prepare();
  absl::Status Start() override;
  bool Wait(int64_t timeout_ns) override;
  RunSnapshot Snapshot() override;
  void Stop() override {
    interrupted_.store(true);
    plan_.stop.store(true);
    plan_.WakeAll();
  }
  void Cancel() override {
    if (!over()) interrupted_.store(true);
    plan_.cancel.store(true);
    plan_.WakeAll();
  }
  RunReport Report() const override;

 private:
  bool over() const {
    std::lock_guard lock(mutex_);
    return running_ == 0;
  }

  ResultWriter* const writer_;
  LoadPlan plan_;
  std::vector<std::thread> threads_;
  int stamping_socket_ = -1;
  double resolve_ms_ = 0;
  double cpu_before_s_ = 0;
  int64_t start_unix_ns_ = 0;
  std::atomic<bool> interrupted_{false};
  std::atomic<bool> results_lost_{false};

  mutable std::mutex mutex_;
  std::condition_variable ended_;
  int running_ = 0;

  // For the busy share between two snapshots; Snapshot may be called from any thread.
  std::mutex snapshot_mutex_;
  std::vector<std::pair<int64_t, int64_t>> last_cpu_;  // (cpu ns, wall ns) per worker
  double busiest_ = 0;
};

absl::Status RunImpl::Prepare() {
  const RunConfig& config = plan_.config;
  LLMBENCH_RETURN_IF_ERROR(Validate(config));
  LLMBENCH_RETURN_IF_ERROR(RaiseFileLimit(config));
  plan_.config.arrivals.seed = config.seed;
  // The kernel switches receive times on with the first socket that asks and lags behind: keep one asking
  // from here on.
  stamping_socket_ = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (stamping_socket_ >= 0) EnableReceiveTimes(stamping_socket_);
  std::signal(SIGPIPE, SIG_IGN);  // TLS writes to a closed socket would end the process
  plan_.draw = DrawSequence(config.workload->size(), config.order, config.seed);
  plan_.balancer = std::make_unique<Balancer>(config.balancing, static_cast<int>(config.endpoints.size()),
                                              config.seed, config.abort_after_failures);
  for (const Endpoint& endpoint : config.endpoints) {
    Target target{endpoint, MakeRequestHead(endpoint, config.streamed), {}};
    if (endpoint.unix_socket.empty() && endpoint.proxy.empty()) {
      const int64_t before = MonotonicNs();
      auto addresses = ResolveHost(endpoint.host, endpoint.port);
      if (!addresses.ok()) return addresses.status();
      target.addresses = *std::move(addresses);
      resolve_ms_ += static_cast<double>(MonotonicNs() - before) / kNsPerMs;
    }
    plan_.targets.push_back(std::move(target));
  }
  return absl::OkStatus();
}

absl::Status RunImpl::Start() {
  plan_.on_start = [this](int64_t start_ns) {
    start_unix_ns_ = RealtimeNs() - (MonotonicNs() - start_ns);
    writer_->SetStart(start_ns);
  };
  for (int i = 0; i < plan_.config.workers; ++i) {
    plan_.workers.push_back(std::make_unique<Worker>(&plan_, i, writer_->AddRecorder()));
    LLMBENCH_RETURN_IF_ERROR(plan_.workers.back()->Open());
  }
  cpu_before_s_ = ProcessCpuSeconds();
  writer_->Start();
  running_ = plan_.config.workers;
  last_cpu_.assign(plan_.workers.size(), {0, MonotonicNs()});
  for (auto& worker : plan_.workers) {
    threads_.emplace_back([this, w = worker.get()] {
      w->Main();
      std::lock_guard lock(mutex_);
      if (--running_ == 0) ended_.notify_all();
    });
  }
  return absl::OkStatus();
}

bool RunImpl::Wait(int64_t timeout_ns) {
  if (!writer_->status().ok() && !results_lost_.exchange(true)) {
    plan_.stop.store(true);  // rows can no longer be kept: no use in sending more
    plan_.WakeAll();
  }
  std::unique_lock lock(mutex_);
  return ended_.wait_for(lock, std::chrono::nanoseconds(timeout_ns), [this] { return running_ == 0; });
}

RunSnapshot RunImpl::Snapshot() {
  RunSnapshot snapshot;
  const int64_t now = MonotonicNs();
  const int64_t start = plan_.start_ns.load(std::memory_order_acquire);
  snapshot.elapsed_s = start == 0 ? 0 : static_cast<double>(now - start) / kNsPerSecond;
  snapshot.phase = Phase::kWarmup;
  for (const auto& worker : plan_.workers) {
    const LiveCounters& live = worker->live();
    constexpr auto kRelaxed = std::memory_order_relaxed;
    snapshot.started += live.started.load(kRelaxed);
    snapshot.sent += live.sent.load(kRelaxed);
    snapshot.completed += live.completed.load(kRelaxed);
    snapshot.failed += live.failed.load(kRelaxed);
    snapshot.in_flight += live.in_flight.load(kRelaxed);
    snapshot.waiting += live.waiting.load(kRelaxed);
    snapshot.output_events += live.output_events.load(kRelaxed);
    snapshot.bytes_in += live.bytes_in.load(kRelaxed);
    if (live.measuring.load(kRelaxed)) snapshot.phase = Phase::kMeasure;
  }
  if (plan_.stop.load(std::memory_order_relaxed)) snapshot.phase = Phase::kDrain;

  std::lock_guard lock(snapshot_mutex_);
  double busiest = 0;
  bool measured = false;
  snapshot.worker_cpu_ns.assign(plan_.workers.size(), -1);
  for (size_t i = 0; i < plan_.workers.size(); ++i) {
    const LiveCounters& live = plan_.workers[i]->live();
    timespec cpu;
    if (!live.has_cpu_clock.load(std::memory_order_acquire)) continue;
    if (clock_gettime(live.cpu_clock.load(std::memory_order_relaxed), &cpu) != 0) continue;
    snapshot.worker_cpu_ns[i] = ToNs(cpu);
    auto& [last_cpu, last_wall] = last_cpu_[i];
    if (now - last_wall < 100 * kNsPerMs) continue;
    busiest =
        std::max(busiest, static_cast<double>(ToNs(cpu) - last_cpu) / static_cast<double>(now - last_wall));
    last_cpu = ToNs(cpu);
    last_wall = now;
    measured = true;
  }
  if (measured) busiest_ = busiest;
  snapshot.busiest_worker = busiest_;
  return snapshot;
}

RunReport RunImpl::Report() const {
  RunReport report;
  report.start_unix_ns = start_unix_ns_;
  report.interrupted = interrupted_.load();
  report.stopped_because = plan_.cancel.load()             ? "cancelled"
                           : report.interrupted            ? "interrupted"
                           : results_lost_.load()          ? "results"
                           : plan_.all_failed.load()       ? "all-failed"
                           : plan_.config.num_requests > 0 ? "count"
                                                           : "duration";
  for (size_t i = 0; i < plan_.targets.size(); ++i) {
    report.addresses.push_back(absl::StrJoin(plan_.targets[i].addresses, ", "));
    report.given_up.push_back(plan_.balancer->given_up(static_cast<int32_t>(i)));
  }
  report.resolve_ms = resolve_ms_;
  report.process_cpu_s = ProcessCpuSeconds() - cpu_before_s_;
  for (const auto& worker : plan_.workers) {
    report.workers.push_back(worker->report());
    if (report.first_error.empty()) report.first_error = worker->first_error();
  }
  return report;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Run>> Run::Create(RunConfig config, ResultWriter* writer) {
  auto run = std::make_unique<RunImpl>(config, writer);
  if (absl::Status status = run->Prepare(); !status.ok()) return status;
  return run;
}

}  // namespace llmbench
