#include "llmbench/record/spsc_ring.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <thread>

namespace llmbench {
namespace {

TEST(SpscRing, HoldsWhatItHasRoomForInOrder) {
  SpscRing<int, 4> ring;
  int value = -1;
  EXPECT_FALSE(ring.TryPop(value));
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 4; ++i) EXPECT_TRUE(ring.TryPush(i));
    EXPECT_FALSE(ring.TryPush(4));
    for (int i = 0; i < 4; ++i) {
      ASSERT_TRUE(ring.TryPop(value));
      EXPECT_EQ(value, i);
    }
    EXPECT_FALSE(ring.TryPop(value));
  }
}

TEST(SpscRing, CarriesWhatWasWrittenBeforeThePush) {
  constexpr int64_t kCount = 100'000;
  struct Message {
    int64_t body = 0;
  };
  const auto messages = std::make_unique<Message[]>(kCount);
  SpscRing<Message*, 64> ring;
  std::thread producer([&] {
    for (int64_t i = 0; i < kCount; ++i) {
      messages[static_cast<size_t>(i)].body = i;  // plain memory, made visible by the queue alone
      while (!ring.TryPush(&messages[static_cast<size_t>(i)])) std::this_thread::yield();
    }
  });
  int64_t wrong = 0;
  for (int64_t i = 0; i < kCount; ++i) {
    Message* message = nullptr;
    while (!ring.TryPop(message)) std::this_thread::yield();
    wrong += message->body != i;
  }
  producer.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace llmbench
