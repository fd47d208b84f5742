// One thread of the simulated server: an epoll loop that owns its replicas, their connections and their
// deadlines.
//
// serving_loop.cc has the sockets and the time, serving_requests.cc what comes in, serving_answers.cc what
// goes out.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "llmbench/base/clock.h"
#include "llmbench/sim/connection.h"
#include "llmbench/sim/dialect.h"
#include "llmbench/sim/event_stream.h"
#include "llmbench/sim/generation_request.h"
#include "llmbench/sim/http_writer.h"
#include "llmbench/sim/replica.h"
#include "llmbench/sim/service.h"
#include "llmbench/sim/timer_queue.h"

namespace llmbench::sim {

class ServingLoop {
 public:
  // The service outlives the loop.
  explicit ServingLoop(const Service& service);
  ~ServingLoop();
  ServingLoop(const ServingLoop&) = delete;
  ServingLoop& operator=(const ServingLoop&) = delete;

  // Before Run: takes over a listening socket, and serves it with `replicas` replicas of which the first is
  // number `first` of the whole server.
  void AddListener(int fd, int first, int replicas);

  // Serves until Stop(); the thread's body.
  void Run();
  // From any thread; open connections are closed.
  void Stop();

 private:
  struct Listener {
    int fd;
    uint32_t first;  // replica of this loop
    uint32_t replicas;
    uint32_t turn = 0;     // where the search for the least loaded begins
    Metrics scraped = {};  // what its metrics page showed last
  };

  // epoll's data word: a listener, the stop signal, or a connection's slot and generation.
  static constexpr uint64_t kStopWord = ~uint64_t{0};
  static constexpr uint64_t kListenBit = uint64_t{1} << 63;

  // Sockets and time.
  int64_t NextDeadline() const;
  void WaitFor(int64_t deadline_ns);
  void RunModels();
  void FireTimers();
  void Accept(uint32_t listener);
  Connection* Find(uint32_t slot, uint32_t generation);
  void Close(uint32_t slot);
  void CloseWhenSent(uint32_t slot);
  void Reset(uint32_t slot);
  void OnReadable(uint32_t slot);
  uint32_t TakeSlot();
  // HTTP/2 (serving_streams.cc).
  bool SpeaksHttp2(Connection& connection);
  void ServeStreams(uint32_t slot);  // the input of a connection that speaks it
  void OpenStream(uint32_t slot, const Http2Bridge::Request& request);
  void ForgetStream(uint32_t slot);
  bool WriteStream(uint32_t slot, std::string_view bytes);
  bool FlushStreams(uint32_t slot);  // sends what the bridge has to say
  void OnWritable(uint32_t slot);
  void OnDrip(uint32_t slot);
  // The Writes are false when the connection broke and is closed. Write cuts and encrypts as asked for.
  bool Write(uint32_t slot, std::string_view bytes);
  bool WriteCut(uint32_t slot, std::string_view bytes, size_t at);
  bool WriteSlice(uint32_t slot, std::string_view bytes);
  bool WriteRaw(uint32_t slot, std::string_view bytes);
  void AskForWrite(uint32_t slot, bool wanted);
  void PushTimer(uint32_t slot, int64_t due_ns, TimerKind kind);

  // Requests.
  void ServeInput(uint32_t slot);  // the complete requests in the input, until one takes time
  void Dispatch(uint32_t slot);
  void TakeRequest(uint32_t slot);
  Route FindRoute(Connection& connection);
  void Generate(uint32_t slot, const Route& route);
  bool ReplyFault(uint32_t slot);  // true when the fault is the whole answer
  std::string RetryAfterLine() const;
  void TokenizeOnly(uint32_t slot, const Route& route);
  void ShowMetrics(uint32_t slot);
  Load LoadOf(const Listener& listener) const;
  void SendReply(uint32_t slot, ServerReply reply);
  void Refuse(uint32_t slot, const ApiError& error, std::string extra = "");
  void AfterReply(uint32_t slot);
  ApiError CheckLimits(const Answer& answer) const;
  ApiError ParseBody(Connection& connection, const Route& route, bool want_ids);
  uint32_t LeastLoaded(Listener& listener);

  // Answers.
  void StartAnswer(uint32_t slot);
  void StartSequences(uint32_t slot);
  void AbortSequences(Answer& answer);
  void PlanNextEvent(uint32_t slot);
  void SendDueEvent(uint32_t slot);
  void SendPing(uint32_t slot);
  void TakeToken(const TokenEvent& token);
  void AppendHead(Connection& connection, int64_t length);
  void OpenChoice(Connection& connection, size_t choice);
  void FormatEvent(Connection& connection, size_t choice);
  void FormatTokens(Connection& connection, const TokenSpan& span);
  void AfterEvents(uint32_t slot);
  bool MidStreamIsReached(const Answer& answer) const;
  bool FailInMidStream(uint32_t slot);  // false when the answer ended with it
  void FailWithError(uint32_t slot);
  void BreakOff(uint32_t slot);
  void EndBody(Connection& connection);
  void SendWhole(uint32_t slot);
  void EndAnswer(uint32_t slot, bool complete);
  void LogTruth(Connection& connection, int status, bool complete);
  bool Flush(uint32_t slot);  // writes `held`

  Replica& ReplicaOf(const Answer& answer) { return *replicas_[answer.replica]; }

  const Service& service_;
  const Options& options_;
  const int64_t ttft_ns_;
  const int64_t itl_ns_;
  const int64_t max_model_len_;  // 0: no limit
  Http1Writer http_;
  EventStream events_;
  GenerationRequestParser body_parser_;
  int epoll_fd_ = -1;
  int stop_fd_ = -1;
  int spare_fd_ = -1;  // given up for a moment when descriptors run out, so that a client can be turned away
  std::atomic<bool> stopping_{false};
  KernelClock kernel_clock_;
  int64_t turn_ns_ = 0;
  int64_t started_ns_ = 0;
  std::vector<Listener> listeners_;
  std::vector<std::unique_ptr<Replica>> replicas_;
  std::vector<std::unique_ptr<Connection>> connections_;
  std::vector<uint32_t> free_slots_;
  TimerQueue timers_;
  std::vector<char> read_buffer_;
  std::vector<TokenEvent> tokens_;  // scratch
  std::string reply_;               // scratch
  std::string cipher_;              // scratch
};

}  // namespace llmbench::sim
