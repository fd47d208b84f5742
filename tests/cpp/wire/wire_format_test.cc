// Every named format on streams and documents as its servers send them, in all the shapes they are known in.
#include "llmbench/wire/wire_format.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <ostream>
#include <set>
#include <string>
#include <string_view>

#include "body_reading.h"

namespace llmbench::wire {
namespace {

struct Row {
  const char* name;
  const char* format;
  Body body;
  const char* events;
  const char* text;
  const char* answer;
  const char* error_text = "";  // what it holds
};
std::ostream& operator<<(std::ostream& out, const Row& row) { return out << row.format << ' ' << row.name; }

std::string TestName(const testing::TestParamInfo<Row>& info) {
  std::string name = std::string(info.param.format) + "_" + info.param.name;
  for (char& c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  }
  return name;
}

class WireFormatRows : public testing::TestWithParam<Row> {};

TEST_P(WireFormatRows, Body) {
  const Row& row = GetParam();
  const Read read = ReadBody(row.format, row.body);
  EXPECT_EQ(read.events, row.events);
  EXPECT_EQ(read.text, row.text);
  EXPECT_EQ(read.answer, row.answer);
  EXPECT_NE(read.error_text.find(row.error_text), std::string::npos) << read.error_text;
  EXPECT_EQ(read.error_text.empty(), std::string_view(row.error_text).empty()) << read.error_text;
}

constexpr Body Document(std::string_view bytes, std::string_view prompt = {}) {
  return {.bytes = bytes, .prompt = prompt, .streamed = false, .content_type = "application/json"};
}

INSTANTIATE_TEST_SUITE_P(
    OpenAiResponses, WireFormatRows,
    testing::Values(
        Row{"stream",
            "openai-responses",
            {R"(event: response.created
data: {"type":"response.created","response":{"id":"r","object":"response","status":"in_progress","error":null,"incomplete_details":null,"usage":null},"sequence_number":0}

data: {"type":"response.output_item.added","output_index":0,"item":{"id":"m","type":"message","status":"in_progress","content":[],"role":"assistant"},"sequence_number":2}

data: {"type":"response.content_part.added","item_id":"m","part":{"type":"output_text","text":""},"sequence_number":3}

data: {"type":"response.output_text.delta","item_id":"m","output_index":0,"content_index":0,"delta":"Hel","sequence_number":4}

data: {"type":"response.output_text.delta","item_id":"m","output_index":0,"content_index":0,"delta":"lo","sequence_number":5}

data: {"type":"response.output_text.done","item_id":"m","text":"Hello","sequence_number":6}

data: {"type":"response.completed","response":{"id":"r","status":"completed","error":null,"incomplete_details":null,"output":[{"type":"message","content":[{"type":"output_text","text":"Hello"}]}],"usage":{"input_tokens":9,"input_tokens_details":{"cached_tokens":4},"output_tokens":2,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":11}},"sequence_number":7}

)"},
            "answer answer",
            "Hello",
            "completed prompt:9 cached:4 output:2 reasoning:0 done"},
        Row{"cut at its limit, [DONE] behind",
            "openai-responses",
            {R"(data: {"type":"response.reasoning_text.delta","delta":"hm","sequence_number":1}

data: {"type":"response.function_call_arguments.delta","delta":"{\"a\"","sequence_number":2}

data: {"type":"response.refusal.delta","delta":"no","sequence_number":3}

data: {"type":"response.incomplete","response":{"status":"incomplete","incomplete_details":{"reason":"max_output_tokens"},"usage":{"input_tokens":1,"output_tokens":3}}}

data: [DONE]

)"},
            "reasoning tool answer",
            "no",
            "max_output_tokens prompt:1 output:3 done"},
        Row{"failed",
            "openai-responses",
            {R"(data: {"type":"response.output_text.delta","delta":"a"}

data: {"type":"response.failed","response":{"status":"failed","error":{"code":"server_error","message":"The model went away"}}}

)"},
            "answer",
            "a",
            "error=server_error_event",
            "The model went away (code server_error)"},
        Row{"error event",
            "openai-responses",
            {"event: error\ndata: {\"type\":\"error\",\"code\":\"rate\",\"message\":\"slow "
             "down\",\"param\":null}\n\n"},
            "",
            "",
            "error=server_error_event",
            "slow down"},
        Row{"cut",
            "openai-responses",
            {"data: {\"type\":\"response.output_text.delta\",\"delta\":\"a\"}\n\n"},
            "answer",
            "a",
            "error=truncated_no_done",
            "neither /type="},
        Row{"document", "openai-responses",
            Document(
                R"({"id":"r","object":"response","status":"completed","error":null,"incomplete_details":null,
"output":[{"type":"reasoning","summary":[],"content":[{"type":"reasoning_text","text":"hm"}]},
{"type":"message","role":"assistant","content":[{"type":"output_text","text":"Hi","annotations":[]},{"type":"output_text","text":" you"}]}],
"usage":{"input_tokens":5,"input_tokens_details":{"cached_tokens":0},"output_tokens":7,"output_tokens_details":{"reasoning_tokens":3},"total_tokens":12}})"),
            "", "Hi you", "completed prompt:5 cached:0 output:7 reasoning:3 not_streamed"},
        Row{"failed document", "openai-responses",
            Document(
                R"({"object":"response","status":"failed","error":{"code":"x","message":"broken"},"output":[]})"),
            "", "", "not_streamed error=server_error_event", "broken"}),
    TestName);

INSTANTIATE_TEST_SUITE_P(
    Anthropic, WireFormatRows,
    testing::Values(
        Row{"stream",
            "anthropic-messages",
            {R"(event: message_start
data: {"type":"message_start","message":{"id":"m","type":"message","role":"assistant","content":[],"stop_reason":null,"usage":{"input_tokens":12,"cache_read_input_tokens":3,"cache_creation_input_tokens":2,"output_tokens":1}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}

event: ping
data: {"type": "ping"}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hel"}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"lo"}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":15}}

event: message_stop
data: {"type":"message_stop"}

)"},
            "answer answer",
            "Hello",
            "end_turn prompt:17 cached:3 output:15 done"},
        Row{"thinking and a tool",
            "anthropic-messages",
            {R"(data: {"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":""}}

data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"Let me"}}

data: {"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"Eq"}}

data: {"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"t","name":"weather","input":{}}}

data: {"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":""}}

data: {"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"a"}}

data: {"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"input_tokens":8,"output_tokens":20}}

data: {"type":"message_stop"}

)"},
            "reasoning tool tool",
            "",
            "tool_use prompt:8 output:20 done"},
        Row{"error after text",
            "anthropic-messages",
            {R"(data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}

event: error
data: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}

)"},
            "answer",
            "a",
            "error=server_error_event",
            "Overloaded (type overloaded_error)"},
        Row{"document", "anthropic-messages",
            Document(
                R"({"id":"m","type":"message","role":"assistant","content":[{"type":"thinking","thinking":"hm"},
{"type":"text","text":"Hi"}],"stop_reason":"max_tokens","usage":{"input_tokens":4,"cache_read_input_tokens":0,"output_tokens":6}})"),
            "", "Hi", "max_tokens prompt:4 cached:0 output:6 not_streamed"},
        Row{"another protocol",
            "anthropic-messages",
            {"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n"},
            "",
            "",
            "error=schema",
            "/type: missing: \"{\\\"choices\\\":[{\\\"delta\\\":{\\\"content\\\":\\\"a\\\"}}]}\"; this looks "
            "like openai-chat"}),
    TestName);

constexpr char kNuls[] =
    "\0{\"text\": [\"The river\"]}\0{\"text\": [\"The river runs\"]}\0{\"text\": [\"The river runs on\"]}\0";

INSTANTIATE_TEST_SUITE_P(
    VllmGenerate, WireFormatRows,
    testing::Values(
        Row{"NUL",
            "vllm-generate",
            {std::string_view(kNuls, sizeof kNuls - 1), "The river"},
            "answer answer",
            " runs on",
            "done"},
        Row{"LF, its last one missing",
            "vllm-generate",
            {"{\"text\": [\"The river runs\"]}\r\n\n{\"text\": [\"The river runs on\"]}", "The river"},
            "answer answer",
            " runs on",
            "done"},
        Row{"prompt with escapes",
            "vllm-generate",
            {"{\"text\": [\"a\\n\\u00e9\\ud83d\\ude00\\\"b\"]}\n", "a\n\xc3\xa9\xf0\x9f\x98\x80\""},
            "answer",
            "b",
            "done"},
        Row{"no prompt in front",
            "vllm-generate",
            {"{\"text\": [\"runs\"]}\n{\"text\": [\"runs on\"]}\n", "The river"},
            "answer answer",
            "runs on",
            "done"},
        Row{"a character that becomes whole",
            "vllm-generate",
            {"{\"text\": [\"P\xef\xbf\xbd\"]}\n{\"text\": [\"P\xc3\xa9!\"]}\n", "P"},
            "answer answer",
            "\xc3\xa9!",
            "done"},
        Row{"the same, escaped",
            "vllm-generate",
            {"{\"text\": [\"P\\ufffd\"]}\n{\"text\": [\"P\\u00e9!\"]}\n{\"text\": [\"P\\u00e9!\"]}\n", "P"},
            "answer answer",
            "\xc3\xa9!",
            "done"},
        Row{"two sequences",
            "vllm-generate",
            {"{\"text\": [\"Pa\", \"Px\"]}\n{\"text\": [\"Pab\", \"Pxy\"]}\n", "P"},
            "answer answer",
            "axby",
            "done"},
        Row{"not a stream", "vllm-generate", Document("{\"text\": [\"The river runs\"]}", "The river"), "",
            " runs", "not_streamed"},
        Row{"one document though a stream was asked for",
            "vllm-generate",
            {.bytes = "{\"text\": [\"The river runs\"]}",
             .prompt = "The river",
             .content_type = "application/json"},
            "answer",
            " runs",
            "done not_streamed"},
        Row{"torn",
            "vllm-generate",
            {"{\"text\": [\"a\"]}\n{\"text\": [\"ab", ""},
            "answer",
            "a",
            "error=truncated_no_done",
            "within an event"},
        Row{"connection closed",
            "vllm-generate",
            {.bytes = "{\"text\": [\"a\"]}\n", .cut = true},
            "answer",
            "a",
            "error=truncated",
            "closed"},
        Row{"error",
            "vllm-generate",
            {"{\"text\": [\"a\"]}\n{\"error\": \"out of memory\"}\n"},
            "answer",
            "a",
            "error=server_error_event",
            "out of memory"},
        Row{"another protocol",
            "vllm-generate",
            {"{\"response\":\"a\",\"done\":false}\n"},
            "",
            "",
            "error=schema",
            "; this looks like ollama"}),
    TestName);

INSTANTIATE_TEST_SUITE_P(
    Tgi, WireFormatRows,
    testing::Values(
        Row{"stream",
            "tgi",
            {R"(data:{"index":1,"token":{"id":311,"text":" runs","logprob":-0.8,"special":false},"generated_text":null,"details":null}

:

data: {"index":2,"token":{"id":2,"text":"</s>","logprob":-0.1,"special":true},"generated_text":" runs","details":{"finish_reason":"eos_token","generated_tokens":2,"seed":null,"input_length":3}}

)"},
            "answer:1",
            " runs",
            "eos_token prompt:3 output:2 ids:2 done"},
        Row{"special and empty tokens within",
            "tgi",
            {R"(data:{"index":1,"token":{"id":5,"text":"<pad>","logprob":0,"special":true},"generated_text":null,"details":null}

data:{"index":2,"token":{"id":6,"text":"","logprob":0,"special":false},"generated_text":null,"details":null}

data:{"index":3,"token":{"id":7,"text":"a","logprob":0,"special":false},"generated_text":"a","details":{"finish_reason":"length","generated_tokens":3,"seed":1}}

)"},
            "none:1 none:1 answer:1",
            "a",
            "length output:3 ids:3 done"},
        Row{"no details asked for",
            "tgi",
            {"data:{\"token\":{\"id\":7,\"text\":\"a\",\"special\":false},\"generated_text\":\"a\","
             "\"details\":null}\n\n"},
            "answer:1",
            "a",
            "ids:1 done"},
        Row{"overloaded at once",
            "tgi",
            {"data: {\"error\":\"Model is overloaded\",\"error_type\":\"overloaded\"}\n\n"},
            "",
            "",
            "error=server_error_event",
            "Model is overloaded (type overloaded)"},
        Row{"cut",
            "tgi",
            {"data:{\"token\":{\"id\":7,\"text\":\"a\",\"special\":false},\"generated_text\":null}\n\n"},
            "answer:1",
            "a",
            "ids:1 error=truncated_no_done",
            "/generated_text"},
        Row{"document", "tgi",
            Document(
                R"({"generated_text":" runs","details":{"finish_reason":"length","generated_tokens":64,"seed":null,"prefill":[],"tokens":[{"id":1,"text":"a","special":false}]}})"),
            "", " runs", "length output:64 not_streamed"},
        Row{"document in an array", "tgi", Document(R"([{"generated_text":" runs"}])"), "", " runs",
            "not_streamed"},
        Row{"document error", "tgi", Document(R"({"error":"Input too long","error_type":"validation"})"), "",
            "", "not_streamed error=server_error_event", "Input too long (type validation)"}),
    TestName);

INSTANTIATE_TEST_SUITE_P(
    Triton, WireFormatRows,
    testing::Values(
        Row{"stream",
            "triton",
            {R"(data: {"model_name":"ensemble","model_version":"1","sequence_end":false,"text_output":" a"}

data: {"model_name":"ensemble","model_version":"1","text_output":[" b"]}

data: {"model_name":"ensemble","model_version":"1","text_output":""}

)"},
            "answer answer",
            " a b",
            "done"},
        Row{"cumulative and with the prompt, as told",
            "triton",
            {.bytes = "data: {\"text_output\":\"Pa\"}\n\ndata: {\"text_output\":\"Pab\"}\n\n",
             .prompt = "P",
             .rules = R"({"text_mode":"cumulative","strip_prompt":true})"},
            "answer answer",
            "ab",
            "done"},
        Row{"prompt before the first delta, as told",
            "triton",
            {.bytes = "data: {\"text_output\":\"Pa\"}\n\ndata: {\"text_output\":\"P\"}\n\n",
             .prompt = "P",
             .rules = R"({"strip_prompt":true})"},
            "answer answer",
            "aP",
            "done"},
        Row{"only the prompt first",
            "triton",
            {.bytes = "data: {\"text_output\":\"P\"}\n\ndata: {\"text_output\":\"a\"}\n\n",
             .prompt = "P",
             .rules = R"({"strip_prompt":true})"},
            "answer",
            "a",
            "done"},
        Row{"error after text",
            "triton",
            {"data: {\"text_output\":\" a\"}\n\ndata: {\"error\":\"generation stopped\"}\n\n"},
            "answer",
            " a",
            "error=server_error_event",
            "generation stopped"},
        Row{"document", "triton", Document(R"({"text_output":"ab","output_log_probs":[-0.1,-0.2]})"), "",
            "ab", "ids:2 not_streamed"},
        Row{"document of one token", "triton", Document(R"({"text_output":["a"],"output_log_probs":-0.1})"),
            "", "a", "ids:1 not_streamed"},
        Row{"error as an answer", "triton", Document(R"({"error":"expected 1 response"})"), "", "",
            "not_streamed error=server_error_event", "expected 1 response"},
        Row{"wrong type",
            "triton",
            {"data: {\"text_output\":{\"a\":1}}\n\n"},
            "",
            "",
            "error=schema",
            "/text_output: expected a string, got an object"}),
    TestName);

INSTANTIATE_TEST_SUITE_P(
    Sglang, WireFormatRows,
    testing::Values(
        Row{"stream",
            "sglang",
            {R"(data: {"text":" flows","output_ids":[3941],"meta_info":{"id":"r1","finish_reason":null,"prompt_tokens":3,"completion_tokens":1,"cached_tokens":0}}

data: {"text":" flows","meta_info":{"id":"r1","finish_reason":null,"prompt_tokens":3,"completion_tokens":2,"cached_tokens":0}}

data: {"text":" flows on","meta_info":{"id":"r1","finish_reason":{"type":"length","length":4},"prompt_tokens":3,"completion_tokens":4,"cached_tokens":0,"e2e_latency":0.41}}

data: [DONE]

)"},
            "answer:1 none:1 answer:2",
            " flows on",
            "length prompt:3 cached:0 output:4 done"},
        Row{"deltas, found out",
            "sglang",
            {.bytes = R"(data: {"text":"a","meta_info":{"finish_reason":null,"completion_tokens":1}}

data: {"text":"b","meta_info":{"finish_reason":null,"completion_tokens":2}}

data: {"text":"bc","meta_info":{"finish_reason":{"type":"stop","matched":2},"completion_tokens":3}}

data: [DONE]

)",
             .rules = R"({"text_mode":"auto"})"},
            "answer:1 answer:1 answer:1",
            "abbc",
            "stop output:3 done"},
        Row{"repeated, found out",
            "sglang",
            {.bytes = R"(data: {"text":"a","meta_info":{"completion_tokens":1}}

data: {"text":"ab","meta_info":{"finish_reason":"stop","completion_tokens":2}}

data: [DONE]

)",
             .rules = R"({"text_mode":"auto"})"},
            "answer:1 answer:1",
            "ab",
            "stop output:2 done"},
        Row{"two sequences",
            "sglang",
            {R"(data: {"text":"a","index":0,"meta_info":{"finish_reason":null,"completion_tokens":1}}

data: {"text":"x","index":1,"meta_info":{"finish_reason":null,"completion_tokens":1}}

data: {"text":"ab","index":0,"meta_info":{"finish_reason":{"type":"length"},"completion_tokens":2}}

data: {"text":"xy","index":1,"meta_info":{"finish_reason":{"type":"length"},"completion_tokens":2}}

data: [DONE]

)"},
            "answer:1 answer:1 answer:1 answer:1",
            "axby",
            "length output:4 done"},
        Row{"aborted",
            "sglang",
            {R"(data: {"text":"a","meta_info":{"finish_reason":null,"completion_tokens":1}}

data: {"text":"a","meta_info":{"finish_reason":{"type":"abort","message":"Request waited too long","status_code":503},"completion_tokens":1}}

data: [DONE]

)"},
            "answer:1",
            "a",
            "output:1 error=server_error_event",
            "Request waited too long (status_code 503, type abort)"},
        Row{"error",
            "sglang",
            {"data: {\"error\":{\"message\":\"oh\"}}\n\ndata: [DONE]\n\n"},
            "",
            "",
            "error=server_error_event",
            "oh"},
        Row{"cut",
            "sglang",
            {"data: {\"text\":\"a\",\"meta_info\":{\"completion_tokens\":7}}\n\n"},
            "answer:7",
            "a",
            "output:7 error=truncated_no_done",
            "[DONE]"},
        Row{"document", "sglang",
            Document(
                R"({"text":" on","output_ids":[5,6],"meta_info":{"finish_reason":{"type":"stop","matched":2},"prompt_tokens":3,"completion_tokens":2,"cached_tokens":1}})"),
            "", " on", "stop prompt:3 cached:1 output:2 not_streamed"},
        Row{"batch", "sglang",
            Document(
                R"([{"text":"a","meta_info":{"finish_reason":{"type":"stop"},"prompt_tokens":3,"completion_tokens":2}},{"text":"b","meta_info":{"finish_reason":{"type":"length"},"prompt_tokens":3,"completion_tokens":5}}])"),
            "", "ab", "length prompt:3 output:7 not_streamed"},
        Row{"flat error document", "sglang",
            Document(R"({"object":"error","message":"bad","type":"X","code":400})"), "", "",
            "not_streamed error=server_error_event", "bad (code 400, type X)"}),
    TestName);

