#include "llmbench/wire/openai_decoder.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include "llmbench/wire/escape.h"
#include "llmbench/wire/event_shapes.h"
#include "llmbench/wire/guess_format.h"
#include "llmbench/wire/json_scratch.h"
#include "llmbench/wire/json_string.h"
#include "llmbench/wire/json_token.h"
#include "llmbench/wire/server_error.h"

namespace llmbench::wire {
namespace {

namespace ondemand = simdjson::ondemand;
using simdjson::error_code;
using simdjson::SUCCESS;

// `key` points behind its opening quote; what follows the document may be read.
template <size_t N>
bool Is(const char* key, const char (&name)[N]) {
  return std::memcmp(key, name, N - 1) == 0 && key[N - 1] == '"';
}

// First character of a value: its type.
char Type(ondemand::value& value) { return value.raw_json_token()[0]; }

template <typename Fn>
error_code ForEachMember(ondemand::object object, Fn&& fn) {
  for (auto member : object) {
    ondemand::field field;
    if (const auto error = std::move(member).get(field)) return error;
    if (const auto error = fn(field.key().raw(), field.value())) return error;
  }
  return SUCCESS;
}

// One document's walk: what it said, and where it did not have the shape it should.
template <bool kChat>
class Walk {
 public:
  explicit Walk(Answer& answer) : answer_(answer) {}

  error_code Root(ondemand::document& document) {
    ondemand::json_type type;
    if (const auto error = document.type().get(type)) return error;
    if (type != ondemand::json_type::object) return WrongRoot();
    ondemand::object object;
    if (const auto error = document.get_object().get(object)) return error;
    const auto error = ForEachMember(object, [this](const char* key, ondemand::value value) -> error_code {
      switch (*key) {
        case 'c':
          if (Is(key, "choices")) return Choices(value);
          if (Is(key, "created")) NoteNumber(value);
          return SUCCESS;
        case 'i':
          if (Is(key, "id")) NoteString(value);
          return SUCCESS;
        case 'u':
          return Is(key, "usage") ? Usage(value) : SUCCESS;
        case 'e':
          if (Is(key, "error")) server_error |= Type(value) != 'n';
          return SUCCESS;
        case 'o':
          if (Is(key, "object")) server_error |= value.raw_json_token().starts_with("\"error\"");
          if (Is(key, "obfuscation")) NoteString(value);
          return SUCCESS;
        default:
          return SUCCESS;
      }
    });
    if (error) return error;
    return document.current_location().error() == simdjson::OUT_OF_BOUNDS ? SUCCESS : simdjson::TAPE_ERROR;
  }

  OpenAiEvent event;
  EventShapes::Values values;  // what may be other values in an event of this shape
  bool server_error = false;
  bool lone_surrogate = false;
  std::string wrong;  // the path and what is wrong there; "" while the shape is right

 private:
  error_code Wrong(std::string path, const std::string& what) {
    wrong = std::move(path) + ": " + what;
    return simdjson::INCORRECT_TYPE;
  }
  error_code WrongType(std::string path, const char* expected, char type) {
    return Wrong(std::move(path), std::string("expected ") + expected + ", got " + TypeName(type));
  }
  error_code WrongRoot() { return Wrong("the event", "expected an object"); }
  std::string ChoicePath(const char* rest = "") const {
    return "choices[" + std::to_string(event.choices) + "]" + rest;
  }

  void Output(EventKind found) {
    // Answer text outranks a tool call, which outranks reasoning.
    EventKind& kind = event.kind;
    if (kind == EventKind::kNone || found == EventKind::kAnswer || kind == EventKind::kReasoning)
      kind = found;
  }

  // Values of no consequence that differ from event to event.
  void NoteString(ondemand::value value) {
    const std::string_view token = value.raw_json_token();
    if (token[0] == '"') Note(Inside(token), EventShapes::Value::Kind::kString);
  }
  void NoteNumber(ondemand::value value) {
    const std::string_view token = value.raw_json_token();
    const std::string_view digits =
        token.substr(0, std::min(token.find_first_not_of("0123456789"), token.size()));
    if (!digits.empty()) Note(digits, EventShapes::Value::Kind::kNumber);
  }
  void Note(std::string_view bytes, EventShapes::Value::Kind kind,
            OpenAiEvent::Count count = OpenAiEvent::kCounts, bool text = false) {
    values.Add({bytes.data(), static_cast<uint32_t>(bytes.size()), kind, count, text});
  }

