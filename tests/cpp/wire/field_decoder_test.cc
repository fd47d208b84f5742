// The rules of one's own, and what all formats of rules have in common.
#include "llmbench/wire/field_decoder.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "allocation_counter.h"
#include "body_reading.h"

namespace llmbench::wire {
namespace {

struct Row {
  const char* name;
  const char* rules;
  Body body;
  const char* events;
  const char* text;
  const char* answer;
};

TEST(FieldDecoderTest, Template) {
  const Row rows[] = {
      {"the first place that is there and not null",
       R"({"text":["/a","/b/0","/c"]})",
       {"data: {\"c\":\"3\",\"b\":[\"2\"],\"a\":null}\n\ndata: {\"c\":\"z\"}\n\ndata: [DONE]\n\n"},
       "answer answer",
       "2z",
       "done"},
      {"every element",
       R"({"text":"/c/-/t","token_ids":"/c/-/ids"})",
       {"data: {\"c\":[{\"t\":\"a\",\"ids\":[1,2]},{\"t\":\"\"},{\"t\":\"b\",\"ids\":[\"3\"]}]}\n\ndata: "
        "[DONE]\n\n"},
       "answer:3",
       "ab",
       "ids:3 done"},
      {"every element of elements, on conditions of its own",
       R"({"text":{"pointer":"/o/-/c/-/t","when":{"/o/-/c/-/k":["x","y"],"/o/-/ok":true,"/all":1}}})",
       {"data: {\"all\":1,\"o\":[{\"ok\":true,\"c\":[{\"k\":\"x\",\"t\":\"a\"},{\"k\":\"z\",\"t\":\"b\"}]},"
        "{\"ok\":false,\"c\":[{\"k\":\"x\",\"t\":\"c\"}]},{\"c\":[{\"t\":\"d\",\"k\":\"y\"}],\"ok\":true}]}"
        "\n\ndata: [DONE]\n\n"},
       "answer",
       "ad",
       "done"},
      {"keys with quotes and slashes",
       R"({"text":"/a\"b/c~1d"})",
       {"data: {\"a\\\"b\":{\"c/d\":\"x\"}}\n\ndata: [DONE]\n\n"},
       "answer",
       "x",
       "done"},
      {"a key longer than the padding",
       R"({"text":["/0123456789012345678901234567890123456789012345678901234567890123456789","/t"]})",
       {"data: {\"t\":\"a\"}\n\ndata: "
        "{\"0123456789012345678901234567890123456789012345678901234567890123456789\":\"b\"}\n\ndata: "
        "[DONE]\n\n"},
       "answer answer",
       "ab",
       "done"},
      {"a key twice",
       R"({"text":"/a"})",
       {"data: {\"a\":\"1\",\"a\":\"2\"}\n\ndata: [DONE]\n\n"},
       "answer",
       "1",
       "done"},
      {"counts per chunk",
       R"({"text":"/t","output_tokens":"/n","count_mode":"per_chunk"})",
       {"data: {\"t\":\"a\",\"n\":2}\n\ndata: {\"t\":\"b\",\"n\":3}\n\ndata: [DONE]\n\n"},
       "answer:2 answer:3",
       "ab",
       "output:5 done"},
      {"cumulative counts, not all there",
       R"({"text":"/t","output_tokens":"/n","count_mode":"cumulative"})",
       {"data: {\"t\":\"a\",\"n\":2}\n\ndata: {\"t\":\"b\"}\n\ndata: {\"t\":\"c\",\"n\":9}\n\ndata: "
        "[DONE]\n\n"},
       "answer:2 answer answer",
       "abc",
       "output:9 done"},
      {"counts that go back",
       R"({"text":"/t","output_tokens":"/n","count_mode":"cumulative"})",
       {"data: {\"t\":\"a\",\"n\":5}\n\ndata: {\"t\":\"b\",\"n\":4}\n\ndata: {\"t\":\"c\",\"n\":7}\n\ndata: "
        "[DONE]\n\n"},
       "answer:5 answer answer:2",
       "abc",
       "output:7 done"},
      {"counts in quotes, as fractions, beyond 2^31, negative",
       R"({"text":"/t","prompt_tokens":"/p","output_tokens":"/n","cached_tokens":"/c"})",
       {"data: {\"t\":\"a\",\"p\":\"12\",\"n\":3.0,\"c\":9007199254740993}\n\ndata: [DONE]\n\n"},
       "answer",
       "a",
       "prompt:12 cached:2147483647 output:3 done"},
      {"a count that is none",
       R"({"text":"/t","output_tokens":"/n"})",
       {"data: {\"t\":\"a\",\"n\":true}\n\n"},
       "",
       "",
       "error=schema"},
      {"a count that is a word",
       R"({"text":"/t","output_tokens":"/n"})",
       {"data: {\"t\":\"a\",\"n\":\"many\"}\n\n"},
       "",
       "",
       "error=schema"},
      {"an end of its own",
       R"({"text":"/t","done":"BYE"})",
       {"data: {\"t\":\"a\"}\n\ndata: BYE\n\n"},
       "answer",
       "a",
       "done"},
      {"an end that holds a value",
       R"({"text":"/t","done":[{"/end":[1,2]},{"/k":"x","/l":null}]})",
       {"data: {\"t\":\"a\",\"end\":3}\n\ndata: {\"t\":\"b\",\"k\":\"x\",\"l\":null}\n\ndata: "
        "{\"t\":\"c\"}\n\n"},
       "answer answer",
       "ab",
       "done done_order"},
      {"an end that is there",
       R"({"text":"/t","done":"/end"})",
       {"data: {\"t\":\"a\",\"end\":null}\n\ndata: {\"t\":\"b\",\"end\":{}}\n\n"},
       "answer answer",
       "ab",
       "done"},
      {"no end",
       R"({"text":"/t","done":"/end"})",
       {"data: {\"t\":\"a\"}\n\n"},
       "answer",
       "a",
       "error=truncated_no_done"},
      {"the end of the body",
       R"({"text":"/t","done":"eof"})",
       {"data: {\"t\":\"a\"}\n\n"},
       "answer",
       "a",
       "done"},
      {"an event without its end",
       R"({"text":"/t","done":"eof"})",
       {"data: {\"t\":\"a\"}\n\ndata: {\"t\":\"b\"}"},
       "answer answer",
       "ab",
       "done unterminated"},
      {"events to skip",
       R"({"text":"/t","skip_if":[{"/k":"p"},"/q"],"output_tokens":"/n","count_mode":"cumulative"})",
       {"data: {\"t\":\"x\",\"k\":\"p\",\"n\":1}\n\ndata: {\"t\":\"y\",\"q\":0,\"n\":1}\n\ndata: "
        "{\"t\":\"a\",\"n\":3}\n\ndata: "
        "[DONE]\n\n"},
       "none:1 answer:2",
       "a",
       "output:3 done"},
      {"reasoning, a tool, a reason",
       R"({"text":"/t","reasoning":"/r","tool":"/f/args","finish_reason":"/why"})",
       {"data: {\"r\":\"hm\",\"t\":\"\"}\n\ndata: {\"f\":{\"args\":{\"a\":1}}}\n\ndata: "
        "{\"t\":\"a\",\"r\":\"b\",\"why\":\"stop\"}\n\n"},
       "reasoning tool answer",
       "a",
       "stop"},
      {"an error of its own",
       R"({"text":"/t","error":{"pointer":"/status/why","when":{"/status/ok":false}}})",
       {"data: {\"t\":\"a\",\"status\":{\"ok\":true,\"why\":\"fine\"}}\n\ndata: "
        "{\"status\":{\"ok\":false,\"why\":\"bad\"}}\n\n"},
       "answer",
       "a",
       "error=server_error_event"},
      {"errors that are none",
       R"({"text":"/t"})",
       {"data: {\"t\":\"a\",\"error\":null}\n\ndata: {\"t\":\"b\",\"error\":\"\"}\n\ndata: "
        "{\"t\":\"c\",\"error\":false}\n\ndata: "
        "[DONE]\n\n"},
       "answer answer answer",
       "abc",
       "done"},
      {"another shape", R"({"text":"/t"})", {"data: {\"x\":\"a\"}\n\n"}, "", "", "error=schema"},
      {"nothing said",
       R"({"text":"/t"})",
       {"data: {}\n\ndata: {\"t\":\"a\"}\n\ndata: [DONE]\n\n"},
       "answer",
       "a",
       "done"},
      {"expected and null",
       R"({"text":"/t","expect":"/id"})",
       {"data: {\"id\":null}\n\ndata: {\"id\":1,\"t\":\"a\"}\n\ndata: [DONE]\n\n"},
       "answer",
       "a",
       "done"},
      {"lone surrogates",
       R"({"text":"/t"})",
       {"data: {\"t\":\"\\ud83d\"}\n\ndata: [DONE]\n\n"},
       "answer",
       "\xef\xbf\xbd",
       "done lone_surrogate"},
      {"an escape that is none",
       R"({"text":"/t"})",
       {"data: {\"t\":\"a\\q\"}\n\n"},
       "",
       "",
       "error=bad_event"},
      {"an escape that is none, in a text that changes its end",
       R"({"text":"/t","text_mode":"cumulative"})",
       {"data: {\"t\":\"ab\"}\n\ndata: {\"t\":\"ax\\q\"}\n\n"},
       "answer",
       "ab",
       "error=bad_event"},
      {"not UTF-8", R"({"text":"/t"})", {"data: {\"t\":\"\xff\"}\n\n"}, "", "", "error=sse_json_invalid"},
      {"brackets that do not match",
       R"({"text":"/t"})",
       {"data: {\"t\":[\"a\"}\n\n"},
       "",
       "",
       "error=bad_event"},
      {"more behind the event",
       R"({"text":"/t"})",
       {"data: {\"t\":\"a\"} {\"t\":\"b\"}\n\n"},
       "",
       "",
       "error=bad_event"},
      {"a root that is an array",
       R"({"text":"/-/t"})",
       {"data: [{\"t\":\"a\"},{\"t\":\"b\"}]\n\ndata: [DONE]\n\n"},
       "answer",
       "ab",
       "done"},
      {"a root that is a number", R"({"text":"/t"})", {"data: 7\n\n"}, "", "", "error=schema"},
      {"a document's own places",
       R"({"text":"/t","document":{"text":"/whole"}})",
       {.bytes = R"({"whole":"ab","t":"x"})", .streamed = false},
       "",
       "ab",
       "not_streamed"},
      {"NDJSON asked for, SSE sent",
       R"({"framing":"ndjson","text":"/t"})",
       {"data: {\"t\":\"a\"}\n\n"},
       "answer",
       "a",
       "done"},
      {"documents with NULs between",
       R"({"framing":"json-documents","text":"/t"})",
       {std::string_view("{\"t\":\"a\"}\0{\"t\":\"b\"}", 19)},
       "answer answer",
       "ab",
       "done"},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    Body body = row.body;
    body.rules = row.rules;
    const Read read = ReadBody("template", body);
    EXPECT_EQ(read.events, row.events);
    EXPECT_EQ(read.text, row.text);
    EXPECT_EQ(read.answer, row.answer) << read.error_text;
  }
}

