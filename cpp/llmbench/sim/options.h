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

enum class LineEnding { kLf, kCrLf, kCr };
// When a chat answer's `{"role":"assistant"}` goes out: never, at once, or in front of the first token.
enum class RoleDelta { kNone, kEarly, kLate };
// When the response head goes out: at once in a segment of its own, or with the first event. Automatic: with
// the first event in fixed mode (one write less per request), at once otherwise, as Python servers do.
enum class HeadTiming { kAuto, kEarly, kLate };
// Whether the finish reason rides on the last token's event or has an event of its own.
enum class FinishEvent { kWithToken, kApart };
// Whether usage, [DONE] and the end of the body share the last event's write or follow in one of their own.
enum class TailWrite { kJoined, kApart };
// How the end of a streamed body is told: HTTP chunks, or the end of the connection.
enum class Framing { kChunked, kClose };
// Which characters the answers are made of: short ASCII words; words with multi-byte, astral and
// line-separator characters; the same as \u escapes; or lone surrogate escapes, legal JSON that is no text.
enum class TextStyle { kPlain, kUnicode, kEscaped, kSurrogates };
enum class ReasoningField { kReasoning, kReasoningContent };

struct Options {
  // Where.
  std::string host = "127.0.0.1";
  int port = 0;  // replica i listens on port + i; 0: the kernel chooses
  int replicas = 1;
  bool front = false;  // one port for all replicas
  int threads = 1;

  // What is served.
  std::string model;  // empty: "llmbench-sim" in fixed mode, else the default preset
  bool strict_model = false;
  int max_model_len = 0;  // 0: the model's own in the batching model, no limit in fixed mode
  int default_max_tokens = 16;
  int output_tokens = 0;  // 0: what the request asks
  double eos_probability = 0;
  uint64_t seed = 0;
  std::string api_key_env;
  double startup_s = 0;

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
  int events_per_write = 1;
  int slice_bytes = 0;
  LineEnding line_ending = LineEnding::kLf;
  std::string dress;  // any of comments, bom, ids, nospace, separated by commas
  RoleDelta role = RoleDelta::kLate;
  HeadTiming headers = HeadTiming::kAuto;
  FinishEvent finish = FinishEvent::kWithToken;
  TailWrite tail = TailWrite::kJoined;
  Framing framing = Framing::kChunked;
  bool force_usage = false;
  bool send_done = true;
  bool cached_tokens = true;
  TextStyle text = TextStyle::kPlain;
  int reasoning_tokens = 0;
  ReasoningField reasoning_field = ReasoningField::kReasoning;

  // Connections and faults.
  bool close_after_reply = false;
  std::string idle_close_ms;
  int keep_alive_requests = 0;
  std::string faults;
  double retry_after_s = 1;
  double drip_ms = 100;
  std::string tls_cert;
  std::string tls_key;

  // What is written down.
  std::string truth;

  bool role_early() const { return role == RoleDelta::kEarly; }
  bool headers_early() const {
    return headers == HeadTiming::kEarly || (headers == HeadTiming::kAuto && !fixed) || role_early();
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
