#include "llmbench/wire/openai_decoder.h"

#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "feeding.h"
#include "llmbench/wire/wire_format.h"

namespace llmbench::wire {
namespace {

// One decoder and the answer it fills.
class Decoding {
 public:
  explicit Decoding(const WireFormat& format) : decoder_(MakeStreamDecoder(format, MakeJsonScratch())) {
    answer.Reset(&text);
  }

  void Decode(std::string_view payload) {
    WithPadding(payload, [&](std::string_view p) { events.push_back(decoder_->Decode(p, answer)); });
  }
  void DecodeDocument(std::string_view body) {
    WithPadding(body, [&](std::string_view p) { events.push_back(decoder_->DecodeDocument(p, answer)); });
  }
  void DecodeError(std::string_view payload) {
    WithPadding(payload, [&](std::string_view p) { decoder_->DecodeError(p, answer); });
  }
  bool IsWhole(std::string_view payload) {
    bool whole = false;
    WithPadding(payload, [&](std::string_view p) { whole = decoder_->IsWhole(p); });
    return whole;
  }

  // For the next answer.
  void Restart() {
    decoder_->Reset();
    events.clear();
    text.clear();
  }

  std::vector<StreamEvent> events;
  Answer answer;
  std::string text;

 private:
  const std::unique_ptr<StreamDecoder> decoder_;
};

const WireFormat kChat = WireFormat::OpenAiChat();
const WireFormat kCompletions = WireFormat::OpenAiCompletions();

struct Row {
  const char* name;
  WireFormat format;
  const char* payload;
  const char* event;  // as Describe says it
  const char* text = "";
  WireError error = WireError::kNone;
  const char* error_text = "";  // what it starts with
};
std::ostream& operator<<(std::ostream& out, const Row& row) { return out << row.name; }

class DecoderRows : public testing::TestWithParam<Row> {};

TEST_P(DecoderRows, OneEvent) {
  const Row& row = GetParam();
  Decoding decoding(row.format);
  decoding.text = "before ";
  decoding.Decode(row.payload);
  EXPECT_EQ(Describe(decoding.events), row.event) << decoding.answer.error_text;
  EXPECT_EQ(decoding.text, "before " + std::string(row.text));
  EXPECT_EQ(Name(decoding.answer.error), Name(row.error)) << decoding.answer.error_text;
  EXPECT_TRUE(std::string_view(decoding.answer.error_text).starts_with(row.error_text))
      << decoding.answer.error_text;
  EXPECT_LE(decoding.answer.error_text.size(), 512u);

  // Without a place for the text the same is recognised.
  Decoding blind(row.format);
  blind.answer.Reset(nullptr);
  blind.Decode(row.payload);
  if (row.error != WireError::kBadEvent) {
    EXPECT_EQ(Describe(blind.events), row.event);
    EXPECT_EQ(Name(blind.answer.error), Name(row.error));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Output, DecoderRows,
    testing::Values(
        Row{"text", kCompletions, R"({"choices":[{"text":"a"}]})", "answer", "a"},
        Row{"empty_text", kCompletions, R"({"choices":[{"text":""}]})", "none"},
        Row{"null_text", kCompletions, R"({"choices":[{"text":null}]})", "none"},
        Row{"no_text", kCompletions, R"({"choices":[{"index":0,"finish_reason":"stop"}]})", "none"},
        Row{"space_is_text", kCompletions, R"({"choices":[{"text":" "}]})", "answer", " "},
        Row{"spread_out", kCompletions, " { \"choices\" : [ { \"text\" : \"a b\" , \"index\" : 0 } ] } ",
            "answer", "a b"},
        Row{"text_last", kCompletions,
            R"({"usage":null,"error":null,"choices":[{"index":0,"logprobs":{"a":[1]},"text":"a"}]})",
            "answer", "a"},
        Row{"two_choices", kCompletions, R"({"choices":[{"text":"a"},{"text":"b"}]})", "answer", "ab"},
        Row{"content", kChat, R"({"choices":[{"delta":{"content":"a"}}]})", "answer", "a"},
        Row{"role", kChat, R"({"choices":[{"delta":{"role":"assistant","content":""}}]})", "none"},
        Row{"role_and_null", kChat, R"({"choices":[{"delta":{"role":"assistant","content":null}}]})", "none"},
        Row{"role_and_text", kChat, R"({"choices":[{"delta":{"role":"assistant","content":"a"}}]})", "answer",
            "a"},
        Row{"empty_delta", kChat, R"({"choices":[{"delta":{},"finish_reason":"stop"}]})", "none"},
        Row{"null_delta", kChat, R"({"choices":[{"delta":null}]})", "none"},
        Row{"no_delta", kChat, R"({"choices":[{"index":0,"finish_reason":"stop"}]})", "none"},
        Row{"message_in_a_stream", kChat, R"({"choices":[{"message":{"content":"a"}}]})", "answer", "a"},
        Row{"reasoning", kChat, R"({"choices":[{"delta":{"reasoning":"a","content":null}}]})", "reasoning"},
        Row{"reasoning_content", kChat, R"({"choices":[{"delta":{"reasoning_content":"a","content":""}}]})",
            "reasoning"},
        Row{"both_reasonings_and_text", kChat,
            R"({"choices":[{"delta":{"content":"c","reasoning_content":"a","reasoning":"a"}}]})", "answer",
            "c"},
        Row{"tool_name", kChat,
            R"({"choices":[{"delta":{"tool_calls":[{"function":{"name":"f","arguments":""}}]}}]})", "tool"},
        Row{"tool_arguments", kChat,
            R"({"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{"}}]}}]})", "tool"},
        Row{"tool_without_either", kChat,
            R"({"choices":[{"delta":{"tool_calls":[{"function":{"arguments":""}},{"id":"1"}]}}]})", "none"},
        Row{"tool_null", kChat, R"({"choices":[{"delta":{"tool_calls":null}}]})", "none"},
        Row{"tool_arguments_object", kChat,
            R"({"choices":[{"delta":{"tool_calls":[{"function":{"arguments":{"a":1}}}]}}]})", "tool"},
        Row{"tool_and_reasoning", kChat,
            R"({"choices":[{"delta":{"reasoning":"r","tool_calls":[{"function":{"name":"f"}}]}}]})", "tool"},
        Row{"function_call", kChat, R"({"choices":[{"delta":{"function_call":{"arguments":"x"}}}]})", "tool"},
        Row{"refusal", kChat, R"({"choices":[{"delta":{"refusal":"no"}}]})", "answer", "no"},
        Row{"text_in_the_finish_chunk", kChat,
            R"({"choices":[{"delta":{"content":"a"},"finish_reason":"length"}]})", "answer", "a"},
        Row{"token_ids", kCompletions, R"({"choices":[{"text":"a","token_ids":[1,2,3]}]})", "answer:3", "a"},
        Row{"token_ids_null", kCompletions, R"({"choices":[{"text":"a","token_ids":null}]})", "answer", "a"},
        Row{"text_held_back", kCompletions, R"({"choices":[{"text":"","token_ids":[1]}]})", "none:1"},
        Row{"end_of_sequence", kCompletions,
            R"({"choices":[{"text":"","token_ids":[2],"finish_reason":"stop"}]})", "none"},
        Row{"first_usage_counts_the_event", kChat,
            R"({"choices":[{"delta":{"content":"a"}}],"usage":{"completion_tokens":2}})", "answer:2", "a"},
        Row{"no_choices_but_usage", kChat, R"({"usage":{"completion_tokens":2}})", "none"},
        Row{"choices_null_but_usage", kChat, R"({"choices":null,"usage":{"completion_tokens":2}})", "none"},
        Row{"empty_choices", kChat, R"({"choices":[],"prompt_filter_results":[]})", "none"},
        Row{"empty_payload", kChat, "  \n", "none"}, Row{"done", kChat, " [DONE] ", "none"},
        Row{"escapes", kCompletions, R"({"choices":[{"text":"\u00e9\ud83d\ude00\"\\\/\b\f\n\r\t"}]})",
            "answer", "é😀\"\\/\b\f\n\r\t"},
        Row{"keys_inside_others", kChat,
            R"({"x":{"error":1,"choices":3},"choices":[{"delta":{"content":"a"},"y":[{"delta":1}]}]})",
            "answer", "a"}),
    [](const auto& row) { return std::string(row.param.name); });

