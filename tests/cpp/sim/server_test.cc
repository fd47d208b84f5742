#include "llmbench/sim/server.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "http_client.h"
#include "llmbench/base/clock.h"
#include "serving.h"

namespace llmbench::sim {
namespace {

constexpr const char* kCompletions = "/v1/completions";
constexpr const char* kChat = "/v1/chat/completions";

TEST(ServerTest, StreamsACompletion) {
  Serving serving(Quick());
  HttpClient client(serving.port());
  const HttpReply reply = client.Post(
      kCompletions,
      R"({"prompt":"a b c","max_tokens":3,"stream":true,"stream_options":{"include_usage":true}})",
      "X-Request-Id: q-1\r\n");
  EXPECT_TRUE(reply.whole);
  EXPECT_EQ(reply.status, 200);
  EXPECT_NE(reply.head.find("content-type: text/event-stream"), std::string::npos);
  const auto events = reply.events();
  ASSERT_EQ(events.size(), 5u);
  EXPECT_EQ(reply.chunks, 5);
  for (size_t i = 0; i < 4; ++i) EXPECT_NE(events[i].find(R"("id":"cmpl-q-1")"), std::string::npos);
  EXPECT_NE(events[1].find(R"("finish_reason":null)"), std::string::npos);
  EXPECT_NE(events[2].find(R"("finish_reason":"length")"), std::string::npos);
  EXPECT_NE(
      events[3].find(R"("choices":[],"usage":{"prompt_tokens":3,"total_tokens":6,"completion_tokens":3)"),
      std::string::npos);
  EXPECT_EQ(events[4], "[DONE]");
}

TEST(ServerTest, StreamsAChatAnswer) {
  const struct {
    RoleDelta role;
    size_t events;
    size_t roles;
  } kCases[] = {{RoleDelta::kLate, 4, 1}, {RoleDelta::kEarly, 4, 1}, {RoleDelta::kNone, 3, 0}};
  for (const auto& c : kCases) {
    Options options = Quick();
    options.role = c.role;
    options.reasoning_tokens = 1;
    Serving serving(options);
    HttpClient client(serving.port());
    const HttpReply reply = client.Post(
        kChat, R"({"messages":[{"role":"user","content":"hi"}],"max_completion_tokens":2,"stream":true})");
    EXPECT_EQ(reply.events().size(), c.events);
    EXPECT_EQ(Count(reply.body, R"("role":"assistant")"), c.roles);
    EXPECT_EQ(Count(reply.body, R"("delta":{"reasoning":")"), 1u);
    EXPECT_EQ(Count(reply.body, R"("delta":{"content":")"), 1u);
  }
}

TEST(ServerTest, AnswersInOnePieceWhenNotStreamed) {
  Serving serving(Quick());
  HttpClient client(serving.port());
  const HttpReply reply = client.Post(kCompletions, R"({"prompt":["a","b c"],"n":2,"max_tokens":2})");
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(Count(reply.body, R"("finish_reason":"length")"), 4u);
  EXPECT_NE(reply.body.find(R"("index":3)"), std::string::npos);
  EXPECT_NE(reply.body.find(R"("prompt_tokens":3,"total_tokens":11,"completion_tokens":8)"),
            std::string::npos);
}

TEST(ServerTest, SeveralChoicesAreInterleaved) {
  Serving serving(Quick());
  HttpClient client(serving.port());
  const HttpReply reply = client.Post(kCompletions, R"({"prompt":"a","n":2,"max_tokens":3,"stream":true})");
  EXPECT_EQ(reply.events().size(), 7u);
  EXPECT_EQ(Count(reply.body, R"({"index":0)"), 3u);
  EXPECT_EQ(Count(reply.body, R"({"index":1)"), 3u);
}

TEST(ServerTest, ServesItsOtherPaths) {
  Options options = Quick();
  options.model = "some/model";
  Serving serving(options);
  const struct {
    const char* path;
    int status;
    const char* part;
  } kCases[] = {
      {"/health", 200, ""},
      {"/ping", 200, ""},
      {"/version", 200, "version"},
      {"/v1/models?x=1", 200, R"("id":"some/model")"},
      {"/metrics", 200, "vllm:num_requests_running{engine=\"0\",model_name=\"some/model\"} 0.0"},
      {"/nothing", 404, "Not Found"},
      {kCompletions, 405, "Method Not Allowed"},
  };
  HttpClient client(serving.port());
  for (const auto& c : kCases) {
    const HttpReply reply = client.Get(c.path);
    EXPECT_EQ(reply.status, c.status) << c.path;
    EXPECT_NE(reply.body.find(c.part), std::string::npos) << c.path << ": " << reply.body;
  }
  EXPECT_NE(client.Post("/tokenize", R"({"prompt":"one two three"})").body.find(R"({"count":3,)"),
            std::string::npos);
}

TEST(ServerTest, RefusesAsVllmDoes) {
  Options options = Quick();
  options.model = "some/model";
  options.strict_model = true;
  options.max_model_len = 10;
  Serving serving(options);
  const struct {
    const char* body;
    int status;
    const char* part;
  } kCases[] = {
      {R"({"prompt":"a","model":"other"})", 404, "The model `other` does not exist."},
      {R"({"prompt":"a b c","max_tokens":8})", 400, "maximum context length is 10 tokens"},
      {R"({"prompt":"a","max_tokens":0})", 400,
       R"("type":"BadRequestError","param":"max_tokens","code":400)"},
      {"{", 400, "not valid JSON"},
      {R"({"prompt":"a","model":"some/model","max_tokens":9})", 200, R"("completion_tokens":9)"},
  };
  HttpClient client(serving.port());
  for (const auto& c : kCases) {
    const HttpReply reply = client.Post(kCompletions, c.body);
    EXPECT_EQ(reply.status, c.status) << c.body;
    EXPECT_NE(reply.body.find(c.part), std::string::npos) << reply.body;
  }
  client.Send("POST /v1/completions HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}");
  EXPECT_EQ(client.Read().status, 400);  // no content type
  client.Send("nonsense\r\n\r\n");
  EXPECT_EQ(client.Read().status, 400);
  EXPECT_TRUE(client.Closed());
}

TEST(ServerTest, TheKeyGuardsWhatIsUnderV1) {
  setenv("LLMBENCH_SIM_TEST_KEY", "secret", 1);
  Options options = Quick();
  options.api_key_env = "LLMBENCH_SIM_TEST_KEY";
  Serving serving(options);
  HttpClient client(serving.port());
  EXPECT_EQ(client.Get("/v1/models").status, 401);
  EXPECT_EQ(client.Get("/v1/models").body, R"({"error":"Unauthorized"})");
  EXPECT_EQ(client.Get("/v1/models", "Authorization: Bearer secret\r\n").status, 200);
  EXPECT_EQ(client.Get("/health").status, 200);
  options.api_key_env = "LLMBENCH_SIM_TEST_KEY_THAT_IS_NOT_SET";
  EXPECT_EQ(Server::Create(options).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(ServerTest, IsNotReadyDuringItsStart) {
  Options options = Quick();
  options.startup_s = 1000;
  Serving serving(options);
  HttpClient client(serving.port());
  EXPECT_EQ(client.Get("/health").status, 503);
  EXPECT_EQ(client.Post(kCompletions, R"({"prompt":"a"})").status, 503);
}

TEST(ServerTest, TakesPipelinedChunkedAndExpectingRequests) {
  Serving serving(Quick());
  HttpClient client(serving.port());
  const std::string body = R"({"prompt":"a","max_tokens":1})";
  client.SendPost(kCompletions, body, "X-Request-Id: one\r\n");
  client.SendPost(kCompletions, body, "X-Request-Id: two\r\n");
  EXPECT_NE(client.Read().body.find("cmpl-one"), std::string::npos);
  EXPECT_NE(client.Read().body.find("cmpl-two"), std::string::npos);

  client.Send(
      "POST /v1/completions HTTP/1.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
      "Expect: 100-continue\r\n\r\n");
  EXPECT_EQ(client.Read().status, 100);
  client.Send("5\r\n" + body.substr(0, 5) + "\r\n");
  char size[16];
  std::snprintf(size, sizeof size, "%zx", body.size() - 5);
  client.Send(size + ("\r\n" + body.substr(5)) + "\r\n0\r\n\r\n");
  EXPECT_EQ(client.Read().status, 200);
}

TEST(ServerTest, AVeryLongPromptArrivesWhole) {
  Serving serving(Quick());
  HttpClient client(serving.port());
  std::string prompt;
  for (int i = 0; i < 300'000; ++i) prompt += "time ";
  const HttpReply reply = client.Post(kCompletions, R"({"max_tokens":1,"prompt":")" + prompt + "\"}");
  EXPECT_NE(reply.body.find(R"("prompt_tokens":300000)"), std::string::npos) << reply.body.substr(0, 300);
}

TEST(ServerTest, ShapesTheStream) {
  const char* body = R"({"prompt":"a","max_tokens":5,"stream":true,"stream_options":{"include_usage":true}})";
  const struct {
    const char* option;
    const char* value;
    int chunks;
    const char* part;
  } kCases[] = {
      {"tokens_per_event", "2", 5, R"("completion_tokens":5)"},  // 1 + 2 + 2, usage, [DONE]
      {"finish", "apart", 8, R"("text":"","logprobs":null,"finish_reason":"length")"},
      {"tail", "apart", 7, "[DONE]"},
      {"headers", "early", 7, "[DONE]"},
      {"events_per_write", "3", 7, "[DONE]"},
      {"slice_bytes", "1", 7, "[DONE]"},
      {"send_done", "false", 6, R"("usage":{)"},
      {"line_ending", "crlf", 7, "}\r\n\r\n"},
      {"line_ending", "cr", 7, "}\r\r"},
      {"dress", "comments", 7, ": ping\n\ndata: "},
      {"dress", "nospace", 7, "data:{"},
      {"dress", "ids", 7, "id: 0\nretry: 1000\ndata: "},
      {"dress", "bom", 8, "\xef\xbb\xbf"},
      {"text", "unicode", 7, "[DONE]"},
      {"text", "surrogates", 7, "\\u"},
      {"cached_tokens", "false", 7, R"("completion_tokens":5}})"},
      {"output_tokens", "2", 4, R"("completion_tokens":2)"},
      {"eos_probability", "1", 3, R"("finish_reason":"stop")"},
  };
  for (const auto& c : kCases) {
    Options options = Quick();
    ASSERT_TRUE(SetOption(c.option, c.value, &options).ok());
    Serving serving(options);
    HttpClient client(serving.port());
    const HttpReply reply = client.Post(kCompletions, body);
    EXPECT_TRUE(reply.whole) << c.option;
    EXPECT_EQ(reply.chunks, c.chunks) << c.option << ' ' << c.value << '\n' << reply.body;
    EXPECT_NE(reply.body.find(c.part), std::string::npos) << c.option << ' ' << c.value << '\n' << reply.body;
  }
}

TEST(ServerTest, ContinuousUsageAndTokenIdsComeWithEveryEvent) {
  Serving serving(Quick());
  HttpClient client(serving.port());
  const HttpReply reply =
      client.Post(kCompletions, R"({"prompt":"a b","max_tokens":3,"stream":true,"return_token_ids":true,)"
                                R"("stream_options":{"include_usage":true,"continuous_usage_stats":true}})");
  EXPECT_EQ(Count(reply.body, R"("completion_tokens":1)"), 1u);
  EXPECT_EQ(Count(reply.body, R"("completion_tokens":2)"), 1u);
  EXPECT_EQ(Count(reply.body, R"("completion_tokens":3)"), 2u);
  EXPECT_EQ(Count(reply.body, R"("token_ids":[)"), 3u);
  EXPECT_EQ(Count(reply.body, R"("prompt_token_ids":[)"), 1u);
}

TEST(ServerTest, ClosesConnectionsWhenAskedTo) {
  const char* body = R"({"prompt":"a","max_tokens":2,"stream":true})";
  const struct {
    const char* option;
    const char* value;
    int requests;  // that a connection answers
  } kCases[] = {{"close_after_reply", "true", 1},
                {"keep_alive_requests", "3", 3},
                {"framing", "close", 1},
                {"idle_close_ms", "1:5", 1}};
  for (const auto& c : kCases) {
    Options options = Quick();
    ASSERT_TRUE(SetOption(c.option, c.value, &options).ok());
    Serving serving(options);
    HttpClient client(serving.port());
    for (int i = 0; i < c.requests; ++i) {
      const HttpReply reply = client.Post(kCompletions, body);
      EXPECT_TRUE(reply.whole) << c.option;
      EXPECT_EQ(reply.events().size(), 3u) << c.option;
    }
    EXPECT_TRUE(client.Closed()) << c.option;
  }
}

TEST(ServerTest, FaultsHappenOnRequest) {
  const char* streamed = R"({"prompt":"a","max_tokens":4,"stream":true})";
  const char* whole = R"({"prompt":"a","max_tokens":4})";
  const struct {
    const char* fault;
    const char* body;
    int status;
    bool whole;
    size_t events;
    bool closed;
  } kCases[] = {
      {"429", streamed, 429, true, 0, false},
      {"503", whole, 503, true, 0, false},
      {"307", whole, 307, true, 0, false},
      {"999", whole, 999, true, 0, false},
      {"html", streamed, 200, true, 0, false},
      {"empty", streamed, 200, true, 0, false},
      {"close-early", streamed, 0, false, 0, true},
      {"reset-early", streamed, 0, false, 0, true},
      {"error-first", streamed, 200, true, 2, false},
      {"error-first", whole, 200, true, 0, false},
      {"error-mid", streamed, 200, true, 4, false},
      {"bad-json", streamed, 200, true, 6, false},
      {"bad-utf8", streamed, 200, true, 6, false},
      {"schema", streamed, 200, true, 6, false},
      {"huge-event", streamed, 200, true, 6, false},
      {"bad-chunk", streamed, 200, false, 2, true},
      {"eof-mid", streamed, 200, false, 2, true},
      {"eof-mid", whole, 200, false, 0, true},
      {"reset-mid", streamed, 200, false, 2, true},
      {"no-done", streamed, 200, true, 4, false},
      {"double-done", streamed, 200, true, 6, false},
      {"trailers", streamed, 200, true, 5, false},
      {"continues", streamed, 100, true, 0, false},
      {"not-streamed", streamed, 200, true, 0, false},
      {"slow-head", streamed, 200, true, 5, false},
      {"slow-body", whole, 200, true, 0, false},
      {"gzip", whole, 200, true, 0, true},
      {"nonsense", whole, 400, true, 0, false},
  };
  for (const bool fixed : {true, false}) {
    Options options = Quick();
    options.fixed = fixed;
    options.step_ms = 0.1;
    options.drip_ms = 0.001;
    Serving serving(options);
    for (const auto& c : kCases) {
      HttpClient client(serving.port());
      const HttpReply reply =
          client.Post(kCompletions, c.body, std::string("X-Sim-Fault: ") + c.fault + "\r\n");
      EXPECT_EQ(reply.status, c.status) << c.fault;
      EXPECT_EQ(reply.whole, c.whole) << c.fault;
      EXPECT_EQ(reply.events().size(), c.events) << c.fault << '\n' << reply.body.substr(0, 2000);
      if (c.closed) {
        EXPECT_TRUE(client.Closed()) << c.fault;
      } else if (c.status != 100) {
        EXPECT_EQ(client.Get("/health").status, 200) << c.fault;
      }
    }
  }
}

TEST(ServerTest, ManyFaultsLeaveNothingBehind) {
  Options options = Quick();
  options.fixed = false;
  options.step_ms = 0.1;
  options.faults = "stall=0.3,no-answer=0.3";
  Serving serving(options);
  for (int i = 0; i < 40; ++i)
    HttpClient(serving.port()).SendPost(kCompletions, R"({"prompt":"a","max_tokens":4})");
  const int64_t deadline = MonotonicNs() + 10 * kNsPerSecond;
  std::string metrics;
  do {
    HttpClient client(serving.port());
    metrics = client.Get("/metrics").body;
  } while (
      Count(metrics,
            "vllm:num_requests_running{engine=\"0\",model_name=\"meta-llama/Llama-3.1-8B-Instruct\"} 0.0") ==
          0 &&
      MonotonicNs() < deadline);
  EXPECT_LT(MonotonicNs(), deadline) << metrics;
}

TEST(ServerTest, TheTruthLogHasWhatWasSentAndWhen) {
  Options options = Quick();
  options.ttft_ms = 20;
  options.itl_ms = 5;
  options.truth = TempPath("truth");
  const int64_t before = MonotonicNs();
  int64_t after;
  {
    Serving serving(options);
    HttpClient client(serving.port());
    client.Post(kCompletions, R"({"prompt":"a b","max_tokens":4,"stream":true})", "X-Request-Id: r\"1\r\n");
    after = MonotonicNs();
    client.SendPost(kCompletions, R"({"prompt":"a b","max_tokens":4})");
    client.Read();
  }
  const std::string truth = Contents(options.truth);
  std::filesystem::remove(options.truth);
  ASSERT_EQ(Count(truth, "\n"), 2u) << truth;
  EXPECT_NE(truth.find(R"("request_id":"r\"1")"), std::string::npos);
  const std::string first = truth.substr(0, truth.find('\n'));
  const auto received = Numbers(first, "received_ns");
  const auto times = Numbers(first, "event_ns");
  ASSERT_EQ(received.size(), 1u);
  ASSERT_EQ(times.size(), 4u);
  EXPECT_EQ(Numbers(first, "tokens"), (std::vector<int64_t>{1, 1, 1, 1}));
  EXPECT_GE(received[0], before);
  for (int64_t i = 0; i < 4; ++i)
    EXPECT_GE(times[static_cast<size_t>(i)], received[0] + (20 + 5 * i) * kNsPerMs);
  EXPECT_LE(times[3], after);
  EXPECT_EQ(Numbers(truth.substr(truth.find('\n')), "tokens"), (std::vector<int64_t>{4}));
}

TEST(ServerTest, TheBatchingModelServesManyClientsAndCountsThem) {
  Options options;
  options.step_ms = 0.2;
  options.step_seq_us = 5;
  options.num_kv_blocks = 40;
  options.max_num_seqs = 8;
  Serving serving(options);
  std::atomic<int> whole{0};
  std::atomic<int> cached{0};
  std::vector<std::thread> clients;
  for (int i = 0; i < 8; ++i) {
    clients.emplace_back([&serving, &whole, &cached] {
      HttpClient client(serving.port());
      std::string prompt;
      for (int word = 0; word < 64; ++word) prompt += "word ";
      for (int request = 0; request < 10; ++request) {
        const HttpReply reply = client.Post(
            kCompletions,
            R"({"stream":true,"stream_options":{"include_usage":true},"max_tokens":30,"prompt":")" + prompt +
                "\"}");
        if (reply.whole && reply.events().size() == 32) ++whole;
        if (reply.body.find(R"("cached_tokens":48)") != std::string::npos) ++cached;
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(whole, 80);
  EXPECT_GT(cached, 40);
  HttpClient client(serving.port());
  const std::string metrics = client.Get("/metrics").body;
  const std::string labels = "{engine=\"0\",model_name=\"meta-llama/Llama-3.1-8B-Instruct\"";
  for (const std::string& line : {"vllm:generation_tokens_total" + labels + "} 2400.0",
                                  "vllm:prompt_tokens_total" + labels + "} 5120.0",
                                  "vllm:request_success_total" + labels + ",finished_reason=\"length\"} 80.0",
                                  "vllm:time_to_first_token_seconds_count" + labels + "} 80.0",
                                  "vllm:num_requests_running" + labels + "} 0.0"}) {
    EXPECT_NE(metrics.find(line), std::string::npos) << line << "\n" << metrics;
  }
}

TEST(ServerTest, ReplicasHavePortsOfTheirOwnOrAFront) {
  Options options = Quick();
  options.replicas = 3;
  options.threads = 2;
  Serving serving(options);
  ASSERT_EQ(serving.server().Urls().size(), 3u);
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(HttpClient(serving.port(i)).Get("/health").status, 200);

  options.front = true;
  Serving front(options);
  ASSERT_EQ(front.server().Urls().size(), 1u);
  HttpClient client(front.port());
  for (int i = 0; i < 3; ++i) client.Post(kCompletions, R"({"prompt":"a","max_tokens":1})");
  const std::string metrics = client.Get("/metrics").body;
  for (const char* engine : {"0", "1", "2"}) {
    EXPECT_NE(metrics.find(std::string("vllm:generation_tokens_total{engine=\"") + engine +
                           "\",model_name=\"llmbench-sim\"} 1.0"),
              std::string::npos)
        << metrics;
  }
}

TEST(ServerTest, StoppingEndsOpenStreamsAndWaiting) {
  Options options = Quick();
  options.ttft_ms = 1e6;
  Serving serving(options);
  HttpClient client(serving.port());
  client.SendPost(kCompletions, R"({"prompt":"a","stream":true})");
  EXPECT_FALSE(serving.server().Wait(0));
  std::thread waiter([&serving] { EXPECT_TRUE(serving.server().Wait(60 * kNsPerSecond)); });
  serving.server().Stop();
  serving.server().Stop();
  waiter.join();
  EXPECT_TRUE(client.Closed());
}

TEST(ServerTest, StartSaysWhyItCannot) {
  Serving serving(Quick());
  Options options = Quick();
  options.port = serving.port();
  const auto taken = Server::Create(options).value()->Start();
  EXPECT_EQ(taken.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_NE(taken.status().message().find("Choose another port"), std::string::npos);
  options = Quick();
  options.truth = "/nonexistent/truth.jsonl";
  EXPECT_EQ(Server::Create(options).value()->Start().status().code(), absl::StatusCode::kFailedPrecondition);
  options = Quick();
  options.host = "no such host";
  EXPECT_FALSE(Server::Create(options).value()->Start().ok());
}

}  // namespace
}  // namespace llmbench::sim
