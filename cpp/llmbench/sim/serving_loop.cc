#include "llmbench/sim/serving_loop.h"

#include <linux/errqueue.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <utility>

#include "llmbench/sim/toy_tokenizer.h"

namespace llmbench::sim {
namespace {

constexpr int64_t kNever = std::numeric_limits<int64_t>::max();
constexpr int kEventsPerTurn = 1024;
constexpr size_t kReadBytes = 256 * 1024;
constexpr size_t kKeepInput = 64 * 1024;  // an input buffer larger than this is given back

// epoll_wait with nanoseconds; kernels before 5.11 sleep in ppoll instead.
int EpollWait(int epoll_fd, epoll_event* events, int size, int64_t timeout_ns) {
  timespec timeout = {static_cast<time_t>(timeout_ns / kNsPerSecond),
                      static_cast<long>(timeout_ns % kNsPerSecond)};
  const timespec* limit = timeout_ns == kNever ? nullptr : &timeout;
#ifdef SYS_epoll_pwait2
  static std::atomic<bool> missing{false};
  if (!missing.load(std::memory_order_relaxed)) {
    const long n = syscall(SYS_epoll_pwait2, epoll_fd, events, size, limit, nullptr, 0);
    if (n >= 0 || errno != ENOSYS) return static_cast<int>(n);
    missing.store(true, std::memory_order_relaxed);
  }
#endif
  pollfd readable = {epoll_fd, POLLIN, 0};
  if (ppoll(&readable, 1, limit, nullptr) <= 0) return 0;
  return epoll_wait(epoll_fd, events, size, 0);
}

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

}  // namespace

ServingLoop::ServingLoop(const Options& options, TruthLog* truth)
    : options_(options),
      ttft_ns_(static_cast<int64_t>(options.ttft_ms * kNsPerMs)),
      itl_ns_(static_cast<int64_t>(options.itl_ms * kNsPerMs)),
      served_model_(options.model.empty() ? "llmbench-sim" : options.model),
      max_model_len_(options.max_model_len),
      truth_(truth),
      writer_(options, served_model_),
      epoll_fd_(epoll_create1(EPOLL_CLOEXEC)),
      stop_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      spare_fd_(eventfd(0, EFD_CLOEXEC)),
      read_buffer_(kReadBytes) {
  if (!options_.idle_close_ms.empty()) (void)ParseRange(options_.idle_close_ms, &idle_close_ms_);
  if (!options_.api_key_env.empty()) {
    if (const char* key = std::getenv(options_.api_key_env.c_str()); key != nullptr) api_key_ = key;
  }
  epoll_event event = {};
  event.events = EPOLLIN;
  event.data.u64 = kStopWord;
  epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, stop_fd_, &event);
}

ServingLoop::~ServingLoop() {
  for (const Replica& replica : replicas_) close(replica.listen_fd);
  for (const int fd : {epoll_fd_, stop_fd_, spare_fd_}) {
    if (fd >= 0) close(fd);
  }
}

ServingLoop::Replica::Replica(const Options& options, int fd, int index)
    : listen_fd(fd),
      end_chance(ChanceOf(Question::kOutputEnd, options.seed, static_cast<uint64_t>(index))),
      idle_chance(ChanceOf(Question::kIdleClose, options.seed, static_cast<uint64_t>(index))) {}

void ServingLoop::AddReplica(int listen_fd, int index) {
  epoll_event event = {};
  event.events = EPOLLIN;
  event.data.u64 = kListenBit | replicas_.size();
  epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, listen_fd, &event);
  replicas_.emplace_back(options_, listen_fd, index);
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
    if (connections_[slot]->fd >= 0) Close(slot);
  }
}

int64_t ServingLoop::NextDeadline() const { return timers_.empty() ? kNever : timers_.top().due_ns; }

