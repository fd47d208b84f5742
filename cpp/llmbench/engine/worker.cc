#include "llmbench/engine/worker.h"

#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <limits>

namespace llmbench {
namespace {

constexpr int64_t kNever = std::numeric_limits<int64_t>::max();
constexpr size_t kReadBytes = 256 * 1024;
constexpr int64_t kMaxSleepNs = 50 * kNsPerMs;  // stop flags and rows to hand over are looked at this often
constexpr int64_t kStallNs = 50 * kNsPerMs;
// While many streams are ready at once, due requests are looked for this often, in reads.
constexpr size_t kReadsBetweenLaunches = 16;
constexpr size_t kPrefetchAhead = 4;  // in events

// Gathering (docs/adr/ says why): under many events a worker looks at its sockets this often, not at every
// one's wake-up. What the kernel stamps stays exact; only the next request of a closed loop can leave so much
// later.
constexpr int64_t kGatherNs = 100 * kNsPerUs;
constexpr int64_t kGatherWindowNs = 2 * kNsPerMs;  // the rate of events is judged over this long
constexpr size_t kGatherEvents = 60;               // per window: 30 000 a second
constexpr int64_t kGatherRequestNs =
    200 * kGatherNs;  // closed loop: requests must last so long, half a percent
constexpr uint32_t kWatched = EPOLLIN | EPOLLRDHUP | EPOLLET;

// Tags: bit 63 marks libcurl's connecting sockets (low 32 bits: descriptor); otherwise generation and link
// index.
constexpr EventLoop::Tag kConnectorBit = EventLoop::Tag{1} << 63;

template <typename T>
void Bump(std::atomic<T>& counter, T by) {  // single writer: no locked instruction needed
  counter.store(counter.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
}

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

// Asks for the cache lines of the first `size` bytes.
void PrefetchObject(const void* object, size_t size) {
  for (size_t offset = 0; offset < size; offset += 64) {
    __builtin_prefetch(static_cast<const char*>(object) + offset);
  }
}

}  // namespace

void LoadPlan::WakeAll() const {
  for (const auto& worker : workers) worker->Wake();
}

struct Worker::Link {
  explicit Link(std::unique_ptr<wire::ResponseReader> reader) : transfer(std::move(reader)) {}

  enum class State : uint8_t { kClosed, kIdle, kBusy };
  State state = State::kClosed;
  uint32_t index = 0;
  uint32_t generation = 0;
  int32_t number = 0;  // of the connection within the worker
  int64_t requests = 0;
  std::unique_ptr<Connection> connection;
  Transfer transfer;
  size_t sent = 0, total = 0;  // bytes of the request
  std::array<char, 160> tail;  // the request's own header lines
  size_t tail_size = 0;

