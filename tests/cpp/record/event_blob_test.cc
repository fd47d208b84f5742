#include "llmbench/record/event_blob.h"

#include <gtest/gtest.h>

#include <vector>

#include "llmbench/base/clock.h"

namespace llmbench {
namespace {

using Bytes = std::vector<uint8_t>;

struct Event {
  int64_t time_ns;
  uint32_t tokens;
  uint8_t flags;
  bool operator==(const Event&) const = default;
};

std::vector<Event> Read(std::span<const uint8_t> blob, int64_t origin_ns, bool* whole = nullptr) {
  std::vector<Event> events;
  const bool result = ForEachEvent(blob, origin_ns, [&](const BlobEvent& e) {
    events.push_back({e.time_ns, e.tokens, e.flags});
  });
  if (whole != nullptr) *whole = result;
  return events;
}

TEST(EventBlob, HasTheDocumentedLayout) {
  EventBlobWriter writer;
  writer.Reset(1000);
  writer.Append(1005, 1, kEventKernelStamp);  // Δ 5, 1 << 3 | 1
  writer.Append(1305, 0, 0);                  // Δ 300 = 0xac 0x02
  writer.Append(1305, 16, kEventReasoning);   // Δ 0, 16 << 3 | 4 = 132 = 0x84 0x01
  writer.FlagLast(kEventMerged);
  EXPECT_EQ(Bytes(writer.bytes().begin(), writer.bytes().end()), (Bytes{5, 9, 0xac, 0x02, 0, 0, 0x86, 0x01}));
}

TEST(EventBlob, GivesBackWhatWasPut) {
  const std::vector<Event> events = {
      {-50, 0, 0},
      {0, 1, kEventKernelStamp},
      {127, 15, kEventMerged},
      {128, 16, 7},
      {kNsPerSecond * 3600 * 24, 4'000'000'000u, kEventReasoning},
  };
  EventBlobWriter writer;
  for (int round = 0; round < 2; ++round) {  // the second time in the memory of the first
    writer.Reset(-100);
    for (const Event& e : events) writer.Append(e.time_ns, e.tokens, e.flags);
    EXPECT_EQ(Read(writer.bytes(), -100), events);
  }
}

TEST(EventBlob, FlagsTheLastEventAlone) {
  EventBlobWriter writer;
  writer.Reset(0);
  writer.Append(1, 1000, kEventKernelStamp);
  writer.Append(2, 1000, kEventKernelStamp);
  writer.FlagLast(kEventMerged);
  writer.Append(3, 1, 0);
  EXPECT_EQ(Read(writer.bytes(), 0), (std::vector<Event>{{1, 1000, 1}, {2, 1000, 3}, {3, 1, 0}}));
}

TEST(EventBlob, NeverGoesBackInTime) {
  EventBlobWriter writer;
  writer.Reset(100);
  writer.Append(90, 1, 0);
  writer.Append(120, 1, 0);
  writer.Append(119, 1, 0);
  EXPECT_EQ(Read(writer.bytes(), 100), (std::vector<Event>{{100, 1, 0}, {120, 1, 0}, {120, 1, 0}}));
}

TEST(EventBlob, AnEventTakesAtMostEightBytes) {
  EventBlobWriter writer;
  writer.Reset(0);
  // Ten minutes without a token, and a block of 2000 tokens.
  writer.Append(600 * kNsPerSecond, 2000, 7);
  EXPECT_LE(writer.bytes().size(), 8u);
}

TEST(EventBlob, ATearCostsTheEventsBehindIt) {
  EventBlobWriter writer;
  writer.Reset(0);
  std::vector<size_t> ends = {0};
  for (int i = 1; i <= 5; ++i) {
    writer.Append(i * 1'000'000, 100, kEventKernelStamp);
    ends.push_back(writer.bytes().size());
  }
  for (size_t size = 0; size <= writer.bytes().size(); ++size) {
    size_t complete = 0;
    while (complete + 1 < ends.size() && ends[complete + 1] <= size) ++complete;
    bool whole = false;
    EXPECT_EQ(Read(writer.bytes().first(size), 0, &whole).size(), complete) << size;
    EXPECT_EQ(whole, ends[complete] == size) << size;
  }
}

TEST(EventBlob, AnEndlessVarintIsATear) {
  bool whole = true;
  EXPECT_TRUE(Read(Bytes(100, 0xff), 0, &whole).empty());
  EXPECT_FALSE(whole);
}

}  // namespace
}  // namespace llmbench
