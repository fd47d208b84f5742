// Each dialect against a running server: requests, and the very bytes that come back.
#include "llmbench/sim/dialect.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <regex>

#include "http_client.h"
#include "llmbench/base/clock.h"
#include "serving.h"

namespace llmbench::sim {
namespace {

// Chooses the words of the answer.
constexpr const char* kId = "X-Request-Id: q\r\n";

Options Speaking(const std::string& dialect) {
  Options options = Quick();
  EXPECT_TRUE(SetOption("dialect", dialect, &options).ok()) << dialect;
  options.model = "m";
  return options;
}

// Times and rates are made equal.
std::string Timeless(const std::string& text) {
  static const std::regex times(
      R"re("(created|created_at|e2e_latency|prompt_ms|predicted_ms|predicted_per_second|total_duration|prompt_eval_duration)":("[^"]*"|[0-9.e+-]+))re");
  // Ollama leaves out a duration of zero.
  static const std::regex short_time(R"re(,"eval_duration":[0-9]+)re");
  return std::regex_replace(std::regex_replace(text, short_time, ""), times, R"("$1":0)");
}

struct Exchange {
  const char* dialect;
  const char* path;
  const char* body;
  const char* type;  // of the content; empty: none
  const char* reply;
};

constexpr Exchange kStreams[] = {
    {"vllm-generate", "/generate", R"({"prompt":"The \"river\"","max_tokens":2,"stream":true})", "",
     "{\"text\": [\"The \\\"river\\\" roads\"]}\n"
     "{\"text\": [\"The \\\"river\\\" roads sugar\"]}\n"},
    {"tgi", "/generate_stream", R"({"inputs":"a b","parameters":{"max_new_tokens":2,"details":true}})",
     "text/event-stream",
     "data: {\"index\":1,\"token\":{\"id\":68344,\"text\":\" roads\",\"logprob\":-0.5,\"special\":false},"
     "\"generated_text\":null,\"details\":null}\n\n"
     "data: {\"index\":2,\"token\":{\"id\":17733,\"text\":\" sugar\",\"logprob\":-0.5,\"special\":false},"
     "\"generated_text\":\" roads sugar\",\"details\":{\"finish_reason\":\"length\",\"generated_tokens\":2,"
     "\"seed\":null,\"input_length\":2}}\n\n"},
    {"tgi", "/", R"({"inputs":"a b","stream":true,"parameters":{"max_new_tokens":1}})", "text/event-stream",
     "data: {\"index\":1,\"token\":{\"id\":68344,\"text\":\" roads\",\"logprob\":-0.5,\"special\":false},"
     "\"generated_text\":\" roads\",\"details\":null}\n\n"},
    {"tgi", "/v1/chat/completions",
     R"({"messages":[{"role":"user","content":"a"}],"max_tokens":1,"stream":true})",
     "text/event-stream; charset=utf-8",
     "data: {\"id\":\"chatcmpl-q\",\"object\":\"chat.completion.chunk\",\"created\":0,\"model\":\"m\","
     "\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\" heart\"},\"logprobs\":null,"
     "\"finish_reason\":\"length\",\"stop_reason\":null}]}\n\ndata: [DONE]\n\n"},
    {"triton", "/v2/models/ensemble/generate_stream",
     R"({"text_input":"a b","max_tokens":2,"stream":true,"return_log_probs":true})", "text/event-stream",
     "data: "
     "{\"model_name\":\"ensemble\",\"model_version\":\"1\",\"cum_log_probs\":-0.5,\"output_log_probs\":-0.5,"
     "\"sequence_end\":false,\"sequence_id\":0,\"sequence_start\":false,\"text_output\":\" roads\"}\n\n"
     "data: "
     "{\"model_name\":\"ensemble\",\"model_version\":\"1\",\"cum_log_probs\":-0.5,\"output_log_probs\":-0.5,"
     "\"sequence_end\":false,\"sequence_id\":0,\"sequence_start\":false,\"text_output\":\" sugar\"}\n\n"},
    {"triton", "/v2/models/ensemble/versions/1/generate_stream", R"({"text_input":"a b","max_tokens":2})",
     "text/event-stream",
     "data: {\"model_name\":\"ensemble\",\"model_version\":\"1\",\"sequence_end\":false,\"sequence_id\":0,"
     "\"sequence_start\":false,\"text_output\":\" roads sugar\"}\n\n"},
    {"sglang", "/generate", R"({"text":"a b","sampling_params":{"max_new_tokens":2},"stream":true})",
     "text/event-stream; charset=utf-8",
     "data: {\"text\":\" roads\",\"output_ids\":[68344],\"meta_info\":{\"id\":\"q\",\"finish_reason\":null,"
     "\"prompt_tokens\":2,\"completion_tokens\":1,\"cached_tokens\":0}}\n\n"
     "data: {\"text\":\" roads sugar\",\"output_ids\":[17733],\"meta_info\":{\"id\":\"q\",\"finish_reason\":"
     "{\"type\":\"length\",\"length\":2},\"prompt_tokens\":2,\"completion_tokens\":2,\"cached_tokens\":0,"
     "\"e2e_latency\":0}}\n\n"
     "data: [DONE]\n\n"},
    {"llamacpp", "/completion", R"({"prompt":"a b","n_predict":1,"stream":true})", "text/event-stream",
     "data: {\"index\":0,\"content\":\" roads\",\"tokens\":[68344],\"stop\":false,\"id_slot\":-1,"
     "\"tokens_predicted\":1,\"tokens_evaluated\":2}\n\n"
     "data: {\"index\":0,\"content\":\"\",\"tokens\":[],\"id_slot\":0,\"stop\":true,\"model\":\"m\","
     "\"tokens_predicted\":1,\"tokens_evaluated\":2,\"tokens_cached\":2,\"truncated\":false,"
     "\"stop_type\":\"limit\",\"stopping_word\":\"\",\"timings\":{\"prompt_n\":2,\"prompt_ms\":0,"
     "\"predicted_n\":1,\"predicted_ms\":0,\"predicted_per_second\":0}}\n\n"},
    {"ollama", "/api/generate", R"({"model":"m","prompt":"a b","options":{"num_predict":1}})",
     "application/x-ndjson",
     "{\"model\":\"m\",\"created_at\":0,\"response\":\" roads\",\"done\":false}\n"
     "{\"model\":\"m\",\"created_at\":0,\"response\":\"\",\"done\":true,\"done_reason\":\"length\","
     "\"total_duration\":0,\"prompt_eval_count\":2,\"prompt_eval_duration\":0,\"eval_count\":1}\n"},
    {"ollama", "/api/chat",
     R"({"model":"m","messages":[{"role":"user","content":"a"}],"options":{"num_predict":1}})",
     "application/x-ndjson",
     "{\"model\":\"m\",\"created_at\":0,\"message\":{\"role\":\"assistant\",\"content\":\" "
     "roads\"},\"done\":false}\n"
     "{\"model\":\"m\",\"created_at\":0,\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":true,"
     "\"done_reason\":\"length\",\"total_duration\":0,\"prompt_eval_count\":8,\"prompt_eval_duration\":0,"
     "\"eval_count\":1}\n"},
    {"mii", "/generate", R"({"prompt":"a","max_tokens":2,"stream":true})", "text/event-stream; charset=utf-8",
     "data: {\"text\": [\" roads\"]}\n\ndata: {\"text\": [\" sugar\"]}\n\ndata: [DONE]\n\n"},
    {"mii", "/v1/completions",
     R"({"prompt":"a","max_tokens":1,"stream":true,"stream_options":{"include_usage":true}})",
     "text/event-stream; charset=utf-8",
     "data: {\"id\":\"cmpl-q\",\"object\":\"text_completion\",\"created\":0,\"model\":\"m\",\"choices\":"
     "[{\"index\":0,\"text\":\" "
     "judge\",\"logprobs\":null,\"finish_reason\":\"length\",\"stop_reason\":null}],"
     "\"usage\":null}\n\ndata: [DONE]\n\n"},
    {"jetstream", "/generate", R"({"prompt":"a","max_tokens":2,"stream":true})",
     "text/event-stream; charset=utf-8", R"({"text": " roads"}{"text": " sugar"})"},
    {"jetstream-v1", "/v1/generate", R"({"text_content":{"text":"a"},"max_tokens":1})",
     "text/event-stream; charset=utf-8",
     "{\n  \"streamContent\": {\n    \"samples\": [\n      {\n        \"text\": \" roads\",\n"
     "        \"tokenIds\": [\n          68344\n        ]\n      }\n    ]\n  }\n}"
     "{\n  \"streamContent\": {}\n}"},
    {"openai", "/v1/messages",
     R"({"model":"m","max_tokens":1,"system":"b","messages":[{"role":"user","content":[{"type":"text","text":"a"}]}],"stream":true})",
     "text/event-stream; charset=utf-8",
     "event: message_start\ndata: "
     "{\"type\":\"message_start\",\"message\":{\"id\":\"msg_q\",\"type\":\"message\","
     "\"role\":\"assistant\",\"model\":\"m\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,"
     "\"usage\":{\"input_tokens\":13,\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0,"
     "\"output_tokens\":1}}}\n\n"
     "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":"
     "{\"type\":\"text\",\"text\":\"\"}}\n\n"
     "event: ping\ndata: {\"type\": \"ping\"}\n\n"
     "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":"
     "{\"type\":\"text_delta\",\"text\":\" ideas\"}}\n\n"
     "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n"
     "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"max_tokens\","
     "\"stop_sequence\":null},\"usage\":{\"input_tokens\":13,\"cache_creation_input_tokens\":0,"
     "\"cache_read_input_tokens\":0,\"output_tokens\":1}}\n\n"
     "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"},
};

