#include "llmbench/sim/generation_request.h"

#include <simdjson.h>

#include <string_view>
#include <utility>

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

ApiError BadRequest(std::string message, std::string param = "") {
  return {400, "BadRequestError", std::move(message), std::move(param)};
}

ApiError WrongType(const char* field, const char* takes) {
  return BadRequest(std::string("'") + field + "' must be " + takes + ".", field);
}

// Reads one body. simdjson reports an error wherever it meets one; the first ends the reading.
class Reader {
 public:
  Reader(BodyKind kind, bool want_ids, GenerationRequest* request)
      : kind_(kind), want_ids_(want_ids), request_(request) {}

  ApiError Read(simdjson::ondemand::document& document) {
    object root;
    if (const auto error = document.get_object().get(root); error != simdjson::SUCCESS) {
      return error == simdjson::INCORRECT_TYPE ? BadRequest("The request body must be a JSON object.")
                                               : NotJson();
    }
    for (auto field : root) {
      std::string_view key;
      value content;
      if (field.unescaped_key().get(key) != simdjson::SUCCESS ||
          field.value().get(content) != simdjson::SUCCESS) {
        return NotJson();
      }
      if (!ReadField(key, content)) return error_.status != 0 ? error_ : NotJson();
    }
    const char* behind;
    if (document.current_location().get(behind) == simdjson::SUCCESS) return NotJson();
    return Check();
  }

 private:
  static ApiError NotJson() { return BadRequest("The request body is not valid JSON."); }

  bool ReadField(std::string_view key, value& content) {
    json_type type;
    if (content.type().get(type) != simdjson::SUCCESS) return false;
    if (type == json_type::null) return true;
    if (key == "prompt") return kind_ == BodyKind::kChat || ReadPrompt(content, type);
    if (key == "messages") return kind_ == BodyKind::kCompletion || ReadMessages(content, type);
    if (key == "model") return ReadModel(content);
    if (key == "stream") return ReadBool(content, "stream", &request_->stream);
    if (key == "stream_options") return ReadStreamOptions(content);
    if (key == "ignore_eos") return ReadBool(content, "ignore_eos", &request_->ignore_eos);
    if (key == "return_token_ids") return ReadBool(content, "return_token_ids", &request_->return_token_ids);
    // A chat request may bring both; the newer name wins, as in vLLM.
    if (key == "max_completion_tokens") {
      has_max_completion_tokens_ = true;
      return ReadInt(content, "max_completion_tokens", 1, &request_->max_tokens);
    }
    if (key == "max_tokens") {
      int64_t ignored;
      return ReadInt(content, "max_tokens", 1, has_max_completion_tokens_ ? &ignored : &request_->max_tokens);
    }
    if (key == "min_tokens") return ReadInt(content, "min_tokens", 0, &request_->min_tokens);
    if (key == "n") {
      int64_t n = 1;
      if (!ReadInt(content, "n", 1, &n)) return false;
      if (n > 1024) return Fail(BadRequest("n must be at most 1024, got " + std::to_string(n) + ".", "n"));
      request_->n = static_cast<int>(n);
      return true;
    }
    return true;  // unknown fields are accepted and ignored, as vLLM does
  }

  bool Fail(ApiError error) {
    error_ = std::move(error);
    return false;
  }

  bool ReadModel(value& content) {
    std::string_view text;
    if (content.get_string().get(text) != simdjson::SUCCESS) return Fail(WrongType("model", "a string"));
    request_->model = text;
    return true;
  }

  bool ReadBool(value& content, const char* field, bool* out) {
    if (content.get_bool().get(*out) != simdjson::SUCCESS) return Fail(WrongType(field, "true or false"));
    return true;
  }

  bool ReadInt(value& content, const char* field, int64_t low, int64_t* out) {
    if (content.get_int64().get(*out) != simdjson::SUCCESS) return Fail(WrongType(field, "a whole number"));
    if (*out < low) {
      return Fail(BadRequest(std::string(field) + " must be at least " + std::to_string(low) + ", got " +
                                 std::to_string(*out) + ".",
                             field));
    }
    return true;
  }

  bool ReadStreamOptions(value& content) {
    has_stream_options_ = true;
    object options;
    if (content.get_object().get(options) != simdjson::SUCCESS)
      return Fail(WrongType("stream_options", "an object"));
    for (auto field : options) {
      std::string_view key;
      value option;
      if (field.unescaped_key().get(key) != simdjson::SUCCESS ||
          field.value().get(option) != simdjson::SUCCESS) {
        return false;
      }
      if (key == "include_usage" && !ReadBool(option, "include_usage", &request_->include_usage))
        return false;
      if (key == "continuous_usage_stats" &&
          !ReadBool(option, "continuous_usage_stats", &request_->continuous_usage)) {
        return false;
      }
    }
    return true;
  }

  void AddText(std::string_view text, Prompt* prompt) {
    prompt->tokens += want_ids_ ? Tokenize(text, &prompt->ids) : CountTokens(text);
  }

  void AddTemplate(int64_t tokens, Prompt* prompt) {
    prompt->tokens += tokens;
    if (want_ids_) prompt->ids.insert(prompt->ids.end(), static_cast<size_t>(tokens), kTemplateId);
  }

