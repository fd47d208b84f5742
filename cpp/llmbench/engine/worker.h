// One thread of load: its share of the plan, its connections, its event loop and its recorder.
//
// Request i belongs to worker i mod W. Workers share the concurrency limit (one atomic count) and a few
// flags; everything else is their own, so that no lock and no shared cache line is touched per event.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "llmbench/base/clock.h"
#include "llmbench/engine/connection.h"
#include "llmbench/engine/curl/connector.h"
#include "llmbench/engine/event_loop.h"
#include "llmbench/engine/plan_share.h"
#include "llmbench/engine/run.h"
#include "llmbench/engine/transfer.h"
#include "llmbench/schedule/slot_limiter.h"

namespace llmbench {

class Worker;

// What all workers of a run look at.
struct LoadPlan {
  LoadPlan(RunConfig the_config, int64_t free_slots)
      : config(std::move(the_config)), draw(0, DrawOrder::kInOrder, 0), limiter(free_slots) {}

  RunConfig config;
  DrawSequence draw;
  std::string head;  // MakeRequestHead
  std::vector<std::string> addresses;
  // Open loop: free places under the cap. Closed loop: slots whose worker has no more requests for them.
  SlotLimiter limiter;

  std::atomic<int> ready{0};         // workers that are connected and warm
  std::atomic<int64_t> start_ns{0};  // t0; 0 until all are ready
  std::atomic<bool> stop{false};     // no new requests
  std::atomic<bool> cancel{false};   // cut what is running
  std::atomic<bool> any_ok{false};
  std::atomic<bool> all_failed{false};  // stopped because of abort_after_failures
  std::atomic<int64_t> failures{0};
  std::vector<std::unique_ptr<Worker>> workers;
  // Called once, by the worker that became ready last, just before the load starts.
  std::function<void(int64_t start_ns)> on_start;

  void WakeAll() const;
};

// Written by its worker alone, read by anyone.
struct alignas(64) LiveCounters {
  std::atomic<int64_t> started{0}, sent{0}, completed{0}, failed{0}, in_flight{0}, waiting{0};
  std::atomic<int64_t> output_events{0}, bytes_in{0};
  std::atomic<bool> measuring{false};
  std::atomic<clockid_t> cpu_clock{CLOCK_MONOTONIC};
  std::atomic<bool> has_cpu_clock{false};
};

class Worker {
 public:
  Worker(LoadPlan* plan, int index, Recorder* recorder);
  ~Worker();

  absl::Status Open();  // on the starting thread
  void Main();          // the thread's body; returns when the worker's share is done
  void Wake() const { loop_.Wake(); }
  const LiveCounters& live() const { return live_; }
  const WorkerReport& report() const { return report_; }           // after Main
  const std::string& first_error() const { return first_error_; }  // after Main

 private:
  struct Link;
  enum class Stage : uint8_t { kConnecting, kWarming, kReady, kLoading, kDraining, kOver };

  bool closed_loop() const { return plan_->config.arrivals.kind == Arrival::kClosed; }
  bool sending() const { return stage_ == Stage::kWarming || stage_ == Stage::kLoading; }

  // Stages.
  void Turn();
  void JudgeGathering(size_t events);
  void PrefetchLink(EventLoop::Tag tag) const;
  void PrefetchBehindLink(EventLoop::Tag tag) const;
  void Advance(int64_t now_ns);
  void BeginWarmup(int64_t now_ns);
  void BeginLoad(int64_t start_ns);
  void BeginDrain(int64_t now_ns, int64_t drain_ns);
  void CutEverything(int64_t now_ns);
  int64_t NextDeadline(int64_t now_ns) const;

  // The plan.
  void Launch(int64_t now_ns);
  void SlotFreed(const PlannedRequest& ended, int64_t freed_ns);

  // Requests and connections.
  void Start(PlannedRequest request);
  void SendOn(Link& link, PlannedRequest request, bool opened_for_it);
  void ContinueSend(Link& link);
  void OnEvent(Link& link, uint32_t events);
  void OnPeerClosed(Link& link, const ReadResult& read);
  void Complete(Link& link, bool reusable);
  void FailUnsent(const PlannedRequest& request, Outcome outcome, const std::string& error, int64_t now_ns);
  void AppendRow(RequestRecord row, std::span<const uint8_t> events, std::string error,
                 const std::string& text);
  void ReleaseEarlyRows(int64_t start_ns);
  void CountEnd(const RequestRecord& row, const std::string& error);
  void SweepTimeouts(int64_t now_ns);
  void NoteDeadline(const Link& link);
  int64_t DeadlineOf(const Link& link, Outcome* outcome) const;

  Link* TakeIdle();
  Link& NewLink();
  void OpenLink(bool warm);
  void OnOpened(curl::Opened opened);
  void MakeIdle(Link& link);
  void CloseLink(Link& link);

  LoadPlan* const plan_;
  const int index_;
  const int workers_;
  Recorder* const recorder_;
  EventLoop loop_;
  KernelClock clock_;
  std::unique_ptr<curl::Connector> connector_;
  std::shared_ptr<wire::JsonScratch> scratch_;
  std::vector<char> buffer_;
  LiveCounters live_;
  WorkerReport report_;
  std::string first_error_;

  Stage stage_ = Stage::kConnecting;
  int64_t turn_ns_ = 0;
  int64_t previous_turn_ns_ = 0;
  int64_t start_ns_ = 0;  // t0
  int64_t drain_end_ns_;
  int64_t next_sweep_ns_;

  bool gathering_ = false;
  bool window_unstamped_ = false;  // a read of the window had no kernel time
  size_t window_events_ = 0;
  int64_t window_begin_ns_ = 0;
  int64_t request_ns_ = 0;  // how long requests last, smoothed

  std::vector<std::unique_ptr<Link>> links_;
  std::vector<uint32_t> free_links_;
  std::vector<std::pair<uint32_t, uint32_t>>
      idle_;  // (index, generation), newest last; stale entries are skipped
  std::vector<curl::Opened> opened_;
  int64_t warm_left_ = 0;  // warm connections still to come
  int32_t connections_ = 0;

  PlanShare share_;
  std::deque<PlannedRequest> waiting_;      // due, without a slot
  std::deque<PlannedRequest> unconnected_;  // with a slot, without a connection
  int64_t warmups_running_ = 0;
  int64_t in_flight_ = 0;

  // Rows that ended before t0 was known.
  struct EarlyRow {
    RequestRecord row;
    std::vector<uint8_t> events;
    std::string error, text;
  };
  std::vector<EarlyRow> early_;
};

}  // namespace llmbench
