#include "llmbench/engine/worker.h"

#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <span>
#include <utility>

#include "llmbench/engine/http1_transport.h"
#include "llmbench/engine/http2_transport.h"

namespace llmbench {
namespace {

constexpr int64_t kNever = Transport::kNever;
constexpr int64_t kMaxSleepNs = 50 * kNsPerMs;  // stop flags and rows to hand over are looked at this often
// A closed loop whose server is gone would fail hundreds of thousands of requests a second: after so many in
// a row that never left, each slot rests before its next.
constexpr int64_t kFailuresBeforeRest = 20;
constexpr int64_t kRestNs = 100 * kNsPerMs;
constexpr int64_t kStallNs = 50 * kNsPerMs;
// While many streams are ready at once, due requests are looked for this often, in events.
constexpr size_t kEventsBetweenLaunches = 16;

void Blank(const std::vector<std::string>& secrets, std::string& text) {
  static constexpr std::string_view kBlank = "**********";  // as Python's redaction
  for (const std::string& secret : secrets) {
    if (secret.empty()) continue;
    for (size_t at = 0; (at = text.find(secret, at)) != std::string::npos; at += kBlank.size()) {
      text.replace(at, secret.size(), kBlank);
    }
  }
}

// Asks the scheduler for the shortest time slices, so that this thread is let in when it wakes although
// another one (the interpreter's, the writer's, a neighbour's) has not used its slice up. Linux 6.12 and
// later; before, it does nothing.
void AskForShortSlices() {
  struct {  // struct sched_attr of linux/sched/types.h, which clashes with the C library's sched.h
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
  } attributes{};
  constexpr uint64_t kShortestSliceNs = 100'000;
  if (syscall(SYS_sched_getattr, 0, &attributes, sizeof attributes, 0) != 0) return;
  if (attributes.policy != SCHED_OTHER) return;
  attributes.runtime = kShortestSliceNs;
  syscall(SYS_sched_setattr, 0, &attributes, 0);
}

void SleepUntil(int64_t deadline_ns, int64_t now_ns) {
  if (deadline_ns <= now_ns) return;
  const timespec when{.tv_sec = deadline_ns / kNsPerSecond, .tv_nsec = deadline_ns % kNsPerSecond};
  clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &when, nullptr);
}

}  // namespace

Worker::Worker(LoadPlan* plan, int index, Recorder* recorder)
    : plan_(plan),
      index_(index),
      workers_(plan->config.workers),
      context_(plan, index, recorder),
      drain_end_ns_(kNever),
      pace_(closed_loop()),
      share_(plan->config, plan->draw, index) {}

Worker::~Worker() = default;

absl::Status Worker::Open() {
  if (absl::Status status = context_.loop.Open(); !status.ok()) return status;
  TransportClient* const client = this;
  if (plan_->config.http2) {
    transport_ = std::make_unique<Http2Transport>(&context_, client);
  } else {
    transport_ = std::make_unique<Http1Transport>(&context_, client);
  }
  return absl::OkStatus();
}

void Worker::Main() {
  const std::string name = "llmbench-" + std::to_string(index_);
  pthread_setname_np(pthread_self(), name.c_str());
  prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
  AskForShortSlices();
  LiveCounters& live = context_.live;
  clockid_t cpu_clock;
  if (pthread_getcpuclockid(pthread_self(), &cpu_clock) == 0) {
    live.cpu_clock.store(cpu_clock, std::memory_order_relaxed);
    live.has_cpu_clock.store(true, std::memory_order_release);
  }
  const int64_t begun_ns = MonotonicNs();
  context_.turn_ns = context_.previous_turn_ns = begun_ns;

  OpenWarmConnections();
  Advance(begun_ns);
  while (stage_ != Stage::kOver) Turn();

  transport_->CloseAll();
  context_.recorder->HandOver(MonotonicNs(), /*all=*/true);
  live.has_cpu_clock.store(false, std::memory_order_release);
  ReportEnd(begun_ns);
}

void Worker::ReportEnd(int64_t begun_ns) {
  WorkerReport& report = context_.report;
  report.wall_s = static_cast<double>(MonotonicNs() - begun_ns) / kNsPerSecond;
  timespec cpu;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu);
  report.cpu_s = static_cast<double>(ToNs(cpu)) / kNsPerSecond;
  rusage usage;
  getrusage(RUSAGE_THREAD, &usage);
  report.involuntary_switches = usage.ru_nivcsw;
  // schedstat: time on the CPU, time waiting for one, both in ns.
  std::ifstream schedstat("/proc/self/task/" + std::to_string(syscall(SYS_gettid)) + "/schedstat");
  int64_t on_cpu = 0, waited = 0;
  if (schedstat >> on_cpu >> waited) report.run_queue_s = static_cast<double>(waited) / kNsPerSecond;
  report.clock_uncertainty_ns = context_.clock.uncertainty_ns();
  report.clock_steps = context_.clock.steps();
}

