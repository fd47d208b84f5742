#include "llmbench/wire/http2_response_reader.h"

#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <vector>

#include "feeding.h"
#include "protobuf.h"

namespace llmbench::wire {
namespace {

using Piece = Http2ResponseReader::Piece;

// "H…" a block of fields, "B…" a piece of the body, "E" the end, "C" the connection is closed, "R" reset.
using Pieces = std::vector<std::string>;

struct Row {
  const char* name;
  const char* format;
  Pieces pieces;
  WireError error;
  const char* error_text;  // a part of it
  const char* events = "";
  int32_t output_tokens = -1;
  bool streamed = true;
};
std::ostream& operator<<(std::ostream& out, const Row& row) { return out << row.name; }

void Take(Http2ResponseReader& reader, const std::string& piece, Outcome& outcome) {
  switch (piece[0]) {
    case 'C':
    case 'R':
      return reader.Close(piece[0] == 'R', outcome);
    case 'H':
      reader.Expect(Piece::kHeaders);
      break;
    case 'B':
      reader.Expect(Piece::kBody);
      break;
    default:
      reader.Expect(Piece::kEnd);
  }
  FeedBytes(reader, piece.substr(1), outcome);
}

class Http2ResponseReaderRows : public testing::TestWithParam<Row> {};

TEST_P(Http2ResponseReaderRows, AnswerAndEvents) {
  const Row& row = GetParam();
  Http2ResponseReader reader(*WireFormat::Named(row.format), MakeJsonScratch());
  for (int round = 0; round < 2; ++round) {  // an answer leaves nothing behind for the next
    std::string text;
    Outcome outcome;
    reader.Start(row.streamed, &text);
    EXPECT_FALSE(reader.any_bytes());
    EXPECT_EQ(reader.status(), 0);
    for (const std::string& piece : row.pieces) Take(reader, piece, outcome);
    const Answer& answer = reader.answer();
    EXPECT_EQ(Name(answer.error), Name(row.error));
    EXPECT_NE(answer.error_text.find(row.error_text), std::string::npos) << answer.error_text;
    EXPECT_EQ(Describe(outcome.events), row.events);
    EXPECT_EQ(answer.output_tokens, row.output_tokens);
    if (row.error == WireError::kNone) {
      EXPECT_TRUE(reader.complete());
      EXPECT_TRUE(answer.done);
      EXPECT_EQ(reader.status(), 200);
    }
  }
}

const std::string kGrpcHead = "H:status: 200\ncontent-type: application/grpc\n";
const std::string kSseHead = "H:status: 200\ncontent-type: text/event-stream\n";
const std::string kFirst = "B" + GrpcMessage(FastGenReply("a", "none", 3, 1));
const std::string kLast = "B" + GrpcMessage(FastGenReply("b", "length", 3, 2));
const std::string kSse =
    "Bdata: "
    "{\"choices\":[{\"text\":\"hi\",\"finish_reason\":\"stop\"}],\"usage\":{\"completion_tokens\":1}}\n\n";

INSTANTIATE_TEST_SUITE_P(
    Grpc, Http2ResponseReaderRows,
    testing::Values(
        Row{"stream",
            "fastgen-grpc",
            {kGrpcHead, kFirst, kLast, "Hgrpc-status: 0\n", "E"},
            WireError::kNone,
            "",
            "answer:1 answer:1",
            2},
        Row{"sliced",
            "fastgen-grpc",
            {kGrpcHead, kFirst.substr(0, 4), "B" + kFirst.substr(4), kLast, "Hgrpc-status: 0\n", "E"},
            WireError::kNone,
            "",
            "answer:1 answer:1",
            2},
        Row{"content_type_with_suffix",
            "fastgen-grpc",
            {"H:status: 200\ncontent-type: application/grpc+proto\n", kLast, "Hgrpc-status: 0\n", "E"},
            WireError::kNone,
            "",
            "answer:2",
            2},
        Row{"interim",
            "fastgen-grpc",
            {"H:status: 103\n", kGrpcHead, kLast, "Hgrpc-status: 0\n", "E"},
            WireError::kNone,
            "",
            "answer:2",
            2},
        Row{"unary",
            "fastgen-grpc",
            {kGrpcHead, kLast, "Hgrpc-status: 0\n", "E"},
            WireError::kNone,
            "",
            "",
            2,
            false},
        Row{"trailers_only",
            "fastgen-grpc",
            {"H:status: 200\ncontent-type: application/grpc\ngrpc-status: 12\ngrpc-message: "
             "no%20such%20method\n",
             "E"},
            WireError::kServerErrorEvent,
            "grpc-status 12 UNIMPLEMENTED: no such method"},
        Row{"error_after_text",
            "fastgen-grpc",
            {kGrpcHead, kFirst, "Hgrpc-status: 2\ngrpc-message: Exception%3A %C3%A9%zz%\n", "E"},
            WireError::kServerErrorEvent,
            "grpc-status 2 UNKNOWN: Exception: \xc3\xa9%zz%",
            "answer:1",
            1},
        Row{"a_status_nobody_knows",
            "fastgen-grpc",
            {kGrpcHead, "Hgrpc-status: 77\n", "E"},
            WireError::kServerErrorEvent,
            "grpc-status 77"},
        Row{"a_status_that_is_no_number",
            "fastgen-grpc",
            {kGrpcHead, "Hgrpc-status: no\n", "E"},
            WireError::kServerErrorEvent,
            "grpc-status no"},
        Row{"missing_status",
            "fastgen-grpc",
            {kGrpcHead, kFirst, kLast, "E"},
            WireError::kTruncated,
            "ended without a grpc-status",
            "answer:1 answer:1",
            2},
        Row{"trailers_without_status",
            "fastgen-grpc",
            {kGrpcHead, kLast, "Hx: y\n", "E"},
            WireError::kTruncated,
            "ended without a grpc-status",
            "answer:2",
            2},
        Row{"no_message",
            "fastgen-grpc",
            {kGrpcHead, "Hgrpc-status: 0\n", "E"},
            WireError::kEmptyStream,
            "empty body"},
        Row{"half_a_message",
            "fastgen-grpc",
            {kGrpcHead, kFirst.substr(0, 8), "Hgrpc-status: 0\n", "E"},
            WireError::kTruncatedNoDone,
            "within its first message"},
        Row{"compressed",
            "fastgen-grpc",
            {kGrpcHead, std::string("B\1\0\0\0\1x", 7)},
            WireError::kContentEncoding,
            "compressed"},
        Row{"another_content_type",
            "fastgen-grpc",
            {"H:status: 200\ncontent-type: text/html\n", "B<html>"},
            WireError::kContentType,
            "text/html, not application/grpc"},
        Row{"http_status",
            "fastgen-grpc",
            {"H:status: 503\n", "Bno healthy upstream", "E"},
            WireError::kHttpStatus,
            "no healthy upstream"},
        Row{"closed_early", "fastgen-grpc", {"C"}, WireError::kEmptyReply, "closed without a response"},
        Row{"reset_early", "fastgen-grpc", {"R"}, WireError::kResetBeforeHeaders, "reset without a response"},
        Row{"closed_within",
            "fastgen-grpc",
            {kGrpcHead, kFirst, "C"},
            WireError::kTruncated,
            "closed within the response",
            "answer:1",
            1},
        Row{"reset_within",
            "fastgen-grpc",
            {kGrpcHead, kFirst, "R"},
            WireError::kResetMidStream,
            "reset within the response",
            "answer:1",
            1}),
    [](const auto& row) { return std::string(row.param.name); });

INSTANTIATE_TEST_SUITE_P(
    OpenAi, Http2ResponseReaderRows,
    testing::Values(
        Row{"sse",
            "openai-completions",
            {kSseHead, kSse, "Bdata: [DONE]\n\n", "E"},
            WireError::kNone,
            "",
            "answer:1",
            1},
        Row{"sse_done_and_end",
            "openai-completions",
            {kSseHead, kSse + "data: [DONE]\n\n", "E"},
            WireError::kNone,
            "",
            "answer:1",
            1},
        Row{"json_error",
            "openai-completions",
            {"H:status: 429\nretry-after: 3\n", "B{\"error\":{\"message\":\"slow", "B down\"}}", "E"},
            WireError::kHttpStatus,
            "slow down"},
        Row{"empty", "openai-completions", {kSseHead, "E"}, WireError::kEmptyStream, "empty body"},
        Row{"redirect",
            "openai-completions",
            {"H:status: 307\nlocation: /x\n", "E"},
            WireError::kRedirect,
            "/x"},
        Row{"gzip",
            "openai-completions",
            {"H:status: 200\ncontent-encoding: gzip\n", "Bzz"},
            WireError::kContentEncoding,
            "gzip"}),
    [](const auto& row) { return std::string(row.param.name); });

TEST(Http2ResponseReader, ABrokenStreamKeepsItsReason) {
  Http2ResponseReader reader(*WireFormat::Named("fastgen-grpc"), MakeJsonScratch());
  reader.Start(true, nullptr);
  Outcome outcome;
  Take(reader, kGrpcHead, outcome);
  reader.Break(WireError::kResetMidStream, "the server reset the stream (INTERNAL_ERROR)");
  EXPECT_EQ(Name(reader.answer().error), "reset_mid_stream");
  EXPECT_EQ(reader.answer().error_text, "the server reset the stream (INTERNAL_ERROR)");
}

TEST(Http2ResponseReader, AnEventHalfRead) {
  Http2ResponseReader reader(*WireFormat::Named("fastgen-grpc"), MakeJsonScratch());
  reader.Start(true, nullptr);
  Outcome outcome;
  for (const std::string& piece : {kGrpcHead, kFirst}) Take(reader, piece, outcome);
  EXPECT_FALSE(reader.event_begun());
  Take(reader, kLast.substr(0, 3), outcome);
  EXPECT_TRUE(reader.event_begun());
}

TEST(Http2ResponseReader, RetryAfter) {
  const struct {
    const char* fields;
    int64_t seconds;
  } rows[] = {
      {"", -1},
      {"retry-after: 7\n", 7},
      {"retry-after: soon\n", -1},
      {"retry-after-ms: 1200\nretry-after: 9\n", 2},
      {"retry-after: Fri, 31 Dec 1999 23:59:59 GMT\n", -1},
      {"date: Fri, 31 Dec 1999 23:58:00 GMT\nretry-after: Fri, 31 Dec 1999 23:59:59 GMT\n", 119},
  };
  // One after the other: nothing stays of the answer before.
  Http2ResponseReader reader(WireFormat::OpenAiChat(), MakeJsonScratch());
  for (const auto& row : rows) {
    reader.Start(true, nullptr);
    Outcome outcome;
    Take(reader, "H:status: 429\n" + std::string(row.fields), outcome);
    EXPECT_EQ(reader.retry_after_s(), row.seconds) << row.fields;
    EXPECT_EQ(reader.status(), 429);
  }
}

TEST(DecodeGrpcMessage, DecodesWhatIsEncodedAndKeepsTheRest) {
  EXPECT_EQ(DecodeGrpcMessage("a%20b%C3%a9"), "a b\xc3\xa9");
  EXPECT_EQ(DecodeGrpcMessage("100%"), "100%");
  EXPECT_EQ(DecodeGrpcMessage("%2"), "%2");
  EXPECT_EQ(DecodeGrpcMessage("%g0"), "%g0");
}

}  // namespace
}  // namespace llmbench::wire
