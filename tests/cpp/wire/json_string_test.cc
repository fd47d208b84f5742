#include "llmbench/wire/json_string.h"

#include <gtest/gtest.h>

#include <string>

namespace llmbench::wire {
namespace {

TEST(JsonStringTest, AppendUnescaped) {
  const struct {
    std::string inside;
    std::string text;
    bool good = true;
    bool lone_surrogate = false;
  } rows[] = {
      {"", ""},
      {"plain é 😀", "plain é 😀"},
      {R"(\"\\\/\b\f\n\r\t)", "\"\\/\b\f\n\r\t"},
      {R"(a\u0041\u00E9\u20ac\uFFFF)", "aAé€\xef\xbf\xbf"},
      {R"(\u0000)", std::string(1, '\0')},
      {R"(\ud83d\ude00x)", "😀x"},
      {R"(\uD83D\uDE00)", "😀"},
      {R"(\ud800\udc00\udbff\udfff)", "\U00010000\U0010ffff"},
      {R"(\ud83d)", "\ufffd", true, true},
      {R"(\ude00)", "\ufffd", true, true},
      {R"(\ud83dx)", "\ufffdx", true, true},
      {R"(\ud83d\n)", "\ufffd\n", true, true},
      {R"(\ud83d\u0041)", "\ufffd\x41", true, true},
      {R"(\ud83d\ud83d\ude00)", "\ufffd😀", true, true},
      {R"(\ude00\ud83d)", "\ufffd\ufffd", true, true},
      {R"(a\)", "a", false},
      {R"(a\x)", "a", false},
      {R"(a\u12)", "a", false},
      {R"(a\u12g4)", "a", false},
      {R"(\ud83d\u12)", "\ufffd", false, true},
  };
  for (const auto& row : rows) {
    std::string text = "> ";
    bool lone_surrogate = false;
    EXPECT_EQ(AppendUnescaped(row.inside, text, lone_surrogate), row.good) << row.inside;
    EXPECT_EQ(text, "> " + row.text) << row.inside;
    EXPECT_EQ(lone_surrogate, row.lone_surrogate) << row.inside;
  }
}

}  // namespace
}  // namespace llmbench::wire
