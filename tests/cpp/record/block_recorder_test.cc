#include "llmbench/record/block_recorder.h"

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "records.h"

namespace llmbench {
namespace {

constexpr int64_t kTurn = kNsPerMs;

struct Received {
  std::vector<int64_t> ids;
  std::vector<std::pair<ClientSample, int64_t>> samples;
  size_t blocks = 0;

  void Read(BlockRecorder& recorder, RowBlock* block) {
    ++blocks;
    block->ForEach([&](const RowView& row) { ids.push_back(row.record.id); },
                   [&](ClientSample kind, int64_t value) { samples.emplace_back(kind, value); });
    recorder.GiveBack(block);
  }
  void Drain(BlockRecorder& recorder) {
    while (RowBlock* block = recorder.Take()) Read(recorder, block);
  }
  void DrainRest(BlockRecorder& recorder) {
    while (RowBlock* block = recorder.TakeRest()) Read(recorder, block);
  }
};

TEST(BlockRecorder, CarriesRowsAndSamplesWhole) {
  BlockRecorder recorder;
  const RequestRecord record = FullRecord(3);
  const std::vector<uint8_t> events = Blob(record.sent_ns, 5, 1000);
  recorder.AppendSample(ClientSample::kReadLateness, 12'345);
  recorder.Append(record, events, "error", "text");
  recorder.AppendSample(ClientSample::kMergedWidth, -7);
  recorder.Append(FullRecord(4), {}, "", "");
  recorder.HandOver(0, true);

  RowBlock* block = recorder.Take();
  ASSERT_NE(block, nullptr);
  std::string order;
  block->ForEach(
      [&](const RowView& row) {
        order += "r";
        if (row.record.id != 3) {
          EXPECT_TRUE(row.events.empty() && row.error.empty() && row.text.empty());
          return;
        }
        EXPECT_EQ(std::memcmp(&row.record, &record, sizeof record), 0);
        EXPECT_EQ(std::vector<uint8_t>(row.events.begin(), row.events.end()), events);
        EXPECT_EQ(row.error, "error");
        EXPECT_EQ(row.text, "text");
      },
      [&](ClientSample kind, int64_t value) {
        order += "s";
        EXPECT_EQ(value, kind == ClientSample::kReadLateness ? 12'345 : -7);
      });
  EXPECT_EQ(order, "srsr");
  recorder.GiveBack(block);
  EXPECT_EQ(recorder.Take(), nullptr);
}

TEST(BlockRecorder, HandsOverAfterAWhile) {
  BlockRecorder recorder;
  int64_t now = 1'000'000'000;
  recorder.HandOver(now);
  EXPECT_EQ(recorder.Take(), nullptr);
  recorder.Append(FullRecord(1), {}, "", "");
  recorder.HandOver(now);  // the first turn that sees the row
  recorder.HandOver(now += Recorder::kHandOverNs - 1);
  EXPECT_EQ(recorder.Take(), nullptr);
  recorder.HandOver(now += 1);
  RowBlock* block = recorder.Take();
  ASSERT_NE(block, nullptr);
  recorder.GiveBack(block);

  // The next block's time counts anew.
  recorder.Append(FullRecord(2), {}, "", "");
  recorder.HandOver(now += kTurn);
  EXPECT_EQ(recorder.Take(), nullptr);
  recorder.HandOver(now += Recorder::kHandOverNs);
  block = recorder.Take();
  ASSERT_NE(block, nullptr);
  recorder.GiveBack(block);
  EXPECT_EQ(recorder.allocated_bytes(), RowBlock::kBytes);  // the first block came back and served again
}

TEST(BlockRecorder, ARowLargerThanABlockHasOneOfItsOwn) {
  BlockRecorder recorder;
  recorder.Append(FullRecord(1), {}, "", "");
  const std::string text(10 * RowBlock::kBytes, 'x');
  recorder.Append(FullRecord(2), {}, "", text);
  RowBlock* block = recorder.Take();
  ASSERT_NE(block, nullptr);
  block->ForEach([&](const RowView& row) { EXPECT_EQ(row.text, text); }, [](ClientSample, int64_t) {});
  recorder.GiveBack(block);
  EXPECT_EQ(recorder.allocated_bytes(), RowBlock::kBytes);  // of the open block; the large one is gone
}

TEST(BlockRecorder, NeverWaitsAndIsFlatAgainAfterwards) {
  BlockRecorder recorder;
  constexpr int64_t kRows = 200'000;  // more than the queue holds
  for (int64_t i = 0; i < kRows; ++i) {
    recorder.Append(FullRecord(i), {}, "", "");
    recorder.HandOver(i * kTurn);
  }
  recorder.HandOver(kRows * kTurn, true);
  EXPECT_GT(recorder.allocated_bytes(), BlockRecorder::kQueuedBlocks * RowBlock::kBytes);
  EXPECT_EQ(recorder.dropped_rows(), 0u);

  Received received;
  received.Drain(recorder);
  EXPECT_EQ(received.blocks, BlockRecorder::kQueuedBlocks);
  recorder.HandOver((kRows + 1) * kTurn);  // what waited goes on
  received.Drain(recorder);
  for (int64_t turn = 2;
       recorder.allocated_bytes() > BlockRecorder::kSpareBlocks * RowBlock::kBytes && turn < 100; ++turn) {
    recorder.HandOver((kRows + turn) * kTurn);
    received.Drain(recorder);
  }
  ASSERT_EQ(received.ids.size(), static_cast<size_t>(kRows));
  for (int64_t i = 0; i < kRows; ++i) ASSERT_EQ(received.ids[static_cast<size_t>(i)], i);
  EXPECT_LE(recorder.allocated_bytes(), BlockRecorder::kSpareBlocks * RowBlock::kBytes);
}

TEST(BlockRecorder, TheRestIsTakenAfterTheWorkerEnded) {
  BlockRecorder recorder;
  constexpr int64_t kRows = 100'000;
  for (int64_t i = 0; i < kRows; ++i) recorder.Append(FullRecord(i), {}, "", "");
  Received received;
  received.Drain(recorder);
  received.DrainRest(recorder);
  EXPECT_EQ(received.ids.size(), static_cast<size_t>(kRows));
}

TEST(BlockRecorder, DropsAndCountsRowsWhenNobodyEverTakesThem) {
  BlockRecorder recorder;
  const std::string text(60'000, 'x');
  const auto rows = static_cast<int64_t>(BlockRecorder::kMaxBytes / RowBlock::kBytes);
  for (int64_t i = 0; i < rows + 10; ++i) recorder.Append(FullRecord(i), {}, "", text);
  EXPECT_EQ(recorder.dropped_rows(), 10u);
  EXPECT_EQ(recorder.allocated_bytes(), BlockRecorder::kMaxBytes);

  Received received;
  received.Drain(recorder);
  recorder.Append(FullRecord(-1), {}, "", "");  // there is room again
  EXPECT_EQ(recorder.dropped_rows(), 10u);
}

TEST(BlockRecorder, TwoThreads) {
  BlockRecorder recorder;
  constexpr int64_t kRows = 50'000;
  std::atomic<bool> ended{false};
  std::thread worker([&] {
    for (int64_t i = 0; i < kRows; ++i) {
      const RequestRecord record = FullRecord(i);
      recorder.Append(record, Blob(record.sent_ns, static_cast<int>(i % 7), 1000), "", "");
      recorder.AppendSample(ClientSample::kReadLateness, i);
      recorder.HandOver(i * kTurn);
    }
    recorder.HandOver(kRows * kTurn, true);
    ended.store(true);
  });
  Received received;
  while (!ended.load()) received.Drain(recorder);
  worker.join();
  received.Drain(recorder);
  received.DrainRest(recorder);
  ASSERT_EQ(received.ids.size(), static_cast<size_t>(kRows));
  ASSERT_EQ(received.samples.size(), static_cast<size_t>(kRows));
  for (int64_t i = 0; i < kRows; ++i) {
    ASSERT_EQ(received.ids[static_cast<size_t>(i)], i);
    ASSERT_EQ(received.samples[static_cast<size_t>(i)].second, i);
  }
}

}  // namespace
}  // namespace llmbench