  EventLoop::Tag tag() const { return (EventLoop::Tag{generation & 0x7fffffffu} << 32) | index; }
};

Worker::Worker(LoadPlan* plan, int index, Recorder* recorder)
    : plan_(plan),
      index_(index),
      workers_(plan->config.workers),
      recorder_(recorder),
      scratch_(wire::MakeJsonScratch()),
      buffer_(kReadBytes + wire::kPadding),
      drain_end_ns_(kNever),
      next_sweep_ns_(kNever),
      share_(plan->config, plan->draw, index) {}

Worker::~Worker() {
  links_.clear();  // TLS connections end before the multi they live in
}

absl::Status Worker::Open() {
  if (absl::Status status = loop_.Open(); !status.ok()) return status;
  connector_ = std::make_unique<curl::Connector>(plan_->config.endpoint, plan_->addresses,
                                                 plan_->config.timeouts.connect_ns, &loop_, kConnectorBit);
  return absl::OkStatus();
}

void Worker::Main() {
  const std::string name = "llmbench-" + std::to_string(index_);
  pthread_setname_np(pthread_self(), name.c_str());
  prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
  AskForShortSlices();
  clockid_t cpu_clock;
  if (pthread_getcpuclockid(pthread_self(), &cpu_clock) == 0) {
    live_.cpu_clock.store(cpu_clock, std::memory_order_relaxed);
    live_.has_cpu_clock.store(true, std::memory_order_release);
  }
  const int64_t begun_ns = MonotonicNs();
  turn_ns_ = previous_turn_ns_ = begun_ns;

  const RunConfig& config = plan_->config;
  if (config.connect != ConnectMode::kNew) {
    warm_left_ = Share(config.warm_connections, workers_, index_);
    for (int64_t i = warm_left_; i > 0; --i) OpenLink(/*warm=*/true);
  }
  Advance(begun_ns);
  while (stage_ != Stage::kOver) Turn();

  connector_->CancelAll();
  for (auto& link : links_) CloseLink(*link);
  recorder_->HandOver(MonotonicNs(), /*all=*/true);

  live_.has_cpu_clock.store(false, std::memory_order_release);
  report_.wall_s = static_cast<double>(MonotonicNs() - begun_ns) / kNsPerSecond;
  timespec cpu;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu);
  report_.cpu_s = static_cast<double>(ToNs(cpu)) / kNsPerSecond;
  rusage usage;
  getrusage(RUSAGE_THREAD, &usage);
  report_.involuntary_switches = usage.ru_nivcsw;
  // schedstat: time on the CPU, time waiting for one, both in ns.
  std::ifstream schedstat("/proc/self/task/" + std::to_string(syscall(SYS_gettid)) + "/schedstat");
  int64_t on_cpu = 0, waited = 0;
  if (schedstat >> on_cpu >> waited) report_.run_queue_s = static_cast<double>(waited) / kNsPerSecond;
  report_.connections_opened = connections_;
  report_.clock_uncertainty_ns = clock_.uncertainty_ns();
  report_.clock_steps = clock_.steps();
}

int64_t Worker::NextDeadline(int64_t now_ns) const {
  int64_t deadline = now_ns + kMaxSleepNs;
  deadline = std::min({deadline, connector_->deadline_ns(), next_sweep_ns_});
  if (stage_ == Stage::kLoading) {
    deadline = std::min({deadline, share_.next_due_ns(), share_.load_end_ns()});
  } else if (stage_ == Stage::kDraining) {
    deadline = std::min(deadline, drain_end_ns_);
  }
  return deadline;
}

void Worker::Turn() {
  const int64_t now_ns = MonotonicNs();
  const int64_t deadline_ns = NextDeadline(now_ns);
  if (const int64_t worked = now_ns - turn_ns_; worked > kStallNs) {
    ++report_.stalls;
    report_.max_stall_ns = std::max(report_.max_stall_ns, worked);
  }
  if (gathering_) SleepUntil(std::min(turn_ns_ + kGatherNs, deadline_ns), now_ns);
  const auto events = loop_.Wait(now_ns, deadline_ns);
  previous_turn_ns_ = turn_ns_;
  turn_ns_ = MonotonicNs();
  ++report_.turns;
  if (const int64_t overslept = turn_ns_ - deadline_ns; overslept > kStallNs) {
    ++report_.stalls;
    report_.max_stall_ns = std::max(report_.max_stall_ns, overslept);
  }
  for (size_t i = 0; i < std::min(events.size(), kPrefetchAhead); ++i) PrefetchLink(events[i].data.u64);
  JudgeGathering(events.size());
  clock_.MaybeRefresh(turn_ns_);
  Advance(turn_ns_);
  Launch(turn_ns_);
  size_t handled = 0;
  for (const epoll_event& event : events) {
    if (handled + kPrefetchAhead < events.size()) PrefetchLink(events[handled + kPrefetchAhead].data.u64);
    if (handled + 1 < events.size()) PrefetchBehindLink(events[handled + 1].data.u64);
    const EventLoop::Tag tag = event.data.u64;
    ++handled;
    if (tag >= EventLoop::kTimerTag) continue;  // the timer, or a wake-up
    if (tag & kConnectorBit) {
      connector_->OnSocket(static_cast<int>(tag & 0xffffffffu), event.events);
    } else {
      Link& link = *links_[tag & 0xffffffffu];
      if (link.tag() == tag && link.state != Link::State::kClosed) OnEvent(link, event.events);
    }
    if (handled % kReadsBetweenLaunches == 0 && share_.next_due_ns() != kNever) Launch(MonotonicNs());
  }
  connector_->OnTime(turn_ns_);
  while (connector_->has_opened()) {
    connector_->TakeOpened(opened_);
    for (curl::Opened& opened : opened_) OnOpened(std::move(opened));
  }
  if (turn_ns_ >= next_sweep_ns_) SweepTimeouts(turn_ns_);
  recorder_->HandOver(turn_ns_);
  if (in_flight_ == 0) Advance(turn_ns_);  // not a sleep later
}

void Worker::JudgeGathering(size_t events) {
  window_events_ += events;
  const int64_t elapsed = turn_ns_ - window_begin_ns_;
  if (elapsed < kGatherWindowNs) return;
  const bool busy = window_events_ * kGatherWindowNs >= kGatherEvents * static_cast<size_t>(elapsed);
  // Before the first request has ended they are at least as long as the load is old.
  const int64_t lasts_ns = request_ns_ > 0 ? request_ns_ : turn_ns_ - start_ns_;
  const bool unhurried = !closed_loop() || lasts_ns >= kGatherRequestNs;
  gathering_ = busy && unhurried && !window_unstamped_ && stage_ == Stage::kLoading;
  window_begin_ns_ = turn_ns_;
  window_events_ = 0;
  window_unstamped_ = false;
}

// A thousand streams do not fit into the nearest cache. What an event will touch is fetched in steps: its
// link some events before, what the link points to one event before, what that points to while the kernel
// copies the bytes.
void Worker::PrefetchLink(EventLoop::Tag tag) const {
  if (tag & kConnectorBit) return;  // the timer's and the wake-up's tags have the bit as well
  const Link* link = links_[tag & 0xffffffffu].get();
  PrefetchObject(link, sizeof(Link) - sizeof(Link::tail));
}

void Worker::PrefetchBehindLink(EventLoop::Tag tag) const {
  if (tag & kConnectorBit) return;
  const Link& link = *links_[tag & 0xffffffffu];
  __builtin_prefetch(link.connection.get());
  link.transfer.PrefetchReader();
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
      if (warm_left_ > 0) return;
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
      if (share_.over() && waiting_.empty() && unconnected_.empty() && in_flight_ == 0) stage_ = Stage::kOver;
      return;
    }
    case Stage::kDraining:
      if (in_flight_ > 0 && now_ns >= drain_end_ns_) CutEverything(now_ns);
      if (in_flight_ == 0) stage_ = Stage::kOver;
      return;
    case Stage::kOver:
      return;
  }
}

