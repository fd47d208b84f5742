#include "llmbench/sim/http_request.h"

#include <gtest/gtest.h>

namespace llmbench::sim {
namespace {

using State = HttpRequestParser::State;

constexpr const char* kPost =
    "POST /v1/completions?x=1 HTTP/1.1\r\nHost: a\r\nCONTENT-TYPE: application/json; charset=utf-8\r\n"
    "x-request-id:  abc \r\nAuthorization: Bearer k\r\nContent-Length: 5\r\n\r\nhello";
constexpr const char* kChunked =
    "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
    "3;ext=1\r\nhel\r\n02\r\nlo\r\n0\r\nTrailer: x\r\n\r\n";

void ExpectHello(HttpRequestParser& parser, const std::string& input) {
  EXPECT_EQ(input.substr(parser.body_offset(), parser.body_size()), "hello");
}

TEST(HttpRequestParserTest, TakesWholeRequests) {
  for (const char* text : {kPost, kChunked}) {
    std::string input = std::string(text) + "GET / HTTP/1.1\r\n\r\n";
    HttpRequestParser parser;
    ASSERT_EQ(parser.Advance(input.data(), input.size()), State::kComplete) << parser.error();
    EXPECT_EQ(parser.consumed(), std::string(text).size());
    ExpectHello(parser, input);
  }
}

TEST(HttpRequestParserTest, TakesRequestsAByteAtATime) {
  for (const char* text : {kPost, kChunked}) {
    const std::string whole = text;
    std::string input;
    HttpRequestParser parser;
    for (size_t i = 0; i < whole.size(); ++i) {
      input.push_back(whole[i]);
      const State state = parser.Advance(input.data(), input.size());
      ASSERT_EQ(state == State::kComplete, i + 1 == whole.size()) << i;
    }
    ExpectHello(parser, input);
    EXPECT_EQ(parser.consumed(), whole.size());
  }
}

TEST(HttpRequestParserTest, ReadsTheFieldsThatMatter) {
  std::string input = kPost;
  HttpRequestParser parser;
  ASSERT_EQ(parser.Advance(input.data(), input.size()), State::kComplete);
  const HttpRequest& request = parser.request();
  EXPECT_EQ(request.method, "POST");
  EXPECT_EQ(request.target, "/v1/completions");
  EXPECT_EQ(request.request_id, "abc");
  EXPECT_EQ(request.authorization, "Bearer k");
  EXPECT_TRUE(request.body_is_json);
  EXPECT_TRUE(request.keep_alive);
  EXPECT_FALSE(request.expect_continue);
}

TEST(HttpRequestParserTest, KnowsWhetherTheConnectionStays) {
  const struct {
    const char* text;
    bool keep_alive;
  } kCases[] = {
      {"GET / HTTP/1.1\r\n\r\n", true},
      {"GET / HTTP/1.1\r\nConnection: Close\r\n\r\n", false},
      {"GET / HTTP/1.1\r\nConnection: TE, close\r\n\r\n", false},
      {"GET / HTTP/1.0\r\n\r\n", false},
      {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true},
  };
  for (const auto& c : kCases) {
    std::string input = c.text;
    HttpRequestParser parser;
    ASSERT_EQ(parser.Advance(input.data(), input.size()), State::kComplete) << c.text;
    EXPECT_EQ(parser.request().keep_alive, c.keep_alive) << c.text;
  }
}

TEST(HttpRequestParserTest, RefusesWhatIsMalformed) {
  const struct {
    const char* text;
    int status;
  } kCases[] = {
      {"GET /\r\n\r\n", 400},
      {"GET  / HTTP/1.1\r\n\r\n", 400},
      {"G(T / HTTP/1.1\r\n\r\n", 400},
      {"GET / HTTP/2.0\r\n\r\n", 505},
      {"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nspace : x\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\n folded: x\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nContent-Length: 1x\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nContent-Length: 999999999999\r\n\r\n", 413},
      {"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 501},
      {"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400},
      {"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n", 400},
      {"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffff\r\n", 413},
  };
  for (const auto& c : kCases) {
    std::string input = c.text;
    HttpRequestParser parser;
    EXPECT_EQ(parser.Advance(input.data(), input.size()), State::kError) << c.text;
    EXPECT_EQ(parser.error_status(), c.status) << c.text;
  }
  std::string endless(HttpRequestParser::kMaxHead + 1, 'x');
  HttpRequestParser parser;
  EXPECT_EQ(parser.Advance(endless.data(), endless.size()), State::kError);
  EXPECT_EQ(parser.error_status(), 431);
}

}  // namespace
}  // namespace llmbench::sim