void ServingLoop::WaitFor(int64_t deadline_ns) {
  epoll_event events[kEventsPerTurn];
  const int64_t timeout = deadline_ns == kNever ? kNever : std::max<int64_t>(0, deadline_ns - MonotonicNs());
  const int n = EpollWait(epoll_fd_, events, kEventsPerTurn, timeout);
  turn_ns_ = MonotonicNs();
  kernel_clock_.MaybeRefresh(turn_ns_);
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

void ServingLoop::FireTimers() {
  // One reading of the clock per pass: what falls due during the pass waits until the sockets were looked at
  // again.
  const int64_t now = MonotonicNs();
  while (!timers_.empty() && timers_.top().due_ns <= now) {
    const Timer timer = timers_.top();
    timers_.Pop();
    Connection* connection = connections_[timer.slot].get();
    if (connection->fd < 0 || !timer.BelongsTo(connection->generation)) continue;
    switch (timer.kind()) {
      case TimerKind::kEvent:
        SendDueEvent(timer.slot);
        break;
      case TimerKind::kIdleClose:
        if (!connection->busy && connection->idle_close_ns == timer.due_ns) Close(timer.slot);
        break;
      case TimerKind::kDrip:
        break;
    }
  }
}

void ServingLoop::Accept(uint32_t replica) {
  while (true) {
    const int fd = accept4(replicas_[replica].listen_fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
      if (errno == EINTR || errno == ECONNABORTED) continue;
      if (errno == EMFILE || errno == ENFILE) {
        // Turn one client away rather than leave it in the backlog, where it would wake the loop for ever.
        close(spare_fd_);
        const int turned_away = accept4(replicas_[replica].listen_fd, nullptr, nullptr, SOCK_CLOEXEC);
        if (turned_away >= 0) close(turned_away);
        spare_fd_ = eventfd(0, EFD_CLOEXEC);
        if (turned_away >= 0) continue;
      }
      return;
    }
    uint32_t slot;
    if (free_slots_.empty()) {
      slot = static_cast<uint32_t>(connections_.size());
      connections_.push_back(std::make_unique<Connection>());
    } else {
      slot = free_slots_.back();
      free_slots_.pop_back();
    }
    Connection& connection = *connections_[slot];
    connection.fd = fd;
    connection.replica = replica;
    epoll_event event = {};
    event.events = EPOLLIN | EPOLLRDHUP;
    event.data.u64 = uint64_t{connection.generation} << 32 | slot;
    epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, fd, &event);
  }
}

Connection* ServingLoop::Find(uint32_t slot, uint32_t generation) {
  Connection* connection = connections_[slot].get();
  return connection->fd >= 0 && connection->generation == generation ? connection : nullptr;
}

void ServingLoop::Close(uint32_t slot) {
  Connection& connection = *connections_[slot];
  if (connection.busy) LogTruth(connection, connection.answer.head_sent ? 200 : 0, false);
  close(connection.fd);
  // Bit 31 is left to kListenBit.
  const uint32_t generation = (connection.generation + 1) & 0x7fffffff;
  connection = Connection();
  connection.generation = generation;
  free_slots_.push_back(slot);
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
    connection.in.append(read_buffer_.data(), static_cast<size_t>(n));
    if (static_cast<size_t>(n) < read_buffer_.size()) break;
  }
  if (connection.busy || connection.closing) return;
  ServeInput(slot);
}

void ServingLoop::ServeInput(uint32_t slot) {
  Connection& connection = *connections_[slot];
  const uint32_t generation = connection.generation;
  while (Find(slot, generation) != nullptr && !connection.busy && !connection.closing &&
         !connection.in.empty()) {
    switch (connection.parser.Advance(connection.in.data(), connection.in.size())) {
      case HttpRequestParser::State::kHead:
        return;
      case HttpRequestParser::State::kBody:
        if (connection.parser.request().expect_continue && !connection.continue_sent) {
          connection.continue_sent = true;
          static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
          if (!Write(slot, kContinue.data(), kContinue.size())) return;
        }
        connection.in.reserve(connection.parser.expected_size() + GenerationRequestParser::kPadding);
        return;
      case HttpRequestParser::State::kError:
        connection.answer.closes = true;
        ReplyError(slot,
                   {connection.parser.error_status(), "BadRequestError", connection.parser.error(), ""});
        return;
      case HttpRequestParser::State::kComplete:
        Dispatch(slot);
        break;
    }
  }
}