void Worker::BeginWarmup(int64_t now_ns) {
  stage_ = Stage::kWarming;
  for (int64_t slot = share_.warmup_concurrency(); slot > 0 && share_.warmups_left() > 0; --slot) {
    ++warmups_running_;
    Start(share_.TakeWarmup(now_ns));
  }
}

void Worker::BeginLoad(int64_t start_ns) {
  stage_ = Stage::kLoading;
  live_.measuring.store(true, std::memory_order_relaxed);
  ReleaseEarlyRows(start_ns);
  share_.BeginLoad(start_ns);
  Launch(turn_ns_);
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
  for (auto* queue : {&waiting_, &unconnected_}) {
    for (const PlannedRequest& request : *queue) FailUnsent(request, Outcome::kCut, "", now_ns);
    queue->clear();
  }
  connector_->CancelAll();
  if (in_flight_ == 0) stage_ = Stage::kOver;
}

void Worker::CutEverything(int64_t now_ns) {
  if (stage_ != Stage::kDraining && stage_ != Stage::kOver) BeginDrain(now_ns, 0);
  for (auto& link : links_) {
    if (link->state != Link::State::kBusy) continue;
    link->transfer.End(Outcome::kCut, now_ns, "");
    Complete(*link, /*reusable=*/false);
  }
}

// ---- The plan ----

void Worker::Launch(int64_t now_ns) {
  if (stage_ != Stage::kLoading) return;
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
    Start(share_.TakeNext(plan_->limiter.last_freed_ns(), now_ns));
  }
}