// ---- The turn ----

int64_t Worker::NextDeadline(int64_t now_ns) const {
  int64_t deadline = std::min(now_ns + kMaxSleepNs, transport_->deadline_ns());
  if (stage_ == Stage::kLoading) {
    deadline = std::min({deadline, share_.next_due_ns(), share_.load_end_ns()});
    if (!resting_.empty()) deadline = std::min(deadline, resting_.front().until_ns);
  } else if (stage_ == Stage::kDraining) {
    deadline = std::min(deadline, drain_end_ns_);
  }
  return deadline;
}

ReadPace::Seen Worker::seen() const {
  const LiveCounters& live = context_.live;
  return {.output_events = live.output_events.load(std::memory_order_relaxed),
          .merged_events = context_.merged_events,
          .unstamped_reads = context_.unstamped_reads,
          .decoding =
              live.in_flight.load(std::memory_order_relaxed) - live.waiting.load(std::memory_order_relaxed)};
}

void Worker::NoteStall(int64_t since_ns, int64_t until_ns) {
  const int64_t took = until_ns - since_ns;
  if (took <= kStallNs || stage_ == Stage::kConnecting)
    return;  // opening a thousand connections takes its time
  ++context_.report.stalls;
  context_.report.max_stall_ns = std::max(context_.report.max_stall_ns, took);
}

void Worker::Turn() {
  const int64_t now_ns = MonotonicNs();
  const int64_t deadline_ns = NextDeadline(now_ns);
  NoteStall(context_.turn_ns, now_ns);
  if (pace_.gathers() && stage_ == Stage::kLoading) {
    SleepUntil(std::min(context_.turn_ns + ReadPace::kGatherNs, deadline_ns), now_ns);
  }
  const auto events = context_.loop.Wait(now_ns, deadline_ns);
  const int64_t turn_ns = MonotonicNs();
  context_.previous_turn_ns = std::exchange(context_.turn_ns, turn_ns);
  ++context_.report.turns;
  NoteStall(deadline_ns, turn_ns);
  if (stage_ == Stage::kLoading) pace_.NoteTurn(turn_ns, seen());
  transport_->Prefetch(events);
  context_.clock.MaybeRefresh(turn_ns);
  Advance(turn_ns);
  Launch(turn_ns);
  for (size_t begin = 0; begin < events.size();) {
    const size_t end = std::min(begin + kEventsBetweenLaunches, events.size());
    transport_->OnEvents(events, begin, end);
    begin = end;
    if (begin < events.size() && share_.next_due_ns() != kNever) Launch(MonotonicNs());
  }
  transport_->OnTime(turn_ns);
  context_.recorder->HandOver(turn_ns);
  if (carried_ == 0) Advance(turn_ns);  // not a sleep later
}

// ---- Stages ----

void Worker::Advance(int64_t now_ns) {
  if (plan_->cancel.load(std::memory_order_relaxed)) {
    CutEverything(now_ns);
    stage_ = Stage::kOver;
    return;
  }
  if (plan_->stop.load(std::memory_order_relaxed) && stage_ != Stage::kDraining && stage_ != Stage::kOver) {
    BeginDrain(now_ns, plan_->config.drain_ns);
  }
  switch (stage_) {
    case Stage::kConnecting:
      if (transport_->warming()) return;
      BeginWarmup(now_ns);
      [[fallthrough]];
    case Stage::kWarming:
      if (warmups_running_ > 0) return;
      stage_ = Stage::kReady;
      if (plan_->ready.fetch_add(1, std::memory_order_acq_rel) + 1 == workers_) {
        const int64_t start_ns = MonotonicNs();
        plan_->on_start(start_ns);
        plan_->start_ns.store(start_ns, std::memory_order_release);
        plan_->WakeAll();
      }
      [[fallthrough]];
    case Stage::kReady: {
      const int64_t start_ns = plan_->start_ns.load(std::memory_order_acquire);
      if (start_ns == 0) return;
      BeginLoad(start_ns);
      return;
    }
    case Stage::kLoading: {
      if (now_ns >= share_.load_end_ns()) {
        BeginDrain(now_ns, plan_->config.drain_ns);
        return;
      }
      if (share_.over() && waiting_.empty() && resting_.empty() && carried_ == 0) stage_ = Stage::kOver;
      return;
    }
    case Stage::kDraining:
      if (carried_ > 0 && now_ns >= drain_end_ns_) CutEverything(now_ns);
      if (carried_ == 0) stage_ = Stage::kOver;
      return;
    case Stage::kOver:
      return;
  }
}