void ServingLoop::Dispatch(uint32_t slot) {
  Connection& connection = *connections_[slot];
  const uint32_t generation = connection.generation;
  const HttpRequest& request = connection.parser.request();
  ++connection.requests;
  connection.answer.request_id = request.request_id;
  connection.answer.received_ns = connection.received_ns;
  connection.answer.http_1_0 = request.http_1_0;
  connection.answer.closes =
      !request.keep_alive || options_.close_after_reply ||
      (options_.keep_alive_requests > 0 && connection.requests >= options_.keep_alive_requests);

  const std::string_view target = request.target;
  const bool get = request.method == "GET" || request.method == "HEAD";
  const bool post = request.method == "POST";
  const bool starting = static_cast<double>(turn_ns_ - started_ns_) < options_.startup_s * kNsPerSecond;
  const bool open =
      api_key_.empty() || target.substr(0, 3) != "/v1" || request.authorization == "Bearer " + api_key_;
  if (starting) {
    ReplyError(slot, {503, "unavailable_error", "Loading model", ""});
  } else if (!open) {
    Reply(slot, 401, "application/json", R"({"error":"Unauthorized"})", "");
  } else if (target == "/v1/completions" || target == "/v1/chat/completions") {
    if (post) {
      Generate(slot, target == "/v1/completions" ? BodyKind::kCompletion : BodyKind::kChat);
    } else {
      Reply(slot, 405, "application/json", R"({"detail":"Method Not Allowed"})", "allow: POST\r\n");
    }
  } else if (target == "/tokenize" && post) {
    TokenizeOnly(slot);
  } else if (get && (target == "/health" || target == "/ping")) {
    Reply(slot, 200, "", "", "");
  } else if (get && target == "/version") {
    Reply(slot, 200, "application/json", R"({"version":"llmbench-sim"})", "");
  } else if (get && target == "/v1/models") {
    ListModels(slot);
  } else {
    Reply(slot, 404, "application/json", R"({"detail":"Not Found"})", "");
  }

  if (Find(slot, generation) == nullptr) return;
  connection.in.erase(0, connection.parser.consumed());
  if (connection.in.capacity() > kKeepInput && connection.in.empty()) std::string().swap(connection.in);
  connection.parser.Reset();
  connection.continue_sent = false;
}

void ServingLoop::ListModels(uint32_t slot) {
  std::string body = R"({"object":"list","data":[{"id":)";
  AppendJsonString(served_model_, &body);
  body += R"(,"object":"model","created":0,"owned_by":"llmbench","root":)";
  AppendJsonString(served_model_, &body);
  body += R"(,"parent":null,"max_model_len":)";
  if (max_model_len_ > 0) {
    AppendNumber(max_model_len_, &body);
  } else {
    body += "null";
  }
  body += "}]}";
  Reply(slot, 200, "application/json", body, "");
}

void ServingLoop::Reply(uint32_t slot, int status, std::string_view content_type, std::string_view body,
                        std::string_view extra) {
  Connection& connection = *connections_[slot];
  const bool head_only = connection.parser.request().method == "HEAD";
  reply_.clear();
  writer_.AppendReply(status, content_type, body, connection.answer.closes, extra, &reply_);
  if (!Write(slot, reply_.data(), reply_.size() - (head_only ? body.size() : 0))) return;
  if (status >= 400) LogTruth(connection, status, true);
  AfterReply(slot);
}

void ServingLoop::ReplyError(uint32_t slot, const ApiError& error) {
  Reply(slot, error.status, "application/json", AnswerWriter::ErrorBody(error), "");
}

