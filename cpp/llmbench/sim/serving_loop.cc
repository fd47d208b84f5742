#include "llmbench/sim/serving_loop.h"

#include <linux/errqueue.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <utility>

#include "llmbench/sim/epoll_wait.h"

namespace llmbench::sim {
namespace {

constexpr int kEventsPerTurn = 1024;
constexpr size_t kReadBytes = 256 * 1024;
constexpr char kTlsHandshakeRecord = 0x16;  // the first byte of a connection in TLS, and of no request

// The kernel's receive time of the newest segment, CLOCK_REALTIME; 0 when it sent none.
int64_t ReceiveTime(msghdr* message) {
  for (cmsghdr* control = CMSG_FIRSTHDR(message); control != nullptr;
       control = CMSG_NXTHDR(message, control)) {
    if (control->cmsg_level == SOL_SOCKET && control->cmsg_type == SCM_TIMESTAMPING) {
      scm_timestamping stamps;
      std::memcpy(&stamps, CMSG_DATA(control), sizeof stamps);
      return ToNs(stamps.ts[0]);
    }
  }
  return 0;
}

// Where bytes are cut in two; 0: nowhere.
size_t CutPlace(Cut cut, std::string_view bytes) {
  const auto behind = [bytes](std::string_view part, size_t offset) {
    const size_t at = bytes.find(part);
    return at == std::string_view::npos ? 0 : at + offset;
  };
  switch (cut) {
    case Cut::kNone:
      return 0;
    case Cut::kField:
      if (const size_t at = behind("data", 2); at > 0) return at;
      return behind("\"", 2);
    case Cut::kLineEnd:
      if (const size_t at = behind("}\r\n", 2); at > 0) return at;
      return behind("}\n", 1);
    case Cut::kCharacter: {
      const auto* high = std::find_if(bytes.begin(), bytes.end(), [](char c) { return (c & 0x80) != 0; });
      return high == bytes.end() ? 0 : static_cast<size_t>(high - bytes.begin()) + 1;
    }
    case Cut::kEscape:
      if (const size_t at = behind("\\u", 3); at > 0) return at;
      return behind("\\", 1);
  }
  return 0;
}

}  // namespace

ServingLoop::ServingLoop(const Service& service)
    : service_(service),
      options_(service.options),
      ttft_ns_(static_cast<int64_t>(service.options.ttft_ms * kNsPerMs)),
      itl_ns_(static_cast<int64_t>(service.options.itl_ms * kNsPerMs)),
      max_model_len_(service.deployment.max_model_len),
      http_(service.options),
      events_(service.options),
      epoll_fd_(epoll_create1(EPOLL_CLOEXEC)),
      stop_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      spare_fd_(eventfd(0, EFD_CLOEXEC)),
      read_buffer_(kReadBytes) {
  epoll_event event = {};
  event.events = EPOLLIN;
  event.data.u64 = kStopWord;
  epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, stop_fd_, &event);
}

ServingLoop::~ServingLoop() {
  for (const Listener& listener : listeners_) close(listener.fd);
  for (const int fd : {epoll_fd_, stop_fd_, spare_fd_}) {
    if (fd >= 0) close(fd);
  }
}

void ServingLoop::AddListener(int fd, int first, int replicas) {
  epoll_event event = {};
  event.events = EPOLLIN;
  event.data.u64 = kListenBit | listeners_.size();
  if (!options_.never_accept) epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, fd, &event);
  listeners_.push_back({fd, static_cast<uint32_t>(replicas_.size()), static_cast<uint32_t>(replicas)});
  for (int i = 0; i < replicas; ++i) replicas_.push_back(std::make_unique<Replica>(service_, first + i));
}

void ServingLoop::Stop() {
  stopping_.store(true, std::memory_order_relaxed);
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(stop_fd_, &one, sizeof one);
}

void ServingLoop::Run() {
  // The default slack of 50 us would be added to every time-out.
  prctl(PR_SET_TIMERSLACK, 1);
  started_ns_ = turn_ns_ = MonotonicNs();
  while (!stopping_.load(std::memory_order_relaxed)) {
    WaitFor(NextDeadline());
    FireTimers();
  }
  for (uint32_t slot = 0; slot < connections_.size(); ++slot) {
    if (connections_[slot]->in_use()) Close(slot);
  }
}

