// What the simulated server is asked to be. docs/simulator.md describes every option.
//
// One table names each option once; the command line, the Python keyword arguments and the error messages
// come from it.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace llmbench::sim {

// Which server's words are spoken. docs/simulator.md has a section on each.
enum class DialectName {
  kOpenAi,
  kVllmGenerate,
  kTgi,
  kTriton,
  kSglang,
  kLlamaCpp,
  kOllama,
  kMii,
  kFastgenRest,
  kFastgenGrpc,
  kAml,
  kTransformers,
  kJetstream,
  kJetstreamV1,
  kSax,
  kAzureContentSafety
};
// Of server-sent events, and the delimiter of lines. A NUL stands only behind lines.
enum class LineEnding { kLf, kCrLf, kCr, kNul };
// When a chat answer's `{"role":"assistant"}` goes out: as the dialect does it; never; at once, or in front
// of the first token, with an empty content; in front of the first token with a null content; in the first
// token's delta; in every delta.
enum class RoleDelta { kAuto, kNone, kEarly, kLate, kNull, kFirst, kEvery };
// What an OpenAI event has for a finish reason before the end: as the dialect does it, null, "", no member.
enum class UnfinishedReason { kAuto, kNull, kEmpty, kAbsent };
// Where an OpenAI stream has usage: as the dialect does it; where the request asks for it; in every event; in
// the one with the finish reason; in one of its own; nowhere.
enum class UsagePlace { kAuto, kAsked, kEvery, kLast, kOwn, kNone };
// `choices` of a usage event of its own.
enum class UsageChoices { kEmpty, kNull, kAbsent };
// Whether an event has what is new or all text so far.
enum class TextMode { kAuto, kDelta, kCumulative };
// Whether texts begin with the prompt.
enum class Echo { kAuto, kOn, kOff };
// When the response head goes out: at once in a segment of its own, or with the first event. Automatic: with
// the first event in fixed mode (one write less per request), at once otherwise, as Python servers do.
enum class HeadTiming { kAuto, kEarly, kLate };
// Whether the finish reason rides on the last token's event or has an event of its own.
enum class FinishEvent { kWithToken, kApart };
// Whether usage, [DONE] and the end of the body share the last event's write or follow in one of their own.
// Or are held back for the head of the next reply, when its request is already there.
enum class TailWrite { kJoined, kApart, kNext };
// How the end of a streamed body is told: HTTP chunks, the end of the connection, or a length in front of a
// stream that a proxy has held back to its end.
enum class Framing { kChunked, kClose, kLength };
enum class DocumentFraming { kLength, kChunked, kClose };
// Which characters the answers are made of: short ASCII words; words with multi-byte, astral and
// line-separator characters; the same as \u escapes; or lone surrogate escapes, legal JSON that is no text.
// The last: characters of two tokens each, of which the first yields no text yet.
enum class TextStyle { kPlain, kUnicode, kEscaped, kSurrogates, kWithheld };
enum class ReasoningField { kReasoning, kReasoningContent };
// Where a write is cut in two, the rest following later: in the name of a field, between CR and LF (else
// before the last line end), in a multi-byte character, in an escape.
enum class Cut { kNone, kField, kLineEnd, kCharacter, kEscape };
// The body of an error: the dialect's, `{"error":{…}}`, `{"error":"…"}`, `{"object":"error",…}`,
// `{"detail":"…"}`, `{"detail":[…]}`, a page, or nothing.
enum class ErrorBody { kDialect, kObject, kString, kFlat, kDetail, kDetailList, kHtml, kEmpty };
enum class RetryAfter { kSeconds, kDate, kMilliseconds };
// What AML's container answers with.
enum class AmlOutput { kIndexed, kList, kOutput, kGeneratedText, kPredictions };
enum class MetricsNames { kAuto, kVllm, kVllmV0, kTgi, kTriton, kSglang, kLlamaCpp, kJetstream, kNone };

struct Options {
  // Where.
  std::string host = "127.0.0.1";
  int port = 0;  // replica i listens on port + i; 0: the kernel chooses
  int replicas = 1;
  bool front = false;  // one port for all replicas
  int threads = 1;

  // What is served.
  DialectName dialect = DialectName::kOpenAi;
  std::string model;  // empty: "llmbench-sim" in fixed mode, else the default preset
  bool strict_model = false;
  int max_model_len = 0;  // 0: the model's own in the batching model, no limit in fixed mode
  int default_max_tokens = 16;
  int output_tokens = 0;  // 0: what the request asks
  double eos_probability = 0;
  uint64_t seed = 0;
  std::string api_key_env;
  double startup_s = 0;
  bool strict_fields = false;
  MetricsNames metrics = MetricsNames::kAuto;
  double metrics_reset_s = 0;