ApiError ServingLoop::CheckLimits(const GenerationRequest& request) const {
  if (options_.strict_model && !request.model.empty() && request.model != served_model_) {
    return {404, "NotFoundError", "The model `" + request.model + "` does not exist.", "model"};
  }
  if (max_model_len_ == 0) return {};
  for (const Prompt& prompt : request.prompts) {
    const int64_t output = request.max_tokens >= 0 ? request.max_tokens : 0;
    if (prompt.tokens + output <= max_model_len_ && prompt.tokens < max_model_len_) continue;
    return {400, "BadRequestError",
            "This model's maximum context length is " + std::to_string(max_model_len_) +
                " tokens. However, you requested " + std::to_string(prompt.tokens + output) + " tokens (" +
                std::to_string(prompt.tokens) + " in the " + (request.chat ? "messages" : "prompt") + ", " +
                std::to_string(output) + " for the completion). Please reduce the length of the " +
                (request.chat ? "messages" : "prompt") + " or completion.",
            ""};
  }
  return {};
}

void ServingLoop::PlanOutput(Replica& replica, Answer* answer) const {
  const GenerationRequest& request = answer->request;
  int64_t asked = request.max_tokens >= 0 ? request.max_tokens : options_.default_max_tokens;
  if (options_.output_tokens > 0) asked = options_.output_tokens;
  answer->choices.resize(request.choices());
  answer->unfinished = answer->choices.size();
  for (size_t i = 0; i < answer->choices.size(); ++i) {
    Choice& choice = answer->choices[i];
    choice.target = asked;
    if (max_model_len_ > 0) {
      const Prompt& prompt = request.prompts[i / static_cast<size_t>(request.n)];
      choice.target = std::min(choice.target, max_model_len_ - prompt.tokens);
    }
    if (options_.eos_probability <= 0 || request.ignore_eos) continue;
    // The first token that ends the output is geometrically distributed.
    const double u = replica.end_chance.Uniform(answer->number << 10 | i);
    const double p = options_.eos_probability;
    const double tokens = p >= 1 ? 1 : std::floor(std::log(u) / std::log1p(-p)) + 1;
    if (tokens > static_cast<double>(choice.target)) continue;
    choice.target =
        std::max({int64_t{1}, static_cast<int64_t>(tokens), std::min(request.min_tokens, choice.target)});
    choice.ends_by_eos = true;
  }
}

void ServingLoop::Generate(uint32_t slot, BodyKind kind) {
  Connection& connection = *connections_[slot];
  Answer& answer = connection.answer;
  Replica& replica = replicas_[connection.replica];
  answer.number = replica.requests++;
  if (!connection.parser.request().body_is_json) {
    ReplyError(slot,
               {400, "BadRequestError", "Unsupported Media Type: Only 'application/json' is allowed", ""});
    return;
  }
  connection.in.reserve(connection.in.size() + GenerationRequestParser::kPadding);
  ApiError error = body_parser_.Parse(connection.in.data() + connection.parser.body_offset(),
                                      connection.parser.body_size(), kind, false, &answer.request);
  if (error.status == 0) error = CheckLimits(answer.request);
  if (error.status != 0) {
    ReplyError(slot, error);
    return;
  }
  answer.created_s = RealtimeNs() / kNsPerSecond;
  answer.id = answer.request.chat ? "chatcmpl-" : "cmpl-";
  if (answer.request_id.empty()) {
    answer.id += "sim-";
    AppendNumber(static_cast<int64_t>(answer.number), &answer.id);
  } else {
    answer.id += answer.request_id;
  }
  if (answer.request.stream && (options_.framing == Framing::kClose || answer.http_1_0)) answer.closes = true;
  PlanOutput(replica, &answer);
  writer_.Begin(&answer);
  connection.busy = true;
  if (truth_ != nullptr && answer.request.stream) {
    const size_t events = static_cast<size_t>(answer.choices[0].target) * answer.choices.size();
    answer.event_ns.reserve(std::min<size_t>(events, 1 << 16));
    answer.event_tokens.reserve(std::min<size_t>(events, 1 << 16));
  }
  if (answer.request.stream && options_.headers_early()) {
    writer_.AppendStreamHead(answer, &connection.held);
    answer.head_sent = true;
    if (answer.request.chat && options_.role_early()) {
      for (size_t i = 0; i < answer.choices.size(); ++i) {
        writer_.AppendRole(answer, i, &connection.held);
        answer.choices[i].role_sent = true;
      }
    }
    if (!Flush(slot)) return;
  }
  PlanNextEvent(slot);
}

