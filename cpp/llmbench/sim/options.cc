#include "llmbench/sim/options.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <functional>
#include <limits>

#include "llmbench/base/return_if_error.h"

namespace llmbench::sim {
namespace {

const std::vector<std::string> kDresses = {"blanks", "bom",     "comments", "extensions",
                                           "ids",    "nospace", "trailers"};
const std::vector<std::string> kExtras = {"duplicates", "numbers", "strings"};

constexpr double kNoLimit = std::numeric_limits<double>::infinity();

// The shortest text that reads back as the same number.
std::string NumberText(double value) {
  char text[32];
  return std::string(text, std::to_chars(text, text + sizeof text, value).ptr);
}

absl::Status Bad(const std::string& name, const std::string& value, const std::string& takes) {
  return absl::InvalidArgumentError("sim option '" + name + "' is '" + value + "'; it takes " + takes + ".");
}

std::string RangeText(double low, double high) {
  if (high == kNoLimit) return NumberText(low) + " or more";
  return "from " + NumberText(low) + " to " + NumberText(high);
}

std::string Listed(const std::vector<std::string>& names) {
  std::string text;
  for (size_t i = 0; i < names.size(); ++i) {
    if (i > 0) text += i + 1 == names.size() ? " or " : ", ";
    text += names[i];
  }
  return text;
}

// Each item of a list must be one of `known`.
absl::Status CheckList(const std::string& name, const std::string& list,
                       const std::vector<std::string>& known) {
  for (size_t at = 0; at < list.size();) {
    const size_t comma = std::min(list.find(',', at), list.size());
    if (std::find(known.begin(), known.end(), list.substr(at, comma - at)) == known.end())
      return Bad(name, list, "any of " + Listed(known) + ", separated by commas");
    at = comma + 1;
  }
  return absl::OkStatus();
}

struct Entry {
  OptionInfo info;
  std::function<absl::Status(const std::string& value, Options* options)> set;
};

Entry Flag(const char* group, const char* name, bool Options::*member, const char* help) {
  return {{name, "bool", Options{}.*member ? "true" : "false", {}, group, help},
          [=](const std::string& value, Options* options) {
            if (value != "true" && value != "false") return Bad(name, value, "true or false");
            options->*member = value == "true";
            return absl::OkStatus();
          }};
}

Entry Text(const char* group, const char* name, std::string Options::*member, const char* help) {
  return {{name, "str", Options{}.*member, {}, group, help}, [=](const std::string& value, Options* options) {
            options->*member = value;
            return absl::OkStatus();
          }};
}

template <typename Integer>
Entry Whole(const char* group, const char* name, Integer Options::*member, double low, double high,
            const char* help) {
  return {{name, "int", std::to_string(Options{}.*member), {}, group, help},
          [=](const std::string& value, Options* options) {
            Integer parsed = 0;
            const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), parsed);
            if (error != std::errc() || end != value.data() + value.size() ||
                static_cast<double>(parsed) < low || static_cast<double>(parsed) > high) {
              return Bad(name, value, "a whole number " + RangeText(low, high));
            }
            options->*member = parsed;
            return absl::OkStatus();
          }};
}

Entry Real(const char* group, const char* name, double Options::*member, double low, double high,
           const char* help) {
  return {{name, "float", NumberText(Options{}.*member), {}, group, help},
          [=](const std::string& value, Options* options) {
            double parsed = 0;
            const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), parsed);
            if (error != std::errc() || end != value.data() + value.size() || !std::isfinite(parsed) ||
                parsed < low || parsed > high) {
              return Bad(name, value, "a number " + RangeText(low, high));
            }
            options->*member = parsed;
            return absl::OkStatus();
          }};
}

// The names are in the order of the enumeration.
template <typename Enum>
Entry Choice(const char* group, const char* name, Enum Options::*member, std::vector<std::string> names,
             const char* help) {
  return {{name, "str", names[static_cast<size_t>(Options{}.*member)], names, group, help},
          [=](const std::string& value, Options* options) {
            const auto found = std::find(names.begin(), names.end(), value);
            if (found == names.end()) return Bad(name, value, Listed(names));
            options->*member = static_cast<Enum>(found - names.begin());
            return absl::OkStatus();
          }};
}

