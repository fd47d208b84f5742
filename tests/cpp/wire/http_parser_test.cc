#include "llmbench/wire/http_parser.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "feeding.h"
#include "llmbench/wire/escape.h"

namespace llmbench::wire {
namespace {

constexpr size_t kMaxHeader = 256 * 1024;

struct Parsed {
  std::string body;
  bool header = false;
  bool complete = false;
  size_t left = 0;  // bytes behind the message
};

// Feeds one read after the other until the message or the bytes end.
void Feed(HttpParser& parser, std::string_view bytes, Parsed& parsed) {
  WithPadding(bytes, [&](std::string_view input) {
    std::string_view body;
    for (;;) {
      switch (parser.Advance(input, body)) {
        case HttpParser::Step::kHeader:
          EXPECT_FALSE(parsed.header);
          parsed.header = true;
          break;
        case HttpParser::Step::kBody:
          EXPECT_FALSE(body.empty());
          EXPECT_TRUE(body.data() + body.size() <= input.data()) << "not a view of the input";
          parsed.body += body;
          break;
        case HttpParser::Step::kComplete:
          parsed.complete = true;
          parsed.left += input.size();
          return;
        case HttpParser::Step::kNeedMore:
          EXPECT_EQ(input, "");
          return;
        case HttpParser::Step::kError:
          return;
      }
    }
  });
}

struct Accepted {
  const char* name;
  std::string response;
  int status;
  std::string body;
  bool complete = true;
  bool keep_alive = true;
  bool http10 = false;
};
std::ostream& operator<<(std::ostream& out, const Accepted& row) { return out << row.name; }

class AcceptedTest : public testing::TestWithParam<Accepted> {};

TEST_P(AcceptedTest, InAnySlicing) {
  const Accepted& want = GetParam();
  HttpParser parser(kMaxHeader);
  InEverySlicing(want.response, [&](const std::vector<std::string_view>& slices) {
    parser.Reset();
    Parsed parsed;
    for (const std::string_view slice : slices) Feed(parser, slice, parsed);
    EXPECT_EQ(parser.error(), WireError::kNone) << parser.error_text();
    EXPECT_TRUE(parsed.header);
    EXPECT_EQ(parser.status(), want.status);
    EXPECT_EQ(parsed.body, want.body);
    EXPECT_EQ(parsed.complete, want.complete);
    EXPECT_EQ(parser.http10(), want.http10);
    if (!want.complete) {
      EXPECT_EQ(parser.Close(), HttpParser::Step::kComplete);
    }
    EXPECT_EQ(parser.keep_alive(), want.keep_alive);
  });
}

INSTANTIATE_TEST_SUITE_P(
    HttpParser, AcceptedTest,
    testing::Values(
        Accepted{"content_length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, "hello"},
        Accepted{"content_length_0", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, ""},
        Accepted{"same_length_twice", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi",
                 200, "hi"},
        Accepted{"chunked",
                 "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n",
                 200, "hello!"},
        Accepted{"chunk_size_forms",
                 "HTTP/1.1 200 OK\r\ntransfer-encoding: "
                 "Chunked\r\n\r\n0005\r\nhello\r\nA\r\n0123456789\r\na\r\n0\r\n\r\n5\r\n\r\n\r\n"
                 "000\r\n\r\n",
                 200, "hello01234567890\r\n\r\n5\r\n\r\n"},
        Accepted{"extensions_and_trailers",
                 "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b;c=\"d;\\\"\"\r\nhi\r\n0;z\r\nA: "
                 "1\r\nB: 2\r\n\r\n",
                 200, "hi"},
        Accepted{"empty_chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 200, ""},
        Accepted{"read_to_close", "HTTP/1.1 200 OK\r\n\r\nhello", 200, "hello", false, false},
        Accepted{"http10", "HTTP/1.0 200 OK\r\n\r\nhello", 200, "hello", false, false, true},
        Accepted{"http10_length", "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", 200, "x", true, false,
                 true},
        Accepted{"http10_keep_alive",
                 "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\nx", 200, "x", true,
                 true, true},
        Accepted{"connection_close", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx",
                 200, "x", true, false},
        Accepted{"no_content", "HTTP/1.1 204 No Content\r\n\r\n", 204, ""},
        Accepted{"status_999", "HTTP/1.1 999 Whatever\r\nContent-Length: 0\r\n\r\n", 999, ""},
        Accepted{"no_reason", "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", 200, ""},
        Accepted{"continue_thrice",
                 "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\nA: b\r\n\r\nHTTP/1.1 102 "
                 "Processing\r\n\r\n"
                 "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
                 200, "x"},
        Accepted{"odd_field_values",
                 "HTTP/1.1 200 OK\r\nA:\r\nB:   x  \r\nC: \xc3\xa9\r\nContent-Length:1\r\n\r\nx", 200, "x"}),
    [](const auto& row) { return std::string(row.param.name); });

struct Refused {
  const char* name;
  std::string response;
  WireError error = WireError::kProtocol;
};
std::ostream& operator<<(std::ostream& out, const Refused& row) { return out << row.name; }

class RefusedTest : public testing::TestWithParam<Refused> {};

TEST_P(RefusedTest, InAnySlicing) {
  const Refused& want = GetParam();
  HttpParser parser(kMaxHeader);
  InEverySlicing(want.response, [&](const std::vector<std::string_view>& slices) {
    parser.Reset();
    Parsed parsed;
    for (const std::string_view slice : slices) Feed(parser, slice, parsed);
    if (parser.error() == WireError::kNone) parser.Close();
    EXPECT_EQ(Name(parser.error()), Name(want.error));
    EXPECT_NE(parser.error_text().find('"'), std::string_view::npos) << parser.error_text();
    EXPECT_FALSE(parsed.complete);
    EXPECT_FALSE(parser.keep_alive());
  });
}

INSTANTIATE_TEST_SUITE_P(
    HttpParser, RefusedTest,
    testing::Values(
        Refused{"http09", "<html>hello"}, Refused{"garbage", std::string("\x15\x03\x01\x00\x02\x02\x46", 7)},
        Refused{"ssh", "SSH-2.0-OpenSSH_9.2\r\n"}, Refused{"http2", "HTTP/2 200\r\n\r\n"},
        Refused{"http37", "HTTP/3.7 200 OK\r\n\r\n"}, Refused{"http12", "HTTP/1.2 200 OK\r\n\r\n"},
        Refused{"no_status", "HTTP/1.1\r\n\r\n"}, Refused{"bad_status", "HTTP/1.1 2x0 OK\r\n\r\n"},
        Refused{"bad_status_then_closed", "HTTP/1.1 2x0 OK"},
        Refused{"long_status", "HTTP/1.1 2000 OK\r\n\r\n"},
        Refused{"bare_line_feeds", "HTTP/1.1 200 OK\nContent-Length: 0\n\n"},
        Refused{"bad_field_name", "HTTP/1.1 200 OK\r\nA b: c\r\n\r\n"},
        Refused{"no_colon", "HTTP/1.1 200 OK\r\nA\r\n\r\n"},
        Refused{"two_lengths", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"},
        Refused{"two_lengths_in_one", "HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nhello!"},
        Refused{"negative_length", "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"},
        Refused{"huge_length", "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n"},
        Refused{"length_and_chunked",
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"},
        Refused{"bad_chunk_size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"},
        Refused{"negative_chunk_size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n"},
        Refused{"huge_chunk_size",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n11111111111111111\r\n"},
        Refused{"no_chunk_end", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n"},
        Refused{"bad_trailer", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA b\r\n\r\n"},
        Refused{"switching_protocols", "HTTP/1.1 101 Switching Protocols\r\n\r\n"}),
    [](const auto& row) { return std::string(row.param.name); });

TEST(HttpParserTest, RefusalShowsTheFirstBytesEscaped) {
  HttpParser parser(kMaxHeader);
  Parsed parsed;
  Feed(parser, std::string("\x15\x03\x01 \"\\\n", 7) + std::string(100, 'x'), parsed);
  EXPECT_EQ(parser.error_text(),
            "not an HTTP/1 response: \"\\x15\\x03\\x01 \\\"\\\\\\n" + std::string(57, 'x') + "\"…");
}

std::string Fields(size_t count) {
  std::string fields;
  for (size_t i = 0; i < count; ++i) fields += "x: y\r\n";
  return fields;
}

TEST(HttpParserTest, HeaderLimit) {
  struct Row {
    const char* name;
    std::string response;
    WireError error;
  };
  const std::string ok = "HTTP/1.1 200 OK\r\n", chunked = ok + "Transfer-Encoding: chunked\r\n\r\n";
  std::string continues;
  while (continues.size() < 300 * 1024) continues += "HTTP/1.1 100 Continue\r\n\r\n";
  const Row rows[] = {
      {"20 000 fields", ok + Fields(20'000) + "\r\n", WireError::kNone},
      {"300 KiB of fields", ok + Fields(50'000) + "\r\n", WireError::kHeaderTooLarge},
      {"300 KiB of fields, no end", ok + Fields(50'000), WireError::kHeaderTooLarge},
      {"one field of 300 KiB", ok + "x: " + std::string(300 * 1024, 'y') + "\r\n\r\n",
       WireError::kHeaderTooLarge},
      {"1xx without end", continues, WireError::kHeaderTooLarge},
      {"an endless chunk extension", chunked + "5;" + std::string(300 * 1024, 'x'),
       WireError::kHeaderTooLarge},
      {"endless trailers", chunked + "0\r\n" + Fields(50'000), WireError::kHeaderTooLarge},
      {"a last chunk's header and trailers, together",
       chunked + "0;" + std::string(200 * 1024, 'x') + "\r\n" + Fields(20'000) + "\r\n",
       WireError::kHeaderTooLarge},
      {"a large body behind it", ok + "\r\n" + std::string(300 * 1024, 'x'), WireError::kNone},
  };
  for (const Row& row : rows) {
    for (const size_t slice : {row.response.size(), size_t{1000}, size_t{7777}}) {
      SCOPED_TRACE(std::string(row.name) + " in slices of " + std::to_string(slice));
      HttpParser parser(kMaxHeader);
      Parsed parsed;
      for (size_t at = 0; at < row.response.size(); at += slice)
        Feed(parser, row.response.substr(at, slice), parsed);
      EXPECT_EQ(Name(parser.error()), Name(row.error)) << parser.error_text();
      EXPECT_EQ(parsed.header, row.response.find("\r\n\r\n") != std::string::npos && parser.status() != 0);
    }
  }
}

TEST(HttpParserTest, FieldsAreGivenAsSent) {
  HttpParser parser(kMaxHeader);
  Parsed parsed;
  Feed(parser,
       "HTTP/1.1 307 Temporary Redirect\r\nCONTENT-TYPE: Text/HTML; charset=utf-8\r\nLocation: "
       "https://other/v1\r\n"
       "Content-Encoding: gzip\r\nContent-Length: 0\r\n\r\n",
       parsed);
  EXPECT_EQ(parser.content_type(), "Text/HTML; charset=utf-8");
  EXPECT_EQ(parser.location(), "https://other/v1");
  EXPECT_EQ(parser.content_encoding(), "gzip");
  parser.Reset();
  EXPECT_EQ(parser.content_type(), "");
  EXPECT_EQ(parser.content_encoding(), "");
  EXPECT_EQ(parser.status(), 0);
}

TEST(HttpParserTest, ContentEncoding) {
  const struct {
    const char* field;
    const char* encoding;
  } rows[] = {
      {"Content-Encoding: identity", ""},
      {"Content-Encoding: br", "br"},
      {"Transfer-Encoding: chunked", ""},
      {"Transfer-Encoding: gzip, chunked", "gzip"},
      {"Transfer-Encoding: identity", ""},
      {"Transfer-Encoding: deflate", "deflate"},
      {"Transfer-Encoding:  chunked , chunked", ""},
  };
  for (const auto& row : rows) {
    HttpParser parser(kMaxHeader);
    Parsed parsed;
    Feed(parser, "HTTP/1.1 200 OK\r\n" + std::string(row.field) + "\r\n\r\n", parsed);
    EXPECT_EQ(parser.content_encoding(), row.encoding) << row.field;
  }
}

TEST(HttpParserTest, RetryAfter) {
  const struct {
    const char* fields;
    int64_t seconds;
  } rows[] = {
      {"", -1},
      {"Retry-After: 7\r\n", 7},
      {"Retry-After: 0\r\n", 0},
      {"Retry-After: -7\r\n", -1},
      {"Retry-After: soon\r\n", -1},
      {"Retry-After-Ms: 1200\r\nRetry-After: 9\r\n", 2},
      {"Retry-After: Fri, 31 Dec 1999 23:59:59 GMT\r\n",
       -1},  // counted from Date, for the parser knows no clock
      {"Retry-After: Fri, 31 Dec 1999 23:59:59 GMT\r\nDate: Fri, 31 Dec 1999 23:58:00 GMT\r\n", 119},
      {"Retry-After: Friday, 31-Dec-99 23:59:59 GMT\r\nDate: Fri Dec 31 23:58:59 1999\r\n", 60},
      {"Retry-After: Fri, 31 Dec 1999 23:58:59 GMT\r\nDate: Fri, 31 Dec 1999 23:59:59 GMT\r\n", 0},
  };
  for (const auto& row : rows) {
    HttpParser parser(kMaxHeader);
    Parsed parsed;
    Feed(parser, "HTTP/1.1 429 Too Many Requests\r\n" + std::string(row.fields) + "\r\n", parsed);
    EXPECT_EQ(parser.retry_after_s(), row.seconds) << row.fields;
  }
}

TEST(HttpParserTest, ErrorTrailer) {
  HttpParser parser(kMaxHeader);
  Parsed parsed;
  Feed(parser,
       "HTTP/1.1 200 OK\r\nX-Not-Error: header\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-A: "
       "b\r\nX-Stream-ERROR: out of "
       "memory\r\n\r\n",
       parsed);
  EXPECT_TRUE(parsed.complete);
  EXPECT_EQ(parser.error_trailer(), "X-Stream-ERROR: out of memory");
}

TEST(HttpParserTest, BytesBehindTheMessageAreLeft) {
  HttpParser parser(kMaxHeader);
  Parsed parsed;
  Feed(parser, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxHTTP/1.1", parsed);
  EXPECT_TRUE(parsed.complete);
  EXPECT_EQ(parsed.left, 8u);
}

// Chunks that are whole in one read are taken another way than torn ones: cut anywhere in two, a body of all
// kinds of chunks is the same.
TEST(HttpParserTest, ChunksOfAllKindsCutInTwo) {
  static constexpr std::string_view kHead = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
  const struct {
    std::string chunks, body;
    bool good = true;
  } rows[] = {
      {"3\r\nabc\r\n1\r\nd\r\n2\r\nef\r\n0\r\n\r\n", "abcdef"},
      {"3\r\nabc\r\n0001\r\nd\r\n00000002\r\nef\r\n000\r\n\r\n", "abcdef"},
      {"3\r\nabc\r\na\r\n0123456789\r\nB\r\n0123456789a\r\n0\r\n\r\n", "abc01234567890123456789a"},
      {"3\r\nabc\r\n1;x=y\r\nd\r\n2 ;x\r\nef\r\n1\r\ng\r\n0;x\r\n\r\n", "abcdefg"},
      {"2\r\n\r\n\r\n4\r\n\r\n\r\n\r\n2\r\n\r\n\r\n0\r\n\r\n", "\r\n\r\n\r\n\r\n"},
      {"3\r\nabc\r\n1\r\nd\r\n0\r\nX-Error: no\r\n\r\n", "abcd"},
      {"3\r\nabc\r\n1\r\nd\n2\r\nef\r\n0\r\n\r\n", "abcd", false},
      {"3\r\nabc\r\n1\r\nde\r\n2\r\nef\r\n0\r\n\r\n", "abcd", false},
      {"3\r\nabc\r\n1\nd\r\n0\r\n\r\n", "abc", false},
      {"3\r\nabc\r\n1\r\nd\r\ng\r\nef\r\n0\r\n\r\n", "abcd", false},
      {"3\r\nabc\r\n1\r\nd\r\n-1\r\nef\r\n0\r\n\r\n", "abcd", false},
      {"3\r\nabc\r\n1\r\nd\r\n\r\n2\r\nef\r\n0\r\n\r\n", "abcd", false},
  };
  for (const auto& row : rows) {
    const std::string bytes = std::string(kHead) + row.chunks;
    for (size_t cut = 0; cut <= bytes.size(); ++cut) {
      HttpParser parser(kMaxHeader);
      Parsed parsed;
      Feed(parser, std::string_view(bytes).substr(0, cut), parsed);
      Feed(parser, std::string_view(bytes).substr(cut), parsed);
      EXPECT_EQ(parsed.body, row.body) << Quote(row.chunks) << " cut at " << cut;
      EXPECT_EQ(parsed.complete, row.good) << Quote(row.chunks) << " cut at " << cut;
      EXPECT_EQ(parser.error() == WireError::kNone, row.good) << Quote(row.chunks) << " cut at " << cut;
    }
  }
}

// Everything a parser says of a response that was fed in one piece or two.
std::string Describe(HttpParser& parser, std::string_view bytes, size_t cut) {
  Parsed parsed;
  parser.Reset();
  Feed(parser, bytes.substr(0, cut), parsed);
  Feed(parser, bytes.substr(cut), parsed);
  if (!parsed.complete && parser.Close() == HttpParser::Step::kComplete) parsed.complete = true;
  std::string text = std::to_string(parser.status()) + " " + Quote(parsed.body) + " ";
  for (const std::string_view field : {parser.content_type(), parser.content_encoding(), parser.location(),
                                       parser.error_trailer(), parser.error_text()}) {
    text.append(field).append("|");
  }
  text += std::to_string(parser.retry_after_s()) + " left " + std::to_string(parsed.left);
  for (const bool flag :
       {parsed.header, parsed.complete, parser.interim(), parser.http10(), parser.keep_alive()}) {
    text += flag ? " yes" : " no";
  }
  return text;
}

// A header like the one before is not parsed in full. Whatever came before, a response says the same.
TEST(HttpParserTest, AHeaderThatIsKnownSaysWhatItSaidBefore) {
  static constexpr std::string_view kChunks = "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
  const std::string responses[] = {
      "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: text/event-stream\r\n"
      "Transfer-Encoding: chunked\r\n\r\n" +
          std::string(kChunks),
      "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:38 GMT\r\nContent-Type: text/event-stream\r\n"
      "Transfer-Encoding: chunked\r\n\r\n" +
          std::string(kChunks),
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n" +
          std::string(kChunks),
      "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX-A: 1\r\nConnection: keep-alive\r\n\r\nabcd",
      "HTTP/1.1 200 OK\r\ncontent-LENGTH: 0\r\n\r\n",
      "HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\nto the end",
      "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nContent-Length: 2\r\n\r\nno",
      "HTTP/1.1 503 Busy\r\nRetry-After-Ms: 1500\r\nLocation: /x\r\nTransfer-Encoding: gzip, "
      "chunked\r\n\r\n" +
          std::string(kChunks),
      "HTTP/1.1 100 Continue\r\nX-A: b\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcd",
      "HTTP/1.1 200 OK\r\nX-A: a\r\n b\r\nContent-Length: 4\r\n\r\nabcd",
      "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent Length: 4\r\n\r\nabcd",
      "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Le",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Error: no\r\n\r\n",
      "",
  };
  for (const std::string& first : responses) {
    for (const std::string& second : responses) {
      HttpParser parser(kMaxHeader);
      for (int round = 0; round < 12; ++round) {
        const std::string& response = round % 3 == 2 ? second : first;
        const size_t cut = round % 5 == 4 ? response.size() / 3 : 0;
        HttpParser fresh(kMaxHeader);
        ASSERT_EQ(Describe(parser, response, cut), Describe(fresh, response, cut))
            << Quote(response) << " in round " << round << " with " << Quote(second);
      }
    }
  }
}

TEST(HttpParserTest, Begun) {
  const std::string header = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
  const struct {
    const char* body;
    bool begun;
  } rows[] = {
      {"", false},
      {"3", true},
      {"3\r", true},
      {"3\r\n", true},
      {"3\r\nab", false},
      {"3\r\nabc", false},
      {"3\r\nabc\r", false},
      {"3\r\nabc\r\n", false},
      {"3\r\nabc\r\n4", true},
      {"3\r\nabc\r\n4\r\n", true},
      {"3\r\nabc\r\n0", false},
      {"3\r\nabc\r\n0\r\n", false},
      {"0\r\n\r\n", false},
  };
  for (const auto& row : rows) {
    HttpParser parser(kMaxHeader);
    Parsed parsed;
    Feed(parser, header + row.body, parsed);
    EXPECT_EQ(parser.begun(), row.begun) << Quote(row.body);
  }
}

TEST(HttpParserTest, CloseTellsWhetherTheMessageIsWhole) {
  const struct {
    const char* bytes;
    HttpParser::Step step;
  } rows[] = {
      {"", HttpParser::Step::kNeedMore},
      {"HTT", HttpParser::Step::kNeedMore},
      {"HTTP/1.1 200 OK\r\nContent-Le", HttpParser::Step::kNeedMore},
      {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", HttpParser::Step::kNeedMore},
      {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", HttpParser::Step::kComplete},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
       HttpParser::Step::kNeedMore},
      {"HTTP/1.1 200 OK\r\n\r\nhello", HttpParser::Step::kComplete},
      {"HTTP/1.1 100 Continue\r\n\r\n", HttpParser::Step::kNeedMore},
  };
  for (const auto& row : rows) {
    HttpParser parser(kMaxHeader);
    Parsed parsed;
    Feed(parser, row.bytes, parsed);
    EXPECT_EQ(parser.Close(), row.step) << Quote(row.bytes);
  }
}

}  // namespace
}  // namespace llmbench::wire