INSTANTIATE_TEST_SUITE_P(
    LlamaCpp, WireFormatRows,
    testing::Values(
        Row{"stream",
            "llamacpp",
            {R"(data: {"index":0,"content":" flows","tokens":[298],"stop":false,"id_slot":-1,"tokens_predicted":1,"tokens_evaluated":4}

:

data: {"index":0,"content":"","tokens":[9],"stop":false,"id_slot":-1,"tokens_predicted":2,"tokens_evaluated":4}

data: {"index":0,"content":" on","tokens":[10],"stop":false,"id_slot":-1,"tokens_predicted":4,"tokens_evaluated":4}

data: {"index":0,"content":"","tokens":[],"stop":true,"stop_type":"limit","tokens_predicted":5,"tokens_evaluated":4,"tokens_cached":8,"truncated":false,"stopping_word":"","timings":{"cache_n":0,"prompt_n":4,"prompt_ms":1.9,"predicted_n":5,"predicted_ms":40.2}}

)"},
            "answer:1 none:1 answer:2",
            " flows on",
            "limit prompt:4 cached:0 output:5 done"},
        Row{"prefill progress",
            "llamacpp",
            {R"(data: {"index":0,"content":"","tokens":[],"stop":false,"tokens_predicted":0,"tokens_evaluated":4,"prompt_progress":{"total":4,"cache":0,"processed":2,"time_ms":3}}

data: {"content":"a","stop":true,"stop_type":"eos","tokens_predicted":1,"tokens_evaluated":4}

)"},
            "answer:1",
            "a",
            "eos prompt:4 output:1 done"},
        Row{"no counts but the last",
            "llamacpp",
            {"data: {\"content\":\"a\",\"stop\":false}\n\ndata: "
             "{\"content\":\"b\",\"stop\":true,\"tokens_predicted\":9}\n\n"},
            "answer answer",
            "ab",
            "output:9 done"},
        Row{"error line",
            "llamacpp",
            {"data: {\"content\":\"a\",\"stop\":false,\"tokens_predicted\":1}\n\nerror: "
             "{\"code\":500,\"message\":\"slot gone\",\"type\":\"server_error\"}\n\n"},
            "answer:1",
            "a",
            "output:1 error=server_error_event",
            "slot gone (code 500, type server_error)"},
        Row{"error event",
            "llamacpp",
            {"data: {\"error\":{\"code\":500,\"message\":\"Context size has been "
             "exceeded.\",\"type\":\"server_error\"}}\n\n"},
            "",
            "",
            "error=server_error_event",
            "Context size has been exceeded. (code 500"},
        Row{"data after the end",
            "llamacpp",
            {"data: {\"content\":\"a\",\"stop\":true}\n\ndata: {\"content\":\"b\",\"stop\":false}\n\n"},
            "answer",
            "a",
            "done done_order"},
        Row{"document", "llamacpp",
            Document(
                R"({"index":0,"content":" flows on","tokens":[1,2],"stop":true,"stop_type":"word","tokens_predicted":64,"tokens_evaluated":4,"timings":{"cache_n":2}})"),
            "", " flows on", "word prompt:4 cached:2 output:64 not_streamed"}),
    TestName);