std::vector<Entry> MakeEntries() {
  using O = Options;
  constexpr double kMaxInt = std::numeric_limits<int>::max();
  std::vector<Entry> entries;
  const auto add = [&](Entry entry) { entries.push_back(std::move(entry)); };

  const char* where = "where it listens";
  add(Text(where, "host", &O::host, "address to listen on"));
  add(Whole(where, "port", &O::port, 0, 65535,
            "first port; replica i listens on port + i; 0 lets the kernel choose"));
  add(Whole(where, "replicas", &O::replicas, 1, 4096, "independent servers in this process, one port each"));
  add(Flag(where, "front", &O::front,
           "one port for all replicas; each request goes to the least loaded one"));
  add(Whole(where, "threads", &O::threads, 1, 256, "threads the replicas are spread over"));

  const char* what = "what it serves";
  add(Choice(
      what, "dialect", &O::dialect,
      {"openai", "vllm-generate", "tgi", "triton", "sglang", "llamacpp", "ollama", "mii", "fastgen-rest",
       "fastgen-grpc", "aml", "transformers", "jetstream", "jetstream-v1", "sax", "azure-content-safety"},
      "server whose own paths and words are spoken beside the OpenAI ones"));
  add(Text(what, "model", &O::model, "model name; picks the preset of the batching model"));
  add(Flag(what, "strict_model", &O::strict_model, "answer 404 to any other model name"));
  add(Whole(what, "max_model_len", &O::max_model_len, 0, kMaxInt,
            "longest prompt + output; 0: the model's own, or no limit in fixed mode"));
  add(Whole(what, "default_max_tokens", &O::default_max_tokens, 1, kMaxInt,
            "output tokens of a request that names no maximum"));
  add(Whole(what, "output_tokens", &O::output_tokens, 0, kMaxInt,
            "output tokens of every request, whatever it asks; 0: what it asks"));
  add(Real(what, "eos_probability", &O::eos_probability, 0, 1,
           "chance that an output ends at a token, unless the request says ignore_eos"));
  add(Whole(what, "seed", &O::seed, 0, kNoLimit, "seed of every chance: jitter, early ends, faults"));
  add(Text(what, "api_key_env", &O::api_key_env,
           "environment variable with the key that requests must bring"));
  add(Real(what, "startup_s", &O::startup_s, 0, 1e6,
           "seconds after the start during which everything is answered 503"));
  add(Flag(what, "strict_fields", &O::strict_fields,
           "answer 422 to a field of the OpenAI paths that transformers serve does not take"));
  add(Choice(what, "metrics", &O::metrics,
             {"auto", "vllm", "vllm-v0", "tgi", "triton", "sglang", "llamacpp", "jetstream", "none"},
             "names on the metrics page; auto: the dialect's, or vLLM's"));
  add(Real(what, "metrics_reset_s", &O::metrics_reset_s, 0, 1e9,
           "seconds after which all counters begin anew, once; 0: never"));

  const char* fixed = "fixed mode";
  add(Flag(fixed, "fixed", &O::fixed, "send every token at its planned time instead of simulating a GPU"));
  add(Real(fixed, "ttft_ms", &O::ttft_ms, 0, 1e9,
           "first token, after the last byte of the request was received"));
  add(Real(fixed, "itl_ms", &O::itl_ms, 0, 1e9, "gap between tokens"));

  const char* batching = "continuous-batching model";
  add(Text(batching, "gpu", &O::gpu, "GPU preset"));
  add(Whole(batching, "tensor_parallel_size", &O::tensor_parallel_size, 1, 64, "GPUs that share each layer"));
  add(Whole(batching, "max_num_seqs", &O::max_num_seqs, 1, 1e6, "sequences running at a time"));
  add(Whole(batching, "max_num_batched_tokens", &O::max_num_batched_tokens, 1, 1e9,
            "token budget of one step"));
  add(Real(batching, "gpu_memory_utilization", &O::gpu_memory_utilization, 0.01, 1,
           "share of the GPU's memory for weights and KV cache"));
  add(Real(batching, "weight_bits", &O::weight_bits, 0, 32,
           "bits per weight, 6 for fp6; 0: as the model was published"));
  add(Whole(batching, "block_size", &O::block_size, 1, 4096, "tokens in a KV-cache block"));
  add(Whole(batching, "num_kv_blocks", &O::num_kv_blocks, 0, kMaxInt,
            "KV-cache blocks; 0: what fits beside the weights"));
  add(Flag(batching, "prefix_caching", &O::prefix_caching, "reuse the KV cache of equal prompt blocks"));
  add(Real(batching, "jitter", &O::jitter, 0, 2, "sigma of the log-normal noise on a step's time"));
  add(Real(batching, "speed", &O::speed, 1e-3, 1e6,
           "how many times faster than the simulated hardware to run"));
  add(Real(batching, "parameters_b", &O::parameters_b, 0, 1e5,
           "billions of parameters, for a model that is no preset and whose name does not tell"));
  add(Real(batching, "step_ms", &O::step_ms, 0, 1e6,
           "time of an empty step; 0: step times come from the hardware preset"));
  add(Real(batching, "step_seq_us", &O::step_seq_us, 0, 1e9, "with step_ms: time per decoded sequence"));
  add(Real(batching, "step_context_ns", &O::step_context_ns, 0, 1e9,
           "with step_ms: time per token of context"));
  add(Real(batching, "step_prefill_us", &O::step_prefill_us, 0, 1e9, "with step_ms: time per prompt token"));

  const char* shape = "shape of the answer";
  add(Whole(shape, "tokens_per_event", &O::tokens_per_event, 1, 1e6,
            "the first token at once, then this many in each event (vLLM's stream interval)"));
  add(Choice(shape, "text_mode", &O::text_mode, {"auto", "delta", "cumulative"},
             "events with new text or with all text so far, in dialects that know both"));
  add(Choice(shape, "echo", &O::echo, {"auto", "on", "off"},
             "texts that begin with the prompt, in dialects that know both"));
  add(Choice(
      shape, "role", &O::role, {"auto", "none", "early", "late", "null", "first", "every"},
      "chat's role delta: none, at once, in front of the first token (with null content), in the first or in "
      "every token's"));
  add(Choice(shape, "finish", &O::finish, {"with-token", "apart"},
             "finish reason in the last token's event or its own"));
  add(Choice(shape, "unfinished_reason", &O::unfinished_reason, {"auto", "null", "empty", "absent"},
             "finish reason of OpenAI events before the last"));
  add(Choice(shape, "usage", &O::usage, {"auto", "asked", "every", "last", "own", "none"},
             "OpenAI events with usage: where asked for, every one, the last one, one of its own, none"));
  add(Choice(shape, "usage_choices", &O::usage_choices, {"empty", "null", "absent"},
             "choices of a usage event of its own"));
  add(Flag(shape, "cached_tokens", &O::cached_tokens, "report prompt_tokens_details.cached_tokens"));
  add(Flag(shape, "send_done", &O::send_done, "end the stream with data: [DONE]"));
  add(Choice(shape, "text", &O::text, {"plain", "unicode", "escaped", "surrogates", "withheld"},
             "characters the answers are made of"));
  add(Whole(shape, "reasoning_tokens", &O::reasoning_tokens, 0, kMaxInt,
            "tokens of a chat answer that are reasoning, before the rest"));
  add(Choice(shape, "reasoning_field", &O::reasoning_field, {"reasoning", "reasoning_content"},
             "delta field they use"));
  add(Whole(shape, "tool_tokens", &O::tool_tokens, 0, kMaxInt,
            "tokens of a chat answer that are a tool call, behind the rest"));
  add(Choice(shape, "aml_output", &O::aml_output,
             {"indexed", "list", "output", "generated_text", "predictions"},
             "what AML's container answers with"));
  add(Text(shape, "extras", &O::extras,
           "what stands in every event beside the answer: any of duplicates,numbers,strings"));
  add(Whole(shape, "padding_bytes", &O::padding_bytes, 0, 1e8,
            "size that an unknown member brings every event to; 0: no such member"));

  const char* sending = "how it is sent";
  add(Whole(sending, "events_per_write", &O::events_per_write, 1, 1e6,
            "events that are held back and sent together"));
  add(Whole(sending, "slice_bytes", &O::slice_bytes, 0, 1e9,
            "cut every write into pieces of this size; 0: do not cut"));
  add(Choice(sending, "cut", &O::cut, {"none", "field", "line-end", "character", "escape"},
             "place where a write is cut in two; the rest follows drip_ms later"));
  add(Choice(sending, "line_ending", &O::line_ending, {"lf", "crlf", "cr", "nul"},
             "line ending of an event stream, delimiter of lines; nul: of lines alone"));
  add(Text(sending, "dress", &O::dress,
           "decorations of a stream: any of blanks,bom,comments,extensions,ids,nospace,trailers"));
  add(Real(sending, "ping_s", &O::ping_s, 0, 1e6,
           "a comment in the event stream each time nothing was sent for so long; 0: none"));
  add(Choice(sending, "headers", &O::headers, {"auto", "early", "late"},
             "response head at once or with the first event; auto: late in fixed mode, else early"));
  add(Choice(
      sending, "tail", &O::tail, {"joined", "apart", "next"},
      "usage and [DONE] in the last event's write, their own, or the next reply's if its request is there"));
  add(Choice(sending, "framing", &O::framing, {"chunked", "close", "length"},
             "end of a streamed body: chunks, connection close, or a length, all of it being held back"));
  add(Choice(sending, "document_framing", &O::document_framing, {"length", "chunked", "close"},
             "end of any other body"));

  const char* faults = "connections and faults";
  add(Flag(faults, "close_after_reply", &O::close_after_reply, "one request per connection"));
  add(Text(faults, "idle_close_ms", &O::idle_close_ms,
           "close an idle connection after MIN:MAX milliseconds, uniformly at random"));
  add(Whole(faults, "keep_alive_requests", &O::keep_alive_requests, 0, kMaxInt,
            "requests after which a connection is closed; 0: no limit"));
  add(Flag(faults, "never_accept", &O::never_accept, "listen, but never accept a connection"));
  add(Text(faults, "faults", &O::faults,
           "KIND=PROBABILITY,…: what goes wrong and how often; see docs/simulator.md"));
  add(Choice(faults, "error_body", &O::error_body,
             {"dialect", "object", "string", "flat", "detail", "detail-list", "html", "empty"},
             "body of every error"));
  add(Real(faults, "retry_after_s", &O::retry_after_s, 0, 1e6, "Retry-After of a 429 or 503"));
  add(Choice(faults, "retry_after_form", &O::retry_after_form, {"seconds", "date", "ms"},
             "seconds, an HTTP date, or a retry-after-ms field"));
  add(Real(faults, "drip_ms", &O::drip_ms, 0.001, 1e6,
           "gap between the bytes of a slow head or body, or the parts of a cut"));
  add(Text(faults, "tls_cert", &O::tls_cert, "PEM certificate chain; serves https"));
  add(Text(faults, "tls_key", &O::tls_key, "PEM private key"));

  add(Text("what it writes down", "truth", &O::truth, "JSON Lines of what was really sent and when"));
  return entries;
}

