// The body of a request for text, understood. What a body looks like is a table that its dialect has.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace llmbench::sim {

// Why a request cannot be served.
enum class Refusal : uint8_t {
  kNone,
  kSyntax,        // the body is not the JSON it should be
  kMissing,       // a field
  kType,          // of a field
  kValue,         // of a field
  kUnknownField,  //
  kContentType,   //
  kModel,         // there is none of this name
  kTooLong,       // prompt and output together
  kKey,           // none, or the wrong one
  kNotReady,      // still starting
  kPath,          // nothing is there
  kMethod,        // something is there, for another method
  kHttp,          // the request is malformed
  kInjected,      // a fault that was asked for
};

// What it is answered with: vLLM's status, type and words, which other dialects put into theirs.
struct ApiError {
  Refusal why = Refusal::kNone;
  int status = 0;  // 0: no error
  std::string message;
  std::string param;  // the field; empty: none

  explicit operator bool() const { return status != 0; }
};

struct Prompt {
  int64_t tokens = 0;
  std::vector<uint32_t> ids;  // only when asked for
  std::string text;           // escaped for a JSON string; only for dialects that repeat it
};

struct GenerationRequest {
  bool stream = false;
  bool one_event = false;  // a stream of which the whole answer is the only event
  bool include_usage = false;
  bool continuous_usage = false;
  bool return_token_ids = false;
  bool ignore_eos = false;
  bool details = false;
  bool echo = false;  // the answer's text begins with the prompt
  bool log_probs = false;
  bool eight_levels = false;
  int64_t max_tokens = -1;  // -1: not named
  int64_t max_length = -1;  // prompt and output together; -1: not named
  int64_t min_tokens = 0;
  int n = 1;
  std::string model;  // empty: not named
  std::string id;     // the body's own; empty: none
  std::vector<Prompt> prompts;
  std::vector<std::string> labels;

  size_t choices() const { return prompts.size() * static_cast<size_t>(n); }
  int64_t prompt_tokens() const {
    int64_t sum = 0;
    for (const Prompt& prompt : prompts) sum += prompt.tokens;
    return sum;
  }
};

// What a field of a body means.
enum class FieldUse : uint8_t {
  kIgnored,       // known, and without effect here
  kPrompt,        // text, a list of texts, token ids, or a list of lists of these
  kText,          // one text, which is a prompt
  kTexts,         // a list of texts, each a prompt; or of messages, which make one
  kTokenIds,      // one prompt as ids
  kMessages,      // a conversation
  kInput,         // one text, or a conversation
  kInstructions,  // text that stands before a conversation
  kModel,
  kId,
  kStream,
  kMaxTokens,
  kMaxTokensFirst,      // wins over kMaxTokens
  kMaxTokensOrForever,  // the same as kMaxTokens; a negative number stands for no limit
  kMaxLength,
  kMinTokens,
  kIgnoreEos,
  kChoices,
  kIncludeUsage,
  kContinuousUsage,
  kReturnTokenIds,
  kDetails,
  kEcho,
  kLogProbs,
  kEndId,        // -1 keeps the output from ending
  kOpenUnit,     // a number between 0 and 1, without these two
  kLabels,       // a list of names
  kEightLevels,  // severities from 0 to 7 if it is "EightSeverityLevels"
};

// One field. The path has a dot for each object on the way and [] for each list: "parameters.details",
// "instances[].prompt". "options.*" stands for all that has no line of its own.
struct FieldRule {
  std::string_view path;
  FieldUse use;
};

struct BodyRules {
  std::vector<FieldRule> fields;
  std::string_view prompt_field;  // what an error calls the missing prompt
  bool refuses_unknown = false;
  bool keeps_text = false;  // of the prompts
  bool needs_json_type = true;
  bool streams_by_default = false;
  bool needs_max_tokens = false;
  bool needs_model = false;
};

// Parses bodies one after another; owns the parser's buffers. One per thread.
class GenerationRequestParser {
 public:
  // Bytes behind the body that must be readable.
  static const size_t kPadding;

  GenerationRequestParser();
  ~GenerationRequestParser();

  // `want_ids` keeps the prompts' token ids; they are also kept when the request asks to see them.
  ApiError Parse(const char* body, size_t size, const BodyRules& rules, bool want_ids,
                 GenerationRequest* request);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace llmbench::sim