constexpr Exchange kDocuments[] = {
    {"vllm-generate", "/generate", R"({"prompt":"a","max_tokens":2,"n":2})", "application/json",
     R"({"text": ["a roads sugar", "a zebra apple"]})"},
    {"tgi", "/generate", R"({"inputs":"a","parameters":{"max_new_tokens":1,"details":true}})",
     "application/json",
     R"({"generated_text":" roads","details":{"finish_reason":"length","generated_tokens":1,"seed":null,)"
     R"("prefill":[],"tokens":[{"id":68344,"text":" roads","logprob":-0.5,"special":false}]}})"},
    {"tgi", "/", R"({"inputs":"a b","parameters":{"max_new_tokens":1,"return_full_text":true}})",
     "application/json", R"([{"generated_text":"a b roads"}])"},
    {"triton", "/v2/models/m/generate", R"({"text_input":"a","max_tokens":2,"parameters":{"x":1}})",
     "application/json",
     R"({"model_name":"m","model_version":"1","sequence_end":false,"sequence_id":0,"sequence_start":false,)"
     R"("text_output":" roads sugar"})"},
    {"sglang", "/generate", R"({"text":["a","b"],"sampling_params":{"max_new_tokens":1}})",
     "application/json",
     R"([{"text":" roads","output_ids":[68344],"meta_info":{"id":"q","finish_reason":{"type":"length","length":1},)"
     R"("prompt_tokens":1,"completion_tokens":1,"cached_tokens":0,"e2e_latency":0}},)"
     R"({"text":" zebra","output_ids":[22095],"meta_info":{"id":"q","finish_reason":{"type":"length","length":1},)"
     R"("prompt_tokens":1,"completion_tokens":1,"cached_tokens":0,"e2e_latency":0}}])"},
    {"llamacpp", "/completions", R"({"prompt":"a","n_predict":2,"return_tokens":true})", "application/json",
     R"({"index":0,"content":" roads sugar","tokens":[68344,17733],"id_slot":0,"stop":true,"model":"m",)"
     R"("tokens_predicted":2,"tokens_evaluated":1,"tokens_cached":2,"truncated":false,"stop_type":"limit",)"
     R"("stopping_word":"","timings":{"prompt_n":1,"prompt_ms":0,"predicted_n":2,"predicted_ms":0,)"
     R"("predicted_per_second":0}})"},
    {"mii", "/generate", R"({"prompt":"a","max_tokens":1})", "application/json", R"({"text":[" roads"]})"},
    {"fastgen-rest", "/mii/d", R"({"prompts":["a b","c"],"max_new_tokens":1})", "application/json",
     "[{\"finish_reason\":\"length\",\"generated_length\":1,\"generated_text\":\" "
     "roads\",\"prompt_length\":2},"
     "{\"finish_reason\":\"length\",\"generated_length\":1,\"generated_text\":\" "
     "zebra\",\"prompt_length\":1}]\n"},
    {"fastgen-rest", "/mii/d", R"({"prompts":["a b"],"max_length":4})", "application/json",
     "[{\"finish_reason\":\"length\",\"generated_length\":2,\"generated_text\":\" roads sugar\","
     "\"prompt_length\":2}]\n"},
    {"aml", "/score", R"({"input_data":{"input_string":["a"],"parameters":{"max_new_tokens":1}}})",
     "application/json", R"([{"0":" roads"}])"},
    {"transformers", "/v1/endpoints/7:predict", R"({"instances":[{"prompt":"The river","max_length":4}]})",
     "application/json",
     R"({"predictions":[[{"generated_text":"Prompt:\nThe river\nOutput:\n roads sugar"}]]})"},
    {"jetstream", "/generate", R"({"prompt":"a","max_tokens":1})", "application/json",
     R"({"response":" roads"})"},
    {"sax", "/generate", R"({"query":"a","extra_inputs":{"per_example_max_decode_steps":1}})",
     "application/json", R"({"choices":[{"index":0,"text":" roads"}]})"},
    {"sax", "/predict",
     R"({"instances":[{"text":"a","extra_inputs":{"per_example_max_decode_steps":1}},{"text":"b"}]})",
     "application/json", R"({"predictions":[[[" roads",-1.2]],[[" zebra",-1.2]]]})"},
    {"azure-content-safety", "/contentsafety/text:analyze?api-version=2024-09-01",
     R"({"text":"some violence","categories":["Hate","Violence"],"outputType":"EightSeverityLevels"})",
     "application/json",
     R"({"blocklistsMatch":[],"categoriesAnalysis":[{"category":"Hate","severity":0},)"
     R"({"category":"Violence","severity":5}]})"},
    {"openai", "/v1/messages", R"({"model":"m","max_tokens":1,"messages":[{"role":"user","content":"a"}]})",
     "application/json",
     R"({"id":"msg_q","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":" ideas"}],)"
     R"("stop_reason":"max_tokens","stop_sequence":null,"usage":{"input_tokens":8,"cache_creation_input_tokens":0,)"
     R"("cache_read_input_tokens":0,"output_tokens":1}})"},
};

