#include "llmbench/wire/response_reader.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace llmbench::wire {
namespace {
struct Sink : EventSink {
  void OnOutput(const StreamEvent& e) override { events.push_back(e); }
  std::vector<StreamEvent> events;
};
TEST(ResponseReader, Smoke) {
  auto r = MakeResponseReader(WireFormat::kOpenAiChat, MakeJsonScratch());
  std::string text;
  std::string s = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
  auto chunk = [&](std::string b) {
    char h[32];
    snprintf(h, sizeof h, "%zx\r\n", b.size());
    s += h + b + "\r\n";
  };
  chunk(
      "data: "
      "{\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}"
      "],\"usage\":null}\n\n");
  chunk(
      "data: "
      "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Pre\\u00e9\"},\"finish_reason\":null}],\"usage\":"
      "null}\n\n");
  chunk("data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"length\"}],\"usage\":null}\n\n");
  chunk(
      "data: "
      "{\"choices\":[],\"usage\":{\"prompt_tokens\":14,\"completion_tokens\":64,\"total_tokens\":78}}\n\n");
  chunk("data: [DONE]\n\n");
  s += "0\r\n\r\n";
  for (size_t step : {s.size(), size_t{1}, size_t{7}, size_t{64}}) {
    Sink sink;
    text.clear();
    r->Start(true, &text);
    for (size_t i = 0; i < s.size(); i += step) {
      std::string piece = s.substr(i, step);
      size_t n = piece.size();
      piece.append(64, '\0');
      EXPECT_TRUE(r->Feed(piece.data(), n, sink)) << r->answer().error_text;
    }
    EXPECT_TRUE(r->complete());
    EXPECT_TRUE(r->keep_alive());
    EXPECT_EQ(r->answer().error, WireError::kNone) << r->answer().error_text;
    EXPECT_EQ(sink.events.size(), 1u);
    EXPECT_EQ(text, "Preé");
    EXPECT_EQ(r->answer().output_tokens, 64);
    EXPECT_TRUE(r->answer().done);
    EXPECT_STREQ(r->answer().finish_reason, "length");
  }
}
}  // namespace
}  // namespace llmbench::wire