void ServingLoop::TokenizeOnly(uint32_t slot) {
  Connection& connection = *connections_[slot];
  GenerationRequest& request = connection.answer.request;
  connection.in.reserve(connection.in.size() + GenerationRequestParser::kPadding);
  const ApiError error =
      body_parser_.Parse(connection.in.data() + connection.parser.body_offset(),
                         connection.parser.body_size(), BodyKind::kTokenize, true, &request);
  if (error.status != 0) {
    ReplyError(slot, error);
    return;
  }
  std::string body = "{\"count\":";
  AppendNumber(request.prompts[0].tokens, &body);
  body += ",\"max_model_len\":";
  AppendNumber(max_model_len_ > 0 ? max_model_len_ : std::numeric_limits<int32_t>::max(), &body);
  body += ",\"tokens\":[";
  for (size_t i = 0; i < request.prompts[0].ids.size(); ++i) {
    if (i > 0) body += ',';
    AppendNumber(request.prompts[0].ids[i], &body);
  }
  body += "],\"token_strs\":null}";
  Reply(slot, 200, "application/json", body, "");
}

void ServingLoop::PlanNextEvent(uint32_t slot) {
  Connection& connection = *connections_[slot];
  Answer& answer = connection.answer;
  int64_t longest = 0;
  for (const Choice& choice : answer.choices) longest = std::max(longest, choice.target);
  if (!answer.request.stream) {
    answer.planned = longest;
  } else if (answer.planned == 0) {
    answer.planned = 1;
  } else {
    answer.planned = std::min(longest, answer.planned + options_.tokens_per_event);
  }
  const int64_t due_ns = answer.received_ns + ttft_ns_ + (answer.planned - 1) * itl_ns_;
  timers_.Push({due_ns, slot, Timer::Tag(connection.generation, TimerKind::kEvent)});
}

void ServingLoop::SendDueEvent(uint32_t slot) {
  Connection& connection = *connections_[slot];
  Answer& answer = connection.answer;
  for (size_t i = 0; i < answer.choices.size(); ++i) {
    Choice& choice = answer.choices[i];
    if (choice.finished()) continue;
    choice.produced = std::min(choice.target, answer.planned);
    FormatEvent(connection, i);
  }
  AfterEvents(slot);
}

void ServingLoop::FormatEvent(Connection& connection, size_t index) {
  Answer& answer = connection.answer;
  Choice& choice = answer.choices[index];
  const int64_t first = choice.sent;
  const int64_t count = choice.produced - first;
  const bool finished = choice.finished();
  if (finished) --answer.unfinished;
  choice.sent = choice.produced;
  if (!answer.request.stream) return;
  if (!answer.head_sent) {
    writer_.AppendStreamHead(answer, &connection.held);
    answer.head_sent = true;
  }
  if (answer.request.chat && !choice.role_sent && options_.role != RoleDelta::kNone) {
    writer_.AppendRole(answer, index, &connection.held);
  }
  choice.role_sent = true;
  const bool rides = finished && options_.finish == FinishEvent::kWithToken;
  writer_.AppendTokens(answer, index, first, count, rides, &connection.held);
  if (finished && !rides) writer_.AppendFinish(answer, index, &connection.held);
  answer.event_tokens.push_back(static_cast<uint32_t>(count));
  ++connection.held_events;
}

void ServingLoop::AfterEvents(uint32_t slot) {
  Connection& connection = *connections_[slot];
  Answer& answer = connection.answer;
  if (answer.unfinished > 0) {
    if (connection.held_events >= options_.events_per_write && !Flush(slot)) return;
    PlanNextEvent(slot);
    return;
  }
  if (!answer.request.stream) {
    writer_.AppendWhole(answer, &connection.held);
    answer.event_tokens.push_back(static_cast<uint32_t>(answer.output_tokens()));
  } else {
    if (options_.tail == TailWrite::kApart && !Flush(slot)) return;
    writer_.AppendTail(answer, &connection.held);
  }
  if (Flush(slot)) EndAnswer(slot);
}

