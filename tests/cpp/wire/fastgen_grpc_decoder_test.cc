#include "llmbench/wire/fastgen_grpc_decoder.h"

#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <vector>

#include "feeding.h"
#include "protobuf.h"

namespace llmbench::wire {
namespace {

using namespace std::string_literals;

// What a stream of messages comes to.
struct Read {
  std::vector<StreamEvent> events;
  Answer answer;
  std::string text;
};

Read Decode(const std::vector<std::string>& messages) {
  Read read;
  const auto decoder = MakeFastGenGrpcDecoder();
  read.answer.Reset(&read.text);
  decoder->Reset();
  for (const std::string& message : messages) {
    WithPadding(message, [&](std::string_view payload) {
      read.events.push_back(decoder->Decode(payload, read.answer));
    });
  }
  return read;
}

TEST(FastGenGrpcDecoder, TheBytesThatAProtobufLibraryWrote) {
  const std::string message =
      "\x0a\x23\x0a\x0bhello world\x12\x06length\x18\x03\x20\x02\x2d\0\0\x80\xbf\x35\0\0\x80\xbf"s;
  EXPECT_EQ(message, FastGenReply("hello world", "length", 3, 2));
  const Read read = Decode({message});
  EXPECT_EQ(read.text, "hello world");
  EXPECT_STREQ(read.answer.finish_reason, "length");
  EXPECT_EQ(read.answer.prompt_tokens, 3);
  EXPECT_EQ(read.answer.output_tokens, 2);
  EXPECT_EQ(Describe(read.events), "answer:2");
}

TEST(FastGenGrpcDecoder, CountsGrowAndTextIsNew) {
  const Read read = Decode({FastGenReply("a", "none", 7, 1), FastGenReply("", "none", 7, 2),
                            FastGenReply("\xc3\xa9", "none", 7, 4), FastGenReply("", "stop", 7, 4)});
  EXPECT_EQ(read.answer.error, WireError::kNone) << read.answer.error_text;
  EXPECT_EQ(read.text, "a\xc3\xa9");
  EXPECT_EQ(Describe(read.events), "answer:1 none:1 answer:2 none");
  EXPECT_EQ(read.answer.output_tokens, 4);
  EXPECT_EQ(read.answer.prompt_tokens, 7);
  EXPECT_STREQ(read.answer.finish_reason, "stop");
}

TEST(FastGenGrpcDecoder, AnAnswerForgetsTheOneBefore) {
  const auto decoder = MakeFastGenGrpcDecoder();
  for (int i = 0; i < 2; ++i) {
    Answer answer;
    answer.Reset(nullptr);
    decoder->Reset();
    WithPadding(FastGenReply("x", "none", 1, 3),
                [&](std::string_view payload) { EXPECT_EQ(decoder->Decode(payload, answer).tokens, 3u); });
  }
}

TEST(FastGenGrpcDecoder, UnknownFieldsAreSkipped) {
  const std::string strange = NumberField(99, -1) + BytesField(100, "?") + Varint(101 << 3 | 1) + "12345678" +
                              Varint(102 << 3 | 5) + "1234";
  const std::string reply = BytesField(1, BytesField(1, "hi") + strange + NumberField(4, 1));
  const Read read = Decode({strange + reply + strange});
  EXPECT_EQ(read.answer.error, WireError::kNone) << read.answer.error_text;
  EXPECT_EQ(read.text, "hi");
  EXPECT_EQ(Describe(read.events), "answer:1");
}

TEST(FastGenGrpcDecoder, CountsOutOfRange) {
  EXPECT_EQ(Decode({FastGenReply("x", "none", int64_t{1} << 40, -5)}).answer.prompt_tokens, 2147483647);
  EXPECT_EQ(Decode({FastGenReply("x", "none", 1, -5)}).answer.output_tokens, 0);
}

TEST(FastGenGrpcDecoder, TheReplyOfAUnaryCallHoldsOnePerPrompt) {
  Answer answer;
  std::string text;
  answer.Reset(&text);
  const auto decoder = MakeFastGenGrpcDecoder();
  WithPadding(FastGenReply("ab", "length", 3, 2) + FastGenReply("c", "stop", 4, 1),
              [&](std::string_view body) {
                const StreamEvent event = decoder->DecodeDocument(body, answer);
                EXPECT_EQ(event.kind, EventKind::kAnswer);
                EXPECT_EQ(event.tokens, 3u);
              });
  EXPECT_EQ(text, "abc");
  EXPECT_EQ(answer.prompt_tokens, 7);
  EXPECT_EQ(answer.output_tokens, 3);
  EXPECT_STREQ(answer.finish_reason, "length");
}

struct Bad {
  const char* name;
  std::string message;
  WireError error;
  const char* text;
};
std::ostream& operator<<(std::ostream& out, const Bad& bad) { return out << bad.name; }

class FastGenGrpcDecoderErrors : public testing::TestWithParam<Bad> {};

TEST_P(FastGenGrpcDecoderErrors, AreNamed) {
  for (const bool document : {false, true}) {
    Answer answer;
    std::string text;
    answer.Reset(&text);
    const auto decoder = MakeFastGenGrpcDecoder();
    WithPadding(GetParam().message, [&](std::string_view payload) {
      if (document) {
        decoder->DecodeDocument(payload, answer);
      } else {
        decoder->Decode(payload, answer);
      }
    });
    EXPECT_EQ(Name(answer.error), Name(GetParam().error));
    EXPECT_NE(answer.error_text.find(GetParam().text), std::string::npos) << answer.error_text;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Messages, FastGenGrpcDecoderErrors,
    testing::Values(
        Bad{"empty", "", WireError::kSchema, "response (1): missing"},
        Bad{"other_fields_only", NumberField(1, 5), WireError::kSchema, "response (1): missing"},
        Bad{"json", R"({"error":"no"})", WireError::kBadEvent, "no protobuf message: \"{"},
        Bad{"torn", FastGenReply("hello", "none", 1, 1).substr(0, 9), WireError::kBadEvent,
            "no protobuf message"},
        Bad{"torn_inside", BytesField(1, BytesField(1, "hello").substr(0, 4)), WireError::kBadEvent,
            "the reply is no protobuf message"},
        Bad{"a_number_without_end", BytesField(1, "\x20" + std::string(11, '\xff')), WireError::kBadEvent,
            "the reply is no protobuf message"},
        Bad{"a_group", BytesField(1, "\x0b"), WireError::kBadEvent, "the reply is no protobuf message"},
        Bad{"field_0", "\x02\x01z"s, WireError::kBadEvent, "no protobuf message"},
        Bad{"invalid_utf8", FastGenReply("\xff\xfe", "none", 1, 1), WireError::kBadEvent, "UTF-8"}),
    [](const auto& row) { return std::string(row.param.name); });

}  // namespace
}  // namespace llmbench::wire