void Worker::SlotFreed(const PlannedRequest& ended, int64_t freed_ns) {
  if (stage_ == Stage::kWarming) {
    if (share_.warmups_left() > 0) {
      Start(share_.TakeWarmup(freed_ns));
    } else {
      --warmups_running_;
    }
    return;
  }
  if (stage_ != Stage::kLoading || ended.id < 0) return;
  if (share_.HasNext() && freed_ns < share_.load_end_ns()) {
    Start(share_.TakeNext(freed_ns, freed_ns));
    return;
  }
  if (!closed_loop() && !plan_->limiter.limited()) return;
  plan_->limiter.Release(freed_ns);
  if (!waiting_.empty()) {
    Launch(turn_ns_);
  } else if (workers_ > 1) {
    plan_->WakeAll();  // another worker may have requests that wait for a slot
  }
}

// ---- Requests ----

void Worker::Start(PlannedRequest request) {
  Bump<int64_t>(live_.started, 1);
  if (!request.fresh && plan_->config.connect != ConnectMode::kNew) {
    if (Link* link = TakeIdle()) {
      SendOn(*link, request, /*opened_for_it=*/false);
      return;
    }
  }
  request.connection_waited = true;
  unconnected_.push_back(request);
  if (connector_->connecting() < unconnected_.size()) OpenLink(/*warm=*/false);
}

void Worker::SendOn(Link& link, PlannedRequest request, bool opened_for_it) {
  const RunConfig& config = plan_->config;
  const Workload::Item item = (*config.workload)[static_cast<size_t>(request.workload)];
  ++request.attempts;
  Transfer& transfer = link.transfer;
  transfer.Begin(request, config.streamed, config.save_text, item.prompt_tokens, item.asked_tokens);
  RequestRecord& record = transfer.record();
  record.worker = index_;
  record.connection = link.number;
  if (!opened_for_it) record.flags |= kReusedConnection;

  // What follows "Content-Length: ".
  char* at = std::to_chars(link.tail.data(), link.tail.data() + 24, item.body.size()).ptr;
  at += std::snprintf(at, link.tail.data() + link.tail.size() - at, "\r\nX-Request-Id: %.64s%lld\r\n\r\n",
                      config.request_id_prefix.c_str(), static_cast<long long>(request.id));
  link.tail_size = static_cast<size_t>(at - link.tail.data());
  link.total = plan_->head.size() + link.tail_size + item.body.size();
  link.sent = 0;
  link.state = Link::State::kBusy;
  ++link.requests;
  ++in_flight_;
  Bump<int64_t>(live_.sent, 1);
  Bump<int64_t>(live_.in_flight, 1);
  Bump<int64_t>(live_.waiting, 1);

  const int64_t now_ns = MonotonicNs();
  record.connected_ns = request.connection_waited ? now_ns : request.slot_ns;
  record.sent_ns = now_ns;
  report_.in_flight_s -= static_cast<double>(now_ns) / kNsPerSecond;
  ContinueSend(link);
  NoteDeadline(link);
}

void Worker::ContinueSend(Link& link) {
  Transfer& transfer = link.transfer;
  const Workload::Item item = (*plan_->config.workload)[static_cast<size_t>(transfer.plan().workload)];
  std::array<iovec, 3> parts = {{{const_cast<char*>(plan_->head.data()), plan_->head.size()},
                                 {link.tail.data(), link.tail_size},
                                 {const_cast<char*>(item.body.data()), item.body.size()}}};
  size_t skip = link.sent, first = 0;
  while (first < parts.size() && skip >= parts[first].iov_len) skip -= parts[first++].iov_len;
  if (first < parts.size()) {
    parts[first].iov_base = static_cast<char*>(parts[first].iov_base) + skip;
    parts[first].iov_len -= skip;
  }
  const bool started = link.sent > 0;
  const ptrdiff_t put = link.connection->Write(std::span(parts).subspan(first));
  if (put < 0) {
    OnPeerClosed(link, ReadResult{.state = ReadResult::State::kReset, .error = errno});
    return;
  }
  link.sent += static_cast<size_t>(put);
  transfer.record().bytes_out = static_cast<int64_t>(link.sent);
  if (link.sent == link.total) {
    transfer.record().send_done_ns = MonotonicNs();
    if (started) loop_.Modify(link.connection->fd(), kWatched, link.tag());
  } else {
    loop_.Modify(link.connection->fd(), kWatched | EPOLLOUT, link.tag());
  }
}

