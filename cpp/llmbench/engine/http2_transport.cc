#include "llmbench/engine/http2_transport.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

namespace llmbench {
namespace {

using wire::Http2ResponseReader;
using wire::WireError;

constexpr size_t kReadBytes = 256 * 1024;
constexpr size_t kMaxHeaderBytes = 256 * 1024;
constexpr uint32_t kWatched = EPOLLIN | EPOLLRDHUP | EPOLLET;

}  // namespace

// One request's place; used again for others.
struct Http2Transport::Stream final : wire::Http2Stream {
  Stream(Http2Transport* the_owner, std::unique_ptr<Http2ResponseReader> the_reader)
      : owner(the_owner), reader(the_reader.get()), transfer(std::move(the_reader)) {}

  void OnFields(std::string_view lines) override {
    owner->OnPiece(*this, Http2ResponseReader::Piece::kHeaders, lines);
  }
  void OnData(std::string_view bytes) override {
    owner->OnPiece(*this, Http2ResponseReader::Piece::kBody, bytes);
  }
  void OnEnd() override { owner->OnPiece(*this, Http2ResponseReader::Piece::kEnd, {}); }
  void OnBroken(wire::Http2Break kind, std::string_view why) override {
    const bool answered = transfer.any_bytes();
    owner->OnBroken(*this,
                    kind == wire::Http2Break::kProtocol         ? WireError::kProtocol
                    : kind == wire::Http2Break::kHeaderTooLarge ? WireError::kHeaderTooLarge
                    : answered                                  ? WireError::kResetMidStream
                                                                : WireError::kResetBeforeHeaders,
                    why, kind == wire::Http2Break::kUnprocessed);
  }
  void OnFramed(size_t bytes, bool all) override;

  Http2Transport* const owner;
  Http2ResponseReader* const reader;
  Transfer transfer;
  Link* link = nullptr;  // null: free
  int32_t id = 0;
  bool all_sent = false;
  bool ended = false;      // waits in ended_
  bool take_back = false;  // the server did nothing with it: to be sent once more
};

Http2Pool::Http2Pool(const Target& the_target, const RunConfig& config, EventLoop* loop, EventLoop::Tag tags)
    : EndpointPool(the_target, config, loop, tags),
      fields(MakeHttp2Fields(target.endpoint, config.streamed,
                             config.wire_format.rules().framing == wire::StreamFraming::kGrpc)) {}

struct Http2Transport::Link {
  enum class State : uint8_t { kClosed, kOpening, kOpen };
  State state = State::kClosed;
  uint32_t index = 0;
  uint32_t generation = 0;
  int32_t number = 0;  // of the connection within the worker
  Pool* pool = nullptr;
  std::unique_ptr<Connection> connection;
  std::unique_ptr<wire::Http2Session> session;
  int64_t active = 0;    // streams
  int64_t requests = 0;  // so far
  int64_t connect_ns = 0, tls_ns = 0;
  bool warm = false;
  int64_t open_deadline_ns = 0;  // while opening
  std::string out;               // not yet taken by the kernel
  size_t out_taken = 0;
  bool wants_write = false;
  std::vector<Stream*> framed;  // whole requests that are in `out`

