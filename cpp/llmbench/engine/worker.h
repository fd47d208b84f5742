// One thread of load: its share of the plan, its event loop, its slots and its recorder.
//
// Request i belongs to worker i mod W. Workers share the concurrency limit (one atomic count), the choice of
// endpoints and a few flags; everything else is their own, so that no lock and no shared cache line is
// touched per event. How requests travel is the transport's affair.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "llmbench/engine/plan_share.h"
#include "llmbench/engine/read_pace.h"
#include "llmbench/engine/transport.h"
#include "llmbench/engine/worker_context.h"

namespace llmbench {

class Worker : private TransportClient {
 public:
  Worker(LoadPlan* plan, int index, Recorder* recorder);
  ~Worker() override;

  absl::Status Open();  // on the starting thread
  void Main();          // the thread's body; returns when the worker's share is done
  void Wake() const { context_.loop.Wake(); }
  const LiveCounters& live() const { return context_.live; }
  const WorkerReport& report() const { return context_.report; }   // after Main
  const std::string& first_error() const { return first_error_; }  // after Main

 private:
  enum class Stage : uint8_t { kConnecting, kWarming, kReady, kLoading, kDraining, kOver };

  bool closed_loop() const { return plan_->config.arrivals.kind == Arrival::kClosed; }
  bool sending() const { return stage_ == Stage::kWarming || stage_ == Stage::kLoading; }
  bool retry(const PlannedRequest& request, Outcome outcome) const {
    return IsFailure(outcome) && request.attempts <= plan_->config.retries && sending();
  }

  // The turn.
  void Turn();
  void NoteStall(int64_t since_ns, int64_t until_ns);
  int64_t NextDeadline(int64_t now_ns) const;
  ReadPace::Seen seen() const;

  // Stages.
  void Advance(int64_t now_ns);
  void OpenWarmConnections();
  void BeginWarmup(int64_t now_ns);
  void BeginLoad(int64_t start_ns);
  void BeginDrain(int64_t now_ns, int64_t drain_ns);
  void CutEverything(int64_t now_ns);

  // The plan.
  void Launch(int64_t now_ns);
  void Start(PlannedRequest request);
  bool OnEnded(const Transfer& transfer) override;
  bool OnUnsent(const PlannedRequest& request, Outcome outcome, std::string_view error,
                int64_t now_ns) override;
  void OnFreed(const PlannedRequest& request, int64_t ended_ns) override;
  // The next request of a closed loop's slot, or the slot to whoever has one.
  void ReuseSlot(const PlannedRequest& ended, int64_t freed_ns);
  void GiveSlotAway(const PlannedRequest& ended, int64_t freed_ns);
  int32_t TakeSpareSlot();

  // Rows.
  void AppendRow(RequestRecord row, std::span<const uint8_t> events, std::string_view error,
                 std::string_view text);
  void ReleaseEarlyRows(int64_t start_ns);
  void CountEnd(const PlannedRequest& request, Outcome outcome, std::string_view error);
  void ReportEnd(int64_t begun_ns);

  LoadPlan* const plan_;
  const int index_;
  const int workers_;
  WorkerContext context_;
  std::unique_ptr<Transport> transport_;
  std::string first_error_;

  Stage stage_ = Stage::kConnecting;
  int64_t start_ns_ = 0;  // t0
  int64_t drain_end_ns_;

  ReadPace pace_;
  PlanShare share_;
  std::deque<PlannedRequest> waiting_;  // due, without a slot
  // Closed loop: slots whose request never left because there was no connection, as none did before it. They
  // pause before the next.
  struct Resting {
    int64_t until_ns;
    PlannedRequest ended;
  };
  std::deque<Resting> resting_;
  int64_t never_left_ = kNoTime;  // number of the last request that never left
  int64_t never_left_in_a_row_ = 0;
  int64_t warmups_running_ = 0;
  int64_t carried_ = 0;  // requests that the transport has and has not freed

  // Rows that ended before t0 was known.
  struct EarlyRow {
    RequestRecord row;
    std::vector<uint8_t> events;
    std::string error, text;
  };
  std::vector<EarlyRow> early_;
};

}  // namespace llmbench
