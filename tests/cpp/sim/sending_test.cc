// How answers are put onto the wire, and in which of the shapes that OpenAI's API is found in.
#include <gtest/gtest.h>

#include <filesystem>

#include "http_client.h"
#include "llmbench/base/clock.h"
#include "llmbench/sim/server.h"
#include "serving.h"

namespace llmbench::sim {
namespace {

constexpr const char* kCompletions = "/v1/completions";
constexpr const char* kChat = "/v1/chat/completions";
constexpr const char* kStream = R"({"prompt":"a","max_tokens":3,"stream":true})";
constexpr const char* kChatStream =
    R"({"messages":[{"role":"user","content":"a"}],"max_tokens":3,"stream":true})";

struct Setting {
  const char* option;
  const char* value;
};

Options With(const std::vector<Setting>& settings) {
  Options options = Quick();
  for (const Setting& setting : settings)
    EXPECT_TRUE(SetOption(setting.option, setting.value, &options).ok()) << setting.value;
  return options;
}

TEST(ShapeTest, ChatsBeginInManyWays) {
  const struct {
    const char* role;
    const char* first;
    size_t roles;
  } kCases[] = {
      {"none", R"("delta":{"content":" )", 0},
      {"early", R"("delta":{"role":"assistant","content":""})", 1},
      {"late", R"("delta":{"role":"assistant","content":""})", 1},
      {"null", R"("delta":{"role":"assistant","content":null})", 1},
      {"first", R"("delta":{"role":"assistant","content":" )", 1},
      {"every", R"("delta":{"role":"assistant","content":" )", 3},
  };
  for (const auto& c : kCases) {
    Serving serving(With({{"role", c.role}}));
    HttpClient client(serving.port());
    const HttpReply reply = client.Post(kChat, kChatStream);
    EXPECT_NE(reply.events().front().find(c.first), std::string::npos) << c.role << '\n' << reply.body;
    EXPECT_EQ(Count(reply.body, "\"role\""), c.roles) << c.role;
  }
}

TEST(ShapeTest, UsageHasManyPlaces) {
  const struct {
    std::vector<Setting> settings;
    size_t usages;
    const char* part;
  } kCases[] = {
      {{{"usage", "asked"}}, 0, "\"usage\":null"},
      {{{"usage", "every"}}, 3, R"("completion_tokens":1,)"},
      {{{"usage", "last"}}, 1, R"("stop_reason":null}],"usage":{"prompt_tokens":1,"total_tokens":4)"},
      {{{"usage", "last"}, {"finish", "apart"}}, 1, R"("text":"","logprobs":null,"finish_reason":"length")"},
      {{{"usage", "own"}}, 1, R"("choices":[],"usage":{)"},
      {{{"usage", "own"}, {"usage_choices", "null"}}, 1, R"("choices":null,"usage":{)"},
      {{{"usage", "own"}, {"usage_choices", "absent"}}, 1, R"("model":"llmbench-sim","usage":{)"},
      {{{"usage", "none"}}, 0, ""},
  };
  for (const auto& c : kCases) {
    Serving serving(With(c.settings));
    HttpClient client(serving.port());
    const std::string body = client.Post(kCompletions, kStream).body;
    EXPECT_EQ(Count(body, "\"usage\":{"), c.usages) << c.settings[0].value << '\n' << body;
    EXPECT_NE(body.find(c.part), std::string::npos) << c.settings[0].value << '\n' << body;
  }
  // None even for those who ask.
  Serving serving(With({{"usage", "none"}}));
  HttpClient client(serving.port());
  const char* asks = R"({"prompt":"a","stream":true,"stream_options":{"include_usage":true}})";
  EXPECT_EQ(Count(client.Post(kCompletions, asks).body, "\"usage\":{"), 0u);
}

TEST(ShapeTest, UnfinishedReasonsAndToolCalls) {
  for (const auto& [value, part] :
       {std::pair{"null", "\"finish_reason\":null"}, std::pair{"empty", "\"finish_reason\":\"\""}}) {
    Serving serving(With({{"unfinished_reason", value}}));
    HttpClient client(serving.port());
    EXPECT_EQ(Count(client.Post(kCompletions, kStream).body, part), 2u) << value;
  }
  Serving absent(With({{"unfinished_reason", "absent"}}));
  HttpClient client(absent.port());
  EXPECT_EQ(Count(client.Post(kCompletions, kStream).body, "finish_reason"), 1u);

  Serving tools(With({{"tool_tokens", "2"}, {"reasoning_tokens", "1"}, {"role", "none"}}));
  HttpClient caller(tools.port());
  const char* four = R"({"messages":[{"role":"user","content":"a"}],"max_tokens":4,"stream":true})";
  const HttpReply reply = caller.Post(kChat, four);
  const auto events = reply.events();
  ASSERT_EQ(events.size(), 5u) << reply.body;
  EXPECT_NE(events[0].find(R"("delta":{"reasoning":")"), std::string::npos);
  EXPECT_NE(events[1].find(R"("delta":{"content":")"), std::string::npos);
  EXPECT_NE(events[2].find(R"("tool_calls":[{"index":0,"id":"call_1","type":"function",)"
                           R"("function":{"name":"look_up","arguments":"{\"words\":\")"),
            std::string::npos)
      << events[2];
  EXPECT_NE(events[3].find(R"(\"}"}}]})"), std::string::npos) << events[3];
  EXPECT_NE(events[3].find(R"("finish_reason":"tool_calls")"), std::string::npos);
}

TEST(ShapeTest, EventsCarryWhatNobodyKnows) {
  const struct {
    Setting setting;
    const char* part;
    size_t times;
  } kCases[] = {{{"extras", "numbers"}, R"(,"sim_large":9007199254740993,"sim_small":1e-7})", 3},
                {{"extras", "duplicates"}, R"(,"sim_key":1,"sim_key":{"sim_key":[2]}})", 3},
                {{"padding_bytes", "5000"}, R"(,"sim_padding":"xxx)", 3}};
  for (const auto& c : kCases) {
    Serving serving(With({c.setting}));
    HttpClient client(serving.port());
    const HttpReply reply = client.Post(kCompletions, kStream);
    EXPECT_EQ(Count(reply.body, c.part), c.times) << reply.body.substr(0, 2000);
    EXPECT_EQ(reply.events().back(), "[DONE]");
    if (c.setting.option == std::string("padding_bytes")) {
      EXPECT_EQ(reply.events().front().size(), 5000u);
    }
  }
}

TEST(SendingTest, DressesTheStream) {
  const struct {
    Setting setting;
    const char* part;  // of the body
  } kCases[] = {{{"dress", "blanks"}, "\n\n\n\ndata: "},
                {{"dress", "blanks,bom,comments,ids,nospace"},
                 "\n\n: ping\n\nevent:message\nid: 0\nretry: 1000\ndata:{"},
                {{"dress", "extensions,trailers"}, "data: [DONE]"}};
  for (const auto& c : kCases) {
    Serving serving(With({c.setting}));
    HttpClient client(serving.port());
    const HttpReply reply = client.Post(kCompletions, kStream);
    EXPECT_NE(reply.body.find(c.part), std::string::npos) << c.setting.value << '\n' << reply.body;
    EXPECT_TRUE(reply.whole) << c.setting.value;
  }
  Serving serving(With({{"dress", "extensions,trailers"}}));
  HttpClient client(serving.port());
  client.SendPost(kCompletions, kStream, "Connection: close\r\n");
  const std::string raw = client.ReadAll();
  EXPECT_NE(raw.find(";name=\"value\"\r\ndata: "), std::string::npos) << raw;
  EXPECT_NE(raw.find("\r\n0;last\r\nx-stream-end: true\r\n\r\n"), std::string::npos) << raw;
}

TEST(SendingTest, EndsBodiesInManyWays) {
  const struct {
    std::vector<Setting> settings;
    const char* body;
    const char* head;
    bool closed;
  } kCases[] = {
      {{{"framing", "length"}}, kStream, "content-length: ", false},
      {{{"framing", "close"}}, kStream, "connection: close\r\n", true},
      {{{"document_framing", "chunked"}}, R"({"prompt":"a"})", "transfer-encoding: chunked\r\n", false},
      {{{"document_framing", "close"}}, R"({"prompt":"a"})", "connection: close\r\n", true},
  };
  for (const auto& c : kCases) {
    for (const char* mode : {"true", "false"}) {
      std::vector<Setting> settings = c.settings;
      settings.push_back({"fixed", mode});
      settings.push_back({"step_ms", "0.1"});
      Serving serving(With(settings));
      HttpClient client(serving.port());
      const HttpReply reply = client.Post(kCompletions, c.body);
      EXPECT_TRUE(reply.whole);
      EXPECT_NE(reply.head.find(c.head), std::string::npos) << reply.head;
      EXPECT_NE(reply.body.find("\"text\""), std::string::npos) << reply.body;
      if (c.body == kStream) {
        EXPECT_EQ(reply.events().size(), 4u) << reply.body;
      }
      EXPECT_EQ(reply.head.find("content-length: ") != std::string::npos,
                c.head == std::string("content-length: "))
          << reply.head;
      if (c.closed) {
        EXPECT_TRUE(client.Closed());
      } else {
        EXPECT_EQ(client.Get("/health").status, 200);
      }
    }
  }
}

TEST(SendingTest, AStreamHeldBackBreaksOffShortOfItsLength) {
  Serving serving(With({{"framing", "length"}}));
  for (const auto& [fault, whole] :
       {std::pair{"eof-mid", false}, std::pair{"error-mid", true}, std::pair{"end-mid", true}}) {
    HttpClient client(serving.port());
    const HttpReply reply = client.Post(kCompletions, kStream, std::string("X-Sim-Fault: ") + fault + "\r\n");
    EXPECT_EQ(reply.whole, whole) << fault;
    EXPECT_EQ(Count(reply.body, "\"text\":\" "), 2u) << fault << '\n' << reply.body;
  }
}

// The reader gets what is in front of the cut some time before the rest.
TEST(SendingTest, CutsWhereItHurts) {
  const struct {
    const char* cut;
    std::vector<Setting> settings;
    const char* first;  // end of the first part
  } kCases[] = {
      {"field", {}, "da"},
      {"line-end", {{"line_ending", "crlf"}}, "}\r"},
      {"line-end", {}, "}"},
      {"character", {{"text", "unicode"}}, nullptr},
      {"escape", {{"text", "escaped"}}, nullptr},
  };
  for (const auto& c : kCases) {
    std::vector<Setting> settings = c.settings;
    settings.push_back({"cut", c.cut});
    settings.push_back({"drip_ms", "100"});
    // One write for everything, so that there is one cut.
    settings.push_back({"events_per_write", "100"});
    Serving serving(With(settings));
    HttpClient client(serving.port());
    client.SendPost(kCompletions, R"({"prompt":"a","max_tokens":20,"stream":true})", "X-Request-Id: q\r\n");
    const std::string first = client.ReadOnce();
    const HttpReply reply = client.Read();
    EXPECT_TRUE(reply.whole) << c.cut;
    EXPECT_EQ(reply.events().size(), 21u) << c.cut;
    ASSERT_FALSE(first.empty());
    if (c.first != nullptr) {
      const std::string end = c.first;
      EXPECT_EQ(first.substr(first.size() - end.size()), end) << c.cut;
    } else if (c.cut == std::string("character")) {
      EXPECT_NE(first.back() & 0x80, 0) << c.cut;
    } else {
      EXPECT_NE(first.substr(first.size() - 6).find('\\'), std::string::npos) << c.cut;
    }
  }
}

TEST(SendingTest, TheTailGoesWithTheNextReply) {
  Serving serving(With({{"tail", "next"}}));
  HttpClient client(serving.port());
  client.SendPost(kCompletions, kStream, "X-Request-Id: one\r\n");
  client.SendPost(kCompletions, kStream, "X-Request-Id: two\r\n");
  for (const char* id : {"cmpl-one", "cmpl-two"}) {
    const HttpReply reply = client.Read();
    EXPECT_TRUE(reply.whole) << id;
    EXPECT_EQ(Count(reply.body, id), 3u) << reply.body;
    EXPECT_EQ(Count(reply.body, "[DONE]"), 1u) << reply.body;
  }
  // And with a reply that is none of a stream.
  client.Send(
      "POST /v1/completions HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 43\r\n\r\n" +
      std::string(kStream) + "GET /health HTTP/1.1\r\n\r\n");
  EXPECT_TRUE(client.Read().whole);
  EXPECT_EQ(client.Read().status, 200);
}

TEST(SendingTest, CommentsKeepASilentStreamAlive) {
  for (const char* mode : {"true", "false"}) {
    Serving serving(
        With({{"fixed", mode}, {"ping_s", "0.01"}, {"ttft_ms", "1000000"}, {"step_ms", "1000000"}}));
    HttpClient client(serving.port());
    client.SendPost(kCompletions, kStream);
    std::string seen;
    while (Count(seen, ": ping\n\n") < 2) {
      const std::string more = client.ReadOnce();
      ASSERT_FALSE(more.empty());
      seen += more;
    }
    EXPECT_EQ(Count(seen, "HTTP/1.1 200 OK"), 1u);
  }
}

TEST(SendingTest, ErrorsHaveManyBodies) {
  const struct {
    const char* style;
    const char* type;
    const char* body;
  } kCases[] = {
      {"dialect", "application/json",
       R"({"error":{"message":"injected fault","type":"RateLimitError","param":null,"code":429}})"},
      {"object", "application/json",
       R"({"error":{"message":"injected fault","type":"RateLimitError","param":null,"code":429}})"},
      {"string", "application/json", R"({"error":"injected fault"})"},
      {"flat", "application/json",
       R"({"object":"error","message":"injected fault","type":"RateLimitError","param":null,"code":429})"},
      {"detail", "application/json", R"({"detail":"injected fault"})"},
      {"detail-list", "application/json",
       R"({"detail":[{"type":"value_error","loc":["body",""],"msg":"injected fault"}]})"},
      {"html", "text/html",
       "<!doctype html>\n<html lang=en>\n<title>429 Too Many Requests</title>\n<h1>429 Too Many "
       "Requests</h1>\n"
       "<p>injected fault</p>\n"},
      {"empty", "", ""},
  };
  for (const auto& c : kCases) {
    Serving serving(With({{"error_body", c.style}}));
    HttpClient client(serving.port());
    const HttpReply reply = client.Post(kCompletions, kStream, "X-Sim-Fault: 429\r\n");
    EXPECT_EQ(reply.status, 429);
    EXPECT_EQ(reply.body, c.body) << c.style;
    EXPECT_EQ(reply.head.find("content-type") == std::string::npos, *c.type == '\0') << reply.head;
    EXPECT_NE(reply.head.find(c.type), std::string::npos) << reply.head;
  }
}

TEST(SendingTest, SaysWhenToComeBackInThreeWays) {
  for (const auto& [form, line] : {std::pair{"seconds", "retry-after: 7\r\n"}, std::pair{"date", " GMT\r\n"},
                                   std::pair{"ms", "retry-after-ms: 7000\r\n"}}) {
    Serving serving(With({{"retry_after_form", form}, {"retry_after_s", "7"}}));
    HttpClient client(serving.port());
    const HttpReply reply = client.Post(kCompletions, kStream, "X-Sim-Fault: 503\r\n");
    EXPECT_NE(reply.head.find(std::string(form) == "date" ? "retry-after: " : line), std::string::npos)
        << reply.head;
    EXPECT_NE(reply.head.find(line), std::string::npos) << reply.head;
  }
}

TEST(SendingTest, LaterFaultsHappenOnRequest) {
  const struct {
    const char* fault;
    size_t texts;
    const char* part;
    bool whole;
  } kCases[] = {
      {"error-last", 3, "injected fault", true},
      {"end-mid", 2, "\"text\":\" ", true},
      {"abort", 3, R"("finish_reason":"abort")", true},
  };
  for (const auto& c : kCases) {
    Serving serving(Quick());
    HttpClient client(serving.port());
    const HttpReply reply =
        client.Post(kCompletions, kStream, std::string("X-Sim-Fault: ") + c.fault + "\r\n");
    EXPECT_EQ(reply.whole, c.whole) << c.fault;
    EXPECT_EQ(Count(reply.body, "\"text\":\" "), c.texts) << c.fault << '\n' << reply.body;
    EXPECT_NE(reply.body.find(c.part), std::string::npos) << c.fault << '\n' << reply.body;
    EXPECT_EQ(client.Get("/health").status, 200) << c.fault;
  }
}

TEST(SendingTest, MayListenAndNeverAccept) {
  Options options = Quick();
  options.never_accept = true;
  Serving serving(options);
  HttpClient client(serving.port());
  client.SendPost(kCompletions, kStream);
  EXPECT_TRUE(client.StaysSilentFor(0.2));
}

}  // namespace
}  // namespace llmbench::sim
