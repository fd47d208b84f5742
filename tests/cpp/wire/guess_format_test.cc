#include "llmbench/wire/guess_format.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <string_view>

#include "llmbench/wire/wire_format.h"

namespace llmbench::wire {
namespace {

TEST(GuessFormatTest, EachFormatLooksLikeItself) {
  const struct {
    const char* bytes;
    const char* formats;  // all it may be, likeliest first
  } rows[] = {
      {R"(data: {"id":"c","object":"text_completion","choices":[{"index":0,"text":"a"}]})",
       "openai-completions"},
      {R"(data: {"object":"chat.completion.chunk","choices":[],"usage":{}})", "openai-chat"},
      {R"({"choices":[{"message":{"content":"a"}}]})", "openai-chat"},
      {R"(data: {"type":"response.created","sequence_number":0,"response":{"object":"response"}})",
       "openai-responses"},
      {R"({"object":"response","output":[]})", "openai-responses"},
      {"event: ping\ndata: {\"type\": \"ping\"}\n\n", "anthropic-messages"},
      {R"({"type":"message","content":[{"type":"text","text":"a"}]})", "anthropic-messages"},
      {R"({"text":["The river runs"]})", "vllm-generate mii-generate"},
      {"data: {\"text\":[\" runs\"]}\n\n", "mii-generate"},  // vLLM's are lines
      {R"(data:{"index":1,"token":{"id":1,"text":"a","special":false},"generated_text":null})", "tgi"},
      {R"([{"generated_text":"a"}])", "tgi"},
      {R"({"error":"Model is overloaded","error_type":"overloaded"})", "tgi"},
      {R"({"model_name":"ensemble","text_output":"a"})", "triton"},
      {R"({"text":"a","meta_info":{"id":"r"}})", "sglang"},
      {R"({"content":"a","stop":false})", "llamacpp"},
      {R"({"model":"m","response":"a","done":false})", "ollama"},
      {R"({"model":"m","message":{"content":"a"},"done":false})", "ollama-chat"},
      {R"({"response":"a"})", "jetstream"},
      {R"({"text":"a"}{"text":"b"})", "jetstream"},
      {"{\n \"streamContent\": {\"samples\": []}\n}{", "jetstream-v1"},
      {R"([{"generated_text":"a","generated_length":4}])", "fastgen-rest"},
      {R"([{"0":"a"}])", "aml"},
      {R"({"output":"a"})", "aml"},
      {R"({"predictions":[[{"generated_text":"a"}]]})", "transformers"},
      {R"({"predictions":[[["a",-1.5]]]})", "sax"},
      {R"({"categoriesAnalysis":[]})", "azure-content-safety"},
      {"{\"choices\":[]}\n{\"response\":\"a\",\"done\":true}", "ollama"},  // the first says nothing
      {"", ""},
      {"<html>{}</html>", ""},
      {"{\"a\":1", ""},
      {"{\"error\":\"no\"}", ""},
      {"plain text", ""},
  };
  std::set<std::string> seen;
  for (const auto& row : rows) {
    std::string names;
    for (const std::string_view name : GuessFormats(row.bytes)) {
      names += (names.empty() ? "" : " ") + std::string(name);
      seen.emplace(name);
    }
    EXPECT_EQ(names, row.formats) << row.bytes;
  }
  for (const std::string& name : WireFormat::Names()) {
    const bool json = name != "template" && name != "fastgen-grpc";
    EXPECT_EQ(seen.contains(name), json) << name;
  }
}

}  // namespace
}  // namespace llmbench::wire
