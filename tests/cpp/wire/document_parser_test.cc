#include "llmbench/wire/document_parser.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "feeding.h"

namespace llmbench::wire {
namespace {

constexpr std::string_view operator""_bytes(const char* text, size_t size) { return {text, size}; }

TEST(DocumentParserTest, AnySlicing) {
  const struct {
    std::string_view bytes;
    std::string_view frames;
  } rows[] = {
      {"", ""},
      {"{}{}", "{}|{}|"},
      {"{}\n[1]\r\n \0{}"_bytes, "{}|[1]|{}|"},
      {"{\n \"a\": [\n]}{}", "{\n \"a\": [\n]}|{}|"},
      {R"({"}":"{"}{})", R"({"}":"{"}|{}|)"},
      {R"({"a":"\"}"}{})", R"({"a":"\"}"}|{}|)"},
      {R"({"a":"\\"}{})", R"({"a":"\\"}|{}|)"},
      {R"({"a":"\\\"}"}{})", R"({"a":"\\\"}"}|{}|)"},
      {"{}{\"a\":", "{}|~{\"a\":"},
      {"{}{\"a}", "{}|~{\"a}"},
      {"{}nginx\n{}", "{}|nginx|{}|"},
      {"{}}\n{}", "{}|}|{}|"},
      {"oops", "~oops"},
      {"{]{}", "{]|{}|"},
      {"{\"012345678901234567\":0}", "{\"012345678901234567\":0}|"},
      {"{\"0123456789012345678\":0}{}", "!"},
      {"{}{\"01234567890123456789012", "{}|!"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(std::string(row.bytes));
    DocumentParser parser(24);
    for (const size_t slice : {size_t{100}, size_t{1}, size_t{2}, size_t{3}}) {
      EXPECT_EQ(Split(parser, row.bytes, slice), row.frames) << "in slices of " << slice;
    }
  }
}

TEST(DocumentParserTest, HandsOutViewsAndTellsWhatHasBegun) {
  DocumentParser parser(100);
  const std::string bytes = "{\"a\":1}{\"b\"" + std::string(kPadding, '\0');
  std::string_view input(bytes.data(), bytes.size() - kPadding);
  Frame frame;
  EXPECT_FALSE(parser.begun());
  ASSERT_EQ(parser.Next(input, frame), FrameStep::kEvent);
  EXPECT_EQ(frame.payload.data(), bytes.data());
  EXPECT_FALSE(parser.begun());
  ASSERT_EQ(parser.Next(input, frame), FrameStep::kNeedMore);
  EXPECT_TRUE(parser.begun());
  input = "}";
  ASSERT_EQ(parser.Next(input, frame), FrameStep::kEvent);
  EXPECT_EQ(frame.payload, "{\"b\"}");
  EXPECT_FALSE(parser.begun());
}

}  // namespace
}  // namespace llmbench::wire