  // A string, a list of strings, a list of token ids or a list of such lists.
  bool ReadPrompt(value& content, json_type type) {
    static constexpr const char* kTakes = "a string, a list of strings, or token ids";
    has_prompt_ = true;
    if (type == json_type::string) return ReadTextPrompt(content);
    simdjson::ondemand::array list;
    if (content.get_array().get(list) != simdjson::SUCCESS) return Fail(WrongType("prompt", kTakes));
    Prompt ids;
    for (auto element : list) {
      value item;
      if (element.get(item) != simdjson::SUCCESS || item.type().get(type) != simdjson::SUCCESS) return false;
      if (type == json_type::string) {
        if (!ReadTextPrompt(item)) return false;
      } else if (type == json_type::number) {
        if (!ReadId(item, &ids)) return Fail(WrongType("prompt", kTakes));
      } else if (type == json_type::array) {
        simdjson::ondemand::array inner;
        if (item.get_array().get(inner) != simdjson::SUCCESS) return false;
        Prompt prompt;
        for (auto id : inner) {
          value number;
          if (id.get(number) != simdjson::SUCCESS) return false;
          if (!ReadId(number, &prompt)) return Fail(WrongType("prompt", kTakes));
        }
        request_->prompts.push_back(std::move(prompt));
      } else {
        return Fail(WrongType("prompt", kTakes));
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

  bool ReadId(value& content, Prompt* prompt) {
    uint64_t id;
    if (content.get_uint64().get(id) != simdjson::SUCCESS) return false;
    ++prompt->tokens;
    if (want_ids_) prompt->ids.push_back(static_cast<uint32_t>(id));
    return true;
  }

  // All messages make one prompt: their roles and texts, and what the template puts around them.
  bool ReadMessages(value& content, json_type type) {
    has_prompt_ = true;
    if (type != json_type::array) return Fail(WrongType("messages", "a list of messages"));
    simdjson::ondemand::array list;
    if (content.get_array().get(list) != simdjson::SUCCESS) return false;
    Prompt prompt;
    for (auto element : list) {
      object message;
      if (element.get_object().get(message) != simdjson::SUCCESS) {
        return Fail(WrongType("messages", "a list of objects with role and content"));
      }
      for (auto field : message) {
        std::string_view key;
        value part;
        if (field.unescaped_key().get(key) != simdjson::SUCCESS ||
            field.value().get(part) != simdjson::SUCCESS) {
          return false;
        }
        if (key == "content" && !ReadContent(part, &prompt)) return false;
      }
      AddTemplate(kTokensPerMessage, &prompt);
    }
    if (prompt.tokens > 0) {
      AddTemplate(kTokensPerAnswer, &prompt);
      request_->prompts.push_back(std::move(prompt));
    }
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
        if (element.get_object().get(part) != simdjson::SUCCESS) {
          return Fail(WrongType("content", "a string or a list of parts"));
        }
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
    if (request_->prompts.empty()) {
      const char* field = kind_ == BodyKind::kChat ? "messages" : "prompt";
      if (!has_prompt_) return BadRequest(std::string("Field required: '") + field + "'.", field);
      return BadRequest(std::string("'") + field + "' must not be empty.", field);
    }
    if (has_stream_options_ && !request_->stream) {
      return BadRequest("Stream options can only be defined when `stream=True`.", "stream_options");
    }
    if (request_->max_tokens >= 0 && request_->min_tokens > request_->max_tokens) {
      return BadRequest(
          "min_tokens must be less than or equal to max_tokens=" + std::to_string(request_->max_tokens) +
              ", got " + std::to_string(request_->min_tokens) + ".",
          "min_tokens");
    }
    return {};
  }

  const BodyKind kind_;
  const bool want_ids_;
  GenerationRequest* const request_;
  ApiError error_;
  bool has_prompt_ = false;
  bool has_stream_options_ = false;
  bool has_max_completion_tokens_ = false;
};

}  // namespace

const size_t GenerationRequestParser::kPadding = simdjson::SIMDJSON_PADDING;

struct GenerationRequestParser::Impl {
  simdjson::ondemand::parser parser;
};

GenerationRequestParser::GenerationRequestParser() : impl_(std::make_unique<Impl>()) {}
GenerationRequestParser::~GenerationRequestParser() = default;

ApiError GenerationRequestParser::Parse(const char* body, size_t size, BodyKind kind, bool want_ids,
                                        GenerationRequest* request) {
  // `return_token_ids` may stand behind the prompt: whether to keep the ids must be known before.
  if (!want_ids)
    want_ids = std::string_view(body, size).find("\"return_token_ids\"") != std::string_view::npos;
  *request = GenerationRequest();
  request->chat = kind == BodyKind::kChat;
  simdjson::ondemand::document document;
  if (impl_->parser.iterate(body, size, size + kPadding).get(document) != simdjson::SUCCESS) {
    return BadRequest("The request body is not valid JSON.");
  }
  return Reader(kind, want_ids, request).Read(document);
}

}  // namespace llmbench::sim