// The first connections go where the first requests will.
void Worker::OpenWarmConnections() {
  const RunConfig& config = plan_->config;
  if (config.connect == ConnectMode::kNew) return;
  int64_t turn = index_;
  for (int64_t i = index_; i < config.warm_connections; i += workers_) {
    PlannedRequest request;
    request.id = i;
    request.workload = static_cast<int32_t>(plan_->draw.At(static_cast<uint64_t>(i)));
    if (closed_loop()) request.slot = static_cast<int32_t>(i);
    transport_->OpenWarm(plan_->balancer->ChooseWarm(request, turn++));
  }
}

void Worker::BeginWarmup(int64_t now_ns) {
  stage_ = Stage::kWarming;
  for (int64_t i = 0; i < share_.warmup_concurrency() && share_.warmups_left() > 0; ++i) {
    ++warmups_running_;
    PlannedRequest request = share_.TakeWarmup(now_ns);
    if (closed_loop()) request.slot = static_cast<int32_t>(index_ + i * workers_);
    Start(request);
  }
}

void Worker::BeginLoad(int64_t start_ns) {
  stage_ = Stage::kLoading;
  context_.live.measuring.store(true, std::memory_order_relaxed);
  ReleaseEarlyRows(start_ns);
  share_.BeginLoad(start_ns);
  pace_.Begin(context_.turn_ns, seen());
  Launch(context_.turn_ns);
}

void Worker::BeginDrain(int64_t now_ns, int64_t drain_ns) {
  const bool warming = stage_ < Stage::kLoading;
  if (warming) {
    // Nothing was measured: the rows there are count from here.
    int64_t expected = 0;
    if (plan_->start_ns.compare_exchange_strong(expected, now_ns)) plan_->on_start(now_ns);
    ReleaseEarlyRows(plan_->start_ns.load(std::memory_order_acquire));
  }
  stage_ = Stage::kDraining;
  drain_end_ns_ = now_ns + drain_ns;
  share_.Abandon();
  // Planned but never sent: the run's time was over.
  for (PlannedRequest& request : waiting_) {
    request.endpoint = plan_->balancer->Choose(request);
    OnUnsent(request, Outcome::kCut, "", now_ns);
    plan_->balancer->Ended(request);
  }
  waiting_.clear();
  resting_.clear();
  transport_->StopSending(now_ns);
  if (carried_ == 0) stage_ = Stage::kOver;
}

void Worker::CutEverything(int64_t now_ns) {
  if (stage_ != Stage::kDraining && stage_ != Stage::kOver) BeginDrain(now_ns, 0);
  transport_->CutRunning(now_ns);
}

// ---- The plan ----

void Worker::Launch(int64_t now_ns) {
  if (stage_ != Stage::kLoading) return;
  while (!resting_.empty() && resting_.front().until_ns <= now_ns) {
    const Resting rested = resting_.front();
    resting_.pop_front();
    ReuseSlot(rested.ended, rested.until_ns);
  }
  while (share_.next_due_ns() <= now_ns) {
    PlannedRequest request = share_.TakeDue();
    if (closed_loop()) {
      Start(request);
    } else if (waiting_.empty() && plan_->limiter.TryAcquire()) {
      request.slot_ns = request.scheduled_ns;
      Start(request);
    } else {
      request.slot_waited = true;
      waiting_.push_back(request);
    }
  }
  while (!waiting_.empty() && plan_->limiter.TryAcquire()) {
    PlannedRequest request = waiting_.front();
    waiting_.pop_front();
    request.slot_ns = std::max(request.scheduled_ns, plan_->limiter.last_freed_ns());
    Start(request);
  }
  // Closed loop: slots whose workers have no more requests for them.
  while (workers_ > 1 && share_.HasNext() && plan_->limiter.TryAcquire()) {
    PlannedRequest request = share_.TakeNext(plan_->limiter.last_freed_ns(), now_ns);
    request.slot = TakeSpareSlot();
    Start(request);
  }
}

void Worker::Start(PlannedRequest request) {
  Bump<int64_t>(context_.live.started, 1);
  ++carried_;
  request.endpoint = plan_->balancer->Choose(request);
  transport_->Start(request);
}

bool Worker::OnEnded(const Transfer& transfer) {
  const RequestRecord row = transfer.Finished();
  pace_.NoteRequest(row.end_ns - row.sent_ns);
  never_left_in_a_row_ = 0;
  if (retry(transfer.plan(), row.outcome)) return true;
  CountEnd(transfer.plan(), row.outcome, transfer.error());
  AppendRow(row, transfer.events(), transfer.error(), transfer.text());
  return false;
}