  EventLoop::Tag tag() const { return LinkTag(index, generation); }
};

// No request on it has ended yet.
bool Http2Transport::IsFresh(const Link& link) { return link.requests == link.active; }

void Http2Transport::Stream::OnFramed(size_t bytes, bool all) {
  transfer.record().bytes_out += static_cast<int64_t>(bytes);
  if (all) link->framed.push_back(this);
}

Http2Transport::Http2Transport(WorkerContext* context, TransportClient* client)
    : PooledTransport(context, client),
      streams_per_connection_(context->plan->config.connect == ConnectMode::kNew
                                  ? 1
                                  : context->plan->config.streams_per_connection),
      scratch_(wire::MakeJsonScratch()),
      buffer_(kReadBytes + wire::kPadding) {}

Http2Transport::~Http2Transport() = default;

// ---- The turn ----

void Http2Transport::OnEvents(std::span<const epoll_event> events, size_t begin, size_t end) {
  for (size_t i = begin; i < end; ++i) {
    const EventLoop::Tag tag = events[i].data.u64;
    if (IsLink(tag)) {
      Link& link = *links_[LinkIndex(tag)];
      if (link.tag() == tag && link.state != Link::State::kClosed) OnReady(link, events[i].events);
    } else {
      OnOtherEvent(events[i]);
    }
  }
}

// ---- Connections ----

int64_t Http2Transport::Capacity(const Link& link) const {
  if (link.state != Link::State::kOpen || link.session->closing()) return 0;
  return std::min(streams_per_connection_, link.session->max_streams()) - link.active;
}

void Http2Transport::NoteCapacity(const Link& link) {
  LoadOrder& roomy = link.pool->roomy;
  if (Capacity(link) > 0) {
    roomy.Set(link.index, static_cast<size_t>(link.active));
  } else {
    roomy.Remove(link.index);
  }
}

// The connection with the fewest streams. Only a request that was taken back wants a fresh one.
Http2Transport::Link* Http2Transport::FindLink(Pool& pool, bool fresh) {
  if (!fresh) {
    for (;;) {
      const uint32_t index = pool.roomy.Least();
      if (index == LoadOrder::kNone) return nullptr;
      if (Capacity(*links_[index]) > 0) return links_[index].get();
      pool.roomy.Remove(index);  // it is closing since the last look
    }
  }
  Link* best = nullptr;
  for (const auto& link : links_) {
    if (link->pool != &pool || Capacity(*link) <= 0 || !IsFresh(*link)) continue;
    if (best == nullptr || link->active < best->active) best = link.get();
  }
  return best;
}

void Http2Transport::OpenWarm(int32_t endpoint) {
  Pool& pool = PoolOf(endpoint);
  if (pool.warm_requests++ % streams_per_connection_ != 0) return;  // that one is shared
  ++warm_left_;
  pool.connector.Open(kWarm);
}

void Http2Transport::OpenForWaiting(Pool& pool) {
  while (pool.opening * streams_per_connection_ < static_cast<int64_t>(pool.unconnected.size())) {
    ++pool.opening;
    pool.connector.Open(kForRequest);
  }
}

void Http2Transport::OnOpened(Pool& pool, curl::Opened opened) {
  const bool warm = opened.ticket == kWarm;
  if (opened.connection) {
    if (free_links_.empty()) {
      links_.push_back(std::make_unique<Link>());
      links_.back()->index = static_cast<uint32_t>(links_.size() - 1);
      free_links_.push_back(links_.back()->index);
    }
    Link& link = *links_[free_links_.back()];
    const absl::Status status = context_->loop.Add(opened.connection->fd(), kWatched, link.tag());
    if (status.ok()) {
      free_links_.pop_back();
      link.pool = &pool;
      link.connection = std::move(opened.connection);
      link.session = std::make_unique<wire::Http2Session>(kMaxHeaderBytes);
      link.number = CountOpened(opened.connect_ns, opened.tls_ns);
      link.requests = link.active = 0;
      link.connect_ns = opened.connect_ns;
      link.tls_ns = opened.tls_ns;
      link.warm = warm;
      link.state = Link::State::kOpening;
      const int64_t timeout_ns = context_->plan->config.timeouts.connect_ns;
      link.open_deadline_ns = timeout_ns > 0 ? MonotonicNs() + timeout_ns : kNever;
      next_sweep_ns_ = std::min(next_sweep_ns_, link.open_deadline_ns);
      Flush(link);
      return;
    }
    opened.connection.reset();
    opened.outcome = Outcome::kClientLimit;
    opened.error = std::string(status.message());
  }
  if (warm) {
    --warm_left_;  // forgotten: the requests will say so themselves
  } else {
    --pool.opening;
    FailWaiting(pool, opened.outcome, opened.error);
  }
}

void Http2Transport::OnEstablished(Link& link) {
  link.state = Link::State::kOpen;
  NoteCapacity(link);
  --(link.warm ? warm_left_ : link.pool->opening);
  FeedWaiting(link);
  OpenForWaiting(*link.pool);  // the server may allow fewer streams than were hoped for
}

// Sends what waits for a connection, as far as there is room.
void Http2Transport::FeedWaiting(Link& link) {
  Pool& pool = *link.pool;
  while (sending_ && !pool.unconnected.empty() && Capacity(link) > 0) {
    if (pool.unconnected.front().fresh && !IsFresh(link)) return;
    const PlannedRequest request = pool.unconnected.front();
    pool.unconnected.pop_front();
    SendOn(link, request, /*opened_for_it=*/!link.warm && IsFresh(link));
  }
}

// A connection failed: so do the requests that would have gone over it.
void Http2Transport::FailWaiting(Pool& pool, Outcome outcome, const std::string& error) {
  std::deque<PlannedRequest> failed;
  const auto those =
      std::min<int64_t>(streams_per_connection_, static_cast<int64_t>(pool.unconnected.size()));
  for (int64_t i = 0; i < those; ++i) {
    failed.push_back(pool.unconnected.front());
    pool.unconnected.pop_front();
  }
  for (PlannedRequest& request : failed) {
    ++request.attempts;
    const int64_t now_ns = MonotonicNs();
    if (client_->OnUnsent(request, outcome, error, now_ns)) {
      Start(request);
    } else {
      client_->OnFreed(request, now_ns);
    }
  }
}

void Http2Transport::OnReady(Link& link, uint32_t events) {
  if (events & EPOLLOUT) Flush(link);
  const bool hung_up = events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);
  const uint32_t generation = link.generation;
  while (link.generation == generation && link.state != Link::State::kClosed) {
    const ReadResult read = link.connection->Read(buffer_.data(), kReadBytes, context_->clock);
    ++context_->report.reads;
    if (read.state == ReadResult::State::kNothing) return;
    if (read.state != ReadResult::State::kData) {
      const bool reset = read.state == ReadResult::State::kReset;
      Break(link, reset ? WireError::kResetMidStream : WireError::kTruncated,
            reset ? "the connection was reset" : "the connection was closed");
      return;
    }
    const int64_t turn_ns = context_->turn_ns;
    stamp_ = {.time_ns = read.stamped ? std::min(read.time_ns, turn_ns + kNsPerSecond) : turn_ns,
              .previous_turn_ns = context_->previous_turn_ns,
              .kernel = read.stamped};
    if (read.stamped) {
      context_->recorder->AppendSample(ClientSample::kReadLateness, turn_ns - read.time_ns);
    }
    const absl::Status status = link.session->Receive({buffer_.data(), read.size});
    NoteCapacity(link);  // the server may allow more streams than before, or no more
    if (!status.ok()) {
      FinishEnded();
      if (link.generation == generation) Break(link, WireError::kProtocol, std::string(status.message()));
      return;
    }
    if (link.state == Link::State::kOpening && link.session->established()) OnEstablished(link);
    FinishEnded();
    if (link.generation != generation) return;
    Flush(link);
    if (link.generation != generation) return;
    if (link.session->closing() && link.active == 0) {
      CloseLink(link);
      return;
    }
    if (read.drained && !hung_up) return;
  }
}