  error_code Choices(ondemand::value value) {
    if (Type(value) == 'n') {
      event.choices_null = true;
      return SUCCESS;
    }
    if (Type(value) != '[') return WrongType("choices", "an array", Type(value));
    event.has_choices = true;
    ondemand::array array;
    if (const auto error = value.get_array().get(array)) return error;
    for (auto item : array) {
      ondemand::value choice;
      if (const auto error = std::move(item).get(choice)) return error;
      if (Type(choice) != '{') return WrongType(ChoicePath(), "an object", Type(choice));
      if (const auto error = Choice(choice)) return error;
      ++event.choices;
    }
    return SUCCESS;
  }

  error_code Choice(ondemand::value choice) {
    ondemand::object object;
    if (const auto error = choice.get_object().get(object)) return error;
    bool has_text = false, has_message = false;
    const auto error = ForEachMember(object, [&](const char* key, ondemand::value value) -> error_code {
      switch (*key) {
        case 't':
          if (Is(key, "text")) {
            has_text = true;
            return kChat ? SUCCESS : Text(value, "text", EventKind::kAnswer);
          }
          return Is(key, "token_ids") ? TokenIds(value) : SUCCESS;
        case 'd':
          if (!Is(key, "delta")) return SUCCESS;
          has_message = true;
          return kChat ? Message(value, "delta") : SUCCESS;
        case 'm':
          if (!Is(key, "message")) return SUCCESS;
          has_message = true;
          return kChat ? Message(value, "message") : SUCCESS;
        case 'f':
          return Is(key, "finish_reason") ? FinishReason(value) : SUCCESS;
        case 'i':
          if (Is(key, "index")) event.several |= value.raw_json_token()[0] != '0';
          return SUCCESS;
        default:
          return SUCCESS;
      }
    });
    if (error) return error;
    if (kChat && has_text && !has_message) {
      return Wrong(ChoicePath(".delta"),
                   "missing; with text beside it this is a completions answer, not a chat one");
    }
    if (!kChat && has_message && !has_text) {
      return Wrong(ChoicePath(".text"), "missing; this is a chat answer, not a completions one");
    }
    return SUCCESS;
  }

  error_code Message(ondemand::value value, const char* name) {
    if (Type(value) == 'n') return SUCCESS;
    if (Type(value) != '{') return WrongType(ChoicePath(".") + name, "an object", Type(value));
    ondemand::object object;
    if (const auto error = value.get_object().get(object)) return error;
    return ForEachMember(object, [&](const char* key, ondemand::value field) -> error_code {
      switch (*key) {
        case 'c':
          return Is(key, "content") ? Text(field, "content", EventKind::kAnswer, name) : SUCCESS;
        case 'r':
          if (Is(key, "refusal")) return Text(field, "refusal", EventKind::kAnswer, name);
          if (Is(key, "reasoning_content") || Is(key, "reasoning")) {
            return Text(field, "reasoning", EventKind::kReasoning, name);
          }
          return SUCCESS;
        case 't':
          return Is(key, "tool_calls") ? ToolCalls(field) : SUCCESS;
        case 'f':
          return Is(key, "function_call") ? Function(field) : SUCCESS;
        default:
          return SUCCESS;
      }
    });
  }

  error_code Text(ondemand::value value, const char* name, EventKind text_kind,
                  const char* parent = nullptr) {
    const std::string_view token = value.raw_json_token();
    if (IsText(token)) {
      Output(text_kind);
      const std::string_view inside = Inside(token);
      const bool text = text_kind == EventKind::kAnswer;
      Note(inside, EventShapes::Value::Kind::kOutput, OpenAiEvent::kCounts, text);
      if (answer_.text == nullptr || !text) return SUCCESS;
      return AppendUnescaped(inside, *answer_.text, lone_surrogate) ? SUCCESS : simdjson::STRING_ERROR;
    }
    if (token[0] == 'n' || token[0] == '"') return SUCCESS;
    return WrongType(ChoicePath(".") + (parent != nullptr ? std::string(parent) + "." : std::string()) + name,
                     "a string", token[0]);
  }

