#include "llmbench/engine/http1_transport.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <string>
#include <string_view>

namespace llmbench {
namespace {

constexpr size_t kReadBytes = 256 * 1024;
constexpr size_t kPrefetchAhead = 2;  // in events
constexpr size_t kReaderBytes = 384;  // of a reader, what a piece of a body touches
constexpr uint32_t kWatched = EPOLLIN | EPOLLRDHUP | EPOLLET;

// Asks for the cache lines of the first `size` bytes.
void PrefetchObject(const void* object, size_t size) {
  for (size_t offset = 0; offset < size; offset += 64) {
    __builtin_prefetch(static_cast<const char*>(object) + offset);
  }
}

}  // namespace

// A connection and the request that is on it.
struct Http1Transport::Link : InLargePages {
  explicit Link(std::unique_ptr<wire::ResponseReader> reader) : transfer(std::move(reader)) {}

  enum class State : uint8_t { kClosed, kIdle, kBusy };
  State state = State::kClosed;
  uint32_t index = 0;
  uint32_t generation = 0;
  int32_t number = 0;  // of the connection within the worker
  Pool* pool = nullptr;
  int64_t requests = 0;
  std::unique_ptr<Connection> connection;
  Transfer transfer;
  size_t sent = 0, total = 0;  // bytes of the request
  std::array<char, 160> tail;  // the request's own header lines
  size_t tail_size = 0;

