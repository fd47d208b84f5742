#include "llmbench/workload/workload.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace llmbench {
namespace {

TEST(Workload, KeepsPromptsWhereGiven) {
  Workload workload;
  workload.Add("{1}", 3, 4);
  workload.Add("{2}", 5, 6, "Hello, you");
  workload.Add("{3}", 7, 8, "");
  EXPECT_EQ(workload[0].prompt, "");
  EXPECT_EQ(workload[1].prompt, "Hello, you");
  EXPECT_EQ(workload[2].prompt, "");
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(workload[i].body, "{" + std::to_string(i + 1) + "}");
}

TEST(Workload, KeepsBodiesAndCounts) {
  Workload workload;
  workload.Add("{\"a\":1}", 10, 20);
  workload.Add("", -1, -1);
  workload.Add(std::string("\0x", 2), 3, 4);
  ASSERT_EQ(workload.size(), 3u);
  EXPECT_EQ(workload[0].body, "{\"a\":1}");
  EXPECT_EQ(workload[0].prompt_tokens, 10);
  EXPECT_EQ(workload[0].asked_tokens, 20);
  EXPECT_EQ(workload[1].body, "");
  EXPECT_EQ(workload[1].prompt_tokens, -1);
  EXPECT_EQ(workload[2].body, std::string_view("\0x", 2));
}

TEST(DrawSequence, InOrderWrapsAround) {
  const DrawSequence draw(3, DrawOrder::kInOrder, 0);
  for (uint32_t i = 0; i < 9; ++i) EXPECT_EQ(draw.At(i), i % 3);
}

TEST(DrawSequence, ShuffledVisitsEachItemOnceARound) {
  const DrawSequence draw(100, DrawOrder::kShuffled, 5);
  std::set<uint32_t> seen;
  bool moved = false;
  for (uint32_t i = 0; i < 100; ++i) {
    seen.insert(draw.At(i));
    moved |= draw.At(i) != i;
    EXPECT_EQ(draw.At(i), draw.At(i + 100));
  }
  EXPECT_EQ(seen.size(), 100u);
  EXPECT_TRUE(moved);
  EXPECT_NE(draw.At(0) + draw.At(1) * 100, DrawSequence(100, DrawOrder::kShuffled, 6).At(0) +
                                               DrawSequence(100, DrawOrder::kShuffled, 6).At(1) * 100);
}

TEST(DrawSequence, WithReplacementIsSeededAndInRange) {
  const DrawSequence a(10, DrawOrder::kWithReplacement, 1), b(10, DrawOrder::kWithReplacement, 1);
  std::set<uint32_t> seen;
  for (uint64_t i = 0; i < 1000; ++i) {
    ASSERT_LT(a.At(i), 10u);
    EXPECT_EQ(a.At(i), b.At(i));
    seen.insert(a.At(i));
  }
  EXPECT_EQ(seen.size(), 10u);
}

}  // namespace
}  // namespace llmbench
