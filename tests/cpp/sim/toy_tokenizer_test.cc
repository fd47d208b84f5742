#include "llmbench/sim/toy_tokenizer.h"

#include <gtest/gtest.h>

namespace llmbench::sim {
namespace {

TEST(ToyTokenizerTest, CountsAboutOneTokenPerShortWord) {
  const struct {
    const char* text;
    int64_t tokens;
  } kCases[] = {
      {"", 0},          {"  \n\t ", 0},     {"river", 1}, {"the river bends", 3},      {"12345678", 1},
      {"123456789", 2}, {"Hello, you!", 4}, {"it's", 3},  {"internationalization", 3}, {"\u6f22\u5b57", 1},
  };
  for (const auto& c : kCases) {
    EXPECT_EQ(CountTokens(c.text), c.tokens) << c.text;
    std::vector<uint32_t> ids;
    EXPECT_EQ(Tokenize(c.text, &ids), c.tokens) << c.text;
    EXPECT_EQ(ids.size(), static_cast<size_t>(c.tokens));
  }
}

TEST(ToyTokenizerTest, EqualWordsHaveEqualIds) {
  std::vector<uint32_t> ids;
  Tokenize("river stone river", &ids);
  EXPECT_EQ(ids[0], ids[2]);
  EXPECT_NE(ids[0], ids[1]);
  for (const uint32_t id : ids) EXPECT_LT(id, kToyVocabulary);
}

}  // namespace
}  // namespace llmbench::sim