void Worker::OnEvent(Link& link, uint32_t events) {
  if ((events & EPOLLOUT) && link.state == Link::State::kBusy && link.sent < link.total) {
    const uint32_t generation = link.generation;
    ContinueSend(link);
    if (link.generation != generation || link.state != Link::State::kBusy) return;
  }
  // Once the peer has closed, no further edge comes: read to the end.
  const bool hung_up = events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);
  link.transfer.Prefetch();
  for (;;) {
    const ReadResult read = link.connection->Read(buffer_.data(), kReadBytes, clock_);
    ++report_.reads;
    if (read.state == ReadResult::State::kNothing) return;
    if (read.state != ReadResult::State::kData) {
      OnPeerClosed(link, read);
      return;
    }
    if (link.state == Link::State::kIdle) {  // nobody asked: a time-out notice, say
      CloseLink(link);
      return;
    }
    Transfer& transfer = link.transfer;
    const bool had_output = transfer.has_output();
    const int32_t events_before = transfer.record().events;
    const ReadStamp stamp{
        .time_ns = read.stamped ? std::min(read.time_ns, turn_ns_ + kNsPerSecond) : turn_ns_,
        .previous_turn_ns = previous_turn_ns_,
        .kernel = read.stamped};
    if (read.stamped) {
      recorder_->AppendSample(ClientSample::kReadLateness, turn_ns_ - read.time_ns);
    } else {
      window_unstamped_ = true;  // the turn is the only time there is: it must come soon
    }
    transfer.OnBytes(buffer_.data(), read.size, stamp, *recorder_);
    Bump<int64_t>(live_.bytes_in, static_cast<int64_t>(read.size));
    if (const int32_t more = transfer.record().events - events_before; more > 0) {
      Bump<int64_t>(live_.output_events, more);
    }
    if (!had_output && transfer.has_output()) Bump<int64_t>(live_.waiting, -1);
    if (transfer.over()) {
      Complete(link, read.drained && !hung_up && transfer.may_reuse_connection() && link.sent == link.total);
      return;
    }
    if (read.drained && !hung_up) return;
  }
}

void Worker::OnPeerClosed(Link& link, const ReadResult& read) {
  if (link.state == Link::State::kIdle) {
    CloseLink(link);
    return;
  }
  Transfer& transfer = link.transfer;
  const int64_t now_ns = MonotonicNs();
  // A connection that stood before the request and closes before any byte of the answer was closing when the
  // request was written: write it once more on a connection of its own. `scheduled` stays.
  if (!transfer.any_bytes() && (transfer.record().flags & kReusedConnection) && !transfer.plan().fresh &&
      sending()) {
    PlannedRequest again = transfer.plan();
    again.fresh = true;
    --in_flight_;
    report_.in_flight_s += static_cast<double>(transfer.record().sent_ns) / kNsPerSecond;
    Bump<int64_t>(live_.in_flight, -1);
    Bump<int64_t>(live_.waiting, -1);
    Bump<int64_t>(live_.sent, -1);
    Bump<int64_t>(live_.started, -1);
    link.state = Link::State::kIdle;
    CloseLink(link);
    Start(again);
    return;
  }
  transfer.OnClosed(read.state == ReadResult::State::kReset, now_ns);
  Complete(link, /*reusable=*/false);
}

void Worker::Complete(Link& link, bool reusable) {
  Transfer& transfer = link.transfer;
  const RequestRecord row = transfer.Finished();
  const PlannedRequest request = transfer.plan();
  --in_flight_;
  report_.in_flight_s += static_cast<double>(row.end_ns) / kNsPerSecond;
  request_ns_ += (row.end_ns - row.sent_ns - request_ns_) / 16;
  Bump<int64_t>(live_.in_flight, -1);
  if (!transfer.has_output()) Bump<int64_t>(live_.waiting, -1);
  const bool retry = IsFailure(row.outcome) && request.attempts <= plan_->config.retries && sending();
  if (!retry) {
    CountEnd(row, transfer.error());
    AppendRow(row, transfer.events(), transfer.error(), transfer.text());
  }
  if (reusable && plan_->config.connect != ConnectMode::kNew) {
    MakeIdle(link);
  } else {
    CloseLink(link);
  }
  if (retry) {
    Bump<int64_t>(live_.started, -1);
    Start(request);
    return;
  }
  SlotFreed(request, row.end_ns);
}

