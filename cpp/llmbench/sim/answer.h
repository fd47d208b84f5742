// One answer in the making: what was asked, how far it has come, and what was really sent and when.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "llmbench/sim/faults.h"
#include "llmbench/sim/generation_request.h"

namespace llmbench::sim {

class Dialect;
class HttpWriter;

// What a stream is made of: server-sent events, payloads with a delimiter behind each, or payloads that
// follow one another with nothing between.
enum class StreamKind : uint8_t { kServerSentEvents, kLines, kDocuments };

struct Choice {
  int64_t target = 0;    // tokens it will have
  int64_t produced = 0;  // tokens the model has made
  int64_t sent = 0;      // of these, tokens in events already formatted
  bool ends_by_eos = false;
  bool opened = false;    // what comes before its first token was sent
  uint64_t sequence = 0;  // of the batching model

  bool finished() const { return produced >= target; }
};

struct Answer {
  const Dialect* dialect = nullptr;  // whose words it is in; outlives it
  int form = 0;                      // which of the dialect's answers
  HttpWriter* http = nullptr;        // how it stands on its connection; outlives it
  GenerationRequest request;
  std::string id;          // cmpl-…, chatcmpl-…, with the request's own id where it brought one
  std::string request_id;  // X-Request-Id, for the truth log
  uint64_t number = 0;     // of the request at its replica, the counter of its chances
  int64_t created_s = 0;
  int64_t received_ns = 0;
  int64_t cached_tokens = 0;
  std::vector<Choice> choices;
  size_t unfinished = 0;  // choices
  int64_t planned = 0;    // fixed mode: tokens of each choice once the planned event is sent
  StreamKind stream = StreamKind::kServerSentEvents;
  bool head_sent = false;
  bool chunked = false;  // the body of the stream is HTTP chunks
  bool http_1_0 = false;
  bool closes = false;   // the connection ends with this answer
  uint32_t replica = 0;  // index in the loop
  Fault fault;

  int64_t events = 0;  // with tokens, formatted
  int64_t events_written = 0;
  int64_t wire_events = 0;  // of any kind, formatted
  int64_t first_event_ns = 0;
  int64_t last_event_ns = 0;

  // Only for the truth log. The times are those of the writes; meanwhile there are fewer of them.
  std::vector<int64_t> event_ns;
  std::vector<uint32_t> event_tokens;

  std::string front;        // what the dialect puts in front of every event
  uint64_t first_word = 0;  // of its text

  const Prompt& prompt_of(size_t choice) const {
    return request.prompts[choice / static_cast<size_t>(request.n)];
  }
  int64_t output_tokens() const {
    int64_t sum = 0;
    for (const Choice& choice : choices) sum += choice.sent;
    return sum;
  }
  // As the server's last word has it.
  int64_t counted_tokens() const { return Counted(output_tokens()); }
  int64_t Counted(int64_t tokens) const { return fault.is(FaultKind::kWrongUsage) ? 2 * tokens : tokens; }
};

}  // namespace llmbench::sim