void Http2Transport::Flush(Link& link) {
  link.session->TakeOutput(&link.out);
  while (link.out_taken < link.out.size()) {
    iovec part{.iov_base = link.out.data() + link.out_taken, .iov_len = link.out.size() - link.out_taken};
    const ptrdiff_t put = link.connection->Write(std::span(&part, 1));
    if (put < 0) {
      Break(link, WireError::kResetMidStream, "the connection was reset");
      return;
    }
    if (put == 0) break;
    link.out_taken += static_cast<size_t>(put);
  }
  const bool rest = link.out_taken < link.out.size();
  if (rest != link.wants_write) {
    context_->loop.Modify(link.connection->fd(), rest ? kWatched | EPOLLOUT : kWatched, link.tag());
    link.wants_write = rest;
  }
  if (rest) return;
  link.out.clear();
  link.out_taken = 0;
  if (link.framed.empty()) return;
  const int64_t now_ns = MonotonicNs();
  for (Stream* const stream : link.framed) {
    stream->all_sent = true;
    stream->transfer.record().send_done_ns = now_ns;
  }
  link.framed.clear();
}

void Http2Transport::Break(Link& link, WireError error, const std::string& why) {
  const bool opening = link.state == Link::State::kOpening;
  Pool& pool = *link.pool;
  const bool warm = link.warm;
  const bool certificate_wanted = link.connection->certificate_wanted();
  for (const auto& stream : streams_) {
    if (stream->link != &link || stream->ended) continue;
    const bool answered = stream->transfer.any_bytes();
    const WireError kind = error == WireError::kProtocol    ? error
                           : answered                       ? error
                           : error == WireError::kTruncated ? WireError::kEmptyReply
                                                            : WireError::kResetBeforeHeaders;
    // A connection that stood before the request was closing when it was written.
    const bool unprocessed = !answered && (stream->transfer.record().flags & kReusedConnection) != 0;
    OnBroken(*stream, kind, why, unprocessed && error != WireError::kProtocol);
  }
  CloseLink(link);
  if (opening) {
    if (warm) {
      --warm_left_;
    } else {
      --pool.opening;
      if (error == WireError::kProtocol) {
        FailWaiting(pool, Outcome::kProtocol, why);
      } else if (certificate_wanted) {
        FailWaiting(pool, Outcome::kTlsClientCert, kCertificateWanted);
      } else {
        const bool reset = error == WireError::kResetMidStream;
        FailWaiting(pool, reset ? Outcome::kResetBeforeHeaders : Outcome::kEmptyReply,
                    why + " before the server's first HTTP/2 frame");
      }
    }
  }
  FinishEnded();
  OpenForWaiting(pool);
}