int64_t ServingLoop::NextDeadline() const {
  int64_t deadline_ns = timers_.empty() ? kForever : timers_.top().due_ns;
  if (options_.fixed) return deadline_ns;
  for (const auto& replica : replicas_) deadline_ns = std::min(deadline_ns, replica->model()->next_ns());
  return deadline_ns;
}

void ServingLoop::WaitFor(int64_t deadline_ns) {
  epoll_event events[kEventsPerTurn];
  const int64_t timeout =
      deadline_ns == kForever ? kForever : std::max<int64_t>(0, deadline_ns - MonotonicNs());
  const int n = EpollWait(epoll_fd_, events, kEventsPerTurn, timeout);
  turn_ns_ = MonotonicNs();
  kernel_clock_.MaybeRefresh(turn_ns_);
  // Steps that have ended come first: a request that came after them is not part of the step that begins at
  // their end.
  RunModels();
  for (int i = 0; i < n; ++i) {
    const uint64_t word = events[i].data.u64;
    if (word == kStopWord) return;
    if ((word & kListenBit) != 0) {
      Accept(static_cast<uint32_t>(word));
      continue;
    }
    const auto slot = static_cast<uint32_t>(word);
    const auto generation = static_cast<uint32_t>(word >> 32);
    if (Find(slot, generation) == nullptr) continue;
    if ((events[i].events & EPOLLOUT) != 0) OnWritable(slot);
    if ((events[i].events & ~uint32_t{EPOLLOUT}) != 0 && Find(slot, generation) != nullptr) OnReadable(slot);
  }
}

void ServingLoop::RunModels() {
  if (options_.fixed) return;
  for (const auto& replica : replicas_) {
    while (replica->model()->next_ns() <= turn_ns_) {
      tokens_.clear();
      replica->model()->FinishStep(&tokens_);
      for (const TokenEvent& token : tokens_) TakeToken(token);
    }
  }
}

void ServingLoop::FireTimers() {
  // One reading of the clock per pass: what falls due during the pass waits until the sockets were looked at
  // again.
  const int64_t now = MonotonicNs();
  while (!timers_.empty() && timers_.top().due_ns <= now) {
    const Timer timer = timers_.top();
    timers_.Pop();
    const Connection& connection = *connections_[timer.slot];
    if (!connection.in_use() || !timer.BelongsTo(connection.generation)) continue;
    switch (timer.kind()) {
      case TimerKind::kEvent:
        SendDueEvent(timer.slot);
        break;
      case TimerKind::kIdleClose:
        if (!connection.busy && connection.idle_close_ns == timer.due_ns) CloseWhenSent(timer.slot);
        break;
      case TimerKind::kDrip:
        OnDrip(timer.slot);
        break;
      case TimerKind::kPing:
        if (connection.busy && connection.ping_ns == timer.due_ns) SendPing(timer.slot);
        break;
    }
  }
}

void ServingLoop::PushTimer(uint32_t slot, int64_t due_ns, TimerKind kind) {
  timers_.Push({due_ns, slot, Timer::Tag(connections_[slot]->generation, kind)});
}

void ServingLoop::Accept(uint32_t index) {
  const int listen_fd = listeners_[index].fd;
  while (true) {
    const int fd = accept4(listen_fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
      if (errno == EINTR || errno == ECONNABORTED) continue;
      if (errno != EMFILE && errno != ENFILE) return;
      // Turn one client away rather than leave it in the backlog, where it would wake the loop for ever.
      close(spare_fd_);
      const int turned_away = accept4(listen_fd, nullptr, nullptr, SOCK_CLOEXEC);
      if (turned_away >= 0) close(turned_away);
      spare_fd_ = eventfd(0, EFD_CLOEXEC);
      if (turned_away < 0) return;
      continue;
    }
    const uint32_t slot = TakeSlot();
    Connection& connection = *connections_[slot];
    connection.fd = fd;
    connection.listener = index;
    if (service_.tls != nullptr) connection.tls = std::make_unique<TlsSession>(*service_.tls);
    epoll_event event = {};
    event.events = EPOLLIN | EPOLLRDHUP;
    event.data.u64 = uint64_t{connection.generation} << 32 | slot;
    epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, fd, &event);
  }
}