void Worker::FailUnsent(const PlannedRequest& request, Outcome outcome, const std::string& error,
                        int64_t now_ns) {
  RequestRecord row;
  row.id = request.id;
  row.phase = request.phase;
  row.scheduled_ns = request.scheduled_ns;
  row.slot_ns = request.slot_ns;
  row.end_ns = now_ns;
  row.workload = request.workload;
  row.asked_tokens = (*plan_->config.workload)[static_cast<size_t>(request.workload)].asked_tokens;
  row.worker = index_;
  row.attempts = request.attempts;
  row.outcome = outcome;
  if (request.slot_waited) row.flags |= kSlotWaited;
  CountEnd(row, error);
  AppendRow(row, {}, error, "");
}

void Worker::CountEnd(const RequestRecord& row, const std::string& error) {
  if (row.outcome == Outcome::kOk) {
    Bump<int64_t>(live_.completed, 1);
    if (!plan_->any_ok.load(std::memory_order_relaxed)) plan_->any_ok.store(true, std::memory_order_relaxed);
    return;
  }
  if (!IsFailure(row.outcome)) return;
  Bump<int64_t>(live_.failed, 1);
  if (first_error_.empty())
    first_error_ = std::string(OutcomeName(row.outcome)) + (error.empty() ? "" : ": ") + error;
  Blank(plan_->config.secrets, first_error_);
  const int64_t limit = plan_->config.abort_after_failures;
  if (limit > 0 && !plan_->any_ok.load(std::memory_order_relaxed) &&
      plan_->failures.fetch_add(1, std::memory_order_relaxed) + 1 >= limit) {
    plan_->all_failed.store(true, std::memory_order_relaxed);
    plan_->stop.store(true, std::memory_order_relaxed);
  }
}

void Worker::ReleaseEarlyRows(int64_t start_ns) {
  start_ns_ = start_ns;
  for (const EarlyRow& early : early_) AppendRow(early.row, early.events, early.error, early.text);
  early_ = {};
}

void Worker::AppendRow(RequestRecord row, std::span<const uint8_t> events, std::string error,
                       const std::string& text) {
  Blank(plan_->config.secrets, error);
  if (start_ns_ == 0) {
    early_.push_back({row, {events.begin(), events.end()}, error, text});
    return;
  }
  for (int64_t* time :
       {&row.scheduled_ns, &row.slot_ns, &row.connected_ns, &row.sent_ns, &row.send_done_ns,
        &row.first_byte_ns, &row.first_token_ns, &row.first_answer_ns, &row.last_token_ns, &row.end_ns}) {
    if (*time != kNoTime) *time -= start_ns_;
  }
  recorder_->Append(row, events, error, text);
}

// ---- Time-outs ----

int64_t Worker::DeadlineOf(const Link& link, Outcome* outcome) const {
  const Timeouts& timeouts = plan_->config.timeouts;
  const Transfer& transfer = link.transfer;
  const int64_t sent_ns = transfer.record().sent_ns;
  int64_t deadline = kNever;
  auto consider = [&](int64_t from_ns, int64_t timeout_ns, Outcome what) {
    if (timeout_ns > 0 && from_ns + timeout_ns < deadline) {
      deadline = from_ns + timeout_ns;
      *outcome = what;
    }
  };
  consider(sent_ns, timeouts.total_ns, Outcome::kTimeoutTotal);
  if (!transfer.has_output()) consider(sent_ns, timeouts.first_token_ns, Outcome::kTimeoutFirstByte);
  const Outcome idle = link.sent < link.total  ? Outcome::kTimeoutSend
                       : !transfer.any_bytes() ? Outcome::kTimeoutFirstByte
                                               : Outcome::kTimeoutIdle;
  consider(std::max(sent_ns, transfer.last_activity_ns()), timeouts.idle_ns, idle);
  return deadline;
}

void Worker::NoteDeadline(const Link& link) {
  if (link.state != Link::State::kBusy) return;
  Outcome outcome;
  next_sweep_ns_ = std::min(next_sweep_ns_, DeadlineOf(link, &outcome));
}