void ExpectExchange(const Exchange& c) {
  Serving serving(Speaking(c.dialect));
  HttpClient client(serving.port());
  const HttpReply reply = client.Post(c.path, c.body, kId);
  EXPECT_TRUE(reply.whole) << c.dialect;
  EXPECT_EQ(reply.status, 200) << c.dialect << ' ' << reply.body;
  EXPECT_EQ(Timeless(reply.body), c.reply) << c.dialect << ' ' << c.path;
  const std::string type = *c.type == '\0' ? "" : std::string("content-type: ") + c.type + "\r\n";
  EXPECT_NE(reply.head.find(type), std::string::npos) << c.dialect << ' ' << reply.head;
  EXPECT_EQ(reply.head.find("content-type:") == std::string::npos, type.empty()) << c.dialect;
}

TEST(DialectTest, StreamsInItsWords) {
  for (const Exchange& c : kStreams) ExpectExchange(c);
}

TEST(DialectTest, AnswersInOnePieceInItsWords) {
  for (const Exchange& c : kDocuments) ExpectExchange(c);
}

TEST(DialectTest, ResponsesAreNumberedAndNamedEvents) {
  Serving serving(Speaking("openai"));
  HttpClient client(serving.port());
  const HttpReply reply =
      client.Post("/v1/responses", R"({"input":"a","max_output_tokens":2,"stream":true})");
  const char* const kNames[] = {"response.created",           "response.in_progress",
                                "response.output_item.added", "response.content_part.added",
                                "response.output_text.delta", "response.output_text.delta",
                                "response.output_text.done",  "response.content_part.done",
                                "response.output_item.done",  "response.incomplete"};
  const auto events = reply.events();
  ASSERT_EQ(events.size(), std::size(kNames));
  for (size_t i = 0; i < events.size(); ++i) {
    const std::string start =
        std::string(R"({"type":")") + kNames[i] + R"(","sequence_number":)" + std::to_string(i) + ",";
    EXPECT_EQ(events[i].substr(0, start.size()), start);
    EXPECT_NE(reply.body.find(std::string("event: ") + kNames[i] + "\ndata: "), std::string::npos);
  }
  EXPECT_NE(
      events[9].find(R"("input_tokens":8,"input_tokens_details":{"cached_tokens":0},"output_tokens":2)"),
      std::string::npos)
      << events[9];
}

TEST(DialectTest, ReasoningHasABlockOfItsOwn) {
  Options options = Speaking("openai");
  options.reasoning_tokens = 2;
  Serving serving(options);
  HttpClient client(serving.port());
  std::string body =
      client
          .Post("/v1/messages",
                R"({"model":"m","max_tokens":4,"messages":[{"role":"user","content":"a"}],"stream":true})")
          .body;
  EXPECT_EQ(Count(body, "\"thinking_delta\""), 2u);
  EXPECT_EQ(Count(body, "\"text_delta\""), 2u);
  EXPECT_EQ(Count(body, R"("type":"content_block_stop","index":0})"), 1u);
  EXPECT_EQ(Count(body, R"("type":"content_block_start","index":1,)"), 1u);
  EXPECT_EQ(Count(body, R"("type":"content_block_stop","index":1})"), 1u);
  body = client.Post("/v1/responses", R"({"input":"a","max_output_tokens":4,"stream":true})").body;
  EXPECT_EQ(Count(body, "event: response.reasoning_text.delta"), 2u);
  EXPECT_EQ(Count(body, "event: response.output_text.delta"), 2u);
  EXPECT_EQ(Count(body, "event: response.output_item.done"), 2u);
  EXPECT_NE(body.find(R"("output_tokens_details":{"reasoning_tokens":2})"), std::string::npos);
}

TEST(DialectTest, AnEarlyEndIsToldInItsWords) {
  const struct {
    const char* dialect;
    const char* path;
    const char* body;
    const char* part;
  } kCases[] = {
      {"tgi", "/generate_stream", R"({"inputs":"a","parameters":{"details":true}})",
       R"("text":"</s>","logprob":-0.1,"special":true},"generated_text":"","details":{"finish_reason":"eos_token","generated_tokens":1)"},
      {"sglang", "/generate", R"({"text":"a","stream":true})",
       R"("finish_reason":{"type":"stop","matched":2})"},
      {"llamacpp", "/completion", R"({"prompt":"a","stream":true})", R"("stop_type":"eos")"},
      {"ollama", "/api/generate", R"({"model":"m","prompt":"a"})", R"("done_reason":"stop")"},
      {"fastgen-rest", "/mii/d", R"({"prompts":["a"]})", R"("finish_reason":"stop")"},
      {"openai", "/v1/messages", R"({"model":"m","max_tokens":9,"messages":[{"role":"user","content":"a"}]})",
       R"("stop_reason":"end_turn")"},
      {"openai", "/v1/responses", R"({"input":"a","stream":true})", "event: response.completed\n"},
      // MII does not let anybody ignore the end.
      {"mii", "/v1/completions", R"({"prompt":"a","ignore_eos":true})", R"("finish_reason":"stop")"},
      {"triton", "/v2/models/m/generate", R"({"text_input":"a","max_tokens":3,"end_id":-1})",
       R"("text_output":" roads sugar train")"},
  };
  for (const auto& c : kCases) {
    Options options = Speaking(c.dialect);
    options.eos_probability = 1;
    Serving serving(options);
    HttpClient client(serving.port());
    const HttpReply reply = client.Post(c.path, c.body, kId);
    EXPECT_NE(reply.body.find(c.part), std::string::npos) << c.dialect << '\n' << reply.body;
  }
}

TEST(DialectTest, RefusesInItsWords) {
  const struct {
    const char* dialect;
    const char* path;
    const char* body;
    const char* headers;
    int status;
    const char* reply;  // empty: an empty body
  } kCases[] = {
      {"vllm-generate", "/generate", R"({"prompt":"a","best_of":2})", "", 500, "Internal Server Error"},
      {"vllm-generate", "/generate", "{", "", 500, "Internal Server Error"},
      {"tgi", "/generate", R"({"inputs":"a","parameters":{"top_p":1.0}})", "", 422,
       R"({"error":"Input validation error: `top_p` must be > 0.0 and < 1.0","error_type":"validation"})"},
      {"tgi", "/generate_stream", R"({"inputs":"a","parameters":{"max_new_tokens":0}})", "", 200,
       "data: {\"error\":\"Input validation error: parameters.max_new_tokens must be at least 1, got 0.\","
       "\"error_type\":\"validation\"}\n\n"},
      {"tgi", "/generate", R"({"inputs":"a"})", "X-Sim-Fault: 429\r\n", 429,
       R"({"error":"Model is overloaded: injected fault","error_type":"overloaded"})"},
      {"tgi", "/generate_stream", R"({"inputs":"a"})", "X-Sim-Fault: 429\r\n", 200,
       "data: {\"error\":\"Model is overloaded: injected fault\",\"error_type\":\"overloaded\"}\n\n"},
      {"triton", "/v2/models/m/generate", R"({"text_input":"a","best_of":1})", "", 400,
       R"({"error":"unexpected inference input 'best_of' for model 'm'"})"},
      {"triton", "/v2/models/m/generate", R"({"text_input":"a","stream":true})", "", 400,
       R"({"error":"generate expects model to produce exactly 1 response, use generate stream for models that generate various number of responses"})"},
      {"sglang", "/generate", R"({"text":"a","sampling_params":{"max_new_tokens":0}})", "", 400,
       R"({"error":{"message":"sampling_params.max_new_tokens must be at least 1, got 0."}})"},
      {"sglang", "/generate", "[]", "", 400,
       R"({"object":"error","message":"The request body must be a JSON object.","type":"BadRequestError","param":null,"code":400})"},
      {"llamacpp", "/completion", "{}", "", 400,
       R"({"error":{"code":400,"message":"Field required: 'prompt'.","type":"invalid_request_error"}})"},
      {"llamacpp", "/completion", R"({"prompt":"a"})", "X-Sim-Fault: 503\r\n", 503,
       R"({"error":{"code":503,"message":"injected fault","type":"unavailable_error"}})"},
      {"ollama", "/api/generate", R"({"prompt":"a"})", "", 400, R"({"error":"model is required"})"},
      {"ollama", "/api/generate", R"({"model":"m","prompt":"a"})", "X-Sim-Fault: 503\r\n", 503,
       R"({"error":"injected fault"})"},
      {"mii", "/generate", "{}", "", 422,
       R"({"detail":[{"type":"value_error","loc":["body","prompt"],"msg":"Field required: 'prompt'."}]})"},
      {"jetstream", "/generate", "{}", "", 500, R"({"detail":"Field required: 'prompt'."})"},
      {"jetstream-v1", "/v1/generate", R"({"text_content":{"text":"a"},"max_tokens":1,"top_k":1})", "", 422,
       R"({"detail":[{"type":"extra_forbidden","loc":["body","top_k"],"msg":"Extra inputs are not permitted"}]})"},
      {"jetstream-v1", "/v1/generate", R"({"text_content":{"text":"a"}})", "", 422,
       R"({"detail":[{"type":"missing","loc":["body","max_tokens"],"msg":"Field required"}]})"},
      {"sax", "/predict", R"({"instances":[]})", "", 400,
       R"({"error":"Field required: 'instances[].text'."})"},
      {"aml", "/score", "{}", "", 424, R"({"message":"Field required: 'input_data.input_string'."})"},
      {"azure-content-safety", "/contentsafety/text:analyze", R"({"text":"a"})", "", 404,
       R"({"error":{"code":"404","message":"Resource not found"}})"},
      {"azure-content-safety", "/contentsafety/text:analyze?api-version=1", R"({"text":"a"})",
       "X-Sim-Fault: 429\r\n", 429, R"({"error":{"code":"TooManyRequests","message":"injected fault"}})"},
      {"openai", "/v1/messages", R"({"model":"m","messages":[{"role":"user","content":"a"}]})", "", 400,
       R"({"type":"error","error":{"type":"invalid_request_error","message":"Field required: 'max_tokens'."}})"},
      {"openai", "/v1/messages", R"({"model":"m","max_tokens":1,"messages":[{"role":"user","content":"a"}]})",
       "X-Sim-Fault: 529\r\n", 529,
       R"({"type":"error","error":{"type":"overloaded_error","message":"injected fault"}})"},
  };
  for (const auto& c : kCases) {
    Serving serving(Speaking(c.dialect));
    HttpClient client(serving.port());
    const HttpReply reply = client.Post(c.path, c.body, c.headers);
    EXPECT_EQ(reply.status, c.status) << c.dialect << ' ' << c.body;
    EXPECT_EQ(reply.body, c.reply) << c.dialect << ' ' << c.body;
  }
}

TEST(DialectTest, PagesOfErrorsNameTheStatus) {
  const struct {
    const char* dialect;
    const char* path;
    const char* body;
    const char* headers;
    int status;
  } kCases[] = {
      {"fastgen-rest", "/mii/d", "{", "", 400},
      {"fastgen-rest", "/mii/d", "{}", "", 500},
      {"fastgen-rest", "/nothing", "{}", "", 404},
      {"transformers", "/predict", "{}", "", 500},
      {"transformers", "/predict", R"({"instances":[{"prompt":"a"}]})", "X-Sim-Fault: 408\r\n", 408},
  };
  for (const auto& c : kCases) {
    Serving serving(Speaking(c.dialect));
    HttpClient client(serving.port());
    const HttpReply reply = client.Post(c.path, c.body, c.headers);
    EXPECT_EQ(reply.status, c.status) << c.dialect << ' ' << c.body;
    EXPECT_NE(reply.head.find("content-type: text/html"), std::string::npos) << c.dialect;
    EXPECT_NE(reply.body.find("<title>" + std::to_string(c.status) + ' '), std::string::npos) << reply.body;
  }
}

TEST(DialectTest, AsksForTheKeyWhereAndHowItsServerDoes) {
  setenv("LLMBENCH_SIM_TEST_KEY", "secret", 1);
  const struct {
    const char* dialect;
    const char* path;
    const char* body;
    const char* key;
    const char* words;  // without it; null: no key is asked for
  } kCases[] = {
      {"tgi", "/generate", R"({"inputs":"a"})", "Authorization: Bearer secret\r\n", ""},
      {"sglang", "/generate", R"({"text":"a"})", "Authorization: Bearer secret\r\n",
       R"({"error":"Unauthorized"})"},
      {"llamacpp", "/completion", R"({"prompt":"a"})", "X-Api-Key: secret\r\n",
       R"({"error":{"code":401,"message":"Invalid API Key","type":"authentication_error"}})"},
      {"aml", "/score", R"({"input_data":{"input_string":["a"]}})", "Authorization: Bearer secret\r\n",
       R"("key_auth_bad_header_forbidden")"},
      {"azure-content-safety", "/contentsafety/text:analyze?api-version=1", R"({"text":"a"})",
       "Ocp-Apim-Subscription-Key: secret\r\n", "Access denied due to invalid subscription key"},
      {"mii", "/generate", R"({"prompt":"a"})", "Authorization: Bearer secret\r\n",
       R"("code":"invalid_api_key")"},
      {"openai", "/v1/messages", R"({"model":"m","max_tokens":1,"messages":[{"role":"user","content":"a"}]})",
       "X-Api-Key: secret\r\n",
       R"({"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}})"},
      {"ollama", "/api/generate", R"({"model":"m","prompt":"a"})", "", nullptr},
      {"triton", "/v2/models/m/generate", R"({"text_input":"a"})", "", nullptr},
      {"vllm-generate", "/generate", R"({"prompt":"a"})", "", nullptr},
  };
  for (const auto& c : kCases) {
    Options options = Speaking(c.dialect);
    options.api_key_env = "LLMBENCH_SIM_TEST_KEY";
    Serving serving(options);
    HttpClient client(serving.port());
    if (c.words != nullptr) {
      const HttpReply refused = client.Post(c.path, c.body);
      EXPECT_EQ(refused.status, 401) << c.dialect;
      EXPECT_NE(refused.body.find(c.words), std::string::npos) << c.dialect << ' ' << refused.body;
    }
    EXPECT_EQ(client.Post(c.path, c.body, c.key).status, 200) << c.dialect;
  }
}

