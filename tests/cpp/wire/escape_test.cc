#include "llmbench/wire/escape.h"

#include <gtest/gtest.h>

#include <string>

namespace llmbench::wire {
namespace {

TEST(EscapeTest, Quote) {
  EXPECT_EQ(Quote(""), "\"\"");
  EXPECT_EQ(Quote("a\"\\\r\n\t\x01\xff~"), "\"a\\\"\\\\\\r\\n\\t\\x01\\xff~\"");
  EXPECT_EQ(Quote(std::string(64, 'x')), "\"" + std::string(64, 'x') + "\"");
  EXPECT_EQ(Quote(std::string(65, 'x')), "\"" + std::string(64, 'x') + "\"…");
  EXPECT_EQ(Quote("abc", 2), "\"ab\"…");
}

TEST(EscapeTest, OneLine) {
  const struct {
    std::string bytes;
    std::string line;
  } rows[] = {
      {"", ""},
      {" \r\n\t ", ""},
      {" a\tb\r\nc ", "a b  c"},
      {"é€😀", "é€😀"},
      {"a\xff"
       "b\xc3",
       "a\ufffd"
       "b\ufffd"},
      {"\xc0\xaf\xed\xa0\x80", "\ufffd\ufffd\ufffd\ufffd\ufffd"},  // overlong, surrogate
      {std::string("a\0b", 3), "a b"},
      {std::string(600, 'x'), std::string(512, 'x')},
      {std::string(511, 'x') + "é", std::string(511, 'x')},
      {std::string(1000, ' ') + "x", "x"},
  };
  for (const auto& row : rows) EXPECT_EQ(OneLine(row.bytes), row.line) << Quote(row.bytes);
}

}  // namespace
}  // namespace llmbench::wire
