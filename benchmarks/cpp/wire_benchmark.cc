// What one streamed event costs: HTTP framing, event framing, decoding, and all three behind ResponseReader,
// beside a bare simdjson pass over the same event. Time per iteration is time per event.
#include <benchmark/benchmark.h>
#include <simdjson.h>

#include <cstdio>
#include <string>
#include <string_view>

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

}  // namespace

BENCHMARK_MAIN();