INSTANTIATE_TEST_SUITE_P(
    Failure, DecoderRows,
    testing::Values(
        Row{"error_object", kChat, R"({"error":{"message":"m","type":"t","param":null,"code":7}})", "none",
            "", WireError::kServerErrorEvent, "m (code 7, type t)"},
        Row{"error_string", kChat, R"({"error":"m"})", "none", "", WireError::kServerErrorEvent, "m"},
        Row{"error_wins", kChat, R"({"choices":[{"delta":{"content":"a"}}],"error":{"message":"m"}})", "none",
            "", WireError::kServerErrorEvent, "m"},
        Row{"error_wins_over_shape", kChat, R"({"choices":5,"error":{"message":"m"}})", "none", "",
            WireError::kServerErrorEvent, "m"},
        Row{"flat_error", kChat, R"({"object":"error","message":"m","code":"c"})", "none", "",
            WireError::kServerErrorEvent, "m (code c)"},
        Row{"error_without_message", kChat, R"({"error":{"a":1}})", "none", "", WireError::kServerErrorEvent,
            R"({"a":1})"},
        Row{"error_empty", kChat, R"({"error":""})", "none", "", WireError::kServerErrorEvent,
            R"({"error":""})"},
        Row{"error_not_escaped", kChat, R"({"error": "a "b" c"})", "none", "", WireError::kServerErrorEvent,
            R"({"error": "a "b" c"})"},
        Row{"not_json", kChat, "hello", "none", "", WireError::kBadEvent},
        Row{"array", kChat, "[1,2]", "none", "", WireError::kSchema,
            "the event: expected an object: \"[1,2]\""},
        Row{"number", kChat, "17", "none", "", WireError::kSchema, "the event: expected an object"},
        Row{"half", kChat, R"({"choices":[{"delta":{"content":"a)", "none", "", WireError::kBadEvent},
        Row{"half_structure", kChat, R"({"choices":[{"delta":{"content":"a"}})", "none", "",
            WireError::kBadEvent},
        Row{"no_comma", kChat, R"({"choices":[{"delta":{"content":"a"} "b":1}]})", "none", "",
            WireError::kBadEvent},
        Row{"trailing", kChat, R"({"choices":[]} {"choices":[]})", "none", "", WireError::kBadEvent},
        Row{"control_character", kChat, "{\"choices\":[{\"delta\":{\"content\":\"a\nb\"}}]}", "none", "",
            WireError::kBadEvent},
        Row{"bad_escape", kChat, R"({"choices":[{"delta":{"content":"a\x"}}]})", "none", "",
            WireError::kBadEvent},
        Row{"bad_unicode_escape", kChat, R"({"choices":[{"delta":{"content":"\u12g4"}}]})", "none", "",
            WireError::kBadEvent},
        Row{"invalid_utf8", kChat, "{\"choices\":[{\"delta\":{\"content\":\"\xff\"}}]}", "none", "",
            WireError::kSseJsonInvalid, "invalid UTF-8: \"{\\\"choices"},
        Row{"surrogate_in_utf8", kChat, "{\"choices\":[{\"delta\":{\"content\":\"\xed\xa0\x80\"}}]}", "none",
            "", WireError::kSseJsonInvalid},
        Row{"malformed_where_nobody_looks", kChat, R"({"x":{"a" 1},"y":2})", "none", "",
            WireError::kBadEvent},
        Row{"malformed_before_a_wrong_shape", kChat, R"({"x":[1 2],"choices":5})", "none", "",
            WireError::kBadEvent},
        Row{"surrogate_and_a_wrong_shape", kChat, R"({"x":"\ud83d","choices":5})", "none", "",
            WireError::kSchema, "choices: expected an array"},
        Row{"empty_object", kChat, "{}", "none", "", WireError::kSchema, "choices: missing"},
        Row{"choices_null", kChat, R"({"choices":null})", "none", "", WireError::kSchema, "choices: null"},
        Row{"choices_string", kChat, R"({"choices":"a"})", "none", "", WireError::kSchema,
            "choices: expected an array, got a string"},
        Row{"choices_of_numbers", kChat, R"({"choices":[{"delta":{}},2]})", "none", "", WireError::kSchema,
            "choices[1]: expected an object, got a number"},
        Row{"delta_string", kChat, R"({"choices":[{"delta":"a"}]})", "none", "", WireError::kSchema,
            "choices[0].delta: expected an object, got a string"},
        Row{"content_number", kChat, R"({"choices":[{"delta":{"content":1}}]})", "none", "",
            WireError::kSchema, "choices[0].delta.content: expected a string, got a number"},
        Row{"text_array", kCompletions, R"({"choices":[{"text":"a"},{"text":["a"]}]})", "none", "",
            WireError::kSchema, "choices[1].text: expected a string, got an array"},
        Row{"finish_reason_number", kCompletions, R"({"choices":[{"text":"a","finish_reason":1}]})", "none",
            "", WireError::kSchema, "choices[0].finish_reason: expected a string, got a number"},
        Row{"usage_string", kCompletions, R"({"choices":[],"usage":"a"})", "none", "", WireError::kSchema,
            "usage: expected an object, got a string"},
        Row{"count_string", kCompletions, R"({"choices":[],"usage":{"completion_tokens":"1"}})", "none", "",
            WireError::kSchema, "usage.completion_tokens: expected a number, got a string"},
        Row{"chat_answer_to_completions", kCompletions, R"({"choices":[{"delta":{"content":"a"}}]})", "none",
            "", WireError::kSchema, "choices[0].text: missing; this is a chat answer"},
        Row{"completions_answer_to_chat", kChat, R"({"choices":[{"text":"a"}]})", "none", "",
            WireError::kSchema, "choices[0].delta: missing; with text"}),
    [](const auto& row) { return std::string(row.param.name); });

