#include "llmbench/record/result_writer.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <set>
#include <thread>

#include "llmbench/record/block_recorder.h"
#include "llmbench/record/record_table.h"
#include "records.h"

namespace llmbench {
namespace {

using std::chrono_literals::operator""s;

// What sqlite3 answers, one line per row, columns joined by '|'.
std::string Ask(const std::string& path, const std::string& sql) {
  sqlite3* db = nullptr;
  std::string answer;
  EXPECT_EQ(sqlite3_open(path.c_str(), &db), SQLITE_OK);
  auto add_row = [](void* out, int columns, char** values, char**) {
    auto& text = *static_cast<std::string*>(out);
    if (!text.empty()) text += '\n';
    for (int i = 0; i < columns; ++i)
      text += (i ? "|" : "") + std::string(values[i] != nullptr ? values[i] : "NULL");
    return 0;
  };
  EXPECT_EQ(sqlite3_exec(db, sql.c_str(), add_row, &answer, nullptr), SQLITE_OK) << sqlite3_errmsg(db);
  sqlite3_close(db);
  return answer;
}

std::set<std::string> FilesIn(const std::string& directory) {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(directory))
    names.insert(entry.path().filename());
  return names;
}

template <typename Condition>
bool Eventually(Condition&& condition) {
  const auto deadline = std::chrono::steady_clock::now() + 30s;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

std::unique_ptr<ResultWriter> Open(ResultWriter::Options options) {
  if (options.run_json.empty()) options.run_json = R"({"status": "running"})";
  auto writer = ResultWriter::Create(std::move(options));
  EXPECT_TRUE(writer.ok()) << writer.status();
  return writer.ok() ? *std::move(writer) : nullptr;
}

TEST(ResultWriter, StoresEveryFieldOfARow) {
  const TemporaryDirectory directory;
  const std::string path = directory / "a.llmbench";
  auto writer = Open({.path = path, .save_text = true, .endpoints = {"e0", "e1"}, .models = {"m"}});
  Recorder* recorder = writer->AddRecorder();
  writer->Start();
  RequestRecord failed;
  failed.id = -1;
  failed.phase = Phase::kWarmup;
  failed.outcome = Outcome::kConnectRefused;
  const RequestRecord full = FullRecord(7);
  recorder->Append(full, Blob(full.sent_ns, 3, 5), "", "text");
  recorder->Append(failed, {}, "refused", "");
  recorder->HandOver(0, true);
  ASSERT_TRUE(writer->Finish().ok());

  auto table = RecordTable::Load(path);
  ASSERT_TRUE(table.ok()) << table.status();
  ASSERT_EQ(table->requests.size(), 2u);
  EXPECT_EQ(std::memcmp(&table->requests[1], &full, sizeof full), 0);
  EXPECT_EQ(std::memcmp(&table->requests[0], &failed, sizeof failed), 0);
  EXPECT_EQ(table->endpoints, (std::vector<std::string>{"e0", "e1"}));
  EXPECT_EQ(table->event_offsets, (std::vector<int64_t>{0, 0, 3}));
  EXPECT_EQ(table->event_times_ns,
            (std::vector<int64_t>{full.sent_ns + 5, full.sent_ns + 10, full.sent_ns + 15}));
  EXPECT_EQ(table->errors, (std::vector<std::string>{"refused", ""}));
  EXPECT_EQ(table->texts, (std::vector<std::string>{"", "text"}));
}

TEST(ResultWriter, WritesTheDocumentedTables) {
  const TemporaryDirectory directory;
  const std::string path = directory / "a.llmbench";
  auto writer = Open({.path = path, .endpoints = {"http://e"}, .models = {"m"}});
  Recorder* recorder = writer->AddRecorder();
  writer->Start();
  RequestRecord full = FullRecord(7);
  full.endpoint = 0;
  recorder->Append(full, Blob(full.sent_ns, 3, 5), "", "");
  RequestRecord bare;
  bare.id = 8;
  bare.outcome = Outcome::kDns;
  recorder->Append(bare, {}, "no such host", "not stored");
  recorder->HandOver(0, true);
  ASSERT_TRUE(writer->Finish().ok());

  EXPECT_EQ(FilesIn(directory.path()), std::set<std::string>{"a.llmbench"});
  EXPECT_EQ(Ask(path, "PRAGMA user_version"), "1");
  EXPECT_EQ(Ask(path, "PRAGMA journal_mode"), "delete");
  EXPECT_EQ(Ask(path, "PRAGMA integrity_check"), "ok");
  EXPECT_EQ(Ask(path, "SELECT json FROM run"), R"({"status": "running"})");
  EXPECT_EQ(Ask(path, "SELECT group_concat(name, ' ') FROM pragma_table_info('request')"),
            "id phase workload endpoint model session turn worker connection attempts scheduled_ns slot_ns "
            "connected_ns "
            "sent_ns send_done_ns first_byte_ns first_token_ns first_answer_ns last_token_ns end_ns dns_ns "
            "connect_ns tls_ns "
            "status outcome finish_reason error prompt_tokens cached_tokens asked_tokens output_tokens "
            "reasoning_tokens "
            "token_source events merged_events bytes_in bytes_out flags");
  EXPECT_EQ(Ask(path, "SELECT * FROM request WHERE id = 7"),
            "7|drain|15|http://"
            "e|m|16|17|18|19|2|7000000|7000001|7000002|7000003|7000004|7000005|7000006|7000007|7000008|"
            "7000009|10|11|12|200|ok|length|NULL|21|22|23|24|25|usage|3|1|5000000000|14|513");
  EXPECT_EQ(Ask(path, "SELECT * FROM request WHERE id = 8"),
            "8|measure|NULL|http://"
            "e|m|NULL|NULL|0|NULL|0|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|0|0|0|0|dns|"
            "NULL|no such host|NULL|NULL|NULL|NULL|NULL|NULL|0|0|0|0|0");
  EXPECT_EQ(Ask(path, "SELECT request_id, hex(events) FROM event"), "7|050905090509");
  EXPECT_EQ(Ask(path, "SELECT name FROM sqlite_schema WHERE name = 'text'"), "");
}

// Counts what it sees; checks that it sees it after it was stored is for the reader of the code.
class CountingObserver final : public RecordObserver {
 public:
  void OnRecord(const RequestRecord&, std::span<const uint8_t> events) override {
    rows.fetch_add(1);
    event_bytes.fetch_add(events.size());
  }
  void OnSamples(ClientSample, std::span<const int64_t> values_ns) override {
    for (const int64_t value_ns : values_ns) sample_sum.fetch_add(value_ns);
  }

  std::atomic<uint64_t> rows{0}, event_bytes{0};
  std::atomic<int64_t> sample_sum{0};
};

TEST(ResultWriter, RowsOfAllWorkersComeTogether) {
  const TemporaryDirectory directory;
  const std::string path = directory / "a.llmbench";
  CountingObserver observer;
  auto writer = Open({.path = path, .endpoints = {"e"}, .models = {"m"}, .observer = &observer});
  constexpr int kWorkers = 3;
  constexpr int64_t kRowsEach = 5000;
  std::vector<Recorder*> recorders;
  for (int i = 0; i < kWorkers; ++i) recorders.push_back(writer->AddRecorder());
  writer->Start();
  std::vector<std::thread> workers;
  for (int w = 0; w < kWorkers; ++w) {
    workers.emplace_back([&, w] {
      Recorder* recorder = recorders[static_cast<size_t>(w)];
      for (int64_t i = 0; i < kRowsEach; ++i) {
        RequestRecord record = FullRecord(i * kWorkers + w);
        record.worker = w;
        recorder->Append(record, Blob(record.sent_ns, 4, 10), "", "");
        recorder->AppendSample(ClientSample::kReadLateness, 1);
        recorder->HandOver(MonotonicNs());
      }
      recorder->HandOver(MonotonicNs(), true);
    });
  }
  for (std::thread& worker : workers) worker.join();
  ASSERT_TRUE(writer->Finish().ok());
  EXPECT_EQ(observer.rows, kWorkers * kRowsEach);
  EXPECT_EQ(observer.event_bytes, kWorkers * kRowsEach * 4u * 2u);
  EXPECT_EQ(observer.sample_sum, kWorkers * kRowsEach);
  auto table = RecordTable::Load(path);
  ASSERT_TRUE(table.ok()) << table.status();
  ASSERT_EQ(table->requests.size(), static_cast<size_t>(kWorkers * kRowsEach));
  for (size_t i = 0; i < table->requests.size(); ++i)
    ASSERT_EQ(table->requests[i].id, static_cast<int64_t>(i));
  EXPECT_EQ(table->event_times_ns.size(), table->requests.size() * 4);
}

TEST(ResultWriter, CanBeReadWhileItIsWritten) {
  const TemporaryDirectory directory;
  const std::string path = directory / "a.llmbench";
  std::atomic<int> calls{0};
  auto sampler = [&calls](int64_t t_ns) {
    calls.fetch_add(1);
    return std::vector<ResultWriter::Options::Sample>{{"client", "in_flight", static_cast<double>(t_ns > 0)}};
  };
  auto writer = Open({.path = path, .sampler = sampler});
  Recorder* recorder = writer->AddRecorder();
  writer->SetStart(MonotonicNs());
  writer->Start();
  recorder->Append(FullRecord(0), {}, "", "");
  recorder->HandOver(MonotonicNs(), true);
  EXPECT_TRUE(Eventually([&] {
    auto table = RecordTable::Load(path);
    return table.ok() && table->requests.size() == 1 && calls > 0;
  }));
  EXPECT_TRUE(Eventually([&] {
    return Ask(path, "SELECT DISTINCT source, name, value FROM sample") == "client|in_flight|1.0";
  }));
  EXPECT_TRUE(writer->status().ok());
  ASSERT_TRUE(writer->Finish().ok());
  EXPECT_EQ(FilesIn(directory.path()), std::set<std::string>{"a.llmbench"});
}

TEST(ResultWriter, WhatWasNotHandedOverIsStoredAtTheEnd) {
  const TemporaryDirectory directory;
  const std::string path = directory / "a.llmbench";
  auto writer = Open({.path = path});
  writer->AddRecorder()->Append(FullRecord(0), {}, "", "");
  ASSERT_TRUE(writer->Finish().ok());  // never started
  EXPECT_EQ(Ask(path, "SELECT count(*) FROM request"), "1");
}

TEST(ResultWriter, ReplacesAnOldFile) {
  const TemporaryDirectory directory;
  const std::string path = directory / "a.llmbench";
  for (const char* json : {"first", "second"}) {
    auto writer = Open({.path = path, .run_json = json});
    writer->AddRecorder()->Append(FullRecord(0), {}, "", "");
    ASSERT_TRUE(writer->Finish().ok());
  }
  EXPECT_EQ(Ask(path, "SELECT json, (SELECT count(*) FROM request) FROM run"), "second|1");
}

TEST(ResultWriter, SaysWhyAFileCannotBeCreated) {
  const TemporaryDirectory directory;
  std::filesystem::create_directory(directory / "taken.llmbench");
  close(open((directory / "plain").c_str(), O_CREAT | O_WRONLY, 0600));
  const struct {
    std::string path;
    std::string says;
  } kCases[] = {
      {directory / "missing/a.llmbench",
       "No such file or directory; create the directory or choose another one with --result-dir."},
      {directory / "plain/a.llmbench", "Not a directory; create the directory"},
      {directory / "taken.llmbench", "it is a directory"},
      {"/proc/self/a.llmbench", "--result-dir"},
  };
  for (const auto& c : kCases) {
    const auto writer = ResultWriter::Create({.path = c.path, .run_json = "{}"});
    ASSERT_FALSE(writer.ok()) << c.path;
    const std::string message(writer.status().message());
    EXPECT_NE(message.find(c.path), std::string::npos) << message;
    EXPECT_NE(message.find(c.says), std::string::npos) << message;
  }
}

// A file system without room, as far as this process is concerned: no file grows beyond the limit.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    before_signal_ = signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &before_);
    signal(SIGXFSZ, before_signal_);
  }