uint32_t ServingLoop::TakeSlot() {
  if (free_slots_.empty()) {
    connections_.push_back(std::make_unique<Connection>());
    return static_cast<uint32_t>(connections_.size() - 1);
  }
  const uint32_t slot = free_slots_.back();
  free_slots_.pop_back();
  return slot;
}

Connection* ServingLoop::Find(uint32_t slot, uint32_t generation) {
  Connection* connection = connections_[slot].get();
  return connection->in_use() && connection->generation == generation ? connection : nullptr;
}

void ServingLoop::Close(uint32_t slot) {
  Connection& connection = *connections_[slot];
  if (connection.busy) {
    AbortSequences(connection.answer);
    ReplicaOf(connection.answer).Left();
    ++ReplicaOf(connection.answer).metrics().aborted;
    LogTruth(connection, connection.answer.head_sent ? 200 : 0, false);
  }
  const bool is_stream = connection.stream != 0;
  const uint32_t parent = connection.parent;
  if (is_stream) {
    ForgetStream(slot);
  } else {
    connection.http2.reset();
    while (!connection.streams.empty()) Close(connection.streams.begin()->second);
    close(connection.fd);
  }
  // Bit 31 is left to kListenBit.
  const uint32_t generation = (connection.generation + 1) & 0x7fffffff;
  connection = Connection();
  connection.generation = generation;
  free_slots_.push_back(slot);
  if (is_stream && connections_[parent]->http2 != nullptr) (void)FlushStreams(parent);
}

void ServingLoop::CloseWhenSent(uint32_t slot) {
  Connection& connection = *connections_[slot];
  if (connection.stream != 0) {
    Connection& parent = *connections_[connection.parent];
    parent.http2->Close(connection.stream);
    const uint32_t generation = connection.generation;
    if (FlushStreams(connection.parent) && Find(slot, generation) != nullptr) Close(slot);
    return;
  }
  connection.closing = true;
  if (!connection.out.empty()) return;
  if (connection.tls != nullptr) {
    cipher_.clear();
    connection.tls->End(&cipher_);
    if (!cipher_.empty() && !WriteRaw(slot, cipher_)) return;
    if (!connection.out.empty()) return;
  }
  Close(slot);
}

