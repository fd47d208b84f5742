#include "llmbench/sim/generation_request.h"

#include <simdjson.h>

#include <utility>

#include "llmbench/sim/json_text.h"
#include "llmbench/sim/toy_tokenizer.h"

namespace llmbench::sim {
namespace {

using simdjson::ondemand::json_type;
using simdjson::ondemand::object;
using simdjson::ondemand::value;

// A chat template's own tokens: around each message, and in front of the answer.
constexpr int64_t kTokensPerMessage = 4;
constexpr int64_t kTokensPerAnswer = 3;
constexpr uint32_t kTemplateId = kToyVocabulary;

ApiError NotJson() { return {Refusal::kSyntax, 400, "The request body is not valid JSON.", ""}; }

// Reads one body. simdjson reports an error wherever it meets one; the first ends the reading.
class Reader {
 public:
  Reader(const BodyRules& rules, bool want_ids, GenerationRequest* request)
      : rules_(rules), want_ids_(want_ids), request_(request) {}

  ApiError Read(simdjson::ondemand::document& document) {
    object root;
    if (const auto error = document.get_object().get(root); error != simdjson::SUCCESS) {
      return error == simdjson::INCORRECT_TYPE
                 ? ApiError{Refusal::kSyntax, 400, "The request body must be a JSON object.", ""}
                 : NotJson();
    }
    if (!ReadObject("", root)) return error_ ? error_ : NotJson();
    const char* behind;
    if (document.current_location().get(behind) == simdjson::SUCCESS) return NotJson();
    return Check();
  }

 private:
  bool Fail(Refusal why, std::string message, std::string_view param) {
    error_ = {why, 400, std::move(message), std::string(param)};
    return false;
  }

  bool WrongType(std::string_view field, const char* takes) {
    return Fail(Refusal::kType, "'" + std::string(field) + "' must be " + takes + ".", field);
  }

  // The fields of an object; `prefix` is the path to it, with a dot behind.
  bool ReadObject(const std::string& prefix, object& fields) {
    for (auto field : fields) {
      std::string_view key;
      value content;
      if (field.unescaped_key().get(key) != simdjson::SUCCESS ||
          field.value().get(content) != simdjson::SUCCESS) {
        return false;
      }
      if (!ReadField(prefix, key, content)) return false;
    }
    return true;
  }

  bool ReadField(const std::string& prefix, std::string_view key, value& content) {
    json_type type;
    if (content.type().get(type) != simdjson::SUCCESS) return false;
    bool known = false;
    for (const FieldRule& rule : rules_.fields) {
      std::string_view path = rule.path;
      if (path.substr(0, prefix.size()) != prefix) continue;
      path.remove_prefix(prefix.size());
      if (path == key) return type == json_type::null || ReadAs(rule.use, rule.path, content, type);
      if (path == "*") known = true;
      if (path.substr(0, key.size()) != key) continue;
      path.remove_prefix(key.size());
      if (path.substr(0, 1) != "." && path.substr(0, 3) != "[].") continue;
      if (type == json_type::null) return true;
      return path.front() == '.' ? ReadInner(prefix + std::string(key), content)
                                 : ReadInnerList(prefix + std::string(key), content);
    }
    if (known || !rules_.refuses_unknown) return true;
    return Fail(Refusal::kUnknownField, "Unknown field '" + prefix + std::string(key) + "'.",
                prefix + std::string(key));
  }

  bool ReadInner(const std::string& path, value& content) {
    object inner;
    if (content.get_object().get(inner) != simdjson::SUCCESS) return WrongType(path, "an object");
    if (path == "stream_options") has_stream_options_ = true;
    return ReadObject(path + ".", inner);
  }

  bool ReadInnerList(const std::string& path, value& content) {
    simdjson::ondemand::array list;
    if (content.get_array().get(list) != simdjson::SUCCESS) return WrongType(path, "a list of objects");
    for (auto element : list) {
      object inner;
      if (element.get_object().get(inner) != simdjson::SUCCESS) return WrongType(path, "a list of objects");
      if (!ReadObject(path + "[].", inner)) return false;
    }
    return true;
  }

