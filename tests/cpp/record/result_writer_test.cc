#include "llmbench/record/result_writer.h"

#include <gtest/gtest.h>
#include <sqlite3.h>

#include <thread>

#include "llmbench/record/record_table.h"
#include "records.h"

namespace llmbench {
namespace {

TEST(ResultWriter, StoresEveryFieldOfARow) {
  const TemporaryDirectory directory;
  const std::string path = directory / "a.llmbench";
  auto writer = ResultWriter::Create({.path = path,
                                      .run_json = R"({"status": "running"})",
                                      .save_text = true,
                                      .endpoints = {"e0", "e1"},
                                      .models = {"m"}});
  ASSERT_TRUE(writer.ok()) << writer.status();
  Recorder* recorder = (*writer)->AddRecorder();
  (*writer)->Start();
  RequestRecord failed;
  failed.id = -1;
  failed.phase = Phase::kWarmup;
  failed.outcome = Outcome::kConnectRefused;
  const RequestRecord full = FullRecord(7);
  recorder->Append(full, Blob(full.sent_ns, 3, 5), "", "text");
  recorder->Append(failed, {}, "refused", "");
  recorder->HandOver(0, true);
  ASSERT_TRUE((*writer)->Finish().ok());

  auto table = RecordTable::Load(path);
  ASSERT_TRUE(table.ok()) << table.status();
  ASSERT_EQ(table->requests.size(), 2u);
  RequestRecord expected = full;
  expected.endpoint = 1;
  EXPECT_EQ(std::memcmp(&table->requests[1], &expected, sizeof expected), 0);
  EXPECT_EQ(std::memcmp(&table->requests[0], &failed, sizeof failed), 0);
  EXPECT_EQ(table->event_offsets, (std::vector<int64_t>{0, 0, 3}));
  EXPECT_EQ(table->event_times_ns,
            (std::vector<int64_t>{full.sent_ns + 5, full.sent_ns + 10, full.sent_ns + 15}));
  EXPECT_EQ(table->errors, (std::vector<std::string>{"refused", ""}));
  EXPECT_EQ(table->texts, (std::vector<std::string>{"", "text"}));
}

}  // namespace
}  // namespace llmbench