void Worker::SweepTimeouts(int64_t now_ns) {
  next_sweep_ns_ = kNever;
  for (size_t i = 0; i < links_.size(); ++i) {  // requests that start meanwhile note their own deadlines
    Link& link = *links_[i];
    if (link.state != Link::State::kBusy) continue;
    Outcome outcome = Outcome::kTimeoutTotal;
    const int64_t deadline = DeadlineOf(link, &outcome);
    if (deadline > now_ns) {
      next_sweep_ns_ = std::min(next_sweep_ns_, deadline);
      continue;
    }
    char what[128];
    const RequestRecord& record = link.transfer.record();
    std::snprintf(what, sizeof what, "given up after %.3f s: %lld bytes and %d events received",
                  static_cast<double>(now_ns - record.sent_ns) / kNsPerSecond,
                  static_cast<long long>(record.bytes_in), record.events);
    link.transfer.End(outcome, now_ns, what);
    Complete(link, /*reusable=*/false);
  }
}

// ---- Connections ----

Worker::Link& Worker::NewLink() {
  if (free_links_.empty()) {
    auto link = std::make_unique<Link>(wire::MakeResponseReader(plan_->config.wire_format, scratch_));
    link->index = static_cast<uint32_t>(links_.size());
    links_.push_back(std::move(link));
    return *links_.back();
  }
  Link& link = *links_[free_links_.back()];
  free_links_.pop_back();
  return link;
}

void Worker::OpenLink(bool warm) { connector_->Open(warm ? 1 : 0); }

void Worker::OnOpened(curl::Opened opened) {
  const bool warm = opened.ticket == 1;
  if (warm) --warm_left_;
  Link* link = nullptr;
  if (opened.connection) {
    link = &NewLink();
    link->connection = std::move(opened.connection);
    link->number = connections_++;
    link->requests = 0;
    link->state = Link::State::kIdle;
    if (const absl::Status status = loop_.Add(link->connection->fd(), kWatched, link->tag()); !status.ok()) {
      CloseLink(*link);
      link = nullptr;
      opened.outcome = Outcome::kClientLimit;
      opened.error = std::string(status.message());
    }
  }
  if (link == nullptr) {
    if (warm || unconnected_.empty()) return;  // the requests will try again themselves
    PlannedRequest request = unconnected_.front();
    unconnected_.pop_front();
    ++request.attempts;
    if (request.attempts <= plan_->config.retries && sending()) {
      Bump<int64_t>(live_.started, -1);
      Start(request);
      return;
    }
    FailUnsent(request, opened.outcome, opened.error, MonotonicNs());
    SlotFreed(request, MonotonicNs());
    return;
  }
  if (unconnected_.empty()) {
    MakeIdle(*link);
    return;
  }
  const PlannedRequest request = unconnected_.front();
  unconnected_.pop_front();
  SendOn(*link, request, /*opened_for_it=*/true);
  RequestRecord& record = link->transfer.record();
  if (!warm && link->state == Link::State::kBusy) {
    record.connect_ns = opened.connect_ns;
    record.tls_ns = opened.tls_ns;
  }
}

Worker::Link* Worker::TakeIdle() {
  while (!idle_.empty()) {
    const auto [index, generation] = idle_.back();
    idle_.pop_back();
    Link& link = *links_[index];
    if (link.generation == generation && link.state == Link::State::kIdle) return &link;
  }
  return nullptr;
}

void Worker::MakeIdle(Link& link) {
  link.state = Link::State::kIdle;
  if (link.requests > 0 && !unconnected_.empty() && !unconnected_.front().fresh && sending()) {
    const PlannedRequest request = unconnected_.front();
    unconnected_.pop_front();
    SendOn(link, request, /*opened_for_it=*/false);
    return;
  }
  idle_.emplace_back(link.index, link.generation);
}

void Worker::CloseLink(Link& link) {
  if (link.connection) {
    loop_.Remove(link.connection->fd());
    link.connection.reset();
    free_links_.push_back(link.index);
  }
  ++link.generation;
  link.state = Link::State::kClosed;
}

}  // namespace llmbench