  bool ReadAs(FieldUse use, std::string_view field, value& content, json_type type) {
    switch (use) {
      case FieldUse::kIgnored:
        return true;
      case FieldUse::kPrompt:
        return ReadPrompt(field, content, type);
      case FieldUse::kText:
        has_prompt_ = true;
        if (type != json_type::string) return WrongType(field, "a string");
        return ReadTextPrompt(content);
      case FieldUse::kTexts:
        return ReadTexts(field, content, type);
      case FieldUse::kTokenIds:
        return ReadTokenIds(field, content);
      case FieldUse::kMessages:
        return ReadMessages(field, content, type);
      case FieldUse::kInput:
        if (type != json_type::string) return ReadMessages(field, content, type);
        return ReadConversationText(content);
      case FieldUse::kInstructions:
        return ReadInstructions(content);
      case FieldUse::kModel:
        return ReadString(field, content, &request_->model);
      case FieldUse::kId:
        return ReadString(field, content, &request_->id);
      case FieldUse::kStream:
        return ReadBool(field, content, &request_->stream);
      case FieldUse::kMaxTokensFirst:
        has_max_tokens_first_ = true;
        return ReadInt(field, content, 1, &request_->max_tokens);
      case FieldUse::kMaxTokens: {
        int64_t ignored;
        return ReadInt(field, content, 1, has_max_tokens_first_ ? &ignored : &request_->max_tokens);
      }
      case FieldUse::kMaxTokensOrForever: {
        if (content.get_int64().get(request_->max_tokens) != simdjson::SUCCESS)
          return WrongType(field, "a whole number");
        if (request_->max_tokens < 0) request_->max_tokens = -1;
        return true;
      }
      case FieldUse::kMaxLength:
        return ReadInt(field, content, 1, &request_->max_length);
      case FieldUse::kMinTokens:
        return ReadInt(field, content, 0, &request_->min_tokens);
      case FieldUse::kIgnoreEos:
        return ReadBool(field, content, &request_->ignore_eos);
      case FieldUse::kChoices: {
        int64_t n = 1;
        if (!ReadInt(field, content, 1, &n)) return false;
        if (n > 1024) {
          return Fail(Refusal::kValue,
                      std::string(field) + " must be at most 1024, got " + std::to_string(n) + ".", field);
        }
        request_->n = static_cast<int>(n);
        return true;
      }
      case FieldUse::kIncludeUsage:
        return ReadBool(field, content, &request_->include_usage);
      case FieldUse::kContinuousUsage:
        return ReadBool(field, content, &request_->continuous_usage);
      case FieldUse::kReturnTokenIds:
        return ReadBool(field, content, &request_->return_token_ids);
      case FieldUse::kDetails:
        return ReadBool(field, content, &request_->details);
      case FieldUse::kEcho:
        return ReadBool(field, content, &request_->echo);
      case FieldUse::kLogProbs:
        return ReadBool(field, content, &request_->log_probs);
      case FieldUse::kEndId: {
        int64_t id;
        if (content.get_int64().get(id) != simdjson::SUCCESS) return WrongType(field, "a whole number");
        if (id < 0) request_->ignore_eos = true;
        return true;
      }
      case FieldUse::kOpenUnit: {
        double number;
        if (content.get_double().get(number) != simdjson::SUCCESS) return WrongType(field, "a number");
        if (number > 0 && number < 1) return true;
        return Fail(Refusal::kValue, "`" + Last(field) + "` must be > 0.0 and < 1.0", field);
      }
      case FieldUse::kLabels:
        return ReadLabels(field, content);
      case FieldUse::kEightLevels: {
        std::string text;
        if (!ReadString(field, content, &text)) return false;
        request_->eight_levels = text == "EightSeverityLevels";
        return true;
      }
    }
    return true;
  }

  static std::string Last(std::string_view path) { return std::string(path.substr(path.rfind('.') + 1)); }

  bool ReadLabels(std::string_view field, value& content) {
    simdjson::ondemand::array list;
    if (content.get_array().get(list) != simdjson::SUCCESS) return WrongType(field, "a list of strings");
    for (auto element : list) {
      std::string_view text;
      if (element.get_string().get(text) != simdjson::SUCCESS) return WrongType(field, "a list of strings");
      request_->labels.emplace_back(text);
    }
    return true;
  }

  bool ReadString(std::string_view field, value& content, std::string* out) {
    std::string_view text;
    if (content.get_string().get(text) != simdjson::SUCCESS) return WrongType(field, "a string");
    *out = text;
    return true;
  }

  bool ReadBool(std::string_view field, value& content, bool* out) {
    if (content.get_bool().get(*out) != simdjson::SUCCESS) return WrongType(field, "true or false");
    return true;
  }

  bool ReadInt(std::string_view field, value& content, int64_t low, int64_t* out) {
    if (content.get_int64().get(*out) != simdjson::SUCCESS) return WrongType(field, "a whole number");
    if (*out < low) {
      return Fail(Refusal::kValue,
                  std::string(field) + " must be at least " + std::to_string(low) + ", got " +
                      std::to_string(*out) + ".",
                  field);
    }
    return true;
  }

  void AddText(std::string_view text, Prompt* prompt) {
    prompt->tokens += want_ids_ ? Tokenize(text, &prompt->ids) : CountTokens(text);
    if (rules_.keeps_text) AppendJsonEscaped(text, &prompt->text);
  }