TEST(DialectTest, HasItsPages) {
  const struct {
    const char* dialect;
    const char* path;
    int status;
    const char* part;
  } kCases[] = {
      {"vllm-generate", "/health", 200, ""},
      {"tgi", "/health", 200, ""},
      {"tgi", "/info", 200, R"("model_id":"m")"},
      {"triton", "/v2/health/ready", 200, ""},
      {"triton", "/v2/models/ensemble/ready", 200, ""},
      {"triton", "/v2/models/ensemble", 200, R"("name":"text_input")"},
      {"sglang", "/health_generate", 200, ""},
      {"sglang", "/get_model_info", 200, R"("model_path":"m")"},
      {"sglang", "/get_server_info", 200, R"("num_running_reqs":0)"},
      {"sglang", "/flush_cache", 200, "Cache flushed."},
      {"llamacpp", "/health", 200, R"({"status":"ok"})"},
      {"llamacpp", "/props", 200, R"("model_path":"m")"},
      {"llamacpp", "/slots", 200, R"([{"id":0,"is_processing":false}])"},
      {"ollama", "/api/version", 200, "version"},
      {"ollama", "/api/tags", 200, R"("name":"m")"},
      {"ollama", "/api/ps", 200, R"("name":"m")"},
      {"ollama", "/", 200, "Ollama is running"},
      {"fastgen-rest", "/healthz", 200, "ok"},
      {"aml", "/", 200, "Healthy"},
      {"transformers", "/health", 200, "ok"},
      {"jetstream-v1", "/v1/health", 200, R"({"is_live":"True"})"},
      {"sax", "/health", 200, R"({"model_status":{"status":"AVAILABLE"}})"},
      {"tgi", "/generate", 405, ""},
      {"sglang", "/nothing", 404, "Not Found"},
      {"ollama", "/nothing", 404, "404 page not found"},
  };
  for (const auto& c : kCases) {
    Serving serving(Speaking(c.dialect));
    HttpClient client(serving.port());
    const HttpReply reply = client.Get(c.path);
    EXPECT_EQ(reply.status, c.status) << c.dialect << ' ' << c.path;
    EXPECT_NE(reply.body.find(c.part), std::string::npos) << c.dialect << ' ' << c.path << ": " << reply.body;
  }
}

