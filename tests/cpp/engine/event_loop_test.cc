#include "llmbench/engine/event_loop.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <thread>
#include <vector>

#include "llmbench/base/clock.h"

namespace llmbench {
namespace {

TEST(EventLoop, WaitsForTheDeadlineAndNotLess) {
  EventLoop loop;
  ASSERT_TRUE(loop.Open().ok());
  const int64_t deadline = MonotonicNs() + 2 * kNsPerMs;
  const auto events = loop.Wait(MonotonicNs(), deadline);
  EXPECT_GE(MonotonicNs(), deadline);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].data.u64, EventLoop::kTimerTag);
  EXPECT_TRUE(loop.Wait(MonotonicNs(), 0).empty());  // long past: returns at once
}

TEST(EventLoop, AnEarlierDeadlineIsHonouredAfterALaterOne) {
  EventLoop loop;
  ASSERT_TRUE(loop.Open().ok());
  const int64_t now = MonotonicNs();
  loop.Wake();
  EXPECT_EQ(loop.Wait(now, now + 60 * kNsPerSecond).size(), 1u);
  const auto events = loop.Wait(now, now + kNsPerMs);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].data.u64, EventLoop::kTimerTag);
  EXPECT_GE(MonotonicNs(), now + kNsPerMs);
  EXPECT_LT(MonotonicNs(), now + 30 * kNsPerSecond);
}

TEST(EventLoop, GivesBackTheTagOfWhatIsReady) {
  EventLoop loop;
  ASSERT_TRUE(loop.Open().ok());
  std::array<int, 2> ends;
  ASSERT_EQ(pipe(ends.data()), 0);
  ASSERT_TRUE(loop.Add(ends[0], EPOLLIN, 77).ok());
  ASSERT_EQ(write(ends[1], "x", 1), 1);
  const auto events = loop.Wait(MonotonicNs(), MonotonicNs() + kNsPerSecond);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].data.u64, 77u);
  loop.Remove(ends[0]);
  EXPECT_TRUE(loop.Wait(MonotonicNs(), 0).empty());
  close(ends[0]);
  close(ends[1]);
}

TEST(EventLoop, OneWaitReturnsAllThatIsReady) {
  EventLoop loop;
  ASSERT_TRUE(loop.Open().ok());
  std::vector<std::array<int, 2>> pipes(200);
  for (size_t i = 0; i < pipes.size(); ++i) {
    ASSERT_EQ(pipe(pipes[i].data()), 0);
    ASSERT_TRUE(loop.Add(pipes[i][0], EPOLLIN, i).ok());
    ASSERT_EQ(write(pipes[i][1], "x", 1), 1);
  }
  EXPECT_EQ(loop.Wait(MonotonicNs(), 0).size(), pipes.size());
  for (const auto& ends : pipes) {
    close(ends[0]);
    close(ends[1]);
  }
}

TEST(EventLoop, WakesFromAnotherThread) {
  EventLoop loop;
  ASSERT_TRUE(loop.Open().ok());
  std::thread waker([&] { loop.Wake(); });
  const int64_t begun = MonotonicNs();
  const auto events = loop.Wait(begun, begun + 60 * kNsPerSecond);
  EXPECT_LT(MonotonicNs() - begun, 30 * kNsPerSecond);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].data.u64, EventLoop::kWakeTag);
  waker.join();
  EXPECT_TRUE(loop.Wait(MonotonicNs(), 0).empty());  // once per wake
}

TEST(EventLoop, AddOfABadDescriptorFails) {
  EventLoop loop;
  ASSERT_TRUE(loop.Open().ok());
  EXPECT_FALSE(loop.Add(-1, EPOLLIN, 0).ok());
}

}  // namespace
}  // namespace llmbench