  error_code ToolCalls(ondemand::value value) {
    if (Type(value) == 'n') return SUCCESS;
    if (Type(value) != '[') return WrongType(ChoicePath(".tool_calls"), "an array", Type(value));
    ondemand::array array;
    if (const auto error = value.get_array().get(array)) return error;
    for (auto item : array) {
      ondemand::value call;
      if (const auto error = std::move(item).get(call)) return error;
      if (Type(call) != '{') return WrongType(ChoicePath(".tool_calls"), "objects", Type(call));
      ondemand::object object;
      if (const auto error = call.get_object().get(object)) return error;
      if (const auto error =
              ForEachMember(object, [this](const char* key, ondemand::value field) -> error_code {
                return Is(key, "function") ? Function(field) : SUCCESS;
              })) {
        return error;
      }
    }
    return SUCCESS;
  }

  error_code Function(ondemand::value value) {
    if (Type(value) != '{') return SUCCESS;
    ondemand::object object;
    if (const auto error = value.get_object().get(object)) return error;
    return ForEachMember(object, [this](const char* key, ondemand::value field) -> error_code {
      // Some servers send whole arguments as an object instead of a string.
      if ((Is(key, "name") || Is(key, "arguments")) &&
          (IsText(field.raw_json_token()) || Type(field) == '{')) {
        Output(EventKind::kTool);
      }
      return SUCCESS;
    });
  }

  error_code FinishReason(ondemand::value value) {
    const std::string_view token = value.raw_json_token();
    if (!IsText(token)) {
      if (token[0] == 'n' || token[0] == '"') return SUCCESS;
      return WrongType(ChoicePath(".finish_reason"), "a string", token[0]);
    }
    event.finished = true;
    const std::string_view reason = Inside(token);
    const size_t size = std::min(reason.size(), sizeof event.finish_reason - 1);
    std::memcpy(event.finish_reason, reason.data(), size);
    std::memset(event.finish_reason + size, 0, sizeof event.finish_reason - size);
    std::memcpy(answer_.finish_reason, event.finish_reason, sizeof event.finish_reason);
    return SUCCESS;
  }

  error_code TokenIds(ondemand::value value) {
    if (Type(value) == 'n') return SUCCESS;
    if (Type(value) != '[') return WrongType(ChoicePath(".token_ids"), "an array", Type(value));
    ondemand::array array;
    if (const auto error = value.get_array().get(array)) return error;
    int32_t count = 0;
    for (auto item : array) {
      if (const auto error = item.error()) return error;
      ++count;
    }
    event.token_ids = std::max(event.token_ids, 0) + count;
    return SUCCESS;
  }

  error_code Usage(ondemand::value value) {
    if (Type(value) == 'n') return SUCCESS;
    if (Type(value) != '{') return WrongType("usage", "an object", Type(value));
    event.has_usage = true;
    ondemand::object object;
    if (const auto error = value.get_object().get(object)) return error;
    return ForEachMember(object, [this](const char* key, ondemand::value field) -> error_code {
      if (Is(key, "prompt_tokens")) return Count(field, "usage.prompt_tokens", OpenAiEvent::kPrompt);
      if (Is(key, "completion_tokens")) return Count(field, "usage.completion_tokens", OpenAiEvent::kOutput);
      if (Is(key, "reasoning_tokens")) return Count(field, "usage.reasoning_tokens", OpenAiEvent::kReasoning);
      if (Is(key, "prompt_tokens_details")) return Details(field, OpenAiEvent::kCached);
      if (Is(key, "completion_tokens_details")) return Details(field, OpenAiEvent::kReasoning);
      if (Is(key, "total_tokens")) NoteNumber(field);
      return SUCCESS;
    });
  }

  error_code Details(ondemand::value value, OpenAiEvent::Count count) {
    if (Type(value) != '{') return SUCCESS;
    ondemand::object object;
    if (const auto error = value.get_object().get(object)) return error;
    return ForEachMember(object, [&](const char* key, ondemand::value field) -> error_code {
      if (count == OpenAiEvent::kCached && Is(key, "cached_tokens"))
        return Count(field, "usage.cached_tokens", count);
      if (count == OpenAiEvent::kReasoning && Is(key, "reasoning_tokens")) {
        return Count(field, "usage.reasoning_tokens", count);
      }
      return SUCCESS;
    });
  }

