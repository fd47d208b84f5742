// The body of POST /v1/completions, /v1/chat/completions and /tokenize, understood.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace llmbench::sim {

// What a request that cannot be served is answered with, in vLLM's words.
struct ApiError {
  int status = 0;  // 0: no error
  std::string type;
  std::string message;
  std::string param;  // empty: null
};

struct Prompt {
  int64_t tokens = 0;
  std::vector<uint32_t> ids;  // only when asked for
};

struct GenerationRequest {
  bool chat = false;
  bool stream = false;
  bool include_usage = false;
  bool continuous_usage = false;
  bool return_token_ids = false;
  bool ignore_eos = false;
  int64_t max_tokens = -1;  // -1: not named
  int64_t min_tokens = 0;
  int n = 1;
  std::string model;  // empty: not named
  std::vector<Prompt> prompts;

  size_t choices() const { return prompts.size() * static_cast<size_t>(n); }
  int64_t prompt_tokens() const {
    int64_t sum = 0;
    for (const Prompt& prompt : prompts) sum += prompt.tokens;
    return sum;
  }
};

enum class BodyKind { kCompletion, kChat, kTokenize };

// Parses bodies one after another; owns the parser's buffers. One per thread.
class GenerationRequestParser {
 public:
  // Bytes behind the body that must be readable.
  static const size_t kPadding;

  GenerationRequestParser();
  ~GenerationRequestParser();

  // `want_ids` keeps the prompts' token ids; they are also kept when the request asks to see them.
  ApiError Parse(const char* body, size_t size, BodyKind kind, bool want_ids, GenerationRequest* request);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace llmbench::sim
