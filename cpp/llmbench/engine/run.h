// One measurement from plan to rows: starts the workers, watches them, ends them.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "llmbench/engine/balancer.h"
#include "llmbench/engine/endpoint.h"
#include "llmbench/record/recorder.h"
#include "llmbench/record/result_writer.h"
#include "llmbench/schedule/arrivals.h"
#include "llmbench/wire/wire_format.h"
#include "llmbench/workload/workload.h"

namespace llmbench {

enum class ConnectMode : uint8_t {
  kPooled,  // the newest idle connection, else a new one
  kNew,     // a new connection for every request
  kSticky,  // closed loop: slot k always uses connection k
};

// Seconds become nanoseconds here; 0 means none.
struct Timeouts {
  int64_t connect_ns = 10 * kNsPerSecond;
  int64_t first_token_ns = 0;            // sent → first output event
  int64_t idle_ns = 120 * kNsPerSecond;  // without any byte, from sent on
  int64_t total_ns = 0;                  // sent → end
};

struct RunConfig {
  std::vector<Endpoint> endpoints;
  Balancing balancing = Balancing::kRoundRobin;
  wire::WireFormat wire_format = wire::WireFormat::OpenAiCompletions();
  bool streamed = true;
  std::shared_ptr<const Workload> workload;
  DrawOrder order = DrawOrder::kInOrder;
  uint64_t seed = 0;              // both streams of chance
  std::string request_id_prefix;  // X-Request-Id is this and the request's number

  ArrivalSpec arrivals;
  int64_t max_concurrency = 0;  // 0: no limit. A closed loop needs one
  int64_t num_requests = 0;     // 0: until duration_ns is over
  int64_t duration_ns = 0;      // 0: until num_requests are done
  int64_t warmup_requests = 0;
  int64_t warmup_duration_ns = 0;

  ConnectMode connect = ConnectMode::kPooled;
  int64_t warm_connections = 0;          // opened before the clock starts
  bool http2 = false;                    // by prior knowledge, over TLS by agreement
  int64_t streams_per_connection = 100;  // HTTP/2: at most, if the server allows as many
  int workers = 1;
  Timeouts timeouts;
  int64_t drain_ns = 5 * kNsPerSecond;
  int retries = 0;
  // An endpoint whose first this many requests have all failed is given up (balancer.h); the run stops when
  // there is no other. 0: never.
  int64_t abort_after_failures = 0;
  bool save_text = false;
  // Blanked where a server repeats them in an error; such a text is stored.
  std::vector<std::string> secrets;
};

// Live numbers, readable from any thread.
struct RunSnapshot {
  double elapsed_s = 0;
  int64_t started = 0, sent = 0, completed = 0, failed = 0, in_flight = 0, waiting = 0;
  int64_t output_events = 0, bytes_in = 0;
  Phase phase = Phase::kWarmup;
  double busiest_worker = 0;  // CPU share since the last snapshot
  // CPU time of each worker so far; -1 where it cannot be read (not yet started, or ended).
  std::vector<int64_t> worker_cpu_ns = {};
};

struct WorkerReport {
  double cpu_s = 0, wall_s = 0, run_queue_s = 0;
  int64_t involuntary_switches = 0, turns = 0, reads = 0, stalls = 0;
  int64_t max_stall_ns = 0;
  int64_t connections_opened = 0;
  // Over these: the time TCP (and a proxy) took, and TLS.
  int64_t connect_ns = 0, max_connect_ns = 0, tls_ns = 0, max_tls_ns = 0;
  double in_flight_s = 0;  // requests in flight, integrated over time: Σ(end − sent)
  int64_t clock_uncertainty_ns = 0;
  int clock_steps = 0;
};

struct RunReport {
  int64_t start_unix_ns = 0;  // wall-clock anchor of t0
  bool interrupted = false;
  std::string stopped_because;         // count, duration, interrupted, cancelled, all-failed, results
  std::vector<std::string> addresses;  // what each endpoint's name resolved to; "" where it was not asked
  std::vector<bool> given_up;          // whether an endpoint was given up (balancer.h)
  std::string first_error;             // of the first failed request
  double resolve_ms = 0;
  double process_cpu_s = 0;
  std::vector<WorkerReport> workers;
};

// Start and the destructor belong to one thread; the rest may be called from any.
class Run {
 public:
  // `writer` must have been created but not started; it outlives the run. Errors: config (2), unreachable
  // names, limits.
  static absl::StatusOr<std::unique_ptr<Run>> Create(RunConfig config, ResultWriter* writer);
  virtual ~Run() = default;

  virtual absl::Status Start() = 0;
  // True once every worker has ended.
  virtual bool Wait(int64_t timeout_ns) = 0;
  virtual RunSnapshot Snapshot() = 0;
  virtual void Stop() = 0;               // no new requests; running ones may finish for drain_ns
  virtual void Cancel() = 0;             // running requests are cut now
  virtual RunReport Report() const = 0;  // after Wait returned true
};

}  // namespace llmbench