TEST(OpenAiDecoderTest, LoneSurrogatesAreAcceptedWithAFlag) {
  for (const char* text : {R"(\ud83d)", R"(a\ude00b)", R"(\ud83d\n)", R"(\ud83d\ud83d\ude00)"}) {
    Decoding decoding(kCompletions);
    decoding.Decode(R"({"choices":[{"text":")" + std::string(text) + R"("}]})");
    EXPECT_EQ(Describe(decoding.events), "answer");
    EXPECT_TRUE(decoding.answer.lone_surrogate) << text;
    EXPECT_NE(decoding.text.find("\ufffd"), std::string::npos) << text;
    EXPECT_EQ(Name(decoding.answer.error), Name(WireError::kNone));
  }
}

TEST(OpenAiDecoderTest, UsageAndItsVariants) {
  const struct {
    const char* usage;
    int32_t prompt, output, cached, reasoning;
  } rows[] = {
      {R"(null)", -1, -1, -1, -1},
      {R"({})", -1, -1, -1, -1},
      {R"({"prompt_tokens":1,"completion_tokens":2,"total_tokens":3})", 1, 2, -1, -1},
      {R"({"completion_tokens":2.0,"prompt_tokens":null})", -1, 2, -1, -1},
      {R"({"prompt_tokens":1,"prompt_tokens_details":{"audio":0,"cached_tokens":4}})", 1, -1, 4, -1},
      {R"({"prompt_tokens":1,"prompt_tokens_details":null,"completion_tokens_details":null})", 1, -1, -1, -1},
      {R"({"completion_tokens":9,"completion_tokens_details":{"reasoning_tokens":5,"cached_tokens":6}})", -1,
       9, -1, 5},
      {R"({"completion_tokens":9,"reasoning_tokens":5})", -1, 9, -1, 5},
      {R"({"completion_tokens":9007199254740993,"prompt_tokens":-3})", -1, 2147483647, -1, -1},
  };
  for (const auto& row : rows) {
    Decoding decoding(kChat);
    decoding.Decode(R"({"choices":[],"usage":)" + std::string(row.usage) + "}");
    const Answer& answer = decoding.answer;
    EXPECT_EQ(Name(answer.error), Name(WireError::kNone)) << answer.error_text;
    EXPECT_EQ(answer.prompt_tokens, row.prompt) << row.usage;
    EXPECT_EQ(answer.output_tokens, row.output) << row.usage;
    EXPECT_EQ(answer.cached_tokens, row.cached) << row.usage;
    EXPECT_EQ(answer.reasoning_tokens, row.reasoning) << row.usage;
  }
}