TEST(DialectTest, EveryServerHasTheOpenAiPathsToo) {
  for (const OptionInfo& info : OptionTable()) {
    if (info.name != "dialect") continue;
    ASSERT_FALSE(info.choices.empty());
    for (const std::string& dialect : info.choices) {
      Serving serving(Speaking(dialect));
      HttpClient client(serving.port());
      const HttpReply reply =
          client.Post("/v1/completions", R"({"prompt":"a","max_tokens":3,"stream":true})");
      EXPECT_EQ(Count(reply.body, "\"text\":\" "), 3u) << dialect;
      EXPECT_EQ(Count(reply.body, "data: [DONE]"), 1u) << dialect;
      EXPECT_EQ(client.Get("/v1/models").status, 200) << dialect;
      EXPECT_EQ(client.Get("/metrics").status, 200) << dialect;
      EXPECT_EQ(client.Get("/health").status, 200) << dialect;
    }
  }
}

TEST(DialectTest, ErrorsInMidStreamAreInItsWords) {
  const struct {
    const char* dialect;
    const char* path;
    const char* body;
    const char* words;  // empty: it breaks off
  } kCases[] = {
      {"vllm-generate", "/generate", R"({"prompt":"a","max_tokens":4,"stream":true})", ""},
      {"tgi", "/generate_stream", R"({"inputs":"a","parameters":{"max_new_tokens":4}})",
       "data: {\"error\":\"Request failed during generation: injected "
       "fault\",\"error_type\":\"generation\"}\n\n"},
      {"triton", "/v2/models/m/generate_stream", R"({"text_input":"a","max_tokens":4,"stream":true})",
       "data: {\"error\":\"injected fault\"}\n\n"},
      {"sglang", "/generate", R"({"text":"a","sampling_params":{"max_new_tokens":4},"stream":true})",
       "data: {\"error\":{\"message\":\"injected fault\"}}\n\ndata: [DONE]\n\n"},
      {"llamacpp", "/completion", R"({"prompt":"a","n_predict":4,"stream":true})",
       "error: {\"code\":500,\"message\":\"injected fault\",\"type\":\"server_error\"}\n\n"},
      {"ollama", "/api/generate", R"({"model":"m","prompt":"a","options":{"num_predict":4}})",
       "{\"error\":\"injected fault\"}\n"},
      {"mii", "/generate", R"({"prompt":"a","max_tokens":4,"stream":true})", "data: {\"object\":\"error\","},
      {"jetstream", "/generate", R"({"prompt":"a","max_tokens":4,"stream":true})", ""},
      {"jetstream-v1", "/v1/generate", R"({"text_content":{"text":"a"},"max_tokens":4})", ""},
      {"openai", "/v1/messages",
       R"({"model":"m","max_tokens":4,"messages":[{"role":"user","content":"a"}],"stream":true})",
       "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"injected "
       "fault\"}}"},
      {"openai", "/v1/responses", R"({"input":"a","max_output_tokens":4,"stream":true})",
       "event: error\ndata: {\"type\":\"error\",\"sequence_number\":6,\"code\":\"server_error\""},
      {"tgi", "/v1/completions", R"({"prompt":"a","max_tokens":4,"stream":true})",
       "data: {\"error\":{\"message\":\"injected fault\",\"http_status_code\":424}}\n\ndata: [DONE]\n\n"},
  };
  for (const auto& c : kCases) {
    for (const char* fault : {"error-mid", "error-last"}) {
      Serving serving(Speaking(c.dialect));
      HttpClient client(serving.port());
      const HttpReply reply = client.Post(c.path, c.body, std::string("X-Sim-Fault: ") + fault + "\r\n");
      const bool breaks = *c.words == '\0';
      EXPECT_EQ(reply.status, 200) << c.dialect;
      EXPECT_EQ(reply.whole, !breaks) << c.dialect;
      EXPECT_FALSE(reply.body.empty()) << c.dialect;
      if (fault == std::string("error-mid")) {
        EXPECT_NE(reply.body.find(c.words), std::string::npos) << c.dialect << '\n' << reply.body;
      }
      if (breaks) {
        EXPECT_TRUE(client.Closed()) << c.dialect;
      } else {
        EXPECT_EQ(client.Get("/metrics").status, 200) << c.dialect;
      }
    }
  }
}