  bool all_sent() const { return sent == total; }
  EventLoop::Tag tag() const { return LinkTag(index, generation); }
};

Http1Transport::Http1Transport(WorkerContext* context, TransportClient* client)
    : PooledTransport(context, client),
      scratch_(wire::MakeJsonScratch()),
      buffer_(kReadBytes + wire::kPadding) {}

Http1Transport::~Http1Transport() = default;

// ---- The turn ----

// A thousand streams do not fit into the nearest cache. What an event will touch is fetched some events
// before, and what that points to while the kernel copies the bytes.
void Http1Transport::PrefetchPlace(EventLoop::Tag tag) const {
  if (!IsLink(tag)) return;
  const Place& place = places_[LinkIndex(tag)];
  __builtin_prefetch(place.connection);
  PrefetchObject(place.reader, kReaderBytes);
  PrefetchObject(place.link, sizeof(Link) - sizeof(Link::tail));
}

void Http1Transport::Prefetch(std::span<const epoll_event> events) const {
  for (size_t i = 0; i < std::min(events.size(), kPrefetchAhead); ++i) PrefetchPlace(events[i].data.u64);
}

void Http1Transport::OnEvents(std::span<const epoll_event> events, size_t begin, size_t end) {
  for (size_t i = begin; i < end; ++i) {
    if (i + kPrefetchAhead < events.size()) PrefetchPlace(events[i + kPrefetchAhead].data.u64);
    const EventLoop::Tag tag = events[i].data.u64;
    if (IsLink(tag)) {
      Link& link = *links_[LinkIndex(tag)];
      if (link.tag() == tag && link.state != Link::State::kClosed) OnEvent(link, events[i].events);
    } else {
      OnOtherEvent(events[i]);
    }
  }
}

// ---- Requests ----

void Http1Transport::Start(PlannedRequest request) {
  Pool& pool = PoolOf(request.endpoint);
  if (!request.fresh && pooled()) {
    if (Link* link = TakeIdle(pool)) {
      SendOn(*link, request, /*opened_for_it=*/false);
      return;
    }
  }
  request.connection_waited = true;
  pool.unconnected.push_back(request);
  if (pool.connector.connecting() < pool.unconnected.size()) pool.connector.Open(kForRequest);
}

void Http1Transport::CutRunning(int64_t now_ns) {
  for (size_t i = 0; i < links_.size(); ++i) {
    Link& link = *links_[i];
    if (link.state != Link::State::kBusy) continue;
    link.transfer.End(Outcome::kCut, now_ns, "");
    Complete(link, /*reusable=*/false);
  }
}

void Http1Transport::CloseAll() {
  for (const auto& pool : pools_) pool->connector.CancelAll();
  for (const auto& link : links_) CloseLink(*link);
}

void Http1Transport::SendOn(Link& link, PlannedRequest request, bool opened_for_it) {
  const RunConfig& config = context_->plan->config;
  const Workload::Item item = (*config.workload)[static_cast<size_t>(request.workload)];
  BeginTry(link.transfer, request, link.number, /*reused=*/!opened_for_it);

  // What follows "Content-Length: ".
  char* at = std::to_chars(link.tail.data(), link.tail.data() + 24, item.body.size()).ptr;
  auto put = [&at](std::string_view bytes) { at = std::copy(bytes.begin(), bytes.end(), at); };
  put("\r\nX-Request-Id: ");
  put(std::string_view(config.request_id_prefix).substr(0, 64));
  at = std::to_chars(at, at + 24, request.id).ptr;
  put("\r\n\r\n");
  link.tail_size = static_cast<size_t>(at - link.tail.data());
  link.total = link.pool->target.head.size() + link.tail_size + item.body.size();
  link.sent = 0;
  link.state = Link::State::kBusy;
  ++link.requests;

  CountSent(link.transfer);
  ContinueSend(link);
  NoteDeadline(link);
}

void Http1Transport::ContinueSend(Link& link) {
  Transfer& transfer = link.transfer;
  const std::string& head = link.pool->target.head;
  const Workload::Item item =
      (*context_->plan->config.workload)[static_cast<size_t>(transfer.plan().workload)];
  std::array<iovec, 3> parts = {{{const_cast<char*>(head.data()), head.size()},
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
  if (link.all_sent()) {
    transfer.record().send_done_ns = MonotonicNs();
    if (started) context_->loop.Modify(link.connection->fd(), kWatched, link.tag());
  } else {
    context_->loop.Modify(link.connection->fd(), kWatched | EPOLLOUT, link.tag());
  }
}

void Http1Transport::OnEvent(Link& link, uint32_t events) {
  if ((events & EPOLLOUT) && link.state == Link::State::kBusy && !link.all_sent()) {
    const uint32_t generation = link.generation;
    ContinueSend(link);
    if (link.generation != generation || link.state != Link::State::kBusy) return;
  }
  // Once the peer has closed, no further edge comes: read to the end.
  const bool hung_up = events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);
  link.transfer.Prefetch();
  for (;;) {
    const ReadResult read = link.connection->Read(buffer_.data(), kReadBytes, context_->clock);
    ++context_->report.reads;
    if (read.state == ReadResult::State::kNothing) return;
    if (read.state != ReadResult::State::kData) {
      OnPeerClosed(link, read);
      return;
    }
    if (link.state == Link::State::kIdle) {  // nobody asked: a time-out notice, say
      CloseLink(link);
      return;
    }
    const int64_t turn_ns = context_->turn_ns;
    const ReadStamp stamp{.time_ns = read.stamped ? std::min(read.time_ns, turn_ns + kNsPerSecond) : turn_ns,
                          .previous_turn_ns = context_->previous_turn_ns,
                          .kernel = read.stamped};
    if (read.stamped) {
      context_->recorder->AppendSample(ClientSample::kReadLateness, turn_ns - read.time_ns);
    }
    Transfer& transfer = link.transfer;
    Feed(transfer, buffer_.data(), read.size, stamp);
    if (transfer.over()) {
      Complete(link, read.drained && !hung_up && transfer.may_reuse_connection() && link.all_sent());
      return;
    }
    if (read.drained && !hung_up) return;
  }
}

void Http1Transport::OnPeerClosed(Link& link, const ReadResult& read) {
  if (link.state == Link::State::kIdle) {
    CloseLink(link);
    return;
  }
  Transfer& transfer = link.transfer;
  const int64_t now_ns = MonotonicNs();
  // A connection that stood before the request and closes before any byte of the answer was closing when the
  // request was written: write it once more on a connection of its own. `scheduled` stays.
  if (!transfer.any_bytes() && (transfer.record().flags & kReusedConnection) && !transfer.plan().fresh &&
      sending_) {
    PlannedRequest again = transfer.plan();
    again.fresh = true;
    TakeBack(transfer);
    link.state = Link::State::kIdle;
    CloseLink(link);
    Start(again);
    return;
  }
  if (!transfer.any_bytes() && link.connection->certificate_wanted()) {
    transfer.End(Outcome::kTlsClientCert, now_ns, kCertificateWanted);
  } else {
    transfer.OnClosed(read.state == ReadResult::State::kReset, now_ns);
  }
  Complete(link, /*reusable=*/false);
}

void Http1Transport::Complete(Link& link, bool reusable) {
  const PlannedRequest request = link.transfer.plan();
  const int64_t end_ns = link.transfer.record().end_ns;
  const bool again = EndTry(link.transfer);
  if (reusable && pooled()) {
    MakeIdle(link);
  } else {
    CloseLink(link);
  }
  if (again) {
    Start(request);
  } else {
    client_->OnFreed(request, end_ns);
  }
}

// ---- Time-outs ----

void Http1Transport::NoteDeadline(const Link& link) {
  if (link.state != Link::State::kBusy) return;
  Outcome outcome;
  next_sweep_ns_ = std::min(next_sweep_ns_, DeadlineOf(link.transfer, link.all_sent(), &outcome));
}

void Http1Transport::SweepTimeouts(int64_t now_ns) {
  next_sweep_ns_ = kNever;
  for (size_t i = 0; i < links_.size(); ++i) {  // requests that start meanwhile note their own deadlines
    Link& link = *links_[i];
    if (link.state != Link::State::kBusy) continue;
    Outcome outcome = Outcome::kTimeoutTotal;
    const int64_t deadline = DeadlineOf(link.transfer, link.all_sent(), &outcome);
    if (deadline > now_ns) {
      next_sweep_ns_ = std::min(next_sweep_ns_, deadline);
      continue;
    }
    GiveUp(link.transfer, outcome, now_ns);
    Complete(link, /*reusable=*/false);
  }
}

// ---- Connections ----

void Http1Transport::OpenWarm(int32_t endpoint) {
  ++warm_left_;
  PoolOf(endpoint).connector.Open(kWarm);
}

Http1Transport::Link& Http1Transport::NewLink(Pool& pool) {
  if (free_links_.empty()) {
    auto link =
        std::make_unique<Link>(wire::MakeResponseReader(context_->plan->config.wire_format, scratch_));
    link->index = static_cast<uint32_t>(links_.size());
    free_links_.push_back(link->index);
    places_.push_back({.link = link.get(), .reader = link->transfer.reader()});
    links_.push_back(std::move(link));
  }
  Link& link = *links_[free_links_.back()];
  free_links_.pop_back();
  link.pool = &pool;
  return link;
}

void Http1Transport::OnOpened(Pool& pool, curl::Opened opened) {
  const bool warm = opened.ticket == kWarm;
  if (warm) --warm_left_;
  if (!opened.connection) {
    if (!warm) OnConnectFailed(pool, opened);
    return;
  }
  Link& link = NewLink(pool);
  link.connection = std::move(opened.connection);
  places_[link.index].connection = link.connection.get();
  link.number = CountOpened(opened.connect_ns, opened.tls_ns);
  link.requests = 0;
  link.state = Link::State::kIdle;
  if (const absl::Status status = context_->loop.Add(link.connection->fd(), kWatched, link.tag());
      !status.ok()) {
    CloseLink(link);
    opened.outcome = Outcome::kClientLimit;
    opened.error = std::string(status.message());
    if (!warm) OnConnectFailed(pool, opened);
    return;
  }
  if (pool.unconnected.empty()) {
    MakeIdle(link);
    return;
  }
  const PlannedRequest request = pool.unconnected.front();
  pool.unconnected.pop_front();
  SendOn(link, request, /*opened_for_it=*/true);
  RequestRecord& record = link.transfer.record();
  if (!warm && link.state == Link::State::kBusy) {
    record.connect_ns = opened.connect_ns;
    record.tls_ns = opened.tls_ns;
  }
}

void Http1Transport::OnConnectFailed(Pool& pool, const curl::Opened& opened) {
  if (pool.unconnected.empty()) return;
  PlannedRequest request = pool.unconnected.front();
  pool.unconnected.pop_front();
  ++request.attempts;
  const int64_t now_ns = MonotonicNs();
  if (client_->OnUnsent(request, opened.outcome, opened.error, now_ns)) {
    Start(request);
  } else {
    client_->OnFreed(request, now_ns);
  }
}

Http1Transport::Link* Http1Transport::TakeIdle(Pool& pool) {
  while (!pool.idle.empty()) {
    const auto [index, generation] = pool.idle.back();
    pool.idle.pop_back();
    Link& link = *links_[index];
    if (link.generation == generation && link.state == Link::State::kIdle) return &link;
  }
  return nullptr;
}

void Http1Transport::MakeIdle(Link& link) {
  link.state = Link::State::kIdle;
  Pool& pool = *link.pool;
  if (link.requests > 0 && !pool.unconnected.empty() && !pool.unconnected.front().fresh && sending_) {
    const PlannedRequest request = pool.unconnected.front();
    pool.unconnected.pop_front();
    SendOn(link, request, /*opened_for_it=*/false);
    return;
  }
  pool.idle.emplace_back(link.index, link.generation);
}

void Http1Transport::CloseLink(Link& link) {
  if (link.connection) {
    context_->loop.Remove(link.connection->fd());
    link.connection.reset();
    free_links_.push_back(link.index);
  }
  ++link.generation;
  link.state = Link::State::kClosed;
}

}  // namespace llmbench