INSTANTIATE_TEST_SUITE_P(
    Ollama, WireFormatRows,
    testing::Values(
        Row{"stream",
            "ollama",
            {.bytes = "{\"model\":\"tiny\",\"created_at\":\"t\",\"response\":\" flows\",\"done\":false}\n"
                      "{\"model\":\"tiny\",\"created_at\":\"t\",\"response\":\"\",\"thinking\":\"hm\","
                      "\"done\":false}\r\n"
                      "{\"model\":\"tiny\",\"response\":\"\",\"done\":true,\"done_reason\":\"length\","
                      "\"prompt_eval_count\":3,"
                      "\"eval_count\":64,\"eval_duration\":780000000}\n",
             .content_type = "application/x-ndjson"},
            "answer reasoning",
            " flows",
            "length prompt:3 output:64 done"},
        Row{"zero counters left out",
            "ollama",
            {"{\"response\":\"a\",\"done\":false}\n{\"response\":\"\",\"done\":true}"},
            "answer",
            "a",
            "done"},
        Row{"error after text",
            "ollama",
            {"{\"response\":\"a\",\"done\":false}\n{\"error\":\"runner died\"}\n"},
            "answer",
            "a",
            "error=server_error_event",
            "runner died"},
        Row{"cut",
            "ollama",
            {"{\"response\":\"a\",\"done\":false}\n"},
            "answer",
            "a",
            "error=truncated_no_done",
            "neither /done=true nor a finish reason"},
        Row{"not JSON in between",
            "ollama",
            {"{\"response\":\"a\",\"done\":false}\nnginx\n"},
            "answer",
            "a",
            "error=bad_event",
            "nginx"},
        Row{"document", "ollama",
            Document("{\"model\":\"tiny\",\n\"response\":\" "
                     "on\",\"done\":true,\"done_reason\":\"stop\",\"prompt_eval_count\":3,\"eval_count\":2}"),
            "", " on", "stop prompt:3 output:2 not_streamed"},
        Row{"a stream nobody asked for",
            "ollama",
            {.bytes = "{\"response\":\"a\",\"done\":false}\n{\"response\":\"\",\"done\":true}\n",
             .streamed = false,
             .content_type = "application/x-ndjson; charset=utf-8"},
            "answer",
            "a",
            "done"},
        Row{"chat",
            "ollama-chat",
            {R"({"message":{"role":"assistant","content":"","thinking":"hm"},"done":false}
{"message":{"role":"assistant","content":"","tool_calls":[{"function":{"name":"weather","arguments":{"city":"Bonn"}}}]},"done":false}
{"message":{"role":"assistant","content":"Hi"},"done":false}
{"message":{"role":"assistant","content":""},"done_reason":"stop","done":true,"prompt_eval_count":5,"eval_count":9}
)"},
            "reasoning tool answer",
            "Hi",
            "stop prompt:5 output:9 done"},
        Row{"chat pointed at generate",
            "ollama-chat",
            {"{\"response\":\"a\",\"done\":false}\n"},
            "",
            "",
            "error=schema",
            "/message: missing"}),
    TestName);