TEST(DialectTest, WrongEventsAreThoseOfTheDialect) {
  const struct {
    const char* dialect;
    const char* path;
    const char* body;
    const char* unfinished;
  } kCases[] = {
      {"vllm-generate", "/generate", R"({"prompt":"a","max_tokens":4,"stream":true})",
       "{\"text\": [\"unfinished\n"},
      {"tgi", "/generate_stream", R"({"inputs":"a","parameters":{"max_new_tokens":4}})",
       "data: {\"index\":0,\"token\":{\"id\":0,\"text\":\"unfinished\n\n"},
      {"ollama", "/api/generate", R"({"model":"m","prompt":"a","options":{"num_predict":4}})",
       "\"response\":\"unfinished\n"},
      {"sglang", "/generate", R"({"text":"a","sampling_params":{"max_new_tokens":4},"stream":true})",
       "data: {\"text\":\"unfinished\n\n"},
      {"openai", "/v1/messages",
       R"({"model":"m","max_tokens":4,"messages":[{"role":"user","content":"a"}],"stream":true})",
       "\"text\":\"unfinished\n\n"},
  };
  for (const auto& c : kCases) {
    Serving serving(Speaking(c.dialect));
    HttpClient client(serving.port());
    EXPECT_NE(client.Post(c.path, c.body, "X-Sim-Fault: bad-json\r\n").body.find(c.unfinished),
              std::string::npos)
        << c.dialect;
    EXPECT_NE(client.Post(c.path, c.body, "X-Sim-Fault: bad-utf8\r\n").body.find("\xff\xfe"),
              std::string::npos)
        << c.dialect;
    EXPECT_GT(client.Post(c.path, c.body, "X-Sim-Fault: huge-event\r\n").body.size(), 10'000'000u)
        << c.dialect;
    EXPECT_TRUE(client.Post(c.path, c.body, "X-Sim-Fault: schema\r\n").whole) << c.dialect;
  }
}

