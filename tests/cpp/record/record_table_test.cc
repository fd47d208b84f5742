#include "llmbench/record/record_table.h"

#include <gtest/gtest.h>
#include <sqlite3.h>

#include <filesystem>
#include <fstream>

#include "llmbench/record/result_writer.h"
#include "records.h"

namespace llmbench {
namespace {

void Alter(const std::string& path, const std::string& sql) {
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open(path.c_str(), &db), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK) << sqlite3_errmsg(db);
  sqlite3_close(db);
}

// A result of rows 0 … count - 1, two events each.
std::string Result(const TemporaryDirectory& directory, int64_t count) {
  const std::string path = directory / "a.llmbench";
  auto writer = ResultWriter::Create({.path = path, .run_json = "{}"});
  EXPECT_TRUE(writer.ok()) << writer.status();
  Recorder* recorder = (*writer)->AddRecorder();
  for (int64_t id = count - 1; id >= 0; --id) {
    const RequestRecord record = FullRecord(id);
    recorder->Append(record, Blob(record.sent_ns, 2, 1000), "", "");
  }
  EXPECT_TRUE((*writer)->Finish().ok());
  return path;
}

TEST(RecordTable, IsInScheduleOrderWhateverTheOrderOfWriting) {
  const TemporaryDirectory directory;
  auto table = RecordTable::Load(Result(directory, 100));
  ASSERT_TRUE(table.ok()) << table.status();
  ASSERT_EQ(table->requests.size(), 100u);
  for (size_t i = 0; i < 100; ++i) {
    EXPECT_EQ(table->requests[i].id, static_cast<int64_t>(i));
    EXPECT_EQ(table->event_offsets[i], static_cast<int64_t>(2 * i));
    EXPECT_EQ(table->event_times_ns[2 * i + 1], table->requests[i].sent_ns + 2000);
  }
  EXPECT_EQ(table->event_offsets.back(), 200);
  EXPECT_TRUE(table->errors.empty());
  EXPECT_TRUE(table->texts.empty());
}

TEST(RecordTable, TornBlobsGiveWhatIsWhole) {
  const TemporaryDirectory directory;
  const std::string path = Result(directory, 4);
  Alter(path,
        "UPDATE event SET events = substr(events, 1, length(events) - 1) WHERE request_id = 1;"
        "UPDATE event SET events = x'' WHERE request_id = 2;"
        "DELETE FROM event WHERE request_id = 3");
  auto table = RecordTable::Load(path);
  ASSERT_TRUE(table.ok()) << table.status();
  EXPECT_EQ(table->event_offsets, (std::vector<int64_t>{0, 2, 3, 3, 3}));
}

// Where a file system has no WAL, a killed writer leaves half a transaction in the file and the way back in a
// journal.
TEST(RecordTable, AnInterruptedTransactionIsRolledBack) {
  const TemporaryDirectory directory;
  const std::string path = Result(directory, 2000);
  const std::string killed = directory / "killed.llmbench";
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open(path.c_str(), &db), SQLITE_OK);
  const char* half =
      "PRAGMA cache_size=1; BEGIN; UPDATE request SET worker = 99; UPDATE event SET events = x'ffff'";
  ASSERT_EQ(sqlite3_exec(db, half, nullptr, nullptr, nullptr), SQLITE_OK) << sqlite3_errmsg(db);
  for (const char* suffix : {"", "-journal"}) std::filesystem::copy_file(path + suffix, killed + suffix);
  sqlite3_close(db);

  auto table = RecordTable::Load(killed);
  ASSERT_TRUE(table.ok()) << table.status();
  ASSERT_EQ(table->requests.size(), 2000u);
  EXPECT_EQ(table->event_times_ns.size(), 4000u);
  for (const RequestRecord& r : table->requests) ASSERT_EQ(r.worker, 18);
}

TEST(RecordTable, AFalseCountAsksForNoMemory) {
  const TemporaryDirectory directory;
  const std::string path = Result(directory, 1);
  Alter(path, "UPDATE request SET events = 9000000000000000000");
  auto table = RecordTable::Load(path);
  ASSERT_TRUE(table.ok()) << table.status();
  EXPECT_EQ(table->event_times_ns.size(), 2u);
}

TEST(RecordTable, SaysWhatIsWrongWithAFile) {
  const TemporaryDirectory directory;
  const std::string path = Result(directory, 3);
  auto message = [](const std::string& file) {
    return std::string(RecordTable::Load(file).status().message());
  };
  EXPECT_NE(message(directory / "none").find("There is no result file"), std::string::npos);
  EXPECT_NE(message(directory.path()).find("cannot be read as a result"), std::string::npos);

  std::ofstream(directory / "text") << std::string(1000, 'x');
  EXPECT_NE(message(directory / "text").find("not a database"), std::string::npos);

  std::ofstream(directory / "empty").close();
  EXPECT_NE(message(directory / "empty").find("database of something else"), std::string::npos);

  Alter(path, "UPDATE request SET outcome = 'fine' WHERE id = 1");
  EXPECT_NE(message(path).find("request 1 has an unknown phase, outcome or token_source"), std::string::npos);

  Alter(path, "PRAGMA user_version = 2");
  EXPECT_NE(message(path).find("schema version 2"), std::string::npos);
}

TEST(RecordTable, ATruncatedFileIsAnErrorUnlessSalvageIsAskedFor) {
  const TemporaryDirectory directory;
  const std::string path = Result(directory, 2000);
  EXPECT_EQ(RecordTable::Load(path, true)->damage, "");
  const auto size = std::filesystem::file_size(path);
  size_t saved_before = 2000;
  for (const double share : {0.9, 0.5, 0.1}) {
    std::filesystem::resize_file(path, static_cast<uintmax_t>(static_cast<double>(size) * share));
    EXPECT_FALSE(RecordTable::Load(path).ok()) << share;
    const auto table = RecordTable::Load(path, true);
    ASSERT_TRUE(table.ok()) << table.status();
    EXPECT_NE(table->damage.find("are missing: "), std::string::npos) << table->damage;
    EXPECT_EQ(table->event_offsets.size(), table->requests.size() + 1);
    EXPECT_LE(table->requests.size(), saved_before);
    saved_before = table->requests.size();
  }
  std::filesystem::resize_file(path, 10);
  EXPECT_FALSE(RecordTable::Load(path, true).ok());
}

}  // namespace
}  // namespace llmbench
