// One thread of the simulated server: an epoll loop that owns its replicas, their connections and their
// deadlines.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "llmbench/base/clock.h"
#include "llmbench/sim/answer_writer.h"
#include "llmbench/sim/chance.h"
#include "llmbench/sim/connection.h"
#include "llmbench/sim/generation_request.h"
#include "llmbench/sim/options.h"
#include "llmbench/sim/timer_queue.h"
#include "llmbench/sim/truth_log.h"

namespace llmbench::sim {

class ServingLoop {
 public:
  // `truth` may be null; it outlives the loop.
  ServingLoop(const Options& options, TruthLog* truth);
  ~ServingLoop();
  ServingLoop(const ServingLoop&) = delete;
  ServingLoop& operator=(const ServingLoop&) = delete;

  // Before Run: takes over a listening socket. `index` counts the replicas of the whole server.
  void AddReplica(int listen_fd, int index);

  // Serves until Stop(); the thread's body.
  void Run();
  // From any thread; open connections are closed.
  void Stop();

 private:
  struct Replica {
    Replica(const Options& options, int fd, int index);

    int listen_fd;
    CounterRng end_chance;
    CounterRng idle_chance;
    uint64_t requests = 0;
    uint64_t idles = 0;
  };

  // epoll's data word: the kind of descriptor in the top bits, or a connection's slot and generation.
  static constexpr uint64_t kStopWord = ~uint64_t{0};
  static constexpr uint64_t kListenBit = uint64_t{1} << 63;

  int64_t NextDeadline() const;
  void WaitFor(int64_t deadline_ns);
  void FireTimers();
  void Accept(uint32_t replica);
  Connection* Find(uint32_t slot, uint32_t generation);
  void Close(uint32_t slot);

  void OnReadable(uint32_t slot);
  void OnWritable(uint32_t slot);
  // Serves the complete requests in the input, one after another, until one takes time.
  void ServeInput(uint32_t slot);
  void Dispatch(uint32_t slot);
  void Generate(uint32_t slot, BodyKind kind);
  void TokenizeOnly(uint32_t slot);
  void ListModels(uint32_t slot);
  void Reply(uint32_t slot, int status, std::string_view content_type, std::string_view body,
             std::string_view extra);
  void ReplyError(uint32_t slot, const ApiError& error);
  ApiError CheckLimits(const GenerationRequest& request) const;
  void PlanOutput(Replica& replica, Answer* answer) const;

  void PlanNextEvent(uint32_t slot);
  void SendDueEvent(uint32_t slot);
  // Formats the tokens that a choice has produced since its last event.
  void FormatEvent(Connection& connection, size_t choice);
  // After events were formatted: writes them when enough are held, and ends the answer with its last token.
  void AfterEvents(uint32_t slot);
  void EndAnswer(uint32_t slot);
  // The request was answered in full: what becomes of the connection.
  void AfterReply(uint32_t slot);
  void LogTruth(Connection& connection, int status, bool complete);

  // Writes `held`. False when the connection broke and is closed.
  bool Flush(uint32_t slot);
  bool Write(uint32_t slot, const char* data, size_t size);
  bool WriteOnce(uint32_t slot, const char* data, size_t size);
  void AskForWrite(uint32_t slot, bool wanted);

  const Options options_;
  const int64_t ttft_ns_;
  const int64_t itl_ns_;
  const std::string served_model_;
  const int64_t max_model_len_;  // 0: no limit
  std::pair<double, double> idle_close_ms_ = {0, 0};
  std::string api_key_;
  TruthLog* const truth_;
  AnswerWriter writer_;
  GenerationRequestParser body_parser_;
  int epoll_fd_ = -1;
  int stop_fd_ = -1;
  int spare_fd_ = -1;  // given up for a moment when descriptors run out, so that a client can be turned away
  std::atomic<bool> stopping_{false};
  KernelClock kernel_clock_;
  int64_t turn_ns_ = 0;
  int64_t started_ns_ = 0;
  std::vector<Replica> replicas_;
  std::vector<std::unique_ptr<Connection>> connections_;
  std::vector<uint32_t> free_slots_;
  TimerQueue timers_;
  std::vector<char> read_buffer_;
  std::string reply_;  // scratch
};

}  // namespace llmbench::sim
