#include "llmbench/engine/load_order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

namespace llmbench {
namespace {

TEST(LoadOrder, IsEmptyAtFirstAndAgain) {
  LoadOrder order;
  EXPECT_EQ(order.Least(), LoadOrder::kNone);
  order.Remove(7);
  order.Set(3, 5);
  EXPECT_EQ(order.Least(), 3u);
  order.Remove(3);
  EXPECT_EQ(order.Least(), LoadOrder::kNone);
}

TEST(LoadOrder, FindsTheLeastAsLoadsChange) {
  LoadOrder order;
  std::map<uint32_t, size_t> loads;  // the same, to be searched
  std::mt19937 random(1);
  for (int step = 0; step < 20'000; ++step) {
    const uint32_t thing = random() % 20;
    switch (random() % 4) {
      case 0:
        order.Remove(thing);
        loads.erase(thing);
        break;
      case 1:
        order.Set(thing, random() % 100);  // taken back below: the last Set counts
        [[fallthrough]];
      default:
        const size_t load = random() % 10;
        order.Set(thing, load);
        loads[thing] = load;
    }
    const uint32_t found = order.Least();
    if (loads.empty()) {
      ASSERT_EQ(found, LoadOrder::kNone);
      continue;
    }
    ASSERT_TRUE(loads.contains(found)) << found;
    const auto least = std::min_element(loads.begin(), loads.end(),
                                        [](const auto& a, const auto& b) { return a.second < b.second; });
    ASSERT_EQ(loads[found], least->second);
  }
}

}  // namespace
}  // namespace llmbench
