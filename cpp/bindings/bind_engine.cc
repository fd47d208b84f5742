#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_join.h"
#include "bindings.h"
#include "llmbench/aggregate/live_stats.h"
#include "llmbench/aggregate/run_summary.h"
#include "llmbench/engine/run.h"
#include "llmbench/record/result_writer.h"
#include "llmbench/schedule/arrivals.h"

namespace py = pybind11;

namespace llmbench::python {
namespace {

template <typename Enum>
using Names = std::vector<std::pair<const char*, Enum>>;

const Names<Arrival> kArrivals = {{"closed", Arrival::kClosed},     {"burst", Arrival::kBurst},
                                  {"constant", Arrival::kConstant}, {"poisson", Arrival::kPoisson},
                                  {"gamma", Arrival::kGamma},       {"trace", Arrival::kTrace}};
const Names<RampUp> kRamps = {
    {"none", RampUp::kNone}, {"linear", RampUp::kLinear}, {"exponential", RampUp::kExponential}};
const Names<DrawOrder> kOrders = {{"in-order", DrawOrder::kInOrder},
                                  {"shuffled", DrawOrder::kShuffled},
                                  {"with-replacement", DrawOrder::kWithReplacement}};
const Names<Balancing> kBalancings = {{"round-robin", Balancing::kRoundRobin},
                                      {"random", Balancing::kRandom},
                                      {"least-in-flight", Balancing::kLeastInFlight},
                                      {"sticky", Balancing::kSticky}};
const Names<ConnectMode> kConnects = {
    {"pooled", ConnectMode::kPooled}, {"new", ConnectMode::kNew}, {"sticky", ConnectMode::kSticky}};

template <typename Enum>
Enum Parse(const Names<Enum>& names, const char* what, const std::string& name) {
  std::string known;
  for (const auto& [text, value] : names) {
    if (name == text) return value;
    known += (known.empty() ? "" : ", ") + std::string(text);
  }
  throw py::value_error(std::string(what) + " is '" + name + "'; it must be one of " + known);
}

int64_t Ns(double seconds) {
  if (!(seconds > 0)) return 0;
  return static_cast<int64_t>(std::min(seconds, 1e9) * static_cast<double>(kNsPerSecond));
}

// The attributes of _core.Endpoint, in Python's terms.
struct PyEndpoint {
  std::string scheme = "http", host, path = "/", method = "POST";
  int port = 0;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string unix_socket, proxy, ca_file;
  bool insecure = false;

  Endpoint ToCore() const {
    if (scheme != "http" && scheme != "https") {
      throw py::value_error("scheme is '" + scheme + "'; it must be http or https");
    }
    if (port < 1 || port > 65535) {
      throw py::value_error("port is " + std::to_string(port) + "; it must be between 1 and 65535");
    }
    Endpoint endpoint;
    endpoint.tls = scheme == "https";
    endpoint.host = host;
    endpoint.port = static_cast<uint16_t>(port);
    endpoint.path = path;
    endpoint.method = method;
    endpoint.headers = headers;
    endpoint.unix_socket = unix_socket;
    endpoint.proxy = proxy;
    endpoint.ca_file = ca_file;
    endpoint.insecure = insecure;
    return endpoint;
  }
};

// The attributes of _core.RunConfig, likewise.
struct PyRunConfig {
  std::vector<PyEndpoint> endpoints;
  std::string balancing = "round-robin";
  std::string wire_format = "openai-completions", wire_rules;
  bool streamed = true;
  std::shared_ptr<Workload> workload;
  std::string order = "in-order";
  uint64_t seed = 0;
  std::string request_id_prefix;
  std::string arrival = "burst";
  double rate = 0, burstiness = 1;
  std::vector<int64_t> trace_ns;
  std::string ramp = "none";
  double ramp_start_rate = 0;
  int64_t ramp_requests = 0;
  double closed_ramp_s = 0;
  bool closed_ramp_random = false;
  int64_t max_concurrency = 0, num_requests = 0;
  double duration_s = 0;
  int64_t warmup_requests = 0;
  double warmup_duration_s = 0;
  std::string connect = "pooled";
  int64_t warm_connections = 0;
  bool http2 = false;
  int64_t streams_per_connection = 100;
  int workers = 1;
  double connect_timeout_s = 10, first_token_timeout_s = 0, idle_timeout_s = 120, request_timeout_s = 0,
         drain_s = 5;
  int retries = 0;
  int64_t abort_after_failures = 0;
  std::string result_path, run_json = "{}";
  bool save_text = false;
  std::string model;
  std::vector<std::string> secrets;

