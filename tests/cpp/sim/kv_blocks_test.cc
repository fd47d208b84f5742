#include "llmbench/sim/kv_blocks.h"

#include <gtest/gtest.h>

namespace llmbench::sim {
namespace {

TEST(KvBlocksTest, CountsWhatIsFree) {
  KvBlocks blocks(3);
  EXPECT_EQ(blocks.free(), 3);
  const BlockId a = blocks.Allocate();
  blocks.Allocate();
  EXPECT_EQ(blocks.free(), 1);
  EXPECT_NEAR(blocks.usage(), 2.0 / 3, 1e-12);
  blocks.Share(a);
  blocks.Release(a);
  EXPECT_EQ(blocks.free(), 1);
  blocks.Release(a);
  EXPECT_EQ(blocks.free(), 2);
}

TEST(KvBlocksTest, AReleasedBlockIsRememberedUntilItIsNeeded) {
  KvBlocks blocks(2);
  const BlockId a = blocks.Allocate();
  blocks.Publish(a, 11);
  const BlockId b = blocks.Allocate();
  blocks.Publish(b, 12);
  blocks.Release(b);
  blocks.Release(a);  // b is the older of the two free ones

  EXPECT_EQ(blocks.Cached({11, 12, 13}, 9), (std::vector<BlockId>{a, b}));
  EXPECT_EQ(blocks.Cached({11, 12, 13}, 1), (std::vector<BlockId>{a}));
  EXPECT_EQ(blocks.Cached({13, 11}, 9), std::vector<BlockId>());
  EXPECT_EQ(blocks.CountFree({a, b}), 2);

  EXPECT_EQ(blocks.Allocate(), b);  // and forgets it
  EXPECT_EQ(blocks.Cached({11, 12}, 9), (std::vector<BlockId>{a}));
  blocks.Share(a);
  EXPECT_EQ(blocks.free(), 0);
  EXPECT_EQ(blocks.CountFree({a}), 0);
}

TEST(KvBlocksTest, TheFirstOfEqualBlocksIsFound) {
  KvBlocks blocks(4);
  const BlockId a = blocks.Allocate();
  const BlockId b = blocks.Allocate();
  blocks.Publish(a, 5);
  blocks.Publish(b, 5);
  EXPECT_EQ(blocks.Cached({5}, 1), (std::vector<BlockId>{a}));
}

}  // namespace
}  // namespace llmbench::sim
