// What one streamed event costs: HTTP framing, event framing, decoding, and all three behind ResponseReader,
// beside a bare simdjson pass over the same event. Time per iteration is time per event.
#include <benchmark/benchmark.h>
#include <simdjson.h>

#include <cstdio>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "llmbench/wire/body_reader.h"
#include "llmbench/wire/http_parser.h"
#include "llmbench/wire/response_reader.h"
#include "llmbench/wire/sse_parser.h"
#include "llmbench/wire/stream_decoder.h"

namespace {

using namespace llmbench::wire;  // NOLINT: the benchmark is about this namespace

constexpr std::string_view kChatEvent =
    R"({"id":"chatcmpl-3f0c1c8be9f14e5d8f7a4c0b2d9e6a17","object":"chat.completion.chunk","created":1732368000,)"
    R"("model":"meta-llama/Llama-3.1-8B-Instruct","choices":[{"index":0,"delta":{"content":" token"},)"
    R"("logprobs":null,"finish_reason":null}],"usage":null})";
constexpr std::string_view kCompletionsEvent =
    R"({"id":"cmpl-3f0c1c8be9f14e5d8f7a4c0b2d9e6a17","object":"text_completion","created":1732368000,)"
    R"("model":"meta-llama/Llama-3.1-8B-Instruct","choices":[{"index":0,"text":" token","logprobs":null,)"
    R"("finish_reason":null,"stop_reason":null}],"usage":null})";
constexpr std::string_view kHeader =
    "HTTP/1.1 200 OK\r\ndate: Sun, 23 Nov 2025 17:00:00 GMT\r\nserver: uvicorn\r\n"
    "content-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n";

std::string_view EventOf(const WireFormat& format) {
  return format.name() == "openai-chat" ? kChatEvent : kCompletionsEvent;
}

WireFormat FormatOf(int64_t argument) {
  return argument != 0 ? WireFormat::OpenAiChat() : WireFormat::OpenAiCompletions();
}

std::string SseEventText(std::string_view payload) { return "data: " + std::string(payload) + "\n\n"; }

// `events` events, each in its own chunk as uvicorn sends them.
std::string Chunks(std::string_view payload, int events) {
  const std::string body = SseEventText(payload);
  char size[16];
  std::snprintf(size, sizeof size, "%zx\r\n", body.size());
  std::string out;
  for (int i = 0; i < events; ++i) out += size + body + "\r\n";
  return out;
}

std::string Padded(std::string bytes) {
  bytes.append(kPadding, '\0');
  return bytes;
}

struct CountingSink : EventSink {
  void OnOutput(const StreamEvent&) override { ++events; }
  int64_t events = 0;
};

// The floor: find the text with simdjson and look whether it is empty.
void BM_BareSimdjson(benchmark::State& state) {
  const std::string json = Padded(std::string(kChatEvent));
  simdjson::ondemand::parser parser;
  if (parser.allocate(64 * 1024)) state.SkipWithError("no memory");
  int64_t found = 0;
  for (auto _ : state) {
    simdjson::ondemand::document document;
    std::string_view text;
    if (!parser.iterate(json.data(), kChatEvent.size(), json.size()).get(document) &&
        !document["choices"].at(0)["delta"]["content"].get(text)) {
      found += !text.empty();
    }
    benchmark::DoNotOptimize(found);
  }
  state.counters["bytes"] = static_cast<double>(kChatEvent.size());
}
BENCHMARK(BM_BareSimdjson);

// The same, but the whole event is walked as a decoder must, since an error or usage may come after the text.
void BM_BareSimdjsonWhole(benchmark::State& state) {
  const std::string json = Padded(std::string(kChatEvent));
  simdjson::ondemand::parser parser;
  if (parser.allocate(64 * 1024)) state.SkipWithError("no memory");
  int64_t found = 0;
  for (auto _ : state) {
    simdjson::ondemand::document document;
    simdjson::ondemand::object object;
    if (parser.iterate(json.data(), kChatEvent.size(), json.size()).get(document) ||
        document.get_object().get(object)) {
      state.SkipWithError("not an object");
      break;
    }
    for (auto field : object) found += field.key().value_unsafe().raw()[0] == 'c';
    benchmark::DoNotOptimize(found);
  }
}
BENCHMARK(BM_BareSimdjsonWhole);

void BM_Decode(benchmark::State& state) {
  const WireFormat format = FormatOf(state.range(0));
  const std::string_view payload = EventOf(format);
  const std::string json = Padded(std::string(payload));
  const auto decoder = MakeStreamDecoder(format, MakeJsonScratch());
  Answer answer;
  std::string text;
  answer.Reset(state.range(1) != 0 ? &text : nullptr);
  for (auto _ : state) {
    text.clear();
    benchmark::DoNotOptimize(decoder->Decode({json.data(), payload.size()}, answer));
  }
  if (answer.error != WireError::kNone) state.SkipWithError(answer.error_text.c_str());
}
BENCHMARK(BM_Decode)->ArgNames({"format", "text"})->ArgsProduct({{0, 1}, {0, 1}});

void BM_Sse(benchmark::State& state) {
  const std::string one = SseEventText(kChatEvent);
  const std::string bytes = Padded(one);
  SseParser parser(1 << 24);
  SseEvent event;
  for (auto _ : state) {
    std::string_view input(bytes.data(), one.size());
    while (parser.Next(input, event) == SseParser::Step::kEvent) benchmark::DoNotOptimize(event);
  }
}
BENCHMARK(BM_Sse);

// One chunk per read, as they come when the server is not saturated.
void BM_Http(benchmark::State& state) {
  const std::string chunk = Chunks(kChatEvent, 1);
  HttpParser parser(256 * 1024);
  std::string_view input = kHeader, body;
  if (parser.Advance(input, body) != HttpParser::Step::kHeader) state.SkipWithError("header");
  for (auto _ : state) {
    input = chunk;
    while (parser.Advance(input, body) == HttpParser::Step::kBody) benchmark::DoNotOptimize(body);
  }
}
BENCHMARK(BM_Http);

// The whole stage: `reads` events per read.
void BM_Reader(benchmark::State& state) {
  const WireFormat format = FormatOf(state.range(0));
  const auto events = static_cast<int>(state.range(1));
  const std::string chunks = Chunks(EventOf(format), events);
  const std::string bytes = Padded(chunks);
  const auto reader = MakeResponseReader(format, MakeJsonScratch());
  CountingSink sink;
  reader->Start(true, nullptr);
  const std::string header = Padded(std::string(kHeader));
  reader->Feed(header.data(), kHeader.size(), sink);
  while (state.KeepRunningBatch(events)) {
    if (!reader->Feed(bytes.data(), chunks.size(), sink)) {
      state.SkipWithError(reader->answer().error_text.c_str());
      break;
    }
  }
  if (sink.events != static_cast<int64_t>(state.iterations())) state.SkipWithError("events were lost");
}
BENCHMARK(BM_Reader)->ArgNames({"format", "events_per_read"})->ArgsProduct({{0, 1}, {1, 16}});

// A whole answer of one token: what a response costs beside its events.
void BM_OneTokenAnswer(benchmark::State& state) {
  const std::string body = SseEventText(kChatEvent) + SseEventText("[DONE]");
  char size[16];
  std::snprintf(size, sizeof size, "%zx\r\n", body.size());
  const std::string answer = std::string(kHeader) + size + body + "\r\n0\r\n\r\n";
  const std::string bytes = Padded(answer);
  const auto reader = MakeResponseReader(WireFormat::OpenAiChat(), MakeJsonScratch());
  CountingSink sink;
  for (auto _ : state) {
    reader->Start(true, nullptr);
    benchmark::DoNotOptimize(reader->Feed(bytes.data(), answer.size(), sink));
  }
  if (!reader->complete()) state.SkipWithError("incomplete");
}
BENCHMARK(BM_OneTokenAnswer);

// One event of each format as its server sends it, framing and all. In a cumulative one @ is the text so far.
struct FormatEvent {
  const char* format;
  const char* event;
};
constexpr FormatEvent kFormatEvents[] = {
    {"openai-completions",
     R"(data: {"id":"cmpl-3f0c1c8be9f14e5d8f7a4c0b2d9e6a17","object":"text_completion","created":1732368000,)"
     R"("model":"meta-llama/Llama-3.1-8B-Instruct","choices":[{"index":0,"text":" token","logprobs":null,)"
     R"("finish_reason":null,"stop_reason":null}],"usage":null})"
     "\n\n"},
    {"openai-chat",
     R"(data: {"id":"chatcmpl-3f0c1c8be9f14e5d8f7a4c0b2d9e6a17","object":"chat.completion.chunk",)"
     R"("created":1732368000,"model":"meta-llama/Llama-3.1-8B-Instruct","choices":[{"index":0,"delta":{)"
     R"("content":" token"},"logprobs":null,"finish_reason":null}],"usage":null})"
     "\n\n"},
    {"openai-responses",
     R"(event: response.output_text.delta)"
     "\n"
     R"(data: {"type":"response.output_text.delta","sequence_number":17,"item_id":"msg_68a1c0de5f0c81","output_index":0,)"
     R"("content_index":0,"delta":" token","logprobs":[]})"
     "\n\n"},
    {"anthropic-messages",
     "event: content_block_delta\n"
     R"(data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" token"}})"
     "\n\n"},
    {"vllm-generate", R"({"text": ["The river@"]})"
                      "\n"},
    {"tgi", R"(data:{"index":17,"token":{"id":311,"text":" token","logprob":-0.8125,"special":false},)"
            R"("generated_text":null,"details":null})"
            "\n\n"},
    {"triton",
     R"(data: {"context_logits":0.0,"cum_log_probs":0.0,"generation_logits":0.0,"model_name":"ensemble",)"
     R"("model_version":"1","output_log_probs":[0.0,0.0],"sequence_end":false,"sequence_id":0,)"
     R"("sequence_index":0,"text_output":" token"})"
     "\n\n"},
    {"sglang",
     R"(data: {"text":"@","output_ids":[3941],"meta_info":{"id":"3f0c1c8be9f14e5d8f7a4c0b2d9e6a17",)"
     R"("finish_reason":null,"prompt_tokens":3,"weight_version":"default","completion_tokens":#,)"
     R"("cached_tokens":0}})"
     "\n\n"},
    {"llamacpp",
     R"(data: {"index":0,"content":" token","tokens":[298],"stop":false,"id_slot":-1,"tokens_predicted":#,)"
     R"("tokens_evaluated":4})"
     "\n\n"},
    {"ollama",
     R"({"model":"llama3.1:8b","created_at":"2026-05-01T10:00:00.123456789Z","response":" token","done":false})"
     "\n"},
    {"ollama-chat",
     R"({"model":"llama3.1:8b","created_at":"2026-05-01T10:00:00.123456789Z","message":{"role":"assistant",)"
     R"("content":" token"},"done":false})"
     "\n"},
    {"mii-generate", "data: {\"text\":[\" token\"]}\n\n"},
    {"jetstream", "{\"text\": \" token\"}\n"},
    {"jetstream-v1",
     "{\n  \"streamContent\": {\n    \"samples\": [\n      {\n        \"text\": \" token\",\n        "
     "\"tokenIds\": [\n          311\n        ]\n      }\n    ]\n  }\n}"},
};

constexpr int kEvents = 64;
constexpr std::string_view kToken = " token";

// `event` with `text` for @ and `count` for #.
std::string Filled(std::string_view event, std::string_view text, int count) {
  std::string out;
  for (const char c : event) {
    if (c == '@') {
      out += text;
    } else if (c == '#') {
      out += std::to_string(count);
    } else {
      out += c;
    }
  }
  return out;
}

// Framing and decoding, by the format's rules, of an answer's 64 events behind `length` tokens that a
// cumulative format repeats.
void BM_Format(benchmark::State& state, const FormatEvent& format, int length) {
  const auto named = WireFormat::Named(format.format);
  if (!named.ok()) return state.SkipWithError("no such format");
  std::string text, first;
  for (int i = 0; i < length; ++i) text += kToken;
  first = Padded(Filled(format.event, text, length));
  std::vector<std::string> events;
  size_t bytes = 0;
  for (int i = 0; i < kEvents; ++i) {
    text += kToken;
    std::string event = Filled(format.event, text, length + i + 1);
    bytes += event.size();
    events.push_back(Padded(std::move(event)));
  }
  BodyReader reader(*named, MakeJsonScratch(), {});
  CountingSink sink;
  while (state.KeepRunningBatch(kEvents)) {
    reader.Start(true, nullptr, "The river");
    reader.OnHead({.status = 200, .content_type = {}, .content_encoding = {}, .location = {}});
    if (length > 0) reader.OnBody({first.data(), first.size() - kPadding}, sink);
    for (const std::string& event : events) reader.OnBody({event.data(), event.size() - kPadding}, sink);
  }
  if (!reader.good()) state.SkipWithError(reader.answer().error_text.c_str());
  const int64_t per_answer = kEvents + (length > 0 ? 1 : 0);
  if (sink.events * kEvents != static_cast<int64_t>(state.iterations()) * per_answer) {
    state.SkipWithError("events were lost");
  }
  state.counters["bytes"] = static_cast<double>(bytes) / kEvents;
}

[[maybe_unused]] const bool registered = [] {
  for (const FormatEvent& format : kFormatEvents) {
    const std::string name = std::string("BM_Format/") + format.format;
    benchmark::RegisterBenchmark(name.c_str(), BM_Format, format, 0);
    if (std::string_view(format.event).find('@') == std::string_view::npos) continue;
    for (const int length : {100, 400, 1600}) {
      benchmark::RegisterBenchmark((name + "/repeating:" + std::to_string(length)).c_str(), BM_Format, format,
                                   length);
    }
  }
  return true;
}();

}  // namespace

BENCHMARK_MAIN();