INSTANTIATE_TEST_SUITE_P(
    MiiAndFastgen, WireFormatRows,
    testing::Values(
        Row{"stream",
            "mii-generate",
            {"data: {\"text\":[\"a\"]}\n\ndata: {\"text\":[\"b\"]}\n\ndata: [DONE]\n\n"},
            "answer answer",
            "ab",
            "done"},
        Row{"document", "mii-generate", Document(R"({"text":["ab"]})"), "", "ab", "not_streamed"},
        Row{"cut",
            "mii-generate",
            {"data: {\"text\":[\"a\"]}\n\n"},
            "answer",
            "a",
            "error=truncated_no_done",
            "[DONE]"},
        Row{"document", "fastgen-rest",
            Document(
                R"([{"finish_reason":"length","generated_length":64,"generated_text":" on","prompt_length":3}])"),
            "", " on", "length prompt:3 output:64 not_streamed"},
        Row{"two answers", "fastgen-rest",
            Document(
                R"([{"generated_length":6,"generated_text":"a"},{"generated_length":7,"generated_text":"b"}])"),
            "", "ab", "output:13 not_streamed"},
        Row{"HTML",
            "fastgen-rest",
            {.bytes = "<!doctype html>", .streamed = false, .content_type = "text/html"},
            "",
            "",
            "error=content_type",
            "text/html"},
        Row{"wrong shape", "fastgen-rest", Document(R"({"response":[]})"), "", "",
            "not_streamed error=schema", "/-/generated_text or /generated_text: missing"}),
    TestName);

