#include "llmbench/wire/repeated_text.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

namespace llmbench::wire {
namespace {

struct Seen {
  std::string text;     // at the end
  std::string changes;  // what each event added, "," between, "-n" before it where n bytes went
  int count = 0;
  bool valid = true, lone_surrogate = false;
};

Seen Follow(const std::vector<std::string_view>& texts, TextMode mode, std::string_view skip = {}) {
  RepeatedText repeated;
  Seen seen;
  repeated.Skip(skip);
  for (const std::string_view text : texts) {
    const RepeatedText::Change change = repeated.Advance(text, mode);
    seen.text.resize(seen.text.size() - change.dropped);
    seen.text += change.added;
    seen.changes += (seen.count++ == 0 ? "" : ",") +
                    (change.dropped > 0 ? "-" + std::to_string(change.dropped) : std::string()) +
                    std::string(change.added);
    seen.valid &= change.valid;
    seen.lone_surrogate |= change.lone_surrogate;
  }
  return seen;
}

TEST(RepeatedTextTest, Cumulative) {
  const struct {
    const char* name;
    std::vector<std::string_view> texts;
    const char* changes;
    const char* text;
    const char* skip = "";
  } rows[] = {
      {"grows", {"a", "ab", "ab", "abcd"}, "a,b,,cd", "abcd"},
      {"behind a prompt", {"P", "Pa", "Pab"}, ",a,b", "ab", "P"},
      {"escapes", {"\\n", "\\n\\\"", "\\n\\\"x"}, "\n,\",x", "\n\"x"},
      {"half a character",
       {"a\xef\xbf\xbd", "a\xc3\xa9", "a\xc3\xa9z"},
       "a\xef\xbf\xbd,-3\xc3\xa9,z",
       "a\xc3\xa9z"},
      {"half a character, escaped", {"\\ufffd", "\\u00e9"}, "\xef\xbf\xbd,-3\xc3\xa9", "\xc3\xa9"},
      {"characters that begin alike", {"\xc3\xa9", "\xc3\xaa"}, "\xc3\xa9,-2\xc3\xaa", "\xc3\xaa"},
      {"half a pair that becomes whole",
       {"\\ud83d", "\\ud83d\\ude00"},
       "\xef\xbf\xbd,-3\xf0\x9f\x98\x80",
       "\xf0\x9f\x98\x80"},
      {"an end that is taken back", {"abSTOP", "ab"}, "abSTOP,-4", "ab"},
      {"rewritten", {"abc", "axyz"}, "abc,-2xyz", "axyz"},
      {"the same, written otherwise",
       {"\xc3\xa9", "\\u00e9a"},
       "\xc3\xa9,a",
       "\xc3\xa9"
       "a"},
      {"empty first", {"", "", "a"}, ",,a", "a"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const Seen seen = Follow(row.texts, TextMode::kCumulative, row.skip);
    EXPECT_EQ(seen.changes, row.changes);
    EXPECT_EQ(seen.text, row.text);
    EXPECT_TRUE(seen.valid);
  }
}

TEST(RepeatedTextTest, FindsOut) {
  const struct {
    std::vector<std::string_view> texts;
    const char* text;
  } rows[] = {
      {{"a", "ab", "abc"}, "abc"},
      {{"a", "b", "bc"}, "abbc"},
      {{"", "a", "", "b", "bc"}, "abbc"},
      {{"a\xef\xbf\xbd", "a\xc3\xa9", "a\xc3\xa9z"}, "a\xc3\xa9z"},
      {{"\xef\xbf\xbd", "\xc3\xa9", "\xc3\xa9z"}, "\xc3\xa9z"},
      {{"a", "a", "ab"}, "ab"},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(Follow(row.texts, TextMode::kAuto).text, row.text) << row.text;
  }
}

TEST(RepeatedTextTest, TellsOfEscapesThatAreNone) {
  EXPECT_FALSE(Follow({"a", "a\\q"}, TextMode::kCumulative).valid);
  EXPECT_FALSE(Follow({"a", "b\\q"}, TextMode::kCumulative).valid);
  EXPECT_TRUE(Follow({"a\\ud83dx"}, TextMode::kCumulative).lone_surrogate);
  EXPECT_FALSE(Follow({"a"}, TextMode::kCumulative).lone_surrogate);
}

TEST(RawSizeTest, CountsEscapesAsTheirText) {
  const struct {
    std::string_view inside;
    size_t size, raw;
  } rows[] = {
      {"abc", 2, 2},       {"abc", 9, 3},       {"", 1, 0},
      {"a\\nb", 2, 3},     {"\\u00e9b", 2, 6},  {"\\ud83d\\ude00b", 4, 12},
      {"\\ud83dxb", 3, 6}, {"\xc3\xa9z", 2, 2}, {"\\ud83d\\nb", 4, 8},
  };
  for (const auto& row : rows) EXPECT_EQ(RawSize(row.inside, row.size), row.raw) << row.inside;
}

}  // namespace
}  // namespace llmbench::wire