std::string Text(const char* text, int usage = -1, const char* more = "") {
  std::string payload = R"({"choices":[{"text":")" + std::string(text) + "\"" + more + "}]";
  if (usage >= 0) payload += R"(,"usage":{"completion_tokens":)" + std::to_string(usage) + "}";
  return payload + "}";
}

TEST(OpenAiDecoderTest, TokensPerEvent) {
  const std::string last_usage = R"({"choices":[],"usage":{"completion_tokens":9}})";
  const struct {
    const char* name;
    std::vector<std::string> payloads;
    const char* events;
    int32_t output_tokens;
  } rows[] = {
      {"no usage", {Text("a"), Text("b")}, "answer answer", -1},
      {"usage at the end", {Text("a"), Text("b"), last_usage}, "answer answer none", 9},
      {"usage in the finish chunk", {Text("a"), Text("b", 9)}, "answer answer", 9},
      {"usage in every chunk",
       {Text("a", 1), Text("b", 4), Text("c", 5), last_usage},
       "answer:1 answer:3 answer:1 none",
       9},
      {"an empty first chunk without usage",
       {Text(""), Text("a", 1), Text("b", 2)},
       "none answer:1 answer:1",
       2},
      {"text held back", {Text("a", 1), Text("", 2), Text("b", 4)}, "answer:1 none:1 answer:2", 4},
      {"usage missing once", {Text("a", 1), Text("b"), Text("c", 3)}, "answer:1 answer answer", 3},
      {"usage going back", {Text("a", 3), Text("b", 2), Text("c", 4)}, "answer:3 answer answer:2", 4},
      {"only the end has usage, nothing visible", {Text(""), last_usage}, "none none", 9},
      {"several choices, each counted by itself",
       {Text("a", 1), Text("b", 1, R"(,"index":1)"), Text("c", 2), Text("d", 5, R"(,"index":1)"),
        Text("e", 3)},
       "answer:1 answer answer answer answer",
       3},
      {"ids win over usage", {Text("a", 5, R"(,"token_ids":[1,2])"), Text("b", 6)}, "answer:2 answer:1", 6},
  };
  for (const auto& row : rows) {
    Decoding decoding(kCompletions);
    for (const std::string& payload : row.payloads) decoding.Decode(payload);
    EXPECT_EQ(Describe(decoding.events), row.events) << row.name;
    EXPECT_EQ(decoding.answer.output_tokens, row.output_tokens) << row.name;
    EXPECT_EQ(Name(decoding.answer.error), Name(WireError::kNone)) << row.name;
  }
}