INSTANTIATE_TEST_SUITE_P(
    JetStream, WireFormatRows,
    testing::Values(Row{"documents",
                        "jetstream",
                        {.bytes = "{\"text\":\"a}\"}{\"text\": \"\\\"b\"}\n{\"text\":\"\"}",
                         .content_type = "text/event-stream"},
                        "answer answer",
                        "a}\"b",
                        "done"},
                    Row{"document", "jetstream", Document(R"({"response":" flows"})"), "", " flows",
                        "not_streamed"},
                    Row{"document though a stream was asked for",
                        "jetstream",
                        {.bytes = R"({"response":" flows"})", .content_type = "application/json"},
                        "answer",
                        " flows",
                        "done not_streamed"},
                    Row{"detail", "jetstream", Document(R"({"detail":"Internal Server Error"})"), "", "",
                        "not_streamed error=server_error_event", "Internal Server Error"},
                    Row{"torn",
                        "jetstream",
                        {"{\"text\":\"a\"}{\"text\":"},
                        "answer",
                        "a",
                        "error=truncated_no_done",
                        "within an event"},
                    Row{"pretty",
                        "jetstream-v1",
                        {.bytes = R"({
  "initialContent": {}
}{
  "streamContent": {
    "samples": [ { "text": " flows", "tokenIds": [ 311 ] } ]
  }
}{
  "streamContent": { "samples": [ { "text": " on", "tokenIds": [ "9", "14" ] } ] }
}
{
  "streamContent": {}
}{
}
)",
                         .streamed = false,
                         .content_type = "text/event-stream"},
                        "answer:1 answer:2",
                        " flows on",
                        "ids:3 done"},
                    Row{"tokens without text",
                        "jetstream-v1",
                        {"{\"streamContent\":{\"samples\":[{\"text\":\"\",\"tokenIds\":[4]}]}}{"
                         "\"streamContent\":{\"samples\":[{\"text\":\"a\",\"tokenIds\":[5]}]}}"},
                        "none:1 answer:1",
                        "a",
                        "ids:2 done"},
                    Row{"error",
                        "jetstream-v1",
                        {.bytes = "{\"detail\":[{\"loc\":[\"body\",\"top_k\"],\"msg\":\"Extra inputs are not "
                                  "permitted\",\"type\":\"x\"}]}"},
                        "",
                        "",
                        "error=server_error_event",
                        "body.top_k: Extra inputs"}),
    TestName);

