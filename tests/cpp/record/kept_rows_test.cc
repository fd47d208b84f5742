#include "llmbench/record/kept_rows.h"

#include <gtest/gtest.h>

#include <cstring>

#include "llmbench/record/result_writer.h"
#include "records.h"

namespace llmbench {
namespace {

// What was called back, and what came of it.
struct Loaded {
  RecordTable table;
  std::vector<std::vector<uint8_t>> blobs;
  size_t requests = 0, events = 0;

  auto on_size() {
    return [this](size_t most_requests, size_t most_events) {
      requests = most_requests;
      events = most_events;
    };
  }
  auto on_row() {
    return [this](const RequestRecord&, std::span<const uint8_t> blob) {
      blobs.emplace_back(blob.begin(), blob.end());
    };
  }
};

Loaded FromFile(const std::string& path) {
  Loaded loaded;
  auto table = RecordTable::LoadRows(path, loaded.on_size(), loaded.on_row());
  EXPECT_TRUE(table.ok()) << table.status();
  if (table.ok()) loaded.table = *std::move(table);
  return loaded;
}

Loaded FromMemory(const KeptRows& kept) {
  Loaded loaded;
  loaded.table = kept.Table(loaded.on_size(), loaded.on_row());
  return loaded;
}

ResultWriter::Options Options(const std::string& path, size_t keep_bytes) {
  return {.path = path,
          .run_json = R"({"status": "running"})",
          .endpoints = {"http://a", "http://b", "http://a"},
          .models = {"m"},
          .keep_bytes = keep_bytes};
}

// Rows that have little in common, in the order in which requests end.
void Append(Recorder& recorder, int count) {
  for (int i = 0; i < count; ++i) {
    const int64_t id = i % 2 == 0 ? i + 1 : i - 1;
    RequestRecord r = FullRecord(id);
    r.endpoint =
        static_cast<int32_t>((id + 1) % 4) - (id % 7 == 3);  // one beyond the names, and one before them
    r.model = id % 5 == 0 ? 1 : 0;
    if (id % 3 == 0) {
      r = RequestRecord();
      r.id = id;
      r.outcome = id % 2 == 0 ? Outcome::kDns : Outcome::kCut;
      if (id % 9 == 0) r.phase = Phase::kWarmup;
    }
    if (id % 4 == 1) std::memcpy(r.finish_reason, "a reason of 24 letters..", 24);
    r.events = id % 6 == 1 ? static_cast<int32_t>(id % 50) : 0;
    recorder.Append(r, r.events != 0 ? Blob(r.sent_ns, r.events, 5) : Blob(0, 0, 0),
                    id % 3 == 0 && id % 2 == 0 ? "no host " + std::to_string(id) : "", "text");
  }
  recorder.HandOver(0, true);
}

TEST(KeptRows, AreThoseOfTheFile) {
  const TemporaryDirectory directory;
  for (const int count : {0, 1, 2, 3000}) {
    const std::string path = directory / std::to_string(count);
    auto writer = ResultWriter::Create(Options(path, size_t{8} << 20));
    ASSERT_TRUE(writer.ok()) << writer.status();
    Recorder* recorder = (*writer)->AddRecorder();
    (*writer)->Start();
    Append(*recorder, count);
    ASSERT_TRUE((*writer)->Finish().ok());
    const KeptRows kept = (*writer)->TakeKept();
    ASSERT_TRUE(kept.holds_all());
    const Loaded file = FromFile(path), memory = FromMemory(kept);

    ASSERT_EQ(memory.table.requests.size(), static_cast<size_t>(count));
    ASSERT_EQ(memory.table.requests.size(), file.table.requests.size());
    for (size_t i = 0; i < file.table.requests.size(); ++i) {
      EXPECT_EQ(std::memcmp(&memory.table.requests[i], &file.table.requests[i], sizeof(RequestRecord)), 0)
          << i;
    }
    EXPECT_EQ(memory.table.event_offsets, file.table.event_offsets);
    EXPECT_EQ(memory.table.errors, file.table.errors);
    EXPECT_EQ(memory.table.endpoints, file.table.endpoints);
    EXPECT_EQ(memory.table.models, file.table.models);
    EXPECT_EQ(memory.blobs, file.blobs);
    EXPECT_EQ(memory.requests, file.requests);
    EXPECT_GE(memory.events, file.events);
    EXPECT_FALSE((*writer)->TakeKept().holds_all()) << "they can be taken once";
  }
}

TEST(KeptRows, LetGoOfAllWhereTheyDoNotFit) {
  const TemporaryDirectory directory;
  for (const size_t keep_bytes : {size_t{0}, size_t{512} << 10}) {
    const std::string path = directory / std::to_string(keep_bytes);
    auto writer = ResultWriter::Create(Options(path, keep_bytes));
    ASSERT_TRUE(writer.ok()) << writer.status();
    Recorder* recorder = (*writer)->AddRecorder();
    (*writer)->Start();
    Append(*recorder, 3000);
    ASSERT_TRUE((*writer)->Finish().ok());
    EXPECT_FALSE((*writer)->TakeKept().holds_all());
    EXPECT_EQ(FromFile(path).table.requests.size(), 3000u);
  }
}

TEST(KeptRows, LetGoOfAllWhereTheFileRefusedARow) {
  const TemporaryDirectory directory;
  auto writer = ResultWriter::Create(Options(directory / "a", size_t{8} << 20));
  ASSERT_TRUE(writer.ok()) << writer.status();
  Recorder* recorder = (*writer)->AddRecorder();
  (*writer)->Start();
  for (const int64_t id : {1, 2, 2, 3}) recorder->Append(FullRecord(id), Blob(0, 3, 5), "", "");
  recorder->HandOver(0, true);
  EXPECT_FALSE((*writer)->Finish().ok());
  EXPECT_FALSE((*writer)->TakeKept().holds_all());
}

}  // namespace
}  // namespace llmbench