const std::vector<Entry>& Entries() {
  static const auto* entries = new std::vector<Entry>(MakeEntries());
  return *entries;
}

size_t EditDistance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t substituted = diagonal + (std::tolower(a[i - 1]) != std::tolower(b[j - 1]) ? 1 : 0);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
    }
  }
  return row[b.size()];
}

}  // namespace

const std::vector<OptionInfo>& OptionTable() {
  static const auto* table = [] {
    auto* infos = new std::vector<OptionInfo>;
    for (const Entry& entry : Entries()) infos->push_back(entry.info);
    return infos;
  }();
  return *table;
}

std::string NearestName(const std::string& wanted, const std::vector<std::string>& names) {
  std::string best;
  size_t best_distance = std::max<size_t>(2, wanted.size() / 2) + 1;
  for (const std::string& name : names) {
    const size_t distance = EditDistance(wanted, name);
    if (distance < best_distance) {
      best_distance = distance;
      best = name;
    }
  }
  return best;
}

absl::Status SetOption(const std::string& name, const std::string& value, Options* options) {
  std::string key = name;
  std::replace(key.begin(), key.end(), '-', '_');
  std::vector<std::string> names;
  for (const Entry& entry : Entries()) {
    if (entry.info.name == key) return entry.set(value, options);
    names.push_back(entry.info.name);
  }
  const std::string nearest = NearestName(key, names);
  return absl::InvalidArgumentError("sim option '" + name + "' is unknown" +
                                    (nearest.empty() ? "." : "; did you mean '" + nearest + "'?"));
}