INSTANTIATE_TEST_SUITE_P(
    Documents, WireFormatRows,
    testing::Values(
        Row{"0", "aml", Document(R"([{"0":"text"}])"), "", "text", "not_streamed"},
        Row{"string", "aml", Document(R"(["text"])"), "", "text", "not_streamed"},
        Row{"output", "aml", Document(R"({"output":"text"})"), "", "text", "not_streamed"},
        Row{"generated_text", "aml", Document(R"([{"generated_text":"text"}])"), "", "text", "not_streamed"},
        Row{"predictions", "aml", Document(R"({"predictions":["text"]})"), "", "text", "not_streamed"},
        Row{"predictions 0", "aml", Document(R"({"predictions":[{"0":"text"}]})"), "", "text",
            "not_streamed"},
        Row{"pointer of one's own",
            "aml",
            {.bytes = R"({"answer":{"a~b/c":"text"}})",
             .streamed = false,
             .rules = R"({"text":"/answer/a~0b~1c"})"},
            "",
            "text",
            "not_streamed"},
        Row{"error", "aml", Document(R"({"error":{"code":"UserError","message":"bad input"}})"), "", "",
            "not_streamed error=server_error_event", "bad input (code UserError)"},
        Row{"wrong shape", "aml", Document(R"({"x":1})"), "", "", "not_streamed error=schema", "missing"},
        Row{"marker", "transformers",
            Document(R"({"predictions":[[{"generated_text":"Prompt:\nThe river\nOutput:\n flows"}]]})",
                     "The river"),
            "", " flows", "not_streamed"},
        Row{"last of two markers", "transformers",
            Document(R"({"predictions":[[{"generated_text":"\nOutput:\nx\nOutput:\n flows"}]]})",
                     "The river"),
            "", " flows", "not_streamed"},
        Row{"prompt", "transformers",
            Document(R"({"predictions":[[{"generated_text":"The river flows"}]]})", "The river"), "",
            " flows", "not_streamed"},
        Row{"string", "transformers", Document(R"({"predictions":["The river flows"]})", "The river"), "",
            " flows", "not_streamed"},
        Row{"object", "transformers",
            Document(R"({"predictions":[{"generated_text":"flows"}]})", "The river"), "", "flows",
            "not_streamed"},
        Row{"like a completion", "sax", Document(R"({"choices":[{"text":" a","index":0}]})"), "", " a",
            "not_streamed"},
        Row{"scored", "sax", Document(R"({"predictions":[[["text",-1.2],["other",-3]]]})"), "", "text",
            "not_streamed"},
        Row{"plain", "sax", Document(R"({"response":"text"})"), "", "text", "not_streamed"},
        Row{"error", "sax", Document(R"({"error":"no such model"})"), "", "",
            "not_streamed error=server_error_event", "no such model"},
        Row{"severities", "azure-content-safety",
            Document(R"({"blocklistsMatch":[],"categoriesAnalysis":[{"category":"Hate","severity":0}]})"), "",
            "", "not_streamed"},
        Row{"error", "azure-content-safety",
            Document(R"({"error":{"code":"InvalidRequestBody","message":"too long","details":[]}})"), "", "",
            "not_streamed error=server_error_event", "too long (code InvalidRequestBody)"},
        Row{"wrong shape", "azure-content-safety", Document(R"({"choices":[]})"), "", "",
            "not_streamed error=schema", "/categoriesAnalysis or /blocklistsMatch: missing"}),
    TestName);

