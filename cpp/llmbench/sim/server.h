// The simulated LLM server: replicas on ports of their own, served by threads of its own.
//
//   auto server = sim::Server::Create(options).value();
//   const std::vector<int> ports = server->Start().value();
//   ...
//   server->Stop();
//
// docs/simulator.md says what it can be asked to be.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "llmbench/sim/options.h"

namespace llmbench::sim {

class ServingLoop;
struct Service;

class Server {
 public:
  // InvalidArgument when the options contradict each other or ask for what there is not.
  static absl::StatusOr<std::unique_ptr<Server>> Create(Options options);
  // Stops.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Listens and serves; the ports, one per replica, or one for all behind a front. When it returns,
  // connections are accepted. Unavailable when an address cannot be listened on, FailedPrecondition when the
  // truth log cannot be written. Call once.
  absl::StatusOr<std::vector<int>> Start();

  // Closes all connections and flushes the truth log. Safe from any thread, more than once.
  void Stop();

  // True once it has been stopped; false when the time is up first.
  bool Wait(int64_t timeout_ns);

  const std::vector<int>& ports() const { return ports_; }
  // "http://127.0.0.1:8000" for each port, once started.
  std::vector<std::string> Urls() const;
  // "llmbench-sim, fixed: 50 ms to the first token, 10 ms between tokens".
  const std::string& Description() const;

 private:
  explicit Server(std::unique_ptr<Service> service);
  absl::Status Listen(int port, std::vector<int>* fds) const;

  const std::unique_ptr<Service> service_;
  std::vector<std::unique_ptr<ServingLoop>> loops_;
  std::vector<std::thread> threads_;
  std::vector<int> ports_;
  std::mutex mutex_;
  std::condition_variable ended_;
  bool stopped_ = false;
  std::mutex stop_mutex_;  // one Stop at a time
};

}  // namespace llmbench::sim