absl::StatusOr<Options> OptionsFrom(const std::vector<std::pair<std::string, std::string>>& given) {
  Options options;
  bool names_time = false;
  bool names_mode = false;
  for (const auto& [name, value] : given) {
    LLMBENCH_RETURN_IF_ERROR(SetOption(name, value, &options));
    names_time = names_time || name == "ttft_ms" || name == "itl_ms" || name == "ttft-ms" || name == "itl-ms";
    names_mode = names_mode || name == "fixed";
  }
  if (names_time && !names_mode) options.fixed = true;
  if (names_time && !options.fixed) {
    return absl::InvalidArgumentError(
        "sim options 'ttft_ms' and 'itl_ms' are for fixed mode; leave out 'fixed', or make it true.");
  }
  return options;
}

absl::Status ParseRange(const std::string& text, std::pair<double, double>* range) {
  const size_t colon = text.find(':');
  const std::string low = colon == std::string::npos ? "0" : text.substr(0, colon);
  const std::string high = colon == std::string::npos ? text : text.substr(colon + 1);
  const auto parse = [](const std::string& number, double* value) {
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), *value);
    return error == std::errc() && end == number.data() + number.size() && std::isfinite(*value) &&
           *value >= 0;
  };
  if (!parse(low, &range->first) || !parse(high, &range->second) || range->first > range->second) {
    return absl::InvalidArgumentError("'" + text + "' is no range; write MIN:MAX or MAX, in milliseconds.");
  }
  return absl::OkStatus();
}