TEST(DialectTest, TheTruthLogCountsInEveryDialect) {
  const struct {
    const char* dialect;
    const char* path;
    const char* body;
    std::vector<int64_t> tokens;
  } kCases[] = {
      {"vllm-generate", "/generate", R"({"prompt":"a","max_tokens":5,"stream":true})", {1, 2, 2}},
      {"tgi", "/generate_stream", R"({"inputs":"a","parameters":{"max_new_tokens":5}})", {1, 1, 1, 1, 1}},
      {"triton",
       "/v2/models/m/generate_stream",
       R"({"text_input":"a","max_tokens":5,"stream":true})",
       {1, 2, 2}},
      {"triton", "/v2/models/m/generate_stream", R"({"text_input":"a","max_tokens":5})", {5}},
      {"ollama",
       "/api/chat",
       R"({"model":"m","messages":[{"role":"user","content":"a"}],"options":{"num_predict":5}})",
       {1, 2, 2}},
      {"llamacpp", "/completion", R"({"prompt":"a","n_predict":5,"stream":true})", {1, 2, 2}},
      {"jetstream-v1", "/v1/generate", R"({"text_content":{"text":"a"},"max_tokens":5})", {1, 2, 2}},
      {"sax", "/generate", R"({"prompt":"a","max_tokens":5})", {5}},
      {"openai", "/v1/responses", R"({"input":"a","max_output_tokens":5,"stream":true})", {1, 2, 2}},
  };
  for (const bool fixed : {true, false}) {
    for (const auto& c : kCases) {
      Options options = Speaking(c.dialect);
      options.fixed = fixed;
      options.step_ms = 0.1;
      if (!fixed) options.model.clear();
      options.tokens_per_event = 2;
      options.truth = TempPath("dialect-truth");
      {
        Serving serving(options);
        HttpClient client(serving.port());
        EXPECT_EQ(client.Post(c.path, c.body, "X-Request-Id: r-1\r\n").status, 200) << c.dialect;
      }
      const std::string truth = Contents(options.truth);
      std::filesystem::remove(options.truth);
      EXPECT_EQ(Numbers(truth, "tokens"), c.tokens) << c.dialect << ' ' << truth;
      EXPECT_NE(truth.find(R"("request_id":"r-1")"), std::string::npos) << c.dialect;
    }
  }
}

TEST(DialectTest, TextModesAndEcho) {
  const struct {
    const char* dialect;
    const char* path;
    const char* body;
    const char* mode;
    const char* echo;
    std::vector<std::string> texts;
  } kCases[] = {
      {"sglang",
       "/generate",
       R"({"text":"a","sampling_params":{"max_new_tokens":2},"stream":true})",
       "delta",
       "auto",
       {R"("text":" roads")", R"("text":" sugar")"}},
      {"triton",
       "/v2/models/m/generate_stream",
       R"({"text_input":"a b","max_tokens":2,"stream":true})",
       "cumulative",
       "on",
       {R"("text_output":"a b roads")", R"("text_output":"a b roads sugar")"}},
      {"triton",
       "/v2/models/m/generate_stream",
       R"({"text_input":"a b","max_tokens":2,"stream":true})",
       "auto",
       "on",
       {R"("text_output":"a b roads")", R"("text_output":" sugar")"}},
      {"vllm-generate",
       "/generate",
       R"({"prompt":"a b","max_tokens":2,"stream":true})",
       "auto",
       "off",
       {R"(" roads")", R"(" roads sugar")"}},
      {"transformers",
       "/predict",
       R"({"instances":[{"prompt":"a b","max_length":4}]})",
       "auto",
       "off",
       {R"("generated_text":" roads sugar")"}},
  };
  for (const auto& c : kCases) {
    Options options = Speaking(c.dialect);
    ASSERT_TRUE(SetOption("text_mode", c.mode, &options).ok());
    ASSERT_TRUE(SetOption("echo", c.echo, &options).ok());
    Serving serving(options);
    HttpClient client(serving.port());
    const std::string body = client.Post(c.path, c.body, kId).body;
    for (const std::string& text : c.texts) EXPECT_EQ(Count(body, text), 1u) << c.dialect << '\n' << body;
  }
}