TEST(OpenAiDecoderTest, TokenIdsAreSummed) {
  Decoding decoding(kChat);
  EXPECT_EQ(decoding.answer.token_ids, -1);
  decoding.Decode(R"({"choices":[{"delta":{"content":"a"},"token_ids":[]}]})");
  EXPECT_EQ(decoding.answer.token_ids, 0);
  decoding.Decode(
      R"({"choices":[{"delta":{"content":"a"},"token_ids":[1]},{"delta":{"content":"b"},"token_ids":[2,3]}]})");
  EXPECT_EQ(decoding.answer.token_ids, 3);
  EXPECT_EQ(Describe(decoding.events), "answer answer:3");
}

TEST(OpenAiDecoderTest, FinishReason) {
  const struct {
    std::vector<const char*> reasons;
    const char* kept;
  } rows[] = {
      {{"null", "\"\""}, ""},
      {{"\"stop\"", "null", "\"\""}, "stop"},
      {{"\"stop\"", "\"length\""}, "length"},
      {{"\"a_reason_of_more_than_23_bytes\"", "null"}, "a_reason_of_more_than_2"},
      {{"\"a_reason_of_more_than_23_bytes\"", "\"eos\""}, "eos"},
  };
  for (const auto& row : rows) {
    Decoding decoding(kCompletions);
    for (const char* reason : row.reasons) {
      decoding.Decode(R"({"choices":[{"text":"","finish_reason":)" + std::string(reason) + "}]}");
    }
    EXPECT_STREQ(decoding.answer.finish_reason, row.kept);
  }
}

