#include "llmbench/sim/generation_request.h"

#include <gtest/gtest.h>

#include "llmbench/sim/dialects/openai.h"

namespace llmbench::sim {
namespace {

enum class BodyKind { kCompletion, kChat };

// The rules of vLLM's two routes.
const BodyRules& RulesOf(BodyKind kind) {
  struct Vllm {
    Options options;
    Deployment deployment;
    AnswerText text{TextStyle::kPlain};
    OpenAiDialect dialect{{options, deployment, text}, {}};
  };
  static const auto* const vllm = new Vllm;
  return vllm->dialect.Rules(kind == BodyKind::kChat ? 1 : 0);
}

ApiError Parse(const std::string& body, const BodyRules& rules, GenerationRequest* request) {
  GenerationRequestParser parser;
  std::string padded = body;
  padded.reserve(body.size() + GenerationRequestParser::kPadding);
  return parser.Parse(padded.data(), body.size(), rules, false, request);
}

ApiError Parse(const std::string& body, BodyKind kind, GenerationRequest* request) {
  return Parse(body, RulesOf(kind), request);
}

TEST(GenerationRequestTest, PromptsOfEveryKindAreCounted) {
  const struct {
    const char* prompt;
    std::vector<int64_t> tokens;
  } kCases[] = {
      {R"("one two three")", {3}}, {R"(["one two","three"])", {2, 1}},  {"[5,6,7,8]", {4}},
      {"[[5,6],[7]]", {2, 1}},     {R"("\u006fne \ud83d\ude00")", {2}}, {R"("")", {1}},
  };
  for (const auto& c : kCases) {
    GenerationRequest request;
    const ApiError error =
        Parse(std::string(R"({"prompt":)") + c.prompt + "}", BodyKind::kCompletion, &request);
    ASSERT_EQ(error.status, 0) << c.prompt << ": " << error.message;
    std::vector<int64_t> tokens;
    for (const Prompt& prompt : request.prompts) tokens.push_back(prompt.tokens);
    EXPECT_EQ(tokens, c.tokens) << c.prompt;
  }
}

TEST(GenerationRequestTest, ReadsFieldsInAnyOrder) {
  GenerationRequest request;
  const ApiError error = Parse(
      R"({"stream_options":{"include_usage":true,"continuous_usage_stats":true},"max_tokens":9,"n":2,"unknown":{"a":[1]},)"
      R"("ignore_eos":true,"model":"m","messages":[{"role":"user","content":"a b"},)"
      R"({"role":"user","content":[{"type":"text","text":"c"},{"type":"image_url","image_url":{}}]}],)"
      R"("stream":true,"max_completion_tokens":7,"temperature":null,"min_tokens":1})",
      BodyKind::kChat, &request);
  ASSERT_EQ(error.status, 0) << error.message;
  EXPECT_TRUE(request.stream);
  EXPECT_TRUE(request.include_usage);
  EXPECT_TRUE(request.continuous_usage);
  EXPECT_TRUE(request.ignore_eos);
  EXPECT_EQ(request.max_tokens, 7);
  EXPECT_EQ(request.n, 2);
  EXPECT_EQ(request.model, "m");
  EXPECT_EQ(request.prompt_tokens(), 3 + 2 * 4 + 3);
}

TEST(GenerationRequestTest, BadBodiesAreAnsweredInWords) {
  const struct {
    const char* body;
    BodyKind kind;
    const char* says;
  } kCases[] = {
      {"", BodyKind::kCompletion, "JSON"},
      {"[]", BodyKind::kCompletion, "JSON object"},
      {R"({"prompt":"a")", BodyKind::kCompletion, "JSON"},
      {R"({"prompt":"a"} x)", BodyKind::kCompletion, "JSON"},
      {R"({"prompt":"a","stream":})", BodyKind::kCompletion, "JSON"},
      {"{}", BodyKind::kCompletion, "Field required: 'prompt'"},
      {R"({"prompt":null})", BodyKind::kCompletion, "Field required: 'prompt'"},
      {R"({"prompt":[]})", BodyKind::kCompletion, "must not be empty"},
      {R"({"prompt":5})", BodyKind::kCompletion, "'prompt' must be"},
      {R"({"prompt":[1.5]})", BodyKind::kCompletion, "'prompt' must be"},
      {R"({"prompt":"a"})", BodyKind::kChat, "Field required: 'messages'"},
      {R"({"messages":"a"})", BodyKind::kChat, "'messages' must be"},
      {R"({"messages":["a"]})", BodyKind::kChat, "'messages' must be"},
      {R"({"prompt":"a","max_tokens":0})", BodyKind::kCompletion, "max_tokens must be at least 1, got 0."},
      {R"({"prompt":"a","max_tokens":"x"})", BodyKind::kCompletion, "'max_tokens' must be a whole number"},
      {R"({"prompt":"a","max_tokens":2,"min_tokens":3})", BodyKind::kCompletion,
       "min_tokens must be less than"},
      {R"({"prompt":"a","n":0})", BodyKind::kCompletion, "n must be at least 1"},
      {R"({"prompt":"a","n":9999})", BodyKind::kCompletion, "n must be at most"},
      {R"({"prompt":"a","stream":1})", BodyKind::kCompletion, "'stream' must be true or false"},
      {R"({"prompt":"a","stream_options":{}})", BodyKind::kCompletion, "Stream options can only be defined"},
      {R"({"prompt":"a","model":1})", BodyKind::kCompletion, "'model' must be a string"},
  };
  for (const auto& c : kCases) {
    GenerationRequest request;
    const ApiError error = Parse(c.body, c.kind, &request);
    EXPECT_EQ(error.status, 400) << c.body;
    EXPECT_NE(error.message.find(c.says), std::string::npos) << c.body << ": " << error.message;
  }
}

}  // namespace
}  // namespace llmbench::sim