  void AddTemplate(int64_t tokens, Prompt* prompt) {
    prompt->tokens += tokens;
    if (want_ids_) prompt->ids.insert(prompt->ids.end(), static_cast<size_t>(tokens), kTemplateId);
  }

  // A string, a list of strings, a list of token ids or a list of such lists.
  bool ReadPrompt(std::string_view name, value& content, json_type type) {
    static constexpr const char* kTakes = "a string, a list of strings, or token ids";
    has_prompt_ = true;
    if (type == json_type::string) return ReadTextPrompt(content);
    simdjson::ondemand::array list;
    if (content.get_array().get(list) != simdjson::SUCCESS) return WrongType(name, kTakes);
    Prompt ids;
    for (auto element : list) {
      value item;
      if (element.get(item) != simdjson::SUCCESS || item.type().get(type) != simdjson::SUCCESS) return false;
      if (type == json_type::string) {
        if (!ReadTextPrompt(item)) return false;
      } else if (type == json_type::number) {
        if (!ReadId(item, &ids)) return WrongType(name, kTakes);
      } else if (type == json_type::array) {
        simdjson::ondemand::array inner;
        if (item.get_array().get(inner) != simdjson::SUCCESS) return false;
        Prompt prompt;
        for (auto id : inner) {
          value number;
          if (id.get(number) != simdjson::SUCCESS) return false;
          if (!ReadId(number, &prompt)) return WrongType(name, kTakes);
        }
        request_->prompts.push_back(std::move(prompt));
      } else {
        return WrongType(name, kTakes);
      }
    }
    if (ids.tokens > 0) request_->prompts.push_back(std::move(ids));
    return true;
  }

  bool ReadTextPrompt(value& content) {
    std::string_view text;
    if (content.get_string().get(text) != simdjson::SUCCESS) return false;
    Prompt& prompt = request_->prompts.emplace_back();
    AddText(text, &prompt);
    if (prompt.tokens == 0) AddTemplate(1, &prompt);  // as a tokenizer that marks the beginning would
    return true;
  }

  // A list of strings, or of messages that make one prompt.
  bool ReadTexts(std::string_view name, value& content, json_type type) {
    static constexpr const char* kTakes = "a list of strings";
    has_prompt_ = true;
    if (type != json_type::array) return WrongType(name, kTakes);
    simdjson::ondemand::array list;
    if (content.get_array().get(list) != simdjson::SUCCESS) return false;
    Prompt conversation;
    for (auto element : list) {
      value item;
      if (element.get(item) != simdjson::SUCCESS || item.type().get(type) != simdjson::SUCCESS) return false;
      if (type == json_type::string) {
        if (!ReadTextPrompt(item)) return false;
      } else if (type == json_type::object) {
        object message;
        if (item.get_object().get(message) != simdjson::SUCCESS || !ReadMessage(message, &conversation))
          return false;
      } else {
        return WrongType(name, kTakes);
      }
    }
    EndConversation(std::move(conversation));
    return true;
  }

  bool ReadTokenIds(std::string_view name, value& content) {
    has_prompt_ = true;
    simdjson::ondemand::array list;
    if (content.get_array().get(list) != simdjson::SUCCESS) return WrongType(name, "a list of token ids");
    Prompt prompt;
    for (auto element : list) {
      value item;
      if (element.get(item) != simdjson::SUCCESS) return false;
      if (!ReadId(item, &prompt)) return WrongType(name, "a list of token ids");
    }
    if (prompt.tokens > 0) request_->prompts.push_back(std::move(prompt));
    return true;
  }

  bool ReadId(value& content, Prompt* prompt) {
    uint64_t id;
    if (content.get_uint64().get(id) != simdjson::SUCCESS) return false;
    ++prompt->tokens;
    if (want_ids_) prompt->ids.push_back(static_cast<uint32_t>(id));
    return true;
  }

  // All messages make one prompt: their texts, and what the template puts around them.
  bool ReadMessages(std::string_view name, value& content, json_type type) {
    has_prompt_ = true;
    if (type != json_type::array) return WrongType(name, "a list of messages");
    simdjson::ondemand::array list;
    if (content.get_array().get(list) != simdjson::SUCCESS) return false;
    Prompt prompt;
    for (auto element : list) {
      object message;
      if (element.get_object().get(message) != simdjson::SUCCESS)
        return WrongType(name, "a list of objects with role and content");
      if (!ReadMessage(message, &prompt)) return false;
    }
    EndConversation(std::move(prompt));
    return true;
  }