  ArrivalSpec Arrivals() const {
    ArrivalSpec spec;
    spec.kind = Parse(kArrivals, "arrival", arrival);
    spec.rate = rate;
    spec.burstiness = burstiness;
    spec.seed = seed;
    spec.trace_ns = trace_ns;
    spec.ramp = Parse(kRamps, "ramp", ramp);
    spec.ramp_start_rate = ramp_start_rate;
    spec.ramp_requests = static_cast<uint64_t>(std::max<int64_t>(0, ramp_requests));
    spec.closed_ramp_s = closed_ramp_s;
    spec.closed_ramp_random = closed_ramp_random;
    return spec;
  }

  RunConfig ToCore() const {
    RunConfig config;
    for (const PyEndpoint& endpoint : endpoints) config.endpoints.push_back(endpoint.ToCore());
    config.balancing = Parse(kBalancings, "balancing", balancing);
    auto format = wire::WireFormat::Named(wire_format, wire_rules);
    ThrowIfError(format.status());
    config.wire_format = *std::move(format);
    config.streamed = streamed;
    config.workload = workload;
    config.order = Parse(kOrders, "order", order);
    config.seed = seed;
    config.request_id_prefix = request_id_prefix;
    config.arrivals = Arrivals();
    config.max_concurrency = max_concurrency;
    config.num_requests = num_requests;
    config.duration_ns = Ns(duration_s);
    config.warmup_requests = warmup_requests;
    config.warmup_duration_ns = Ns(warmup_duration_s);
    config.connect = Parse(kConnects, "connect", connect);
    config.warm_connections = warm_connections;
    // gRPC knows no other.
    config.http2 = http2 || config.wire_format.rules().framing == wire::StreamFraming::kGrpc;
    config.streams_per_connection = streams_per_connection;
    config.workers = workers;
    config.timeouts = {Ns(connect_timeout_s), Ns(first_token_timeout_s), Ns(idle_timeout_s),
                       Ns(request_timeout_s)};
    config.drain_ns = Ns(drain_s);
    config.retries = retries;
    config.abort_after_failures = abort_after_failures;
    config.save_text = save_text;
    config.secrets = secrets;
    return config;
  }
};

// Of rows, to summarize them without reading the file: about 130 000 answers of one token, or 50 000 of 64.
constexpr size_t kKeepBytes = size_t{32} << 20;

// A run with its result file and its live statistics, which end in the right order.
class PyRun {
 public:
  explicit PyRun(const PyRunConfig& config) : path_(config.result_path) {
    RunConfig core = config.ToCore();
    ResultWriter::Options options;
    options.path = config.result_path;
    options.run_json = config.run_json;
    options.save_text = config.save_text;
    for (const Endpoint& endpoint : core.endpoints)
      options.endpoints.push_back(endpoint.Url() + endpoint.path);
    if (!config.model.empty()) options.models = {config.model};
    options.observer = &stats_;
    options.keep_bytes = kKeepBytes;
    options.sampler = [this](int64_t) { return Sample(); };
    auto writer = ResultWriter::Create(std::move(options));
    ThrowIfError(writer.status());
    writer_ = *std::move(writer);
    absl::StatusOr<std::unique_ptr<Run>> run;
    {
      py::gil_scoped_release release;  // resolving a name may take seconds and touches no Python object
      run = Run::Create(std::move(core), writer_.get());
    }
    ThrowIfError(run.status());
    run_ = *std::move(run);
  }

  ~PyRun() {
    // Joins the workers, which never touch Python; another Python thread may go on meanwhile.
    py::gil_scoped_release release;
    run_.reset();
    writer_.reset();
  }

  void Start() {
    if (started_) throw py::value_error("this run was started before; make a new one");
    started_ = true;
    ThrowIfError(run_->Start());
  }

  bool Wait(double timeout_s) {
    py::gil_scoped_release release;  // waits on a condition variable; nothing here belongs to Python
    return run_->Wait(Ns(timeout_s));
  }