void Http2Transport::CloseLink(Link& link) {
  if (link.state == Link::State::kClosed) return;
  context_->loop.Remove(link.connection->fd());
  link.connection.reset();
  link.session.reset();
  link.out.clear();
  link.out_taken = 0;
  link.wants_write = false;
  link.framed.clear();
  ++link.generation;
  link.state = Link::State::kClosed;
  NoteCapacity(link);
  free_links_.push_back(link.index);
}

void Http2Transport::CloseAll() {
  for (const auto& pool : pools_) pool->connector.CancelAll();
  for (const auto& link : links_) {
    if (link->state == Link::State::kClosed) continue;
    link->session->GoAway();
    Flush(*link);
    CloseLink(*link);
  }
}

// ---- Requests ----

void Http2Transport::Start(PlannedRequest request) {
  Pool& pool = PoolOf(request.endpoint);
  if (Link* const link = FindLink(pool, request.fresh)) {
    SendOn(*link, request, /*opened_for_it=*/false);
    return;
  }
  request.connection_waited = true;
  pool.unconnected.push_back(request);
  OpenForWaiting(pool);
}

Http2Transport::Stream& Http2Transport::TakeStream() {
  if (free_streams_.empty()) {
    streams_.push_back(std::make_unique<Stream>(
        this, std::make_unique<Http2ResponseReader>(context_->plan->config.wire_format, scratch_)));
    return *streams_.back();
  }
  Stream& stream = *free_streams_.back();
  free_streams_.pop_back();
  return stream;
}

void Http2Transport::SendOn(Link& link, PlannedRequest request, bool opened_for_it) {
  const RunConfig& config = context_->plan->config;
  const Workload::Item item = (*config.workload)[static_cast<size_t>(request.workload)];
  Stream& stream = TakeStream();
  stream.link = &link;
  stream.all_sent = stream.ended = stream.take_back = false;
  ++link.active;
  ++link.requests;
  NoteCapacity(link);
  BeginTry(stream.transfer, request, link.number, /*reused=*/!opened_for_it);
  RequestRecord& record = stream.transfer.record();
  record.flags |= kHttp2;
  if (opened_for_it) {
    record.connect_ns = link.connect_ns;
    record.tls_ns = link.tls_ns;
  }
  CountSent(stream.transfer);
  stream.id = link.session->Submit(link.pool->fields,
                                   {{"x-request-id", config.request_id_prefix + std::to_string(request.id)}},
                                   item.body, &stream);
  Outcome outcome;
  next_sweep_ns_ = std::min(next_sweep_ns_, DeadlineOf(stream.transfer, false, &outcome));
  if (stream.id < 0) {  // the numbers of streams have run out
    OnBroken(stream, WireError::kResetBeforeHeaders, "the connection takes no more requests", true);
    FinishEnded();
    return;
  }
  Flush(link);
}