  error_code Count(ondemand::value value, const char* path, OpenAiEvent::Count count) {
    if (Type(value) == 'n') return SUCCESS;
    const std::string_view token = value.raw_json_token();
    const size_t digits = std::min(token.find_first_not_of("0123456789"), token.size());
    const bool plain = digits == token.size() || token[digits] == ',' || token[digits] == '}';
    if (plain) Note(token.substr(0, digits), EventShapes::Value::Kind::kCount, count);
    int64_t whole = 0;
    if (value.get_int64().get(whole) != SUCCESS) {
      double number = 0;
      if (value.get_double().get(number) != SUCCESS) return WrongType(path, "a number", Type(value));
      whole = static_cast<int64_t>(std::clamp(number, -1.0, 2e9));
    }
    event.counts[count] =
        static_cast<int32_t>(std::clamp<int64_t>(whole, -1, std::numeric_limits<int32_t>::max()));
    return SUCCESS;
  }

  Answer& answer_;
};

template <bool kChat>
class OpenAiDecoder final : public StreamDecoder {
 public:
  explicit OpenAiDecoder(std::shared_ptr<JsonScratch> scratch)
      : scratch_(std::move(scratch)), shapes_(kChat ? scratch_->chat_shapes : scratch_->completions_shapes) {}

  void Reset(std::string_view) override {
    counted_ = 0;
    continuous_ = true;
  }

  StreamEvent Decode(std::string_view payload, Answer& answer) override {
    payload = TrimSpace(payload);
    if (payload.empty()) return {};
    if (answer.done) {
      answer.done_order = true;
      return {};
    }
    if (payload == kDone) {
      answer.done = true;
      return {};
    }
    const size_t text_size = answer.text != nullptr ? answer.text->size() : 0;
    EventShapes::Values values;
    if (const OpenAiEvent* event = shapes_.Match(payload, values);
        event != nullptr && KeepText(values, answer)) {
      if (event->finished) {
        std::memcpy(answer.finish_reason, event->finish_reason, sizeof answer.finish_reason);
      }
      Keep(*event, answer);
      return Conclude(*event);
    }
    if (answer.text != nullptr) answer.text->resize(text_size);
    Walk<kChat> walk(answer);
    if (!Run(payload, walk, answer)) {
      if (answer.text != nullptr) answer.text->resize(text_size);
      return {};
    }
    const OpenAiEvent& event = walk.event;
    if (!event.has_choices && !event.has_usage) {
      Fail(payload, event.choices_null ? "choices: null, and no usage" : "choices: missing, and no usage",
           answer);
      return {};
    }
    if (walk.lone_surrogate) answer.lone_surrogate = true;
    shapes_.Learn(payload, event, walk.values);
    Keep(event, answer);
    return Conclude(event);
  }

  void DecodeError(std::string_view payload, Answer& answer) override {
    FailWithServerError(*scratch_, payload, answer);
  }

  bool IsWhole(std::string_view payload) override {
    payload = TrimSpace(payload);
    return payload == kDone || scratch_->IsWhole(payload);
  }

  StreamEvent DecodeDocument(std::string_view body, Answer& answer) override {
    body = TrimSpace(body);
    Walk<kChat> walk(answer);
    if (!Run(body, walk, answer)) {
      if (answer.text != nullptr) answer.text->clear();
      return {};
    }
    const OpenAiEvent& event = walk.event;
    if (event.choices == 0) {
      Fail(body,
           event.has_choices    ? "choices: empty"
           : event.choices_null ? "choices: null"
                                : "choices: missing",
           answer);
      return {};
    }
    if (walk.lone_surrogate) answer.lone_surrogate = true;
    Keep(event, answer);
    const int32_t tokens =
        event.token_ids > 0 ? event.token_ids : std::max(event.counts[OpenAiEvent::kOutput], 0);
    return {event.kind, static_cast<uint32_t>(tokens)};
  }

 private:
  static constexpr std::string_view kDone = "[DONE]";