TEST(OpenAiDecoderTest, NothingCountsAfterDone) {
  Decoding decoding(kCompletions);
  decoding.Decode(Text("a"));
  decoding.Decode("[DONE]");
  EXPECT_TRUE(decoding.answer.done);
  EXPECT_FALSE(decoding.answer.done_order);
  decoding.Decode("");  // not data
  EXPECT_FALSE(decoding.answer.done_order);
  decoding.Decode(Text("b", 7));
  decoding.Decode("[DONE]");
  decoding.Decode("{broken");
  EXPECT_TRUE(decoding.answer.done_order);
  EXPECT_EQ(decoding.text, "a");
  EXPECT_EQ(decoding.answer.output_tokens, -1);
  EXPECT_EQ(Describe(decoding.events), "answer none none none none none");
  EXPECT_EQ(Name(decoding.answer.error), Name(WireError::kNone));
}

TEST(OpenAiDecoderTest, ErrorEvents) {
  const struct {
    const char* payload;
    const char* text;
  } rows[] = {
      {R"({"code":500,"message":"m","type":"server_error"})", "m (code 500, type server_error)"},
      {R"({"error":{"message":"m"}})", "m"},
      {"it broke", "it broke"},
      {"", ""},
  };
  for (const auto& row : rows) {
    Decoding decoding(kChat);
    decoding.DecodeError(row.payload);
    EXPECT_EQ(Name(decoding.answer.error), Name(WireError::kServerErrorEvent));
    EXPECT_EQ(decoding.answer.error_text, row.text);
  }
}

TEST(OpenAiDecoderTest, IsWhole) {
  Decoding decoding(kChat);
  for (const char* payload : {"{}", "[DONE]", R"( {"a":[1,"b"]} )", "[DONE] "})
    EXPECT_TRUE(decoding.IsWhole(payload)) << payload;
  for (const char* payload : {"", " ", "{", R"({"a":[1,"b"})", "[DON", R"({"a":tru})", R"({"a":"b)"}) {
    EXPECT_FALSE(decoding.IsWhole(payload)) << payload;
  }
}