bool ListContains(const std::string& list, const std::string& wanted) {
  for (size_t at = 0; at < list.size();) {
    const size_t comma = std::min(list.find(',', at), list.size());
    if (list.compare(at, comma - at, wanted) == 0) return true;
    at = comma + 1;
  }
  return false;
}

absl::Status Validate(const Options& options) {
  LLMBENCH_RETURN_IF_ERROR(CheckList("dress", options.dress, kDresses));
  LLMBENCH_RETURN_IF_ERROR(CheckList("extras", options.extras, kExtras));
  if (options.port != 0 && options.port + options.replicas - 1 > 65535) {
    return absl::InvalidArgumentError("sim option 'port' is " + std::to_string(options.port) + " with " +
                                      std::to_string(options.replicas) +
                                      " replicas; their ports would pass 65535. Choose a lower port, or 0.");
  }
  if (options.tls_cert.empty() != options.tls_key.empty()) {
    return absl::InvalidArgumentError("sim options 'tls_cert' and 'tls_key' need each other; give both.");
  }
  if (!options.idle_close_ms.empty()) {
    std::pair<double, double> range;
    if (absl::Status status = ParseRange(options.idle_close_ms, &range); !status.ok()) {
      return absl::InvalidArgumentError("sim option 'idle_close_ms': " + std::string(status.message()));
    }
  }
  return absl::OkStatus();
}

}  // namespace llmbench::sim