void ServingLoop::Reset(uint32_t slot) {
  if (connections_[slot]->stream != 0) {
    const Connection& connection = *connections_[slot];
    connections_[connection.parent]->http2->Reset(connection.stream);
    const uint32_t generation = connection.generation;
    if (FlushStreams(connection.parent) && Find(slot, generation) != nullptr) Close(slot);
    return;
  }
  const linger at_once = {1, 0};
  setsockopt(connections_[slot]->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  Close(slot);
}

void ServingLoop::OnReadable(uint32_t slot) {
  Connection& connection = *connections_[slot];
  while (true) {
    iovec space = {read_buffer_.data(), read_buffer_.size()};
    alignas(cmsghdr) char control[256];
    msghdr message = {};
    message.msg_iov = &space;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    const ssize_t n = recvmsg(connection.fd, &message, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
      // The client has gone, or has closed its side: like the Python servers, take that as an end of
      // interest.
      Close(slot);
      return;
    }
    const int64_t stamp = ReceiveTime(&message);
    connection.received_ns = stamp != 0 ? kernel_clock_.ToMonotonic(stamp) : turn_ns_;
    if (connection.tls == nullptr) {
      // A client that speaks TLS waits for an answer in TLS, which never comes.
      if (connection.requests == 0 && connection.in.empty() && connection.http2 == nullptr &&
          read_buffer_[0] == kTlsHandshakeRecord) {
        Close(slot);
        return;
      }
      connection.in.append(read_buffer_.data(), static_cast<size_t>(n));
    } else {
      cipher_.clear();
      const auto state =
          connection.tls->Receive(read_buffer_.data(), static_cast<size_t>(n), &connection.in, &cipher_);
      if (!cipher_.empty() && !WriteRaw(slot, cipher_)) return;
      if (state != TlsSession::State::kOpen) {
        Close(slot);
        return;
      }
    }
    if (static_cast<size_t>(n) < read_buffer_.size()) break;
  }
  if (SpeaksHttp2(connection)) {
    ServeStreams(slot);
  } else {
    ServeInput(slot);
  }
}

bool ServingLoop::Write(uint32_t slot, std::string_view bytes) {
  if (connections_[slot]->stream != 0) return WriteStream(slot, bytes);
  if (options_.cut != Cut::kNone) {
    if (const size_t at = CutPlace(options_.cut, bytes); at > 0 && !connections_[slot]->cut)
      return WriteCut(slot, bytes, at);
  }
  if (options_.slice_bytes == 0) return WriteSlice(slot, bytes);
  const auto slice = static_cast<size_t>(options_.slice_bytes);
  for (size_t at = 0; at < bytes.size(); at += slice) {
    if (!WriteSlice(slot, bytes.substr(at, slice))) return false;
  }
  return true;
}

// The second part waits in `out`, and with it all that is written meanwhile.
bool ServingLoop::WriteCut(uint32_t slot, std::string_view bytes, size_t at) {
  if (!WriteSlice(slot, bytes.substr(0, at))) return false;
  Connection& connection = *connections_[slot];
  connection.cut = true;
  PushTimer(slot, MonotonicNs() + static_cast<int64_t>(options_.drip_ms * kNsPerMs), TimerKind::kDrip);
  return WriteSlice(slot, bytes.substr(at));
}

bool ServingLoop::WriteSlice(uint32_t slot, std::string_view bytes) {
  Connection& connection = *connections_[slot];
  if (connection.tls == nullptr) return WriteRaw(slot, bytes);
  cipher_.clear();
  connection.tls->Encrypt(bytes.data(), bytes.size(), &cipher_);
  return WriteRaw(slot, cipher_);
}

bool ServingLoop::WriteRaw(uint32_t slot, std::string_view bytes) {
  Connection& connection = *connections_[slot];
  if (connection.drip_left > 0) {
    if (connection.out.empty()) PushTimer(slot, MonotonicNs(), TimerKind::kDrip);
  } else if (connection.out.empty() && !connection.cut) {
    ssize_t n;
    do {
      n = send(connection.fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && errno != EAGAIN) {
      Close(slot);
      return false;
    }
    if (n > 0) bytes.remove_prefix(static_cast<size_t>(n));
    if (bytes.empty()) return true;
    AskForWrite(slot, true);
  }
  connection.out.append(bytes);
  return true;
}

void ServingLoop::OnWritable(uint32_t slot) {
  Connection& connection = *connections_[slot];
  while (connection.out_taken < connection.out.size()) {
    const ssize_t n = send(connection.fd, connection.out.data() + connection.out_taken,
                           connection.out.size() - connection.out_taken, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) {
      AskForWrite(slot, true);
      return;
    }
    if (n < 0) {
      Close(slot);
      return;
    }
    connection.out_taken += static_cast<size_t>(n);
  }
  connection.out.clear();
  connection.out_taken = 0;
  AskForWrite(slot, false);
  if (!connection.busy) connection.drip_left = 0;
  if (connection.closing) CloseWhenSent(slot);
}

void ServingLoop::OnDrip(uint32_t slot) {
  Connection& connection = *connections_[slot];
  if (connection.cut) {
    connection.cut = false;
    OnWritable(slot);
    return;
  }
  if (connection.out_taken == connection.out.size()) return;  // a cut's rest went out with other bytes
  const ssize_t n = send(connection.fd, connection.out.data() + connection.out_taken, 1, MSG_NOSIGNAL);
  if (n < 0 && errno != EAGAIN && errno != EINTR) {
    Close(slot);
    return;
  }
  if (n == 1) {
    ++connection.out_taken;
    --connection.drip_left;
  }
  if (connection.drip_left == 0 || connection.out_taken == connection.out.size()) {
    OnWritable(slot);
    return;
  }
  PushTimer(slot, MonotonicNs() + static_cast<int64_t>(options_.drip_ms * kNsPerMs), TimerKind::kDrip);
}

void ServingLoop::AskForWrite(uint32_t slot, bool wanted) {
  Connection& connection = *connections_[slot];
  if (connection.wants_write == wanted) return;
  connection.wants_write = wanted;
  epoll_event event = {};
  event.events = EPOLLIN | EPOLLRDHUP | (wanted ? uint32_t{EPOLLOUT} : 0u);
  event.data.u64 = uint64_t{connection.generation} << 32 | slot;
  epoll_ctl(epoll_fd_, EPOLL_CTL_MOD, connection.fd, &event);
}

}  // namespace llmbench::sim