  py::dict Snapshot() {
    const RunSnapshot s = run_->Snapshot();
    const LiveSnapshot stats = stats_.Snapshot();
    py::dict d;
    d["elapsed_s"] = s.elapsed_s;
    d["started"] = s.started;
    d["sent"] = s.sent;
    d["completed"] = s.completed;
    d["failed"] = s.failed;
    d["in_flight"] = s.in_flight;
    d["waiting"] = s.waiting;
    d["output_events"] = s.output_events;
    d["bytes_in"] = s.bytes_in;
    d["phase"] = std::string(PhaseName(s.phase));
    d["worker_busy"] = s.busiest_worker;
    d["ttft_p50_ms"] = OrNone(stats.ttft, stats.ttft.p50_ms);
    d["ttft_p99_ms"] = OrNone(stats.ttft, stats.ttft.p99_ms);
    return d;
  }

  void Stop() { run_->Stop(); }
  void Cancel() { run_->Cancel(); }

  std::unique_ptr<RunDigest> Digest() {
    if (!finished_) throw py::value_error("the digest of a run is there when it has finished");
    py::gil_scoped_release release;  // rows and sums of our own, which Python has not seen yet
    const KeptRows kept = writer_->TakeKept();
    return kept.holds_all() ? std::make_unique<RunDigest>(RunDigest::Of(kept, path_)) : nullptr;
  }

  py::dict Finish() {
    absl::Status stored;
    {
      py::gil_scoped_release release;  // joins and writes: no Python object in sight
      while (!run_->Wait(kNsPerSecond)) {
      }
      stored = writer_->Finish();
    }
    finished_ = true;
    ThrowIfError(stored);
    return Evidence();
  }

 private:
  static py::object OrNone(const LiveLatency& latency, double value) {
    return latency.n == 0 ? py::object(py::none()) : py::object(py::float_(value));
  }

  // Mean and largest of so many durations; None without any.
  static py::object OfEach(int64_t count, int64_t total_ns, int64_t most_ns) {
    if (count == 0) return py::none();
    py::dict d;
    d["mean"] = static_cast<double>(total_ns) / static_cast<double>(count) / kNsPerMs;
    d["max"] = static_cast<double>(most_ns) / kNsPerMs;
    return d;
  }

  static py::dict Describe(const LiveLatency& latency) {
    py::dict d;
    d["count"] = latency.n;
    d["mean"] = OrNone(latency, latency.mean_ms);
    d["p50"] = OrNone(latency, latency.p50_ms);
    d["p90"] = OrNone(latency, latency.p90_ms);
    d["p99"] = OrNone(latency, latency.p99_ms);
    d["max"] = OrNone(latency, latency.max_ms);
    return d;
  }

  // The points of one second, on the writer's thread; docs/results.md says what the names mean. A latency of
  // a second in which no request ended has no point.
  std::vector<ResultWriter::Options::Sample> Sample() {
    const RunSnapshot s = run_->Snapshot();
    const LiveInterval interval = stats_.TakeInterval();
    sampled_output_tokens_ += interval.output_tokens;
    std::vector<ResultWriter::Options::Sample> points;
    const auto add = [&points](const char* name, double value) {
      if (!std::isnan(value)) points.push_back({"client", name, value});
    };
    add("in_flight", static_cast<double>(s.in_flight));
    add("waiting", static_cast<double>(s.waiting));
    add("sent", static_cast<double>(s.sent));
    add("completed", static_cast<double>(s.completed));
    add("failed", static_cast<double>(s.failed));
    add("output_events", static_cast<double>(s.output_events));
    add("output_tokens", static_cast<double>(sampled_output_tokens_));
    add("bytes_in", static_cast<double>(s.bytes_in));
    add("ttft_p50_ms", interval.ttft.p50_ms);
    add("ttft_p99_ms", interval.ttft.p99_ms);
    add("client_lag_p99_ms", interval.client_lag.p99_ms);
    add("read_lateness_p99_ms", interval.read_lateness.p99_ms);
    add("worker_busy", BusiestWorker(s));
    return points;
  }

  // CPU share of the busiest worker since the sample before, whoever else takes snapshots meanwhile; NaN
  // while there is none.
  double BusiestWorker(const RunSnapshot& s) {
    double busiest = std::numeric_limits<double>::quiet_NaN();
    const double wall_ns = (s.elapsed_s - sampled_at_s_) * kNsPerSecond;
    for (size_t i = 0; i < s.worker_cpu_ns.size(); ++i) {
      const bool known = i < sampled_cpu_ns_.size() && sampled_cpu_ns_[i] >= 0 && s.worker_cpu_ns[i] >= 0;
      if (!known || wall_ns <= 0) continue;
      busiest = std::fmax(busiest, static_cast<double>(s.worker_cpu_ns[i] - sampled_cpu_ns_[i]) / wall_ns);
    }
    sampled_at_s_ = s.elapsed_s;
    sampled_cpu_ns_ = s.worker_cpu_ns;
    return busiest;
  }