TEST(OpenAiDecoderTest, Documents) {
  const struct {
    const char* name;
    WireFormat format;
    const char* body;
    const char* event;
    const char* text;
    WireError error = WireError::kNone;
  } rows[] = {
      {"chat", kChat,
       R"({"choices":[{"message":{"role":"assistant","content":"a b"},"finish_reason":"stop"}]})", "answer",
       "a b"},
      {"chat with usage", kChat,
       R"({"choices":[{"message":{"content":"a"}}],"usage":{"completion_tokens":3}})", "answer:3", "a"},
      {"tool calls only", kChat,
       R"({"choices":[{"message":{"content":null,"tool_calls":[{"function":{"name":"f","arguments":"{}"}}]}}]})",
       "tool", ""},
      {"reasoning only", kChat, R"({"choices":[{"message":{"content":null,"reasoning":"r"}}]})", "reasoning",
       ""},
      {"completions", kCompletions, R"({"choices":[{"text":"a","index":0},{"text":"b","index":1}]})",
       "answer", "ab"},
      {"ids", kCompletions, R"({"choices":[{"text":"a","token_ids":[1,2]}]})", "answer:2", "a"},
      {"surrounded by space", kCompletions, "\r\n {\"choices\":[{\"text\":\"a\"}]}\n\n", "answer", "a"},
      {"empty object", kChat, "{}", "none", "", WireError::kSchema},
      {"no choice", kChat, R"({"choices":[]})", "none", "", WireError::kSchema},
      {"array", kChat, "[]", "none", "", WireError::kSchema},
      {"error", kChat, R"({"error":"no"})", "none", "", WireError::kServerErrorEvent},
      {"detail is no answer", kChat, R"({"detail":"no"})", "none", "", WireError::kServerErrorEvent},
      {"cut", kChat, R"({"choices":[{"message":{"content":"a"}}])", "none", "", WireError::kBadEvent},
      {"completions for chat", kChat, R"({"choices":[{"text":"a"}]})", "none", "", WireError::kSchema},
      {"invalid UTF-8", kCompletions, "{\"choices\":[{\"text\":\"\xc3\"}]}", "none", "",
       WireError::kSseJsonInvalid},
  };
  for (const auto& row : rows) {
    Decoding decoding(row.format);
    decoding.DecodeDocument(row.body);
    EXPECT_EQ(Describe(decoding.events), row.event) << row.name;
    EXPECT_EQ(decoding.text, row.text) << row.name;
    EXPECT_EQ(Name(decoding.answer.error), Name(row.error)) << row.name << ": " << decoding.answer.error_text;
  }
}

// Everything an answer knows.
std::string Describe(const Answer& answer) {
  std::string text = "prompt " + std::to_string(answer.prompt_tokens) + " cached " +
                     std::to_string(answer.cached_tokens) + " output " +
                     std::to_string(answer.output_tokens) + " reasoning " +
                     std::to_string(answer.reasoning_tokens) + " ids " + std::to_string(answer.token_ids) +
                     " finish " + answer.finish_reason + " " + Name(answer.error) + " " + answer.error_text;
  if (answer.done) text += " done";
  if (answer.done_order) text += " done_order";
  if (answer.lone_surrogate) text += " lone_surrogate";
  return text;
}