  // Walks one document; false when it is no good or reports an error.
  bool Run(std::string_view json, Walk<kChat>& walk, Answer& answer) {
    ondemand::document document;
    auto error = scratch_->Iterate(json, document);
    if (!error) error = walk.Root(document);
    if (!error && !walk.server_error) return true;
    if (walk.server_error || !walk.wrong.empty()) return Fail(json, walk.wrong, answer);
    // Error texts are not always escaped.
    std::string start;
    for (const char c : json.substr(0, 16)) {
      if (c != ' ') start += c;
    }
    if (start.starts_with("{\"error\"")) return answer.Fail(WireError::kServerErrorEvent, json);
    const std::string where = ": " + Quote(json);
    if (error == simdjson::UTF8_ERROR)
      return answer.Fail(WireError::kSseJsonInvalid, "invalid UTF-8" + where);
    return answer.Fail(WireError::kBadEvent, simdjson::error_message(error) + where);
  }

  // An error the server reports wins over a shape that is wrong, and so does JSON that is none where the walk
  // did not look. A lone surrogate somewhere in it is neither.
  bool Fail(std::string_view json, const std::string& wrong, Answer& answer) {
    if (const std::string message = ServerErrorMessage(*scratch_, json); !message.empty()) {
      return answer.Fail(WireError::kServerErrorEvent, message);
    }
    if (wrong.empty()) return answer.Fail(WireError::kServerErrorEvent, json);
    simdjson::dom::element root;
    const error_code error = scratch_->Parse(json, root);
    if (error != SUCCESS && error != simdjson::STRING_ERROR) {
      return answer.Fail(WireError::kBadEvent, simdjson::error_message(error) + (": " + Quote(json)));
    }
    return answer.Fail(WireError::kSchema, wrong + ": " + Quote(json) +
                                               LooksLike(json, kChat ? "openai-chat" : "openai-completions"));
  }

  // The text of an event that was not parsed; false when it is no good, which parsing will tell.
  static bool KeepText(const EventShapes::Values& values, Answer& answer) {
    if (answer.text == nullptr) return true;
    bool lone_surrogate = false;
    for (const EventShapes::Value& value : values) {
      if (value.text && !AppendUnescaped(value.bytes(), *answer.text, lone_surrogate)) return false;
    }
    if (lone_surrogate) answer.lone_surrogate = true;
    return true;
  }

  static void Keep(const OpenAiEvent& event, Answer& answer) {
    if (event.token_ids >= 0) answer.token_ids = std::max(answer.token_ids, 0) + event.token_ids;
    if (!event.has_usage) return;
    auto keep = [&event](OpenAiEvent::Count count, int32_t& to) {
      if (event.counts[count] >= 0) to = event.counts[count];
    };
    keep(OpenAiEvent::kPrompt, answer.prompt_tokens);
    keep(OpenAiEvent::kOutput, answer.output_tokens);
    keep(OpenAiEvent::kCached, answer.cached_tokens);
    keep(OpenAiEvent::kReasoning, answer.reasoning_tokens);
  }

  // What the engine is told about an event of the stream.
  StreamEvent Conclude(const OpenAiEvent& event) {
    if (event.several) continuous_ = false;  // some servers then count each choice by itself
    const int32_t output_tokens = event.counts[OpenAiEvent::kOutput];
    StreamEvent told{event.kind, 0};
    if (event.token_ids > 0) {
      told.tokens = static_cast<uint32_t>(event.token_ids);
    } else if (output_tokens >= 0 && continuous_ && event.choices > 0 && output_tokens > counted_) {
      told.tokens = static_cast<uint32_t>(output_tokens - counted_);
    }
    if (output_tokens >= 0) {
      counted_ = output_tokens;
    } else if (event.kind != EventKind::kNone) {
      continuous_ = false;  // usage that comes later counts the whole answer, not one event
    }
    // A token of the finish chunk without text is the end of sequence: not output.
    if (event.kind == EventKind::kNone && event.finished) told.tokens = 0;
    return told;
  }

  const std::shared_ptr<JsonScratch> scratch_;
  EventShapes& shapes_;
  int32_t counted_ = 0;     // output tokens according to the last usage
  bool continuous_ = true;  // every event with output so far had usage
};

}  // namespace

std::unique_ptr<StreamDecoder> MakeOpenAiCompletionsDecoder(std::shared_ptr<JsonScratch> scratch) {
  return std::make_unique<OpenAiDecoder<false>>(std::move(scratch));
}

std::unique_ptr<StreamDecoder> MakeOpenAiChatDecoder(std::shared_ptr<JsonScratch> scratch) {
  return std::make_unique<OpenAiDecoder<true>>(std::move(scratch));
}

}  // namespace llmbench::wire