// What OpenAI's own format does not have, but servers that speak it send.
INSTANTIATE_TEST_SUITE_P(
    OpenAi, WireFormatRows,
    testing::Values(
        Row{"a filter's chunk first",
            "openai-chat",
            {R"(data: {"id":"","object":"","choices":[],"prompt_filter_results":[{"prompt_index":0,"content_filter_results":{}}]}

data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop","content_filter_results":{}}]}

data: [DONE]

)"},
            "answer",
            "a",
            "stop done"},
        Row{"a misspelt role",
            "openai-chat",
            {"data: "
             "{\"choices\":[{\"index\":0,\"delta\":{\"role\":\"asssitant\"},\"finish_reason\":null}]}"
             "\n\ndata: "
             "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}\n\ndata:"
             " [DONE]\n\n"},
            "answer",
            "a",
            "stop done"},
        Row{"empty finish reasons, always usage",
            "openai-completions",
            {"data: {\"choices\":[{\"index\":0,\"text\":\"a\",\"finish_reason\":\"\"}]}\n\ndata: "
             "{\"choices\":[{\"index\":0,\"text\":\"b\",\"finish_reason\":\"length\"}],\"usage\":{\"prompt_"
             "tokens\":3,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n"},
            "answer answer",
            "ab",
            "length prompt:3 output:2 done"},
        Row{"role and content in each",
            "openai-chat",
            {"data: "
             "{\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"a\"},\"finish_"
             "reason\":null}]}\n\ndata: "
             "{\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"b\"},\"finish_"
             "reason\":\"length\"}]}\n\ndata: [DONE]\n\n"},
            "answer answer",
            "ab",
            "length done"},
        Row{"error that is no JSON, no [DONE]",
            "openai-chat",
            {"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: {\"error\": \"it said \"no\" to "
             "us\"}\n\n"},
            "answer",
            "a",
            "error=server_error_event",
            "it said"},
        Row{"no [DONE]",
            "openai-chat",
            {"data: "
             "{\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}],\"usage\":{"
             "\"completion_tokens\":1}}\n\n"},
            "answer:1",
            "a",
            "stop output:1"}),
    TestName);