// A decoder that has seen an event like it before says of every event what one says that has seen none.
TEST(OpenAiDecoderTest, WhatWasSeenBeforeChangesNothing) {
  const struct {
    WireFormat format;
    const char* payload;
  } seeds[] = {
      {kCompletions,
       R"({"id":"cmpl-0123456789abcdef","object":"text_completion","created":1795477499,"model":"sim",)"
       R"("choices":[{"index":0,"text":" music","logprobs":null,"finish_reason":null}],"usage":null})"},
      {kCompletions,
       R"({"id":"c","object":"text_completion","created":17,"choices":[{"index":0,"text":"a","finish_reason":)"
       R"("length","stop_reason":null}]})"},
      {kCompletions, R"({"id":"c","created":17,"choices":[],"usage":{"prompt_tokens":12,"total_tokens":116,)"
                     R"("completion_tokens":104,"prompt_tokens_details":{"cached_tokens":8}}})"},
      {kCompletions, R"({"choices":[{"text":"a\"\\"},{"text":"b","index":1}]})"},
      {kChat,
       R"({"id":"chatcmpl-1","object":"chat.completion.chunk","created":1795477499,"model":"m","choices":[{)"
       R"("index":0,"delta":{"content":" \u00e4pfel"},"logprobs":null,"finish_reason":null}],)"
       R"("obfuscation":"x7Qp"})"},
      {kChat, R"({"id":"c","choices":[{"delta":{"reasoning_content":"hm","content":null}}]})"},
      {kChat,
       R"({"choices":[{"delta":{"content":"é"}}],"usage":{"completion_tokens":3,"prompt_tokens":null}})"},
      {kChat, R"({"choices":[{"delta":{"tool_calls":[{"function":{"arguments":"{"}}]}}]})"},
  };
  // What may stand where something else stood.
  static constexpr std::string_view kPieces[] = {"",
                                                 "\"",
                                                 "\\",
                                                 "\\\"",
                                                 "\\\\",
                                                 "\\n",
                                                 "\\u00e9",
                                                 "\\ud800",
                                                 "\\q",
                                                 "\n",
                                                 "\x01",
                                                 "\x7f",
                                                 "é",
                                                 "漢字",
                                                 "\xc3",
                                                 "\xff",
                                                 "0",
                                                 "00",
                                                 "7",
                                                 "-1",
                                                 "1.5",
                                                 "1e3",
                                                 "999999999",
                                                 "1234567890",
                                                 "12345678901234567890",
                                                 "null",
                                                 "true",
                                                 "x",
                                                 " a longer text ",
                                                 "{",
                                                 "}",
                                                 "[",
                                                 "]",
                                                 ",",
                                                 ":",
                                                 " ",
                                                 "error"};
  size_t compared = 0;
  for (const auto& seed : seeds) {
    const std::string_view payload = seed.payload;
    for (const bool keep_text : {true, false}) {
      for (size_t at = 0; at <= payload.size(); ++at) {
        for (const size_t taken : {size_t{0}, size_t{3}}) {
          if (at + taken > payload.size() || (!keep_text && at % 4 != 0)) continue;
          for (const std::string_view piece : kPieces) {
            std::string changed(payload);
            changed.replace(at, taken, piece);
            Decoding warm(seed.format), fresh(seed.format);
            for (Decoding* decoding : {&warm, &fresh}) {
              if (!keep_text) decoding->answer.Reset(nullptr);
            }
            warm.Decode(payload);
            warm.answer.Reset(keep_text ? &warm.text : nullptr);
            warm.Restart();
            warm.Decode(changed);
            fresh.Decode(changed);
            ASSERT_EQ(Describe(warm.events), Describe(fresh.events)) << changed;
            ASSERT_EQ(Describe(warm.answer), Describe(fresh.answer)) << changed;
            ASSERT_EQ(warm.text, fresh.text) << changed;
            ++compared;
          }
        }
      }
    }
  }
  EXPECT_GT(compared, 50'000u);
}

// Shapes come and go: every one of these events says the same each time.
TEST(OpenAiDecoderTest, ManyShapesTakeTurns) {
  Decoding decoding(kCompletions);
  for (int round = 0; round < 100; ++round) {
    for (int shape = 0; shape < 1 + round % 7; ++shape) {
      decoding.text.clear();
      decoding.events.clear();
      const std::string text = std::to_string(round) + "." + std::to_string(shape);
      decoding.Decode(R"({"id":")" + std::to_string(round) + R"(","x)" + std::to_string(shape) +
                      R"(":1,"choices":[{"text":")" + text + R"("}]})");
      ASSERT_EQ(Describe(decoding.events), "answer") << text;
      ASSERT_EQ(decoding.text, text);
    }
  }
}

TEST(OpenAiDecoderTest, LongEventsGrowTheScratch) {
  Decoding decoding(kCompletions);
  for (const size_t size : {size_t{10}, size_t{1} << 20, size_t{100}, size_t{3} << 20}) {
    decoding.text.clear();
    decoding.Decode(Text(std::string(size, 'x').c_str()));
    EXPECT_EQ(decoding.text.size(), size);
  }
}

}  // namespace
}  // namespace llmbench::wire
