#include <algorithm>
#include <limits>
#include <utility>

#include "llmbench/sim/batching_model.h"
#include "llmbench/sim/fault_bytes.h"
#include "llmbench/sim/serving_loop.h"

namespace llmbench::sim {
namespace {

// A sequence of the batching model belongs to a choice of the answer on a connection.
constexpr uint32_t kChoiceBits = 16;

constexpr size_t kMaxTruthReserve = 1 << 16;

double Seconds(int64_t ns) { return static_cast<double>(ns) / static_cast<double>(kNsPerSecond); }

}  // namespace

void ServingLoop::StartAnswer(uint32_t slot) {
  Connection& connection = *connections_[slot];
  Answer& answer = connection.answer;
  Replica& replica = ReplicaOf(answer);
  answer.created_s = RealtimeNs() / kNsPerSecond;
  answer.first_word = service_.text->FirstWord(answer.id);
  answer.stream = answer.dialect->Stream(answer);
  answer.chunked = options_.framing == Framing::kChunked && !answer.http_1_0;
  if (answer.request.stream ? !answer.chunked && options_.framing != Framing::kLength
                            : options_.document_framing == DocumentFraming::kClose) {
    answer.closes = true;
  }
  replica.PlanOutput(&answer);
  replica.Entered();
  answer.dialect->Begin(&answer);
  connection.busy = true;
  connection.written_ns = turn_ns_;
  if (service_.truth != nullptr && answer.request.stream) {
    const auto events = static_cast<size_t>(answer.choices[0].target) * answer.choices.size();
    answer.event_ns.reserve(std::min(events, kMaxTruthReserve));
    answer.event_tokens.reserve(std::min(events, kMaxTruthReserve));
  }
  if (answer.request.stream && options_.ping_s > 0) {
    connection.ping_ns = turn_ns_ + static_cast<int64_t>(options_.ping_s * kNsPerSecond);
    PushTimer(slot, connection.ping_ns, TimerKind::kPing);
  }
  if (answer.fault.is(FaultKind::kSlowBody)) connection.drip_left = std::numeric_limits<size_t>::max();
  const bool fails_first = answer.fault.is(FaultKind::kErrorFirst);
  const bool opens_early = answer.dialect->OpensEarly(answer);
  if (answer.request.stream &&
      (options_.headers_early() || opens_early || answer.fault.is(FaultKind::kSlowHead))) {
    if (options_.framing != Framing::kLength) AppendHead(connection, -1);
    if (answer.fault.is(FaultKind::kSlowHead)) connection.drip_left = connection.held.size();
    for (size_t i = 0; opens_early && i < answer.choices.size(); ++i) OpenChoice(connection, i);
    if (options_.framing != Framing::kLength && !Flush(slot)) return;
  }
  if (fails_first) {
    FailWithError(slot);
  } else if (options_.fixed) {
    PlanNextEvent(slot);
  } else {
    StartSequences(slot);
  }
}

// `length` is that of the whole body, -1 where the end is told otherwise.
void ServingLoop::AppendHead(Connection& connection, int64_t length) {
  Answer& answer = connection.answer;
  answer.head_sent = true;
  http_.Head(answer, answer.dialect->StreamType(answer), answer.dialect->HeadLines(answer), length,
             &connection.held);
  if (length >= 0) return;
  events_.Bind(&answer, &connection.held);
  events_.Open();
}

void ServingLoop::OpenChoice(Connection& connection, size_t choice) {
  events_.Bind(&connection.answer, &connection.held);
  connection.answer.dialect->Opening(connection.answer, choice, &events_);
  connection.answer.choices[choice].opened = true;
}

void ServingLoop::StartSequences(uint32_t slot) {
  Answer& answer = connections_[slot]->answer;
  BatchingModel& model = *ReplicaOf(answer).model();
  for (size_t i = 0; i < answer.choices.size(); ++i) {
    const Prompt& prompt = answer.request.prompts[i / static_cast<size_t>(answer.request.n)];
    SequenceSpec spec;
    spec.owner = uint64_t{slot} << kChoiceBits | i;
    spec.prompt_tokens = prompt.tokens;
    spec.output_tokens = answer.choices[i].target;
    if (options_.prefix_caching) spec.block_hashes = BlockHashes(prompt.ids, options_.block_size);
    answer.choices[i].sequence = model.Add(std::move(spec), turn_ns_);
  }
  if (answer.request.return_token_ids) return;
  for (Prompt& prompt : answer.request.prompts) std::vector<uint32_t>().swap(prompt.ids);
}

void ServingLoop::AbortSequences(Answer& answer) {
  if (options_.fixed) return;
  for (const Choice& choice : answer.choices) {
    if (choice.sequence != 0 && !choice.finished()) ReplicaOf(answer).model()->Abort(choice.sequence);
  }
}

void ServingLoop::TakeToken(const TokenEvent& token) {
  const auto slot = static_cast<uint32_t>(token.owner >> kChoiceBits);
  const auto index = static_cast<size_t>(token.owner & ((1u << kChoiceBits) - 1));
  Connection& connection = *connections_[slot];
  Answer& answer = connection.answer;
  // Another choice of the same step may have ended the answer.
  if (!connection.busy || index >= answer.choices.size() || answer.choices[index].sequence != token.sequence)
    return;
  Choice& choice = answer.choices[index];
  ++choice.produced;
  if (token.first) answer.cached_tokens += token.cached_tokens;
  const bool due =
      choice.finished() || (answer.request.stream && !answer.request.one_event &&
                            (choice.sent == 0 || choice.produced - choice.sent >= options_.tokens_per_event));
  if (!due) return;
  FormatEvent(connection, index);
  AfterEvents(slot);
}

void ServingLoop::PlanNextEvent(uint32_t slot) {
  Answer& answer = connections_[slot]->answer;
  int64_t longest = 0;
  for (const Choice& choice : answer.choices) longest = std::max(longest, choice.target);
  if (!answer.request.stream || answer.request.one_event) {
    answer.planned = longest;
  } else if (answer.planned == 0) {
    answer.planned = 1;
  } else {
    answer.planned = std::min(longest, answer.planned + options_.tokens_per_event);
  }
  // From the plan, not from the event before: lateness does not add up.
  PushTimer(slot, answer.received_ns + ttft_ns_ + (answer.planned - 1) * itl_ns_, TimerKind::kEvent);
}

void ServingLoop::SendDueEvent(uint32_t slot) {
  Connection& connection = *connections_[slot];
  Answer& answer = connection.answer;
  if (!connection.busy) return;
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
  Metrics& metrics = ReplicaOf(answer).metrics();
  metrics.generation_tokens += static_cast<uint64_t>(count);
  if (first == 0) {
    const auto n = static_cast<size_t>(answer.request.n);
    if (index % n == 0)
      metrics.prompt_tokens += static_cast<uint64_t>(answer.request.prompts[index / n].tokens);
  }
  if (!answer.request.stream) {
    choice.sent = choice.produced;
    return;
  }
  if (!answer.head_sent && options_.framing != Framing::kLength) AppendHead(connection, -1);
  if (!choice.opened) OpenChoice(connection, index);
  const Dialect& dialect = *answer.dialect;
  const bool rides = finished && !dialect.FinishesApart(answer);
  const int64_t most = dialect.EventTokens(answer);
  int64_t at = first;
  for (; most > 0 && choice.produced - at > most; at += most)
    FormatTokens(connection, {index, at, most, false});
  FormatTokens(connection, {index, at, choice.produced - at, rides});
  if (finished && !rides) {
    events_.Bind(&answer, &connection.held);
    dialect.Finish(answer, index, &events_);
  }
}

void ServingLoop::FormatTokens(Connection& connection, const TokenSpan& span) {
  Answer& answer = connection.answer;
  answer.choices[span.choice].sent = span.first + span.count;
  events_.Bind(&answer, &connection.held);
  answer.dialect->Tokens(answer, span, &events_);
  ++answer.events;
  ++connection.held_events;
  if (service_.truth != nullptr) answer.event_tokens.push_back(static_cast<uint32_t>(span.count));
}

void ServingLoop::AfterEvents(uint32_t slot) {
  Connection& connection = *connections_[slot];
  Answer& answer = connection.answer;
  if (answer.fault.in_mid_stream() && answer.request.stream && MidStreamIsReached(answer)) {
    if ((answer.head_sent && !Flush(slot)) || !FailInMidStream(slot)) return;
    answer.fault.kind = FaultKind::kNone;  // has happened; its name stays for the truth log
  }
  if (answer.unfinished > 0) {
    // Without a head the stream is held back to its end.
    if (answer.head_sent && connection.held_events >= options_.events_per_write && !Flush(slot)) return;
    if (options_.fixed) PlanNextEvent(slot);
    return;
  }
  if (!answer.request.stream) {
    SendWhole(slot);
    return;
  }
  if (answer.fault.is(FaultKind::kErrorLast)) {
    FailWithError(slot);
    return;
  }
  const bool apart = options_.tail != TailWrite::kJoined;
  if (apart && answer.head_sent && !Flush(slot)) return;
  events_.Bind(&answer, &connection.held);
  answer.dialect->Tail(answer, &events_);
  EndBody(connection);
  // The next answer takes the tail along when its request is there already.
  const bool waits = options_.tail == TailWrite::kNext && options_.framing != Framing::kLength &&
                     !answer.closes && !connection.in.empty();
  if (waits || Flush(slot)) EndAnswer(slot, true);
}

bool ServingLoop::MidStreamIsReached(const Answer& answer) const {
  const Choice& choice = answer.choices[0];
  return choice.sent > 0 && 2 * choice.sent >= choice.target;
}

// The end of the body, and where all of it was held back, the head with its length.
void ServingLoop::EndBody(Connection& connection) {
  Answer& answer = connection.answer;
  http_.End(answer, &connection.held);
  if (answer.head_sent) return;
  std::string body = std::exchange(connection.held, "");
  AppendHead(connection, static_cast<int64_t>(body.size()));
  connection.held += body;
}

void ServingLoop::FailWithError(uint32_t slot) {
  Connection& connection = *connections_[slot];
  Answer& answer = connection.answer;
  AbortSequences(answer);
  if (!answer.head_sent && options_.framing != Framing::kLength) AppendHead(connection, -1);
  events_.Bind(&answer, &connection.held);
  if (!answer.dialect->ErrorEvent(answer, &events_)) {
    BreakOff(slot);
    return;
  }
  EndBody(connection);
  if (Flush(slot)) EndAnswer(slot, false);
}

// What was held goes out, and then the connection is closed with the body unfinished.
void ServingLoop::BreakOff(uint32_t slot) {
  Connection& connection = *connections_[slot];
  Answer& answer = connection.answer;
  AbortSequences(answer);
  if (answer.request.stream && !answer.head_sent) {
    std::string body = std::exchange(connection.held, "");
    AppendHead(connection, static_cast<int64_t>(2 * body.size() + 1));
    connection.held += body;
  }
  if (!Flush(slot)) return;
  answer.closes = true;
  EndAnswer(slot, false);
}

bool ServingLoop::FailInMidStream(uint32_t slot) {
  Connection& connection = *connections_[slot];
  Answer& answer = connection.answer;
  switch (answer.fault.kind) {
    case FaultKind::kErrorMid:
      FailWithError(slot);
      return false;
    case FaultKind::kBadChunk:
      if (!Write(slot, "xyz\r\n{}\r\n")) return false;
      BreakOff(slot);
      return false;
    case FaultKind::kEndMid:
      AbortSequences(answer);
      EndBody(connection);
      if (Flush(slot)) EndAnswer(slot, false);
      return false;
    case FaultKind::kEofMid:
      BreakOff(slot);
      return false;
    case FaultKind::kResetMid:
      Reset(slot);
      return false;
    case FaultKind::kStall:
      AbortSequences(answer);
      answer.choices.clear();
      return false;
    default: {
      std::string_view name;
      std::string payload = answer.dialect->Probe(answer, WrongText(answer.fault), &name);
      payload = WrongPayload(answer.fault, std::move(payload), answer.dialect->WrongSchema());
      events_.Bind(&answer, &connection.held);
      events_.Event(payload, name);
      return !answer.head_sent || Flush(slot);
    }
  }
}

void ServingLoop::SendWhole(uint32_t slot) {
  Connection& connection = *connections_[slot];
  Answer& answer = connection.answer;
  const Fault& fault = answer.fault;
  ++answer.events;
  if (service_.truth != nullptr) answer.event_tokens.push_back(static_cast<uint32_t>(answer.output_tokens()));
  std::string_view name;
  const std::string wrong = fault.in_mid_stream()
                                ? WrongPayload(fault, answer.dialect->Probe(answer, WrongText(fault), &name),
                                               answer.dialect->WrongSchema())
                                : "";
  ServerReply reply = answer.dialect->Document(answer);
  if (!answer.request_id.empty()) reply.extra += "x-request-id: " + answer.request_id + "\r\n";
  if (!wrong.empty()) reply.body = wrong;
  http_.Reply(answer, reply, &connection.held);
  if (!fault.in_mid_stream() || !wrong.empty()) {
    if (Flush(slot)) EndAnswer(slot, wrong.empty());
    return;
  }
  // Half of it, and then whatever is to happen in the middle.
  connection.held.resize(connection.held.size() / 2);
  if (!Flush(slot)) return;
  const bool breaks = fault.is(FaultKind::kErrorMid) || fault.is(FaultKind::kEndMid);
  if (breaks) {
    BreakOff(slot);
  } else {
    (void)FailInMidStream(slot);
  }
}

// A comment, where the stream has been silent for long.
void ServingLoop::SendPing(uint32_t slot) {
  Connection& connection = *connections_[slot];
  Answer& answer = connection.answer;
  const auto gap = static_cast<int64_t>(options_.ping_s * kNsPerSecond);
  const int64_t now = MonotonicNs();
  if (now - connection.written_ns >= gap && options_.framing != Framing::kLength) {
    if (!answer.head_sent) AppendHead(connection, -1);
    events_.Bind(&answer, &connection.held);
    events_.Comment(answer.dialect->PingText());
    if (!Flush(slot)) return;
    connection.written_ns = now;
  }
  connection.ping_ns = connection.written_ns + gap;
  PushTimer(slot, connection.ping_ns, TimerKind::kPing);
}

void ServingLoop::EndAnswer(uint32_t slot, bool complete) {
  Connection& connection = *connections_[slot];
  Answer& answer = connection.answer;
  Replica& replica = ReplicaOf(answer);
  replica.Left();
  Metrics& metrics = replica.metrics();
  if (complete) {
    for (const Choice& choice : answer.choices) ++(choice.ends_by_eos ? metrics.stopped : metrics.to_length);
    const int64_t output = answer.output_tokens();
    metrics.e2e_s.Observe(Seconds(answer.last_event_ns - answer.received_ns));
    metrics.request_prompt_tokens.Observe(static_cast<double>(answer.request.prompt_tokens()));
    metrics.request_generation_tokens.Observe(static_cast<double>(output));
    if (answer.request.stream && output > 1) {
      metrics.tpot_s.Observe(Seconds(answer.last_event_ns - answer.first_event_ns) /
                             static_cast<double>(output - 1));
    }
  } else {
    ++metrics.aborted;
  }
  LogTruth(connection, 200, complete);
  connection.busy = false;
  if (connection.out.empty()) connection.drip_left = 0;
  const uint32_t generation = connection.generation;
  AfterReply(slot);
  // A request that came before its turn waits in the input.
  if (Find(slot, generation) != nullptr) ServeInput(slot);
  // And a tail may still wait for that request, when it was not whole.
  if (Find(slot, generation) != nullptr && !connection.busy && !connection.held.empty()) {
    if (Write(slot, connection.held)) connection.held.clear();
  }
}

void ServingLoop::LogTruth(Connection& connection, int status, bool complete) {
  if (service_.truth == nullptr) return;
  Answer& answer = connection.answer;
  TruthRow row;
  row.request_id = answer.request_id;
  row.received_ns = answer.received_ns;
  row.status = status;
  row.complete = complete;
  row.fault = answer.fault.name;
  row.prompt_tokens = answer.request.prompt_tokens();
  row.cached_tokens = answer.cached_tokens;
  answer.event_tokens.resize(answer.event_ns.size());  // what was held back was never sent
  row.event_ns = std::move(answer.event_ns);
  row.tokens = std::move(answer.event_tokens);
  service_.truth->Add(std::move(row));
}

bool ServingLoop::Flush(uint32_t slot) {
  Connection& connection = *connections_[slot];
  if (connection.held.empty()) return true;
  Answer& answer = connection.answer;
  const int64_t now = MonotonicNs();
  Metrics& metrics = ReplicaOf(answer).metrics();
  for (; answer.events_written < answer.events; ++answer.events_written) {
    if (answer.events_written == 0) {
      answer.first_event_ns = now;
      metrics.ttft_s.Observe(Seconds(now - answer.received_ns));
    } else {
      metrics.itl_s.Observe(Seconds(now - answer.last_event_ns));
    }
    answer.last_event_ns = now;
    if (service_.truth != nullptr) answer.event_ns.push_back(now);
  }
  connection.held_events = 0;
  connection.written_ns = now;
  if (!Write(slot, connection.held)) return false;
  connection.held.clear();
  return true;
}

}  // namespace llmbench::sim
