#include "llmbench/wire/line_parser.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "feeding.h"

namespace llmbench::wire {
namespace {

constexpr std::string_view operator""_bytes(const char* text, size_t size) { return {text, size}; }

TEST(LineParserTest, AnySlicing) {
  const struct {
    std::string_view bytes;
    bool nul;
    std::string_view frames;
  } rows[] = {
      {"", false, ""},
      {"{}\n{}\n", false, "{}|{}|"},
      {"{}\r\n{}\r\n", false, "{}|{}|"},
      {"\n\r\n  \n{}\n\n\n{}\n \t", false, "{}|{}|"},
      {"{}\n{\"a\"", false, "{}|~{\"a\""},
      {"{}\n{}\r", false, "{}|~{}"},
      {"  {} \n", false, "{} |"},
      {"{}\0{}\0"_bytes, true, "{}|{}|"},
      {"\0\0{}\0\n{}\n\0{}"_bytes, true, "{}|{}|~{}"},
      {"{}\0\n"_bytes, false, "{}\0|"_bytes},
      {"0123456789\n", false, "0123456789|"},
      {"0123456789a\n{}\n", false, "!"},
      {"{}\n0123456789a", false, "{}|!"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(std::string(row.bytes));
    LineParser parser(10, row.nul);
    for (const size_t slice : {size_t{100}, size_t{1}, size_t{2}, size_t{3}}) {
      EXPECT_EQ(Split(parser, row.bytes, slice), row.frames) << "in slices of " << slice;
    }
  }
}

TEST(LineParserTest, HandsOutViewsAndTellsWhatHasBegun) {
  LineParser parser(100, false);
  const std::string bytes = "{\"a\":1}\n{\"b\"" + std::string(kPadding, '\0');
  std::string_view input(bytes.data(), bytes.size() - kPadding);
  Frame frame;
  EXPECT_FALSE(parser.begun());
  ASSERT_EQ(parser.Next(input, frame), FrameStep::kEvent);
  EXPECT_EQ(frame.payload.data(), bytes.data());
  EXPECT_FALSE(parser.begun());
  ASSERT_EQ(parser.Next(input, frame), FrameStep::kNeedMore);
  EXPECT_TRUE(parser.begun());
  input = "}\n";
  ASSERT_EQ(parser.Next(input, frame), FrameStep::kEvent);
  EXPECT_EQ(frame.payload, "{\"b\"}");
  EXPECT_FALSE(parser.begun());
}

}  // namespace
}  // namespace llmbench::wire
