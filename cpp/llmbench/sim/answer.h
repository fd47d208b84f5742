// One answer in the making: what was asked, how far it has come, and what was really sent and when.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "llmbench/sim/faults.h"
#include "llmbench/sim/generation_request.h"

namespace llmbench::sim {

struct Choice {
  int64_t target = 0;    // tokens it will have
  int64_t produced = 0;  // tokens the model has made
  int64_t sent = 0;      // of these, tokens in events already formatted
  bool ends_by_eos = false;
  bool role_sent = false;
  uint64_t sequence = 0;  // of the batching model

  bool finished() const { return produced >= target; }
  const char* finish_reason() const { return ends_by_eos ? "stop" : "length"; }
};

struct Answer {
  GenerationRequest request;
  std::string id;          // cmpl-… or chatcmpl-…, with the request's own id where it brought one
  std::string request_id;  // X-Request-Id, for the truth log
  uint64_t number = 0;     // of the request at its replica, the counter of its chances
  int64_t created_s = 0;
  int64_t received_ns = 0;
  int64_t cached_tokens = 0;
  std::vector<Choice> choices;
  size_t unfinished = 0;  // choices
  int64_t planned = 0;    // fixed mode: tokens of each choice once the planned event is sent
  bool head_sent = false;
  bool http_1_0 = false;
  bool closes = false;   // the connection ends with this answer
  uint32_t replica = 0;  // index in the loop
  Fault fault;

  int64_t events = 0;  // formatted
  int64_t events_written = 0;
  int64_t first_event_ns = 0;
  int64_t last_event_ns = 0;

  // Only for the truth log. The times are those of the writes; meanwhile there are fewer of them.
  std::vector<int64_t> event_ns;
  std::vector<uint32_t> event_tokens;

  // Filled by AnswerWriter: the front of every event, up to the choice.
  std::string event_front;
  uint64_t first_word = 0;

  int64_t output_tokens() const {
    int64_t sum = 0;
    for (const Choice& choice : choices) sum += choice.sent;
    return sum;
  }
};

}  // namespace llmbench::sim
