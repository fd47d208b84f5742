// How a wire format is read, as data: where in an answer's JSON its text, counts and end are.
//
// A pointer is a JSON pointer (RFC 6901) from the root of one event or document. `-`, which there names the
// element behind the last one, here stands for every element of an array: the texts of all that match are
// joined in their order, token ids and output counts are added up, and of everything else the first counts.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace llmbench::wire {

// The value at `pointer` is one of `values`, JSON scalars as written; without values: it is there and not
// null.
struct Condition {
  std::string pointer;
  std::vector<std::string> values;
};
using Conditions = std::vector<Condition>;  // all hold

// A place to look, when all conditions hold. A `-` that place and condition have in common from the root on
// stands for the same element in both.
struct FieldRule {
  std::string pointer;
  Conditions when;
};

enum class Field : uint8_t {
  kText,
  kReasoning,
  kTool,  // a tool call's name or arguments
  kFinishReason,
  kError,
  kPromptTokens,
  kPromptTokensMore,  // all that match are added to kPromptTokens of the same event
  kOutputTokens,
  kCachedTokens,
  kReasoningTokens,
  kTokenIds,  // an array: as many tokens as elements; anything else that is not null: one token
  kIndex,     // which of several sequences the event belongs to
};
inline constexpr size_t kFields = 12;

// Sequences of one answer that are told apart; those beyond count as the last.
inline constexpr size_t kMaxSequences = 256;

// What one shape of JSON means, an event's or a whole document's.
struct FieldRules {
  // Places in order of preference: the first that is there and not null counts.
  std::array<std::vector<FieldRule>, kFields> places;
  // At least one must be there, be it null, or it is another protocol's JSON. Empty: any of the places above.
  std::vector<FieldRule> expect;

  std::vector<FieldRule>& operator[](Field field) { return places[static_cast<size_t>(field)]; }
  const std::vector<FieldRule>& operator[](Field field) const { return places[static_cast<size_t>(field)]; }
};

enum class StreamFraming : uint8_t { kNone, kSse, kNdjson, kNul, kDocuments, kGrpc };
enum class TextMode : uint8_t {
  kDelta,
  kCumulative,  // every event repeats the text so far; its end may change
  kAuto,        // cumulative when the second text of an answer begins with the first
};
enum class CountMode : uint8_t {
  kFinal,       // the output count is the whole answer's; the last one holds
  kCumulative,  // it grows with every event
  kPerChunk,    // it is one event's; they are added up
};

struct WireRules {
  StreamFraming framing = StreamFraming::kSse;
  bool always_streams = false;  // also when no stream is asked for
  FieldRules event, document;
  TextMode text_mode = TextMode::kDelta;
  CountMode count_mode = CountMode::kFinal;
  bool strip_prompt = false;  // the first text begins with the prompt as a rule: that is no output
  // Of a document's or a cumulative text only what follows the last one of these counts, and the prompt is
  // not looked for; "" or not found: all of it.
  std::string strip_until;
  std::vector<Conditions> skip_if;  // an event for which one holds has no text, though maybe tokens

  // What ends a stream. After any of these its last event came.
  std::vector<std::string> done_payloads;  // an event of just this, which need not be JSON
  std::vector<Conditions> done_if;
  bool done_at_end = false;  // the end of the body
};

std::string_view FramingName(StreamFraming framing);

// Lays a JSON object of rules over `base`: what it names replaces what was there. docs/wire-formats.md says
// what it may hold. An error names the rule, what it is, and what it could be.
absl::StatusOr<WireRules> ParseWireRules(std::string_view json, WireRules base = {});

}  // namespace llmbench::wire
