#include "llmbench/wire/wire_rules.h"

#include <simdjson.h>

#include <optional>
#include <utility>

#include "llmbench/base/return_if_error.h"
#include "llmbench/wire/escape.h"

namespace llmbench::wire {
namespace {

namespace dom = simdjson::dom;

template <typename Enum>
struct EnumName {
  const char* name;
  Enum value;
};
constexpr EnumName<StreamFraming> kFramings[] = {{"none", StreamFraming::kNone},
                                                 {"sse", StreamFraming::kSse},
                                                 {"ndjson", StreamFraming::kNdjson},
                                                 {"nul", StreamFraming::kNul},
                                                 {"json-documents", StreamFraming::kDocuments}};
constexpr EnumName<TextMode> kTextModes[] = {
    {"delta", TextMode::kDelta}, {"cumulative", TextMode::kCumulative}, {"auto", TextMode::kAuto}};
constexpr EnumName<CountMode> kCountModes[] = {{"final", CountMode::kFinal},
                                               {"cumulative", CountMode::kCumulative},
                                               {"per_chunk", CountMode::kPerChunk}};
constexpr const char* kFieldNames[kFields] = {"text",
                                              "reasoning",
                                              "tool",
                                              "finish_reason",
                                              "error",
                                              "prompt_tokens",
                                              "prompt_tokens_more",
                                              "output_tokens",
                                              "cached_tokens",
                                              "reasoning_tokens",
                                              "token_ids",
                                              "index"};

absl::Status Wrong(std::string_view rule, const std::string& what) {
  return absl::InvalidArgumentError("wire rule " + std::string(rule) + " " + what);
}

absl::Status WrongValue(std::string_view rule, dom::element value, const std::string& expected) {
  return Wrong(rule, "is " + OneLine(simdjson::minify(value), 80) + "; it must be " + expected);
}

template <typename Enum, size_t N>
absl::Status ParseEnum(std::string_view rule, dom::element value, const EnumName<Enum> (&names)[N],
                       Enum& out) {
  std::string known;
  std::string_view text;
  if (!value.get(text)) {
    for (const auto& [name, meaning] : names) {
      if (text != name) continue;
      out = meaning;
      return absl::OkStatus();
    }
  }
  for (const auto& entry : names) known += (known.empty() ? "" : ", ") + std::string(entry.name);
  return WrongValue(rule, value, "one of " + known);
}

absl::Status ParseBool(std::string_view rule, dom::element value, bool& out) {
  return value.get(out) ? WrongValue(rule, value, "true or false") : absl::OkStatus();
}

absl::Status ParsePointer(std::string_view rule, std::string_view pointer, std::string& out) {
  if (pointer.empty() || pointer[0] != '/') {
    return Wrong(rule, "has the pointer " + Quote(pointer) + "; it must begin with /, as in /choices/0/text");
  }
  for (size_t at = 0; (at = pointer.find('~', at)) != std::string_view::npos; ++at) {
    if (at + 1 == pointer.size() || (pointer[at + 1] != '0' && pointer[at + 1] != '1')) {
      return Wrong(rule,
                   "has the pointer " + Quote(pointer) + "; in a pointer ~ is written ~0 and / in a key ~1");
    }
  }
  out = pointer;
  return absl::OkStatus();
}

bool IsScalar(dom::element value) { return !value.is_object() && !value.is_array(); }

// {"/type": "delta", "/n": [1, 2]} or "/error", which is to be there.
absl::Status ParseConditions(std::string_view rule, dom::element value, Conditions& out) {
  std::string_view pointer;
  if (!value.get(pointer)) {
    out.emplace_back();
    return ParsePointer(rule, pointer, out.back().pointer);
  }
  dom::object object;
  if (value.get(object) || object.size() == 0) {
    return WrongValue(rule, value, "a pointer or an object of pointers and values");
  }
  for (const auto [key, expected] : object) {
    Condition condition;
    LLMBENCH_RETURN_IF_ERROR(ParsePointer(rule, key, condition.pointer));
    dom::array several;
    if (!expected.get(several)) {
      for (const dom::element one : several) {
        if (!IsScalar(one)) return WrongValue(rule, one, "a string, number, true, false or null");
        condition.values.push_back(simdjson::minify(one));
      }
      if (condition.values.empty()) return WrongValue(rule, expected, "a value or a list of values");
    } else if (IsScalar(expected)) {
      condition.values.push_back(simdjson::minify(expected));
    } else {
      return WrongValue(rule, expected, "a value or a list of values");
    }
    out.push_back(std::move(condition));
  }
  return absl::OkStatus();
}

absl::Status ParsePlace(std::string_view rule, dom::element value, FieldRule& out) {
  std::string_view pointer;
  if (!value.get(pointer)) return ParsePointer(rule, pointer, out.pointer);
  dom::object object;
  if (value.get(object)) return WrongValue(rule, value, "a pointer or {\"pointer\": …, \"when\": …}");
  for (const auto [key, member] : object) {
    if (key == "pointer" && !member.get(pointer)) {
      LLMBENCH_RETURN_IF_ERROR(ParsePointer(rule, pointer, out.pointer));
    } else if (key == "when") {
      LLMBENCH_RETURN_IF_ERROR(ParseConditions(std::string(rule) + ".when", member, out.when));
    } else {
      return WrongValue(rule, value, "a pointer or {\"pointer\": …, \"when\": …}");
    }
  }
  return out.pointer.empty() ? Wrong(rule, "has no pointer") : absl::OkStatus();
}

// One place, a list of them in order of preference, or null for none.
absl::Status ParsePlaces(std::string_view rule, dom::element value, std::vector<FieldRule>& out) {
  out.clear();
  if (value.is_null()) return absl::OkStatus();
  dom::array several;
  if (value.get(several)) {
    out.emplace_back();
    return ParsePlace(rule, value, out.back());
  }
  for (const dom::element one : several) {
    out.emplace_back();
    LLMBENCH_RETURN_IF_ERROR(ParsePlace(rule, one, out.back()));
  }
  return absl::OkStatus();
}

template <typename Fn>
absl::Status ForOneOrEach(dom::element value, Fn&& fn) {
  dom::array several;
  if (value.is_null()) return absl::OkStatus();
  if (value.get(several)) return fn(value);
  for (const dom::element one : several) LLMBENCH_RETURN_IF_ERROR(fn(one));
  return absl::OkStatus();
}

std::optional<size_t> FieldIndex(std::string_view name) {
  for (size_t i = 0; i < kFields; ++i) {
    if (name == kFieldNames[i]) return i;
  }
  return std::nullopt;
}

// Whether the key is one of a shape's own.
absl::StatusOr<bool> ParseFieldRule(std::string_view rule, std::string_view key, dom::element value,
                                    FieldRules& out) {
  if (key == "expect") {
    LLMBENCH_RETURN_IF_ERROR(ParsePlaces(rule, value, out.expect));
    return true;
  }
  const auto field = FieldIndex(key);
  if (!field) return false;
  LLMBENCH_RETURN_IF_ERROR(ParsePlaces(rule, value, out.places[*field]));
  return true;
}

absl::Status ParseDone(dom::element value, WireRules& rules) {
  rules.done_payloads.clear();
  rules.done_if.clear();
  rules.done_at_end = false;
  return ForOneOrEach(value, [&](dom::element one) -> absl::Status {
    std::string_view text;
    if (!one.get(text)) {
      if (text.empty())
        return WrongValue("done", one, "a payload, \"eof\", or an object of pointers and values");
      if (text == "eof") {
        rules.done_at_end = true;
      } else if (text[0] == '/') {
        rules.done_if.emplace_back();
        return ParseConditions("done", one, rules.done_if.back());
      } else {
        rules.done_payloads.emplace_back(text);
      }
      return absl::OkStatus();
    }
    rules.done_if.emplace_back();
    return ParseConditions("done", one, rules.done_if.back());
  });
}

std::string KnownRules() {
  std::string known =
      "framing, always_streams, text_mode, count_mode, strip_prompt, strip_until, skip_if, done, document, "
      "expect";
  for (const char* name : kFieldNames) known += std::string(", ") + name;
  return known;
}

absl::Status ParseRule(std::string_view key, dom::element value, WireRules& rules) {
  if (key == "framing") return ParseEnum(key, value, kFramings, rules.framing);
  if (key == "text_mode") return ParseEnum(key, value, kTextModes, rules.text_mode);
  if (key == "count_mode") return ParseEnum(key, value, kCountModes, rules.count_mode);
  if (key == "always_streams") return ParseBool(key, value, rules.always_streams);
  if (key == "strip_prompt") return ParseBool(key, value, rules.strip_prompt);
  if (key == "done") return ParseDone(value, rules);
  if (key == "strip_until") {
    std::string_view text;
    if (value.get(text)) return WrongValue(key, value, "a string");
    rules.strip_until = text;
    return absl::OkStatus();
  }
  if (key == "skip_if") {
    rules.skip_if.clear();
    return ForOneOrEach(value, [&](dom::element one) {
      rules.skip_if.emplace_back();
      return ParseConditions("skip_if", one, rules.skip_if.back());
    });
  }
  return Wrong(key, "is unknown; known are " + KnownRules());
}

}  // namespace

std::string_view FramingName(StreamFraming framing) {
  if (framing == StreamFraming::kGrpc) return "grpc";
  for (const auto& [name, value] : kFramings) {
    if (value == framing) return name;
  }
  return "";
}

absl::StatusOr<WireRules> ParseWireRules(std::string_view json, WireRules rules) {
  dom::parser parser;
  dom::element root;
  dom::object object;
  if (const auto error = parser.parse(simdjson::padded_string(json)).get(root)) {
    return absl::InvalidArgumentError(std::string("wire rules are no JSON: ") +
                                      simdjson::error_message(error));
  }
  if (root.get(object)) return absl::InvalidArgumentError("wire rules must be a JSON object");
  dom::element of_document;
  const bool has_document = !object["document"].get(of_document);
  for (const auto [key, value] : object) {
    if (key == "document") continue;
    const absl::StatusOr<bool> parsed = ParseFieldRule(key, key, value, rules.event);
    LLMBENCH_RETURN_IF_ERROR(parsed.status());
    if (*parsed) {
      // A document looks like an event unless something else is said of it.
      if (const auto field = FieldIndex(key)) rules.document.places[*field] = rules.event.places[*field];
    } else {
      LLMBENCH_RETURN_IF_ERROR(ParseRule(key, value, rules));
    }
  }
  if (has_document) {
    if (of_document.get(object)) return WrongValue("document", of_document, "an object of rules");
    for (const auto [key, value] : object) {
      const std::string rule = "document." + std::string(key);
      const absl::StatusOr<bool> parsed = ParseFieldRule(rule, key, value, rules.document);
      LLMBENCH_RETURN_IF_ERROR(parsed.status());
      if (!*parsed)
        return Wrong(rule, "is unknown; a document has the rules of an event's fields and expect");
    }
  }
  return rules;
}

}  // namespace llmbench::wire