  // Fixed mode.
  bool fixed = false;
  double ttft_ms = 50;
  double itl_ms = 10;

  // Batching model.
  std::string gpu = "A100-80G";
  int tensor_parallel_size = 1;
  int max_num_seqs = 256;
  int max_num_batched_tokens = 2048;
  double gpu_memory_utilization = 0.9;
  double weight_bits = 0;  // 0: as the model was published
  int block_size = 16;
  int num_kv_blocks = 0;  // 0: what the memory left by the weights holds
  bool prefix_caching = true;
  double jitter = 0.02;
  double speed = 1;
  double parameters_b = 0;  // for a model that is no preset, billions
  double step_ms = 0;       // 0: from the hardware; else the constants of the step time are these four
  double step_seq_us = 0;
  double step_context_ns = 0;
  double step_prefill_us = 0;

  // The shape of the answer.
  int tokens_per_event = 1;
  TextMode text_mode = TextMode::kAuto;
  Echo echo = Echo::kAuto;
  RoleDelta role = RoleDelta::kAuto;
  FinishEvent finish = FinishEvent::kWithToken;
  UnfinishedReason unfinished_reason = UnfinishedReason::kAuto;
  UsagePlace usage = UsagePlace::kAuto;
  UsageChoices usage_choices = UsageChoices::kEmpty;
  bool cached_tokens = true;
  bool send_done = true;
  TextStyle text = TextStyle::kPlain;
  int reasoning_tokens = 0;
  ReasoningField reasoning_field = ReasoningField::kReasoning;
  int tool_tokens = 0;
  AmlOutput aml_output = AmlOutput::kIndexed;
  std::string extras;  // any of numbers, duplicates, separated by commas
  int padding_bytes = 0;

  // How it is sent.
  int events_per_write = 1;
  int slice_bytes = 0;
  Cut cut = Cut::kNone;
  LineEnding line_ending = LineEnding::kLf;
  std::string dress;  // any of blanks, bom, comments, extensions, ids, nospace, trailers, separated by commas
  double ping_s = 0;
  HeadTiming headers = HeadTiming::kAuto;
  TailWrite tail = TailWrite::kJoined;
  Framing framing = Framing::kChunked;
  DocumentFraming document_framing = DocumentFraming::kLength;

  // Connections and faults.
  bool close_after_reply = false;
  std::string idle_close_ms;
  int keep_alive_requests = 0;
  bool never_accept = false;
  std::string faults;
  ErrorBody error_body = ErrorBody::kDialect;
  double retry_after_s = 1;
  RetryAfter retry_after_form = RetryAfter::kSeconds;
  double drip_ms = 100;
  std::string tls_cert;
  std::string tls_key;

  // What is written down.
  std::string truth;

  bool headers_early() const {
    return framing != Framing::kLength &&
           (headers == HeadTiming::kEarly || (headers == HeadTiming::kAuto && !fixed));
  }
};

// One row of the table.
struct OptionInfo {
  std::string name;           // as in Options; the command line writes - for _
  std::string kind;           // bool, int, float, str
  std::string default_value;  // "true", "2048", "A100-80G"
  std::vector<std::string> choices;
  std::string group;
  std::string help;
};

// All options in the order a manual would have them.
const std::vector<OptionInfo>& OptionTable();

// Sets one option from text: "true" and "false", a number, a choice. The error names the option, the value
// and what it takes; an unknown name is answered with the nearest one.
absl::Status SetOption(const std::string& name, const std::string& value, Options* options);

// All that are given, in any order. A time of fixed mode selects it unless `fixed` is given too.
absl::StatusOr<Options> OptionsFrom(const std::vector<std::pair<std::string, std::string>>& given);

// What no single option can tell: pairs that need each other, lists that do not parse.
absl::Status Validate(const Options& options);

// "a, b, c": the name nearest to `wanted` by edit distance, empty when none is near.
std::string NearestName(const std::string& wanted, const std::vector<std::string>& names);

// Whether a list separated by commas has this item.
bool ListContains(const std::string& list, const std::string& wanted);

// The closed range "MIN:MAX", or "MAX" for 0:MAX, in milliseconds.
absl::Status ParseRange(const std::string& text, std::pair<double, double>* range);

}  // namespace llmbench::sim