void ServingLoop::EndAnswer(uint32_t slot) {
  Connection& connection = *connections_[slot];
  LogTruth(connection, 200, true);
  connection.busy = false;
  const uint32_t generation = connection.generation;
  AfterReply(slot);
  // A request that came before its turn waits in the input.
  if (Find(slot, generation) != nullptr) ServeInput(slot);
}

void ServingLoop::AfterReply(uint32_t slot) {
  Connection& connection = *connections_[slot];
  if (connection.answer.closes) {
    connection.closing = true;
    if (connection.out.empty()) Close(slot);
    return;
  }
  connection.answer = Answer();
  if (idle_close_ms_.second > 0) {
    Replica& replica = replicas_[connection.replica];
    const double share = replica.idle_chance.Uniform(replica.idles++);
    const double ms = idle_close_ms_.first + share * (idle_close_ms_.second - idle_close_ms_.first);
    connection.idle_close_ns = MonotonicNs() + static_cast<int64_t>(ms * kNsPerMs);
    timers_.Push({connection.idle_close_ns, slot, Timer::Tag(connection.generation, TimerKind::kIdleClose)});
  }
}

void ServingLoop::LogTruth(Connection& connection, int status, bool complete) {
  if (truth_ == nullptr) return;
  Answer& answer = connection.answer;
  TruthRow row;
  row.request_id = std::move(answer.request_id);
  row.received_ns = answer.received_ns;
  row.status = status;
  row.complete = complete;
  row.prompt_tokens = answer.request.prompt_tokens();
  row.cached_tokens = answer.cached_tokens;
  answer.event_tokens.resize(answer.event_ns.size());  // what was held back was never sent
  row.event_ns = std::move(answer.event_ns);
  row.tokens = std::move(answer.event_tokens);
  truth_->Add(std::move(row));
}

bool ServingLoop::Flush(uint32_t slot) {
  Connection& connection = *connections_[slot];
  if (connection.held.empty()) return true;
  connection.answer.event_ns.resize(connection.answer.event_tokens.size(), MonotonicNs());
  connection.held_events = 0;
  if (!Write(slot, connection.held.data(), connection.held.size())) return false;
  connection.held.clear();
  return true;
}

bool ServingLoop::Write(uint32_t slot, const char* data, size_t size) {
  if (options_.slice_bytes == 0) return WriteOnce(slot, data, size);
  const auto slice = static_cast<size_t>(options_.slice_bytes);
  for (size_t at = 0; at < size; at += slice) {
    if (!WriteOnce(slot, data + at, std::min(slice, size - at))) return false;
  }
  return true;
}

bool ServingLoop::WriteOnce(uint32_t slot, const char* data, size_t size) {
  Connection& connection = *connections_[slot];
  if (connection.out.empty()) {
    ssize_t n;
    do {
      n = send(connection.fd, data, size, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && errno != EAGAIN) {
      Close(slot);
      return false;
    }
    if (n > 0) {
      data += n;
      size -= static_cast<size_t>(n);
    }
    if (size == 0) return true;
    AskForWrite(slot, true);
  }
  connection.out.append(data, size);
  return true;
}

void ServingLoop::OnWritable(uint32_t slot) {
  Connection& connection = *connections_[slot];
  while (connection.out_taken < connection.out.size()) {
    const ssize_t n = send(connection.fd, connection.out.data() + connection.out_taken,
                           connection.out.size() - connection.out_taken, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    if (n < 0) {
      Close(slot);
      return;
    }
    connection.out_taken += static_cast<size_t>(n);
  }
  connection.out.clear();
  connection.out_taken = 0;
  AskForWrite(slot, false);
  if (connection.closing) Close(slot);
}

void ServingLoop::AskForWrite(uint32_t slot, bool wanted) {
  Connection& connection = *connections_[slot];
  if (connection.wants_write == wanted) return;
  connection.wants_write = wanted;
  epoll_event event = {};
  event.events = EPOLLIN | EPOLLRDHUP | (wanted ? EPOLLOUT : 0u);
  event.data.u64 = uint64_t{connection.generation} << 32 | slot;
  epoll_ctl(epoll_fd_, EPOLL_CTL_MOD, connection.fd, &event);
}

}  // namespace llmbench::sim