TEST(FieldDecoderTest, MalformedJsonWinsOverAShapeThatIsWrong) {
  const struct {
    const char* name;
    const char* json;
    const char* error;
  } rows[] = {
      {"nothing that is expected, and malformed where nobody looks", R"({"x":{"y" 1},"z":2})", "bad_event"},
      {"nothing that is expected", R"({"x":{"y":1},"z":2})", "schema"},
      {"nothing that is expected, and a lone surrogate", R"({"x":"\ud83d"})", "schema"},
      {"a number for a text, and malformed before it", R"({"x":[1 2],"t":3})", "bad_event"},
      {"a number for a text", R"({"x":[1,2],"t":3})", "schema"},
  };
  for (const auto& row : rows) {
    const std::string body = "data: " + std::string(row.json) + "\n\n";
    const Read read = ReadBody("template", {.bytes = body, .rules = R"({"text":"/t"})"});
    EXPECT_EQ(read.answer, "error=" + std::string(row.error)) << row.name;
  }
}

// The server of docs/wire-formats.md.
TEST(FieldDecoderTest, AServerOfOnesOwn) {
  constexpr const char* kRules = R"({
    "framing": "ndjson",
    "text": {"pointer": "/say/parts/-/t", "when": {"/kind": "answer"}},
    "reasoning": {"pointer": "/say/parts/-/t", "when": {"/kind": "thought"}},
    "finish_reason": "/why",
    "error": {"pointer": "/reason", "when": {"/kind": "fault"}},
    "prompt_tokens": "/bill/in",
    "output_tokens": ["/used", "/bill/out"],
    "count_mode": "cumulative",
    "done": {"/kind": "end"},
    "expect": "/kind"
  })";
  const Read good =
      ReadBody("template", {.bytes = R"({"kind":"thought","say":{"parts":[{"t":"Hm."}]},"used":2}
{"kind":"answer","say":{"parts":[{"t":"Pres"},{"t":"sure."}]},"used":5}
{"kind":"end","why":"stop","bill":{"in":14,"out":5}}
)",
                            .rules = kRules});
  EXPECT_EQ(good.events, "reasoning:2 answer:3");
  EXPECT_EQ(good.text, "Pressure.");
  EXPECT_EQ(good.answer, "stop prompt:14 output:5 done");
  const Read bad =
      ReadBody("template", {.bytes = R"({"kind":"fault","reason":"no memory"})", .rules = kRules});
  EXPECT_EQ(bad.answer, "error=server_error_event");
  EXPECT_NE(bad.error_text.find("no memory"), std::string::npos) << bad.error_text;
}

