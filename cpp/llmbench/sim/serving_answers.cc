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
  if (answer.request.stream && (options_.framing == Framing::kClose || answer.http_1_0)) answer.closes = true;
  replica.PlanOutput(&answer);
  replica.Entered();
  writer_.Begin(&answer);
  connection.busy = true;
  if (service_.truth != nullptr && answer.request.stream) {
    const auto events = static_cast<size_t>(answer.choices[0].target) * answer.choices.size();
    answer.event_ns.reserve(std::min(events, kMaxTruthReserve));
    answer.event_tokens.reserve(std::min(events, kMaxTruthReserve));
  }
  if (answer.fault.is(FaultKind::kSlowBody)) connection.drip_left = std::numeric_limits<size_t>::max();
  const bool fails_first = answer.fault.is(FaultKind::kErrorFirst);
  if (answer.request.stream &&
      (options_.headers_early() || fails_first || answer.fault.is(FaultKind::kSlowHead))) {
    writer_.AppendStreamHead(answer, &connection.held);
    answer.head_sent = true;
    if (answer.fault.is(FaultKind::kSlowHead)) connection.drip_left = connection.held.size();
    if (answer.request.chat && options_.role_early()) {
      for (size_t i = 0; i < answer.choices.size(); ++i) {
        writer_.AppendRole(answer, i, &connection.held);
        answer.choices[i].role_sent = true;
      }
    }
    if (!Flush(slot)) return;
  }
  if (fails_first) {
    (void)FailInMidStream(slot);
  } else if (options_.fixed) {
    PlanNextEvent(slot);
  } else {
    StartSequences(slot);
  }
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
      choice.finished() || (answer.request.stream &&
                            (choice.sent == 0 || choice.produced - choice.sent >= options_.tokens_per_event));
  if (!due) return;
  FormatEvent(connection, index);
  AfterEvents(slot);
}

void ServingLoop::PlanNextEvent(uint32_t slot) {
  Answer& answer = connections_[slot]->answer;
  int64_t longest = 0;
  for (const Choice& choice : answer.choices) longest = std::max(longest, choice.target);
  if (!answer.request.stream) {
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
  choice.sent = choice.produced;
  Metrics& metrics = ReplicaOf(answer).metrics();
  metrics.generation_tokens += static_cast<uint64_t>(count);
  if (first == 0) {
    const auto n = static_cast<size_t>(answer.request.n);
    if (index % n == 0)
      metrics.prompt_tokens += static_cast<uint64_t>(answer.request.prompts[index / n].tokens);
  }
  if (!answer.request.stream) return;

  if (!answer.head_sent) {
    writer_.AppendStreamHead(answer, &connection.held);
    answer.head_sent = true;
  }
  if (answer.request.chat && !choice.role_sent && options_.role != RoleDelta::kNone) {
    writer_.AppendRole(answer, index, &connection.held);
    choice.role_sent = true;
  }
  const bool rides = finished && options_.finish == FinishEvent::kWithToken;
  writer_.AppendTokens(answer, index, first, count, rides, &connection.held);
  if (finished && !rides) writer_.AppendFinish(answer, index, &connection.held);
  ++answer.events;
  ++connection.held_events;
  if (service_.truth != nullptr) answer.event_tokens.push_back(static_cast<uint32_t>(count));
}

void ServingLoop::AfterEvents(uint32_t slot) {
  Connection& connection = *connections_[slot];
  Answer& answer = connection.answer;
  if (answer.fault.in_mid_stream() && answer.request.stream && MidStreamIsReached(answer)) {
    if (!Flush(slot) || !FailInMidStream(slot)) return;
    answer.fault.kind = FaultKind::kNone;  // has happened; its name stays for the truth log
  }
  if (answer.unfinished > 0) {
    if (connection.held_events >= options_.events_per_write && !Flush(slot)) return;
    if (options_.fixed) PlanNextEvent(slot);
    return;
  }
  if (!answer.request.stream) {
    SendWhole(slot);
    return;
  }
  if (options_.tail == TailWrite::kApart && !Flush(slot)) return;
  writer_.AppendTail(answer, &connection.held);
  if (Flush(slot)) EndAnswer(slot, true);
}

bool ServingLoop::MidStreamIsReached(const Answer& answer) const {
  const Choice& choice = answer.choices[0];
  return choice.sent > 0 && 2 * choice.sent >= choice.target;
}

bool ServingLoop::FailInMidStream(uint32_t slot) {
  Connection& connection = *connections_[slot];
  Answer& answer = connection.answer;
  switch (answer.fault.kind) {
    case FaultKind::kErrorFirst:
    case FaultKind::kErrorMid:
      writer_.AppendEvent(answer, WrongEvent(answer.fault, answer.event_front), &connection.held);
      writer_.AppendEvent(answer, "[DONE]", &connection.held);
      writer_.AppendEnd(answer, &connection.held);
      AbortSequences(answer);
      if (Flush(slot)) EndAnswer(slot, false);
      return false;
    case FaultKind::kBadChunk:
      AbortSequences(answer);
      if (!Write(slot, "xyz\r\n{}\r\n")) return false;
      answer.closes = true;
      EndAnswer(slot, false);
      return false;
    case FaultKind::kEofMid:
      AbortSequences(answer);
      answer.closes = true;
      EndAnswer(slot, false);
      return false;
    case FaultKind::kResetMid:
      Reset(slot);
      return false;
    case FaultKind::kStall:
      AbortSequences(answer);
      answer.choices.clear();
      return false;
    default:
      writer_.AppendEvent(answer, WrongEvent(answer.fault, answer.event_front), &connection.held);
      return Flush(slot);
  }
}

void ServingLoop::SendWhole(uint32_t slot) {
  Connection& connection = *connections_[slot];
  Answer& answer = connection.answer;
  const Fault& fault = answer.fault;
  ++answer.events;
  if (service_.truth != nullptr) answer.event_tokens.push_back(static_cast<uint32_t>(answer.output_tokens()));
  if (!fault.in_mid_stream()) {
    writer_.AppendWhole(answer, &connection.held);
    if (Flush(slot)) EndAnswer(slot, true);
    return;
  }
  const std::string wrong = WrongEvent(fault, answer.event_front);
  if (!wrong.empty()) {
    writer_.AppendReply(200, "application/json", wrong, answer.closes, "", &connection.held);
    if (Flush(slot)) EndAnswer(slot, false);
    return;
  }
  // Half of it, and then whatever is to happen in the middle.
  writer_.AppendWhole(answer, &connection.held);
  connection.held.resize(connection.held.size() / 2);
  if (Flush(slot)) (void)FailInMidStream(slot);
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
  if (!Write(slot, connection.held)) return false;
  connection.held.clear();
  return true;
}

}  // namespace llmbench::sim