TEST(WireFormatTest, EveryNameIsAFormat) {
  std::set<std::string> names;
  for (const std::string& name : WireFormat::Names()) {
    EXPECT_TRUE(names.insert(name).second) << name << " twice";
    if (name == "template") continue;
    const auto format = WireFormat::Named(name);
    ASSERT_TRUE(format.ok()) << name << ": " << format.status();
    EXPECT_EQ(format->name(), name);
    EXPECT_FALSE(format->end().empty());
    EXPECT_FALSE(format->counts().empty());
  }
  EXPECT_EQ(WireFormat::Names().back(), "template");
}

TEST(WireFormatTest, TellsWhatItIs) {
  const struct {
    const char* name;
    const char* counts;
    bool finish_reasons;
    const char* end;
  } rows[] = {
      {"openai-chat", "usage", true, "[DONE]"},
      {"tgi", "usage", true, "/generated_text"},
      {"sglang", "cumulative", true, "[DONE]"},
      {"llamacpp", "cumulative", true, "/stop=true"},
      {"jetstream-v1", "token_ids", false, "the end of the body"},
      {"vllm-generate", "none", false, "the end of the body"},
      {"fastgen-rest", "usage", true, "the end of the body"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const auto format = WireFormat::Named(row.name);
    ASSERT_TRUE(format.ok());
    EXPECT_EQ(format->counts(), row.counts);
    EXPECT_EQ(format->finish_reasons(), row.finish_reasons);
    EXPECT_EQ(format->end(), row.end);
  }
}

TEST(WireFormatTest, RefusesWhatItDoesNotKnow) {
  const struct {
    const char* name;
    const char* rules;
    const char* why;
  } rows[] = {
      {"opnai-chat", "", "wire format is 'opnai-chat'; it must be one of openai-completions, openai-chat"},
      {"template", "", "needs rules"},
      {"template", "{}", "name no text"},
      {"template", "{", "no JSON"},
      {"template", "[]", "must be a JSON object"},
      {"template", R"({"text":"choices"})", "has the pointer \"choices\"; it must begin with /"},
      {"template", R"({"text":"/a~2"})", "~ is written ~0"},
      {"template", R"({"text":7})", "wire rule text is 7; it must be a pointer"},
      {"template", R"({"text":{"when":{"/a":1}}})", "has no pointer"},
      {"template", R"({"text":{"pointer":"/a","if":1}})", "a pointer or {"},
      {"template", R"({"text":{"pointer":"/a","when":{"/b":{}}}})", "a value or a list of values"},
      {"template", R"({"text":{"pointer":"/a","when":{}}})", "wire rule text.when is {}"},
      {"template", R"({"text":"/a","framing":"xml"})",
       "is \"xml\"; it must be one of none, sse, ndjson, nul"},
      {"template", R"({"text":"/a","text_mode":"all"})", "it must be one of delta, cumulative, auto"},
      {"template", R"({"text":"/a","count_mode":1})", "it must be one of final, cumulative, per_chunk"},
      {"template", R"({"text":"/a","strip_prompt":"yes"})", "must be true or false"},
      {"template", R"({"text":"/a","strip_until":1})", "must be a string"},
      {"template", R"({"text":"/a","done":""})", "a payload"},
      {"template", R"({"text":"/a","txt":"/b"})", "wire rule txt is unknown; known are framing"},
      {"template", R"({"text":"/a","document":[]})", "must be an object of rules"},
      {"template", R"({"text":"/a","document":{"framing":"sse"}})", "document.framing is unknown"},
      {"template", R"({"text":["/a/-/b","/a/0/b"]})", "one by `-` and one by number"},
      {"template", R"({"text":"/-/-/-/-"})", "more than 3 `-`"},
      {"openai-chat", R"({"text":"/a"})", "no rules to replace"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.rules);
    const auto format = WireFormat::Named(row.name, row.rules);
    ASSERT_FALSE(format.ok());
    EXPECT_EQ(format.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_NE(std::string(format.status().message()).find(row.why), std::string::npos) << format.status();
  }
  std::string many = R"({"text":[)";
  for (int i = 0; i < 70; ++i) many += (i == 0 ? "\"/k" : ",\"/k") + std::to_string(i) + "\"";
  EXPECT_FALSE(WireFormat::FromRules(many + "]}").ok());
}

}  // namespace
}  // namespace llmbench::wire