 private:
  rlimit before_;
  sighandler_t before_signal_;
};

TEST(ResultWriter, AFullDiskIsSaidAndHoldsNobodyUp) {
  const TemporaryDirectory directory;
  const std::string path = directory / "a.llmbench";
  CountingObserver observer;
  auto writer = Open({.path = path, .observer = &observer});
  auto* recorder = static_cast<BlockRecorder*>(writer->AddRecorder());
  writer->Start();
  absl::Status finished;
  int64_t rows = 0;
  {
    const FileSizeLimit limit(2 << 20);
    const std::vector<uint8_t> events = Blob(0, 1000, 3);
    auto append = [&] {
      recorder->Append(FullRecord(rows++), events, "", "");
      recorder->HandOver(MonotonicNs());
    };
    EXPECT_TRUE(Eventually([&] {
      for (int i = 0; i < 100; ++i) append();
      return !writer->status().ok();
    }));
    const std::string message(writer->status().message());
    EXPECT_NE(message.find(path), std::string::npos) << message;
    EXPECT_NE(message.find("free some space or choose another directory with --result-dir"),
              std::string::npos)
        << message;
    // Rows go on coming for as long as the engine takes to stop; they are seen, and take no memory.
    for (int i = 0; i < 100'000; ++i) append();
    EXPECT_TRUE(Eventually([&] {
      recorder->HandOver(MonotonicNs(), true);
      return observer.rows == static_cast<uint64_t>(rows);
    }));
    EXPECT_LE(recorder->allocated_bytes(), (BlockRecorder::kSpareBlocks + 1) * RowBlock::kBytes);
    finished = writer->Finish();
  }
  ASSERT_FALSE(finished.ok());
  const std::string message(finished.message());
  EXPECT_NE(message.find("rows are missing from it"), std::string::npos) << message;

  // What is there is whole, and as many rows as the message leaves.
  EXPECT_EQ(Ask(path, "PRAGMA integrity_check"), "ok");
  auto table = RecordTable::Load(path);
  ASSERT_TRUE(table.ok()) << table.status();
  const std::string count =
      std::to_string(rows - static_cast<int64_t>(table->requests.size())) + " of " + std::to_string(rows);
  EXPECT_NE(message.find(count), std::string::npos) << message << "; " << table->requests.size() << " stored";
}

TEST(ResultWriter, AFileThatWasRemovedIsNoticed) {
  const TemporaryDirectory directory;
  auto writer = Open({.path = directory / "a.llmbench"});
  writer->Start();
  std::filesystem::remove(directory / "a.llmbench");
  EXPECT_TRUE(Eventually([&] { return !writer->status().ok(); }));
  EXPECT_NE(std::string(writer->status().message()).find("was removed or renamed"), std::string::npos);
  EXPECT_FALSE(writer->Finish().ok());
}

TEST(ResultWriter, ARowThatComesTwiceIsRefusedAndTheRestKept) {
  const TemporaryDirectory directory;
  const std::string path = directory / "a.llmbench";
  auto writer = Open({.path = path});
  Recorder* recorder = writer->AddRecorder();
  for (const int64_t id : {1, 1, 2}) recorder->Append(FullRecord(id), {}, "", "");
  const absl::Status status = writer->Finish();
  EXPECT_NE(std::string(status.message()).find("refused a row"), std::string::npos) << status;
  EXPECT_NE(std::string(status.message()).find("1 of 3 rows"), std::string::npos) << status;
  EXPECT_EQ(Ask(path, "SELECT group_concat(id) FROM request"), "1,2");
}

constexpr char kVictimPath[] = "LLMBENCH_TEST_VICTIM_PATH";

// Not a test: what the next test starts as a process of its own, to be killed. Says on standard output when
// each row was finished.
TEST(ResultWriterVictim, DISABLED_WritesUntilItIsKilled) {
  const char* path = std::getenv(kVictimPath);
  if (path == nullptr) GTEST_SKIP() << "started by ResultWriter.AKillLosesAtMostTheLastSecond";
  auto writer = Open({.path = path});
  Recorder* recorder = writer->AddRecorder();
  writer->Start();
  const int64_t give_up_ns = MonotonicNs() + 60 * kNsPerSecond;
  for (int64_t id = 0;; ++id) {
    const int64_t now_ns = MonotonicNs();
    if (now_ns > give_up_ns) return;
    const RequestRecord record = FullRecord(id);
    recorder->Append(record, Blob(record.sent_ns, 20, 1000), "", "");
    recorder->HandOver(now_ns);
    const std::array<int64_t, 2> row = {id, now_ns};
    if (write(3, row.data(), sizeof row) != sizeof row) return;
    std::this_thread::sleep_for(std::chrono::microseconds(500));
  }
}

TEST(ResultWriter, AKillLosesAtMostTheLastSecond) {
  const TemporaryDirectory directory;
  const std::string path = directory / "a.llmbench";
  int pipe_ends[2];
  ASSERT_EQ(pipe(pipe_ends), 0);
  const std::string environment = std::string(kVictimPath) + "=" + path;
  const pid_t victim = fork();
  ASSERT_GE(victim, 0);
  if (victim == 0) {
    dup2(pipe_ends[1], 3);
    dup2(open("/dev/null", O_WRONLY), 1);
    putenv(const_cast<char*>(environment.c_str()));
    execl("/proc/self/exe", "record_test", "--gtest_also_run_disabled_tests",
          "--gtest_filter=ResultWriterVictim.*", nullptr);
    _exit(127);
  }
  close(pipe_ends[1]);
  // Kill it three seconds into its rows.
  std::vector<int64_t> finished_ns;
  std::array<int64_t, 2> row;
  while (read(pipe_ends[0], row.data(), sizeof row) == sizeof row) {
    ASSERT_EQ(row[0], static_cast<int64_t>(finished_ns.size()));
    finished_ns.push_back(row[1]);
    if (row[1] - finished_ns.front() > 3 * kNsPerSecond) break;
  }
  const int64_t killed_ns = MonotonicNs();
  ASSERT_EQ(kill(victim, SIGKILL), 0);
  ASSERT_EQ(waitpid(victim, nullptr, 0), victim);
  close(pipe_ends[0]);
  ASSERT_GT(finished_ns.size(), 100u);

  const std::set<std::string> files = FilesIn(directory.path());
  auto table = RecordTable::Load(path);
  ASSERT_TRUE(table.ok()) << table.status();
  EXPECT_EQ(FilesIn(directory.path()), files) << "reading changed the result";
  ASSERT_FALSE(table->requests.empty());
  ASSERT_LT(table->requests.size(), finished_ns.size());
  for (size_t i = 0; i < table->requests.size(); ++i)
    ASSERT_EQ(table->requests[i].id, static_cast<int64_t>(i));
  EXPECT_EQ(table->event_times_ns.size(), table->requests.size() * 20);
  const double lost_s = static_cast<double>(killed_ns - finished_ns[table->requests.size()]) / 1e9;
  RecordProperty("lost_ms", static_cast<int>(lost_s * 1000));
  EXPECT_LT(lost_s, 2.0);  // one second on a machine that lets the writer run

  EXPECT_EQ(Ask(path, "PRAGMA integrity_check"), "ok");
  EXPECT_EQ(Ask(path, "SELECT json FROM run"), R"({"status": "running"})");
}

}  // namespace
}  // namespace llmbench