  py::dict Evidence() {
    const RunReport report = run_->Report();
    const LiveSnapshot stats = stats_.Snapshot();
    py::dict d;
    d["start_unix_ns"] = report.start_unix_ns;
    d["interrupted"] = report.interrupted;
    d["stopped_because"] = report.stopped_because;
    std::vector<std::string> addresses;
    for (const std::string& each : report.addresses) {
      if (std::find(addresses.begin(), addresses.end(), each) == addresses.end()) addresses.push_back(each);
    }
    d["address"] = absl::StrJoin(addresses, ", ");
    d["given_up"] = report.given_up;
    d["first_error"] = report.first_error;
    d["resolve_ms"] = report.resolve_ms;
    d["process_cpu_s"] = report.process_cpu_s;
    d["read_lateness_ms"] = Describe(stats.read_lateness);
    py::dict widths = Describe(stats.merged_width);
    widths["shares_from"] = stats_.MergedWidthShares();
    d["merged_width_ms"] = std::move(widths);
    py::list workers;
    int64_t connections = 0, stalls = 0, uncertainty_ns = 0;
    int64_t connect_ns = 0, max_connect_ns = 0, tls_ns = 0, max_tls_ns = 0;
    int steps = 0;
    double in_flight_s = 0;
    for (const WorkerReport& w : report.workers) {
      py::dict one;
      one["cpu_s"] = w.cpu_s;
      one["wall_s"] = w.wall_s;
      one["run_queue_s"] = w.run_queue_s;
      one["involuntary_switches"] = w.involuntary_switches;
      one["turns"] = w.turns;
      one["reads"] = w.reads;
      one["stalls"] = w.stalls;
      one["max_stall_ms"] = static_cast<double>(w.max_stall_ns) / kNsPerMs;
      one["connections"] = w.connections_opened;
      workers.append(std::move(one));
      connections += w.connections_opened;
      connect_ns += w.connect_ns;
      max_connect_ns = std::max(max_connect_ns, w.max_connect_ns);
      tls_ns += w.tls_ns;
      max_tls_ns = std::max(max_tls_ns, w.max_tls_ns);
      stalls += w.stalls;
      steps = std::max(steps, w.clock_steps);
      uncertainty_ns = std::max(uncertainty_ns, w.clock_uncertainty_ns);
      in_flight_s += w.in_flight_s;
    }
    d["workers"] = std::move(workers);
    d["connections"] = connections;
    d["connect_ms"] = OfEach(connections, connect_ns, max_connect_ns);
    d["tls_ms"] = OfEach(connections, tls_ns, max_tls_ns);
    d["stalls"] = stalls;
    d["clock_steps"] = steps;
    d["clock_uncertainty_ns"] = uncertainty_ns;
    d["in_flight_s"] = in_flight_s;
    return d;
  }