void Http2Transport::OnPiece(Stream& stream, Http2ResponseReader::Piece piece, std::string_view bytes) {
  if (stream.ended) return;
  stream.reader->Expect(piece);
  Feed(stream.transfer, bytes.data(), bytes.size(), stamp_);
  if (!stream.transfer.over()) return;
  stream.ended = true;
  ended_.push_back(&stream);
}

void Http2Transport::OnBroken(Stream& stream, WireError error, std::string_view why, bool unprocessed) {
  if (stream.ended) return;
  stream.ended = true;
  ended_.push_back(&stream);
  if (unprocessed && !stream.transfer.any_bytes() && !stream.transfer.plan().fresh && sending_) {
    stream.take_back = true;
    return;
  }
  stream.reader->Break(error, why);
  stream.transfer.OnClosed(/*reset=*/true, MonotonicNs());
}

// Ended requests free their places and new ones start, which no callback of a session may do.
void Http2Transport::FinishEnded() {
  while (!ended_.empty()) {
    Stream& stream = *ended_.back();
    ended_.pop_back();
    Complete(stream);
  }
}

void Http2Transport::Complete(Stream& stream) {
  Link& link = *stream.link;
  const uint32_t generation = link.generation;
  const bool open = link.state == Link::State::kOpen;
  --link.active;
  NoteCapacity(link);
  if (open) {
    link.session->Cancel(stream.id);  // where the answer failed before its end
    std::erase(link.framed, &stream);
  }
  PlannedRequest request = stream.transfer.plan();
  const int64_t end_ns = stream.transfer.record().end_ns;
  bool again = true;
  if (stream.take_back) {
    TakeBack(stream.transfer);
    request.fresh = true;
  } else {
    again = EndTry(stream.transfer);
  }
  stream.link = nullptr;
  free_streams_.push_back(&stream);
  if (open && context_->plan->config.connect == ConnectMode::kNew) {
    link.session->GoAway();
    NoteCapacity(link);
    Flush(link);
    if (link.generation == generation) CloseLink(link);
  }
  if (again) {
    Start(request);
  } else {
    client_->OnFreed(request, end_ns);
  }
  if (link.generation == generation && link.state == Link::State::kOpen) FeedWaiting(link);
}

void Http2Transport::StopSending(int64_t now_ns) {
  PooledTransport::StopSending(now_ns);
  for (const auto& pool : pools_) pool->opening = 0;
  for (const auto& link : links_) {
    if (link->state == Link::State::kOpening) CloseLink(*link);
  }
}

void Http2Transport::CutRunning(int64_t now_ns) {
  for (size_t i = 0; i < streams_.size(); ++i) {
    Stream& stream = *streams_[i];
    if (stream.link == nullptr || stream.ended) continue;
    stream.transfer.End(Outcome::kCut, now_ns, "");
    Complete(stream);
  }
}

void Http2Transport::SweepTimeouts(int64_t now_ns) {
  next_sweep_ns_ = kNever;
  for (size_t i = 0; i < links_.size(); ++i) {
    Link& link = *links_[i];
    if (link.state != Link::State::kOpening) continue;
    if (link.open_deadline_ns > now_ns) {
      next_sweep_ns_ = std::min(next_sweep_ns_, link.open_deadline_ns);
      continue;
    }
    const bool warm = link.warm;
    Pool& pool = *link.pool;
    CloseLink(link);
    if (warm) {
      --warm_left_;
    } else {
      --pool.opening;
      FailWaiting(pool, Outcome::kTimeoutConnect, "the server sent no HTTP/2 frame: does it speak HTTP/2?");
    }
  }
  for (size_t i = 0; i < streams_.size(); ++i) {  // requests that start meanwhile note their own deadlines
    Stream& stream = *streams_[i];
    if (stream.link == nullptr || stream.ended) continue;
    Outcome outcome = Outcome::kTimeoutTotal;
    const int64_t deadline = DeadlineOf(stream.transfer, stream.all_sent, &outcome);
    if (deadline > now_ns) {
      next_sweep_ns_ = std::min(next_sweep_ns_, deadline);
      continue;
    }
    GiveUp(stream.transfer, outcome, now_ns);
    Link& link = *stream.link;
    const uint32_t generation = link.generation;
    Complete(stream);
    if (link.generation == generation && link.state == Link::State::kOpen) Flush(link);  // the reset
  }
}

}  // namespace llmbench