TEST(FieldDecoderTest, TextThatIsNotWantedChangesNothing) {
  const auto format = WireFormat::FromRules(R"({"text":"/t","text_mode":"cumulative","strip_prompt":true})");
  ASSERT_TRUE(format.ok());
  const auto decoder = MakeStreamDecoder(*format, MakeJsonScratch());
  Answer answer;
  answer.Reset(nullptr);
  decoder->Reset("P");
  std::vector<StreamEvent> events;
  for (const char* payload :
       {R"({"t":"P"})", R"({"t":"Pa\ufffd"})", R"({"t":"Pa\u00e9"})", R"({"t":"Pa\u00e9"})"}) {
    WithPadding(payload, [&](std::string_view p) { events.push_back(decoder->Decode(p, answer)); });
  }
  EXPECT_EQ(Describe(events), "none answer answer none");
}

TEST(FieldDecoderTest, AllocatesNothingForAnOrdinaryEvent) {
  for (const auto& [format, payload] : std::vector<std::pair<const char*, const char*>>{
           {"tgi", R"({"token":{"id":1,"text":" a","special":false},"generated_text":null})"},
           {"sglang", R"({"text":" a","meta_info":{"id":"r","finish_reason":null,"completion_tokens":1}})"},
           {"anthropic-messages",
            R"({"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}})"},
           {"jetstream-v1", R"({"streamContent":{"samples":[{"text":"a","tokenIds":[1]}]}})"},
           {"vllm-generate", R"({"text":["The river runs"]})"}}) {
    SCOPED_TRACE(format);
    const auto named = WireFormat::Named(format);
    ASSERT_TRUE(named.ok());
    const auto decoder = MakeStreamDecoder(*named, MakeJsonScratch());
    Answer answer;
    answer.Reset(nullptr);
    decoder->Reset("The river");
    WithPadding(payload, [&](std::string_view p) {
      decoder->Decode(p, answer);  // memory is got once
      const long before = Allocations();
      for (int i = 0; i < 100; ++i) decoder->Decode(p, answer);
      EXPECT_EQ(Allocations(), before);
    });
    EXPECT_EQ(answer.error, WireError::kNone) << answer.error_text;
  }
}

}  // namespace
}  // namespace llmbench::wire