  const std::string path_;
  LiveStats stats_;  // the writer's observer: outlives it
  // The sampler's, as of its last point.
  uint64_t sampled_output_tokens_ = 0;
  double sampled_at_s_ = 0;
  std::vector<int64_t> sampled_cpu_ns_;
  std::unique_ptr<ResultWriter> writer_;
  std::unique_ptr<Run> run_;  // ends before the writer
  bool started_ = false, finished_ = false;
};

py::array_t<int64_t> PlanOffsets(const PyRunConfig& config, py::ssize_t n) {
  auto arrivals = MakeArrivalProcess(config.Arrivals());
  ThrowIfError(arrivals.status());
  py::array_t<int64_t> offsets(n);
  for (py::ssize_t i = 0; i < n; ++i) offsets.mutable_at(i) = (*arrivals)->NextOffset();
  return offsets;
}

py::array_t<uint32_t> DrawItems(const PyRunConfig& config, py::ssize_t n) {
  if (!config.workload || config.workload->size() == 0) throw py::value_error("the workload is empty");
  const DrawSequence draw(config.workload->size(), Parse(kOrders, "order", config.order), config.seed);
  py::array_t<uint32_t> items(n);
  for (py::ssize_t i = 0; i < n; ++i) items.mutable_at(i) = draw.At(static_cast<uint64_t>(i));
  return items;
}

}  // namespace

void BindEngine(py::module_& m) {
  py::class_<PyEndpoint>(m, "Endpoint", "Where requests go; plain attributes.")
      .def(py::init<>())
      .def_readwrite("scheme", &PyEndpoint::scheme)
      .def_readwrite("host", &PyEndpoint::host)
      .def_readwrite("port", &PyEndpoint::port)
      .def_readwrite("path", &PyEndpoint::path)
      .def_readwrite("method", &PyEndpoint::method)
      .def_readwrite("headers", &PyEndpoint::headers)
      .def_readwrite("unix_socket", &PyEndpoint::unix_socket)
      .def_readwrite("proxy", &PyEndpoint::proxy)
      .def_readwrite("ca_file", &PyEndpoint::ca_file)
      .def_readwrite("insecure", &PyEndpoint::insecure);

  py::class_<PyRunConfig>(m, "RunConfig", "What a run does; plain attributes.")
      .def(py::init<>())
      .def_readwrite("endpoints", &PyRunConfig::endpoints)
      .def_readwrite("balancing", &PyRunConfig::balancing)
      .def_readwrite("wire_format", &PyRunConfig::wire_format)
      .def_readwrite("http2", &PyRunConfig::http2)
      .def_readwrite("streams_per_connection", &PyRunConfig::streams_per_connection)
      .def_readwrite("wire_rules", &PyRunConfig::wire_rules)
      .def_readwrite("streamed", &PyRunConfig::streamed)
      .def_readwrite("workload", &PyRunConfig::workload)
      .def_readwrite("order", &PyRunConfig::order)
      .def_readwrite("seed", &PyRunConfig::seed)
      .def_readwrite("request_id_prefix", &PyRunConfig::request_id_prefix)
      .def_readwrite("arrival", &PyRunConfig::arrival)
      .def_readwrite("rate", &PyRunConfig::rate)
      .def_readwrite("burstiness", &PyRunConfig::burstiness)
      .def_readwrite("trace_ns", &PyRunConfig::trace_ns)
      .def_readwrite("ramp", &PyRunConfig::ramp)
      .def_readwrite("ramp_start_rate", &PyRunConfig::ramp_start_rate)
      .def_readwrite("ramp_requests", &PyRunConfig::ramp_requests)
      .def_readwrite("closed_ramp_s", &PyRunConfig::closed_ramp_s)
      .def_readwrite("closed_ramp_random", &PyRunConfig::closed_ramp_random)
      .def_readwrite("max_concurrency", &PyRunConfig::max_concurrency)
      .def_readwrite("num_requests", &PyRunConfig::num_requests)
      .def_readwrite("duration_s", &PyRunConfig::duration_s)
      .def_readwrite("warmup_requests", &PyRunConfig::warmup_requests)
      .def_readwrite("warmup_duration_s", &PyRunConfig::warmup_duration_s)
      .def_readwrite("connect", &PyRunConfig::connect)
      .def_readwrite("warm_connections", &PyRunConfig::warm_connections)
      .def_readwrite("workers", &PyRunConfig::workers)
      .def_readwrite("connect_timeout_s", &PyRunConfig::connect_timeout_s)
      .def_readwrite("first_token_timeout_s", &PyRunConfig::first_token_timeout_s)
      .def_readwrite("idle_timeout_s", &PyRunConfig::idle_timeout_s)
      .def_readwrite("request_timeout_s", &PyRunConfig::request_timeout_s)
      .def_readwrite("drain_s", &PyRunConfig::drain_s)
      .def_readwrite("retries", &PyRunConfig::retries)
      .def_readwrite("abort_after_failures", &PyRunConfig::abort_after_failures)
      .def_readwrite("result_path", &PyRunConfig::result_path)
      .def_readwrite("run_json", &PyRunConfig::run_json)
      .def_readwrite("save_text", &PyRunConfig::save_text)
      .def_readwrite("model", &PyRunConfig::model)
      .def_readwrite("secrets", &PyRunConfig::secrets);

  py::class_<PyRun>(m, "Run", "One measurement.")
      .def(py::init<const PyRunConfig&>(), py::arg("config"))
      .def("start", &PyRun::Start)
      .def("wait", &PyRun::Wait, py::arg("timeout_s"))
      .def("snapshot", &PyRun::Snapshot)
      .def("stop", &PyRun::Stop)
      .def("cancel", &PyRun::Cancel)
      .def("finish", &PyRun::Finish)
      .def("digest", &PyRun::Digest);

  m.def("plan_offsets", &PlanOffsets, py::arg("config"), py::arg("n"));
  m.def("draw_items", &DrawItems, py::arg("config"), py::arg("n"));
}

}  // namespace llmbench::python
