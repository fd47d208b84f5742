// What a streamed answer means: one decoder per wire format turns event payloads into output, counts and
// errors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "llmbench/base/large_pages.h"

namespace llmbench::wire {

// Bytes after every payload that a decoder may read (never use): simdjson loads whole registers.
inline constexpr size_t kPadding = 64;

class WireFormat;

enum class EventKind : uint8_t {
  kNone,  // no generated output: a role, a finish reason, usage, a keep-alive, the terminal event. With
          // tokens > 0: tokens were generated whose text the server holds back (half a character, a possible
          // stop string)
  kAnswer,     // answer text
  kReasoning,  // reasoning text only
  kTool,       // a tool call's name or arguments
};

struct StreamEvent {
  EventKind kind = EventKind::kNone;
  uint32_t tokens = 0;  // how many tokens this event carries, 0 when the server does not say
};

// Why an answer is no good. The engine maps each onto a request outcome of the same name.
enum class WireError : uint8_t {
  kNone,
  kProtocol,
  kHeaderTooLarge,
  kHttpStatus,  // any status but 2xx and redirects; the number says which
  kRedirect,
  kContentType,
  kContentEncoding,
  kEmptyStream,
  kEventTooLarge,
  kSseJsonInvalid,
  kBadEvent,
  kSchema,
  kServerErrorEvent,
  kEmptyReply,
  kResetBeforeHeaders,
  kResetMidStream,
  kTruncated,
  kTruncatedNoDone,
};

// What is known about one answer so far. Counts are -1 until the server gives them.
struct Answer {
  int32_t prompt_tokens = -1;
  int32_t cached_tokens = -1;
  int32_t output_tokens = -1;
  int32_t reasoning_tokens = -1;
  int32_t token_ids = -1;  // token ids seen, where the server sends them
  char finish_reason[24] = {};
  bool done = false;            // the format's terminal event came
  bool done_order = false;      // data after the terminal event, or the terminal event twice
  bool lone_surrogate = false;  // read as U+FFFD; looked for only where text is wanted
  bool unterminated = false;    // the last event lacked its empty line and was accepted
  bool not_streamed = false;    // one JSON document instead of a stream
  WireError error = WireError::kNone;
  std::string error_text;       // what the server or the parser said, at most 512 bytes of it
  std::string* text = nullptr;  // where answer text goes when it is wanted

  void Reset(std::string* text_sink);
  bool Fail(WireError e, std::string_view what);  // keeps the first error; returns false
};

// One per connection; holds no state of an answer beyond what Answer keeps, except what its format needs to
// tell tokens per event from cumulative counts. Decode never throws and allocates nothing for an ordinary
// event.
class StreamDecoder : public InLargePages {
 public:
  virtual ~StreamDecoder() = default;
  // Gets ready for the next answer. `prompt`: as the server saw it; valid as long as the answer lasts.
  virtual void Reset(std::string_view prompt = {}) = 0;
  // One event's payload, with kPadding readable bytes after it. On failure answer.error says why.
  virtual StreamEvent Decode(std::string_view payload, Answer& answer) = 0;
  // An event that the framing marks as an error (SseEvent::error).
  virtual void DecodeError(std::string_view payload, Answer& answer) = 0;
  // Whether the payload is whole: the end of the stream came before the event's own end.
  virtual bool IsWhole(std::string_view payload) = 0;
  // A whole document that was not streamed. What comes back says which kinds of output it holds and all its
  // tokens.
  virtual StreamEvent DecodeDocument(std::string_view body, Answer& answer) = 0;
};

// The parser's scratch memory (simdjson's), shared by all decoders of one thread.
class JsonScratch;
std::shared_ptr<JsonScratch> MakeJsonScratch();
std::unique_ptr<StreamDecoder> MakeStreamDecoder(const WireFormat& format,
                                                 std::shared_ptr<JsonScratch> scratch);

}  // namespace llmbench::wire