// A character of two tokens is withheld in deltas; in all text so far it is U+FFFD first and itself later.
TEST(DialectTest, HalfACharacterIsWithheldOrReplaced) {
  Options options = Speaking("sglang");
  options.text = TextStyle::kWithheld;
  Serving serving(options);
  HttpClient client(serving.port());
  const auto cumulative =
      client.Post("/generate", R"({"text":"a","sampling_params":{"max_new_tokens":8},"stream":true})")
          .events();
  ASSERT_EQ(cumulative.size(), 9u);
  int replaced = 0;
  for (size_t i = 0; i < 8; ++i) replaced += Count(cumulative[i], "\ufffd\"") > 0 ? 1 : 0;
  EXPECT_EQ(replaced, 4);
  const auto deltas =
      client.Post("/v1/completions", R"({"prompt":"a","max_tokens":7,"stream":true})").events();
  ASSERT_EQ(deltas.size(), 8u);
  int empty = 0;
  for (size_t i = 0; i < 6; ++i) empty += Count(deltas[i], R"("text":"")") > 0 ? 1 : 0;
  EXPECT_EQ(empty, 3);
}

TEST(DialectTest, AmlContainersDiffer) {
  const struct {
    const char* output;
    const char* reply;
  } kCases[] = {{"indexed", R"([{"0":" roads"}])"},
                {"list", R"([" roads"])"},
                {"output", R"({"output":" roads"})"},
                {"generated_text", R"([{"generated_text":" roads"}])"},
                {"predictions", R"({"predictions":[" roads"]})"}};
  for (const auto& c : kCases) {
    Options options = Speaking("aml");
    ASSERT_TRUE(SetOption("aml_output", c.output, &options).ok());
    Serving serving(options);
    HttpClient client(serving.port());
    EXPECT_EQ(
        client.Post("/score", R"({"input_data":{"input_string":["a"],"parameters":{"max_tokens":1}}})", kId)
            .body,
        c.reply);
  }
}

TEST(DialectTest, TheOldDemoServerEndsDocumentsWithNul) {
  Options options = Speaking("vllm-generate");
  options.line_ending = LineEnding::kNul;
  Serving serving(options);
  HttpClient client(serving.port());
  const std::string body =
      client.Post("/generate", R"({"prompt":"a","max_tokens":1,"use_beam_search":false,"stream":true})", kId)
          .body;
  EXPECT_EQ(body, std::string("{\"text\": [\"a roads\"]}\0", 22));
}

TEST(DialectTest, TheRestGatewayClosesAfterEachReply) {
  Serving serving(Speaking("fastgen-rest"));
  HttpClient client(serving.port());
  const HttpReply reply = client.Post("/mii/d", R"({"prompts":["a"]})");
  EXPECT_NE(reply.head.find("connection: close"), std::string::npos);
  EXPECT_TRUE(client.Closed());
}

TEST(DialectTest, MetricsHaveTheNamesOfTheServer) {
  const struct {
    const char* dialect;
    const char* names;
    const char* line;
  } kCases[] = {
      {"openai", "auto", "vllm:generation_tokens_total{engine=\"0\",model_name=\"m\"} 4.0\n"},
      {"openai", "vllm-v0", "vllm:time_per_output_token_seconds_count{model_name=\"m\"} 3.0\n"},
      {"tgi", "auto", "tgi_request_generated_tokens_sum 4.0\n"},
      {"triton", "auto", "nv_inference_request_success{model=\"m\",version=\"1\"} 1.0\n"},
      {"sglang", "auto", "sglang:generation_tokens_total{model_name=\"m\"} 4.0\n"},
      {"llamacpp", "auto", "llamacpp:tokens_predicted_total 4.0\n"},
      {"jetstream", "auto", "jetstream_request_success_count_total{id=\"0\"} 1.0\n"},
      {"openai", "tgi", "tgi_batch_current_size 0.0\n"},
  };
  for (const auto& c : kCases) {
    Options options = Speaking(c.dialect);
    ASSERT_TRUE(SetOption("metrics", c.names, &options).ok());
    Serving serving(options);
    HttpClient client(serving.port());
    client.Post("/v1/completions", R"({"prompt":"a","max_tokens":4,"stream":true})");
    const std::string page = client.Get("/metrics").body;
    EXPECT_NE(page.find(c.line), std::string::npos) << c.dialect << '\n' << page;
  }
  Options options = Speaking("llamacpp");
  {
    Serving serving(options);
    HttpClient client(serving.port());
    EXPECT_NE(client.Get("/metrics").body.find("llamacpp:prompt_tokens_seconds inf\n"), std::string::npos);
  }
  options.metrics = MetricsNames::kNone;
  Serving serving(options);
  HttpClient client(serving.port());
  EXPECT_EQ(client.Get("/metrics").status, 501);
}

TEST(DialectTest, CountersBeginAnewOnce) {
  Options options = Speaking("openai");
  options.metrics_reset_s = 0.05;
  Serving serving(options);
  HttpClient client(serving.port());
  const char* body = R"({"prompt":"a","max_tokens":4})";
  const std::string line = "vllm:generation_tokens_total{engine=\"0\",model_name=\"m\"} ";
  client.Post("/v1/completions", body);
  const int64_t deadline = MonotonicNs() + 10 * kNsPerSecond;
  while (client.Get("/metrics").body.find(line + "0.0\n") == std::string::npos && MonotonicNs() < deadline) {
  }
  EXPECT_LT(MonotonicNs(), deadline);
  client.Post("/v1/completions", body);
  EXPECT_NE(client.Get("/metrics").body.find(line + "4.0\n"), std::string::npos);
}

TEST(DialectTest, TransformersServeRefusesWhatItDoesNotKnow) {
  Options options = Speaking("openai");
  options.strict_fields = true;
  Serving serving(options);
  HttpClient client(serving.port());
  const HttpReply refused = client.Post("/v1/completions", R"({"prompt":"a","ignore_eos":true})");
  EXPECT_EQ(refused.status, 422);
  EXPECT_EQ(refused.body, R"({"detail":"Unexpected fields in the request: {'ignore_eos'}"})");
  EXPECT_EQ(client.Post("/v1/completions", R"({"prompt":"a","max_tokens":1,"temperature":0})").status, 200);
}

}  // namespace
}  // namespace llmbench::sim