bool Worker::OnUnsent(const PlannedRequest& request, Outcome outcome, std::string_view error,
                      int64_t now_ns) {
  if (retry(request, outcome)) return true;
  never_left_ = request.id;
  ++never_left_in_a_row_;
  RequestRecord row;
  row.id = request.id;
  row.phase = request.phase;
  row.scheduled_ns = request.scheduled_ns;
  row.slot_ns = request.slot_ns;
  row.end_ns = now_ns;
  row.workload = request.workload;
  row.endpoint = request.endpoint;
  row.asked_tokens = (*plan_->config.workload)[static_cast<size_t>(request.workload)].asked_tokens;
  row.worker = index_;
  row.attempts = request.attempts;
  row.outcome = outcome;
  if (request.slot_waited) row.flags |= kSlotWaited;
  CountEnd(request, outcome, error);
  AppendRow(row, {}, error, "");
  return false;
}

void Worker::OnFreed(const PlannedRequest& request, int64_t ended_ns) {
  --carried_;
  plan_->balancer->Ended(request);
  if (stage_ == Stage::kWarming) {
    if (share_.warmups_left() > 0) {
      PlannedRequest next = share_.TakeWarmup(ended_ns);
      next.slot = request.slot;
      Start(next);
    } else {
      --warmups_running_;
    }
    return;
  }
  if (stage_ != Stage::kLoading || request.id < 0) return;
  if (closed_loop() && request.id == never_left_ && never_left_in_a_row_ > kFailuresBeforeRest) {
    resting_.push_back({ended_ns + kRestNs, request});
    return;
  }
  ReuseSlot(request, ended_ns);
}

void Worker::ReuseSlot(const PlannedRequest& ended, int64_t freed_ns) {
  if (share_.HasNext() && freed_ns < share_.load_end_ns()) {
    PlannedRequest next = share_.TakeNext(freed_ns, freed_ns);
    next.slot = ended.slot;
    Start(next);
    return;
  }
  GiveSlotAway(ended, freed_ns);
}

void Worker::GiveSlotAway(const PlannedRequest& ended, int64_t freed_ns) {
  if (closed_loop()) {
    std::lock_guard lock(plan_->spare_slots_mutex);
    plan_->spare_slots.push_back(ended.slot);
  } else if (!plan_->limiter.limited()) {
    return;
  }
  plan_->limiter.Release(freed_ns);
  if (!waiting_.empty()) {
    Launch(context_.turn_ns);
  } else if (workers_ > 1) {
    plan_->WakeAll();  // another worker may have requests that wait for a slot
  }
}

// After TryAcquire: whoever released it has left its number before.
int32_t Worker::TakeSpareSlot() {
  std::lock_guard lock(plan_->spare_slots_mutex);
  const int32_t slot = plan_->spare_slots.back();
  plan_->spare_slots.pop_back();
  return slot;
}

// ---- Rows ----

void Worker::CountEnd(const PlannedRequest& request, Outcome outcome, std::string_view error) {
  const bool nobody_left = plan_->balancer->Note(request, outcome);
  if (outcome == Outcome::kOk) Bump<int64_t>(context_.live.completed, 1);
  if (!IsFailure(outcome)) return;
  Bump<int64_t>(context_.live.failed, 1);
  if (first_error_.empty()) {
    first_error_ = OutcomeName(outcome);
    if (!error.empty()) first_error_.append(": ").append(error);
    Blank(plan_->config.secrets, first_error_);
  }
  if (nobody_left) {
    plan_->all_failed.store(true, std::memory_order_relaxed);
    plan_->stop.store(true, std::memory_order_relaxed);
  }
}

void Worker::ReleaseEarlyRows(int64_t start_ns) {
  start_ns_ = start_ns;
  for (const EarlyRow& early : early_) AppendRow(early.row, early.events, early.error, early.text);
  early_ = {};
}

void Worker::AppendRow(RequestRecord row, std::span<const uint8_t> events, std::string_view error,
                       std::string_view text) {
  if (start_ns_ == 0) {
    early_.push_back({row, {events.begin(), events.end()}, std::string(error), std::string(text)});
    return;
  }
  for (int64_t* time :
       {&row.scheduled_ns, &row.slot_ns, &row.connected_ns, &row.sent_ns, &row.send_done_ns,
        &row.first_byte_ns, &row.first_token_ns, &row.first_answer_ns, &row.last_token_ns, &row.end_ns}) {
    if (*time != kNoTime) *time -= start_ns_;
  }
  if (error.empty()) {
    context_.recorder->Append(row, events, error, text);
    return;
  }
  std::string shown(error);
  Blank(plan_->config.secrets, shown);
  context_.recorder->Append(row, events, shown, text);
}

}  // namespace llmbench