  bool ReadMessage(object& message, Prompt* prompt) {
    for (auto field : message) {
      std::string_view key;
      value part;
      if (field.unescaped_key().get(key) != simdjson::SUCCESS ||
          field.value().get(part) != simdjson::SUCCESS) {
        return false;
      }
      if (key == "content" && !ReadContent(part, prompt)) return false;
    }
    AddTemplate(kTokensPerMessage, prompt);
    return true;
  }

  void EndConversation(Prompt conversation) {
    if (conversation.tokens == 0) return;
    AddTemplate(kTokensPerAnswer, &conversation);
    request_->prompts.push_back(std::move(conversation));
  }

  bool ReadConversationText(value& content) {
    has_prompt_ = true;
    Prompt prompt;
    if (!ReadContent(content, &prompt)) return false;
    AddTemplate(kTokensPerMessage, &prompt);
    EndConversation(std::move(prompt));
    return true;
  }

  bool ReadInstructions(value& content) {
    if (!ReadContent(content, &instructions_)) return false;
    AddTemplate(kTokensPerMessage, &instructions_);
    return true;
  }

  // A string, null, or a list of parts of which those with a text count.
  bool ReadContent(value& content, Prompt* prompt) {
    json_type type;
    if (content.type().get(type) != simdjson::SUCCESS) return false;
    if (type == json_type::string) {
      std::string_view text;
      if (content.get_string().get(text) != simdjson::SUCCESS) return false;
      AddText(text, prompt);
    } else if (type == json_type::array) {
      simdjson::ondemand::array parts;
      if (content.get_array().get(parts) != simdjson::SUCCESS) return false;
      for (auto element : parts) {
        object part;
        if (element.get_object().get(part) != simdjson::SUCCESS)
          return WrongType("content", "a string or a list of parts");
        for (auto field : part) {
          std::string_view key;
          std::string_view text;
          if (field.unescaped_key().get(key) != simdjson::SUCCESS) return false;
          if (key == "text" && field.value().get_string().get(text) == simdjson::SUCCESS)
            AddText(text, prompt);
        }
      }
    }
    return true;
  }

  ApiError Check() {
    const std::string name(rules_.prompt_field);
    if (request_->prompts.empty()) {
      if (!has_prompt_) return {Refusal::kMissing, 400, "Field required: '" + name + "'.", name};
      return {Refusal::kValue, 400, "'" + name + "' must not be empty.", name};
    }
    if (rules_.needs_max_tokens && request_->max_tokens < 0)
      return {Refusal::kMissing, 400, "Field required: 'max_tokens'.", "max_tokens"};
    if (rules_.needs_model && request_->model.empty())
      return {Refusal::kMissing, 400, "Field required: 'model'.", "model"};
    if (instructions_.tokens > 0) {
      Prompt& prompt = request_->prompts.front();
      prompt.tokens += instructions_.tokens;
      prompt.ids.insert(prompt.ids.begin(), instructions_.ids.begin(), instructions_.ids.end());
      prompt.text.insert(0, instructions_.text);
    }
    if (has_stream_options_ && !request_->stream) {
      return {Refusal::kValue, 400, "Stream options can only be defined when `stream=True`.",
              "stream_options"};
    }
    if (request_->max_tokens >= 0 && request_->min_tokens > request_->max_tokens) {
      return {Refusal::kValue, 400,
              "min_tokens must be less than or equal to max_tokens=" + std::to_string(request_->max_tokens) +
                  ", got " + std::to_string(request_->min_tokens) + ".",
              "min_tokens"};
    }
    return {};
  }

  const BodyRules& rules_;
  const bool want_ids_;
  GenerationRequest* const request_;
  Prompt instructions_;
  ApiError error_;
  bool has_prompt_ = false;
  bool has_stream_options_ = false;
  bool has_max_tokens_first_ = false;
};

}  // namespace

const size_t GenerationRequestParser::kPadding = simdjson::SIMDJSON_PADDING;

struct GenerationRequestParser::Impl {
  simdjson::ondemand::parser parser;
};

GenerationRequestParser::GenerationRequestParser() : impl_(std::make_unique<Impl>()) {}
GenerationRequestParser::~GenerationRequestParser() = default;

ApiError GenerationRequestParser::Parse(const char* body, size_t size, const BodyRules& rules, bool want_ids,
                                        GenerationRequest* request) {
  // `return_token_ids` may stand behind the prompt: whether to keep the ids must be known before.
  if (!want_ids)
    want_ids = std::string_view(body, size).find("\"return_token_ids\"") != std::string_view::npos;
  *request = GenerationRequest();
  request->stream = rules.streams_by_default;
  simdjson::ondemand::document document;
  if (impl_->parser.iterate(body, size, size + kPadding).get(document) != simdjson::SUCCESS) return NotJson();
  return Reader(rules, want_ids, request).Read(document);
}

}  // namespace llmbench::sim
