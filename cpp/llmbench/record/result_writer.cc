#include "llmbench/record/result_writer.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <string_view>
#include <system_error>
#include <thread>

#include "llmbench/record/block_recorder.h"
#include "llmbench/record/result_schema.h"
#include "llmbench/record/sqlite.h"

namespace llmbench {
namespace {

constexpr auto kWakeEvery = std::chrono::milliseconds(100);
// A finished row is on its way for up to Recorder::kHandOverNs plus one wake before it is inserted.
// Committing a little more often than once a second keeps what a kill can lose under one second all told.
constexpr int64_t kCommitEveryNs = 750 * kNsPerMs;
constexpr int64_t kSampleEveryNs = kNsPerSecond;
constexpr int kNice = 10;

constexpr char kOpeningPragmas[] =
    "PRAGMA synchronous=OFF;"  // an empty file need not survive a power cut
    "PRAGMA page_size=16384;"  // event blobs of up to about 3000 tokens need no overflow pages
    "PRAGMA temp_store=MEMORY;"
    "PRAGMA cache_size=-4096;"  // KiB: rows are appended and never read back
    "PRAGMA busy_timeout=1000;";
// NORMAL syncs only at a checkpoint, on this thread. A kill loses nothing that was committed: the pages are
// in the kernel.
constexpr char kRunningPragmas[] =
    "PRAGMA synchronous=NORMAL;PRAGMA wal_autocheckpoint=512;";  // pages: 8 MiB

std::string Remedy(int error) {
  switch (error) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return "free some space or choose another directory with --result-dir";
    case EROFS:
    case EACCES:
    case EPERM:
      return "make the directory writable or choose another one with --result-dir";
    case ENOENT:
    case ENOTDIR:
      return "create the directory or choose another one with --result-dir";
    default:
      return "choose another directory with --result-dir";
  }
}

absl::Status CannotCreate(const std::string& path, int error, const std::string& reason) {
  const std::string message =
      "The result file " + path + " cannot be created: " + reason + "; " + Remedy(error) + ".";
  if (error == EACCES || error == EPERM || error == EROFS) return absl::PermissionDeniedError(message);
  return absl::FailedPreconditionError(message);
}

// The file and what SQLite may have left beside it.
constexpr const char* kFileSuffixes[] = {"", "-wal", "-shm", "-journal"};

absl::Status ClearPath(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code error;
  if (fs::is_directory(path, error)) return CannotCreate(path, EISDIR, "it is a directory");
  fs::path directory = fs::path(path).parent_path();
  if (directory.empty()) directory = ".";
  struct stat status;
  int code = stat(directory.c_str(), &status) != 0 ? errno : 0;
  if (code == 0 && !S_ISDIR(status.st_mode)) code = ENOTDIR;
  if (code == 0 && access(directory.c_str(), W_OK | X_OK) != 0) code = errno;
  if (code != 0) return CannotCreate(path, code, directory.string() + ": " + std::strerror(code));
  for (const char* suffix : kFileSuffixes) {
    if (unlink((path + suffix).c_str()) != 0 && errno != ENOENT) {
      return CannotCreate(path, errno,
                          std::string("the old file cannot be replaced: ") + std::strerror(errno));
    }
  }
  return absl::OkStatus();
}

// True when the file is in WAL mode afterwards and a transaction works there: some file systems only fail at
// its first use.
bool SwitchToWal(sqlite3* db) {
  const Statement statement = Prepare(db, "PRAGMA journal_mode=WAL");
  if (statement == nullptr || sqlite3_step(statement.get()) != SQLITE_ROW) return false;
  const auto* mode = reinterpret_cast<const char*>(sqlite3_column_text(statement.get(), 0));
  if (mode == nullptr || std::string_view(mode) != "wal") return false;
  sqlite3_reset(statement.get());
  return Execute(db, "BEGIN IMMEDIATE;COMMIT") == SQLITE_OK;
}

// Puts one row's values into a prepared INSERT, which keeps them from one row to the next: most are those of
// the row before, and need no call.
class RowBinder {
 public:
  void Attach(sqlite3_stmt* statement) { statement_ = statement; }

  void Int(int column, int64_t value) {
    Bound& bound = bound_[static_cast<size_t>(column)];
    if (bound.kind == Bound::kInt && bound.value == value) return;
    bound = {Bound::kInt, value, nullptr};
    sqlite3_bind_int64(statement_, column + 1, value);
  }
  void Time(int column, int64_t value) { value == kNoTime ? Null(column) : Int(column, value); }
  void Count(int column, int32_t value) { value == kNoCount ? Null(column) : Int(column, value); }
  // Text that stays where it is, and what it is, as long as the statement.
  void Name(int column, std::string_view name) {
    if (name.empty()) return Null(column);
    Bound& bound = bound_[static_cast<size_t>(column)];
    const auto size = static_cast<int64_t>(name.size());
    if (bound.kind == Bound::kName && bound.text == name.data() && bound.value == size) return;
    bound = {Bound::kName, size, name.data()};
    BindText(column, name);
  }
  void Name(int column, const std::vector<std::string>& names, int32_t index) {
    const bool known = index >= 0 && static_cast<size_t>(index) < names.size();
    Name(column, known ? std::string_view(names[static_cast<size_t>(index)]) : std::string_view());
  }
  // Text that need only live until the row was stored.
  void Text(int column, std::string_view text) {
    if (text.empty()) return Null(column);
    bound_[static_cast<size_t>(column)].kind = Bound::kText;
    BindText(column, text);
  }

 private:
  struct Bound {
    enum Kind : uint8_t { kNull, kInt, kName, kText } kind = kNull;  // NULL is what nothing was bound to
    int64_t value = 0;                                               // or the name's size
    const char* text = nullptr;
  };

  void Null(int column) {
    Bound& bound = bound_[static_cast<size_t>(column)];
    if (bound.kind == Bound::kNull) return;
    bound.kind = Bound::kNull;
    sqlite3_bind_null(statement_, column + 1);
  }
  void BindText(int column, std::string_view text) {
    sqlite3_bind_text64(statement_, column + 1, text.data(), text.size(), SQLITE_STATIC, SQLITE_UTF8);
  }

  sqlite3_stmt* statement_ = nullptr;
  std::array<Bound, kRequestColumnCount> bound_;
};

class FileResultWriter final : public ResultWriter {
 public:
  FileResultWriter(Options options, Database db)
      : options_(std::move(options)),
        start_ns_(options_.start_ns),
        db_(std::move(db)),
        kept_(options_.keep_bytes, options_.endpoints, options_.models) {}
  ~FileResultWriter() override { StopThread(); }

  absl::Status PrepareStatements();

  Recorder* AddRecorder() override {
    return recorders_.emplace_back(std::make_unique<BlockRecorder>()).get();
  }
  void Start() override;
  void SetStart(int64_t start_ns) override { start_ns_.store(start_ns, std::memory_order_relaxed); }
  absl::Status status() const override;
  absl::Status Finish() override;
  KeptRows TakeKept() override {
    KeptRows taken = std::move(kept_);
    kept_.LetGo();
    return taken;
  }

 private:
  void Loop();
  void StopThread();
  void DrainQueues();
  void DrainRest();
  void StoreBlock(const RowBlock& block);
  void StoreRow(const RowView& row);
  void StoreSamples(int64_t now_ns);
  void Commit();
  void CheckFileIsOurs();
  void Close();
  // Runs a statement with its values bound. False when it failed, which is noted.
  bool Step(const Statement& statement);
  bool Begin();
  // Nothing more can be stored. `code` is SQLite's.
  void Fail(int code, const std::string& reason);
  void Note(const absl::Status& status);  // the first one stays

  const Options options_;
  std::atomic<int64_t> start_ns_;
  std::vector<std::unique_ptr<BlockRecorder>> recorders_;

  // The writer thread's, or Finish's once it has ended.
  Database db_;
  Statement insert_request_, insert_event_, insert_sample_, insert_text_;
  RowBinder request_binder_;
  KeptRows kept_;
  bool can_store_ = true;
  bool in_transaction_ = false;
  int64_t committed_ns_ = 0, sampled_ns_ = 0;
  uint64_t stored_rows_ = 0, lost_rows_ = 0;
  uint64_t uncommitted_rows_ = 0;

  std::thread thread_;
  std::mutex stop_mutex_;
  std::condition_variable stop_changed_;
  bool stop_ = false;

  std::atomic<bool> failed_{false};
  mutable std::mutex status_mutex_;
  absl::Status status_;
};

absl::Status FileResultWriter::PrepareStatements() {
  insert_request_ = Prepare(db_.get(), InsertRequestSql().c_str());
  request_binder_.Attach(insert_request_.get());
  insert_event_ = Prepare(db_.get(), "INSERT INTO event VALUES (?,?)");
  insert_sample_ = Prepare(db_.get(), "INSERT INTO sample VALUES (?,?,?,?)");
  if (options_.save_text) insert_text_ = Prepare(db_.get(), "INSERT INTO text VALUES (?,?)");
  if (insert_request_ && insert_event_ && insert_sample_ && (insert_text_ || !options_.save_text))
    return absl::OkStatus();
  return absl::InternalError("The result file " + options_.path +
                             " cannot be prepared: " + sqlite3_errmsg(db_.get()));
}

void FileResultWriter::Start() {
  committed_ns_ = sampled_ns_ = MonotonicNs();
  // Signals are for the thread that waits on the run.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { Loop(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

absl::Status FileResultWriter::status() const {
  if (!failed_.load(std::memory_order_acquire)) return absl::OkStatus();
  const std::lock_guard lock(status_mutex_);
  return status_;
}

void FileResultWriter::Loop() {
  pthread_setname_np(pthread_self(), "llmbench-writer");
  // Whatever policy the process was started with: a real-time writer would hold the workers up.
  const sched_param plain{};
  sched_setscheduler(0, SCHED_BATCH, &plain);
  setpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)), kNice);
  for (bool stop = false; !stop;) {
    {
      std::unique_lock lock(stop_mutex_);
      stop = stop_changed_.wait_for(lock, kWakeEvery, [this] { return stop_; });
    }
    DrainQueues();
    const int64_t now_ns = MonotonicNs();
    if (now_ns - sampled_ns_ >= kSampleEveryNs) {
      sampled_ns_ = now_ns;
      StoreSamples(now_ns);
      CheckFileIsOurs();
    }
    if (now_ns - committed_ns_ >= kCommitEveryNs) {
      committed_ns_ = now_ns;
      Commit();
    }
  }
}

void FileResultWriter::StopThread() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(stop_mutex_);
    stop_ = true;
  }
  stop_changed_.notify_one();
  thread_.join();
}

absl::Status FileResultWriter::Finish() {
  StopThread();
  if (db_ != nullptr) {
    DrainQueues();
    DrainRest();
    StoreSamples(MonotonicNs());
    Commit();
    Close();
  }
  uint64_t lost = lost_rows_;
  for (const auto& recorder : recorders_) lost += recorder->dropped_rows();
  if (lost == 0) return status();
  kept_.LetGo();
  const std::string count =
      std::to_string(lost) + " of " + std::to_string(lost + stored_rows_) + " rows are missing from it.";
  if (const absl::Status why = status(); !why.ok())
    return absl::Status(why.code(), std::string(why.message()) + " " + count);
  return absl::DataLossError("The result file " + options_.path +
                             " could not be written as fast as rows came: " + count);
}

void FileResultWriter::DrainQueues() {
  // One block of each worker in turn, so that none waits for another's backlog.
  for (bool found = true; found;) {
    found = false;
    for (const auto& recorder : recorders_) {
      if (RowBlock* block = recorder->Take()) {
        StoreBlock(*block);
        recorder->GiveBack(block);
        found = true;
      }
    }
  }
}

void FileResultWriter::DrainRest() {
  for (const auto& recorder : recorders_) {
    while (RowBlock* block = recorder->TakeRest()) {
      StoreBlock(*block);
      recorder->GiveBack(block);
    }
  }
}

void FileResultWriter::StoreBlock(const RowBlock& block) {
  RecordObserver* observer = options_.observer;
  std::array<int64_t, 256> samples;
  size_t held = 0;
  ClientSample held_kind{};
  const auto tell_samples = [&] {
    if (held > 0 && observer != nullptr) observer->OnSamples(held_kind, std::span(samples).first(held));
    held = 0;
  };
  block.ForEach(
      [&](const RowView& row) {
        StoreRow(row);
        tell_samples();
        if (observer != nullptr) observer->OnRecord(row.record, row.events);
      },
      [&](ClientSample kind, int64_t value_ns) {
        if (kind != held_kind || held == samples.size()) tell_samples();
        held_kind = kind;
        samples[held++] = value_ns;
      });
  tell_samples();
}

void FileResultWriter::StoreRow(const RowView& row) {
  if (!Begin()) {
    ++lost_rows_;
    return;
  }
  const RequestRecord& r = row.record;
  RowBinder& bind = request_binder_;
  bind.Int(kColId, r.id);
  bind.Name(kColPhase, PhaseName(r.phase));
  bind.Count(kColWorkload, r.workload);
  bind.Name(kColEndpoint, options_.endpoints, r.endpoint);
  bind.Name(kColModel, options_.models, r.model);
  bind.Count(kColSession, r.session);
  bind.Count(kColTurn, r.turn);
  bind.Int(kColWorker, r.worker);
  bind.Count(kColConnection, r.connection);
  bind.Int(kColAttempts, r.attempts);
  bind.Time(kColScheduled, r.scheduled_ns);
  bind.Time(kColSlot, r.slot_ns);
  bind.Time(kColConnected, r.connected_ns);
  bind.Time(kColSent, r.sent_ns);
  bind.Time(kColSendDone, r.send_done_ns);
  bind.Time(kColFirstByte, r.first_byte_ns);
  bind.Time(kColFirstToken, r.first_token_ns);
  bind.Time(kColFirstAnswer, r.first_answer_ns);
  bind.Time(kColLastToken, r.last_token_ns);
  bind.Time(kColEnd, r.end_ns);
  bind.Time(kColDns, r.dns_ns);
  bind.Time(kColConnect, r.connect_ns);
  bind.Time(kColTls, r.tls_ns);
  bind.Int(kColStatus, r.status);
  bind.Name(kColOutcome, OutcomeName(r.outcome));
  bind.Text(kColFinishReason, {r.finish_reason, strnlen(r.finish_reason, sizeof r.finish_reason)});
  bind.Text(kColError, row.error);
  bind.Count(kColPromptTokens, r.prompt_tokens);
  bind.Count(kColCachedTokens, r.cached_tokens);
  bind.Count(kColAskedTokens, r.asked_tokens);
  bind.Count(kColOutputTokens, r.output_tokens);
  bind.Count(kColReasoningTokens, r.reasoning_tokens);
  bind.Name(kColTokenSource, TokenSourceName(r.token_source));
  bind.Int(kColEvents, r.events);
  bind.Int(kColMergedEvents, r.merged_events);
  bind.Int(kColBytesIn, r.bytes_in);
  bind.Int(kColBytesOut, r.bytes_out);
  bind.Int(kColFlags, r.flags);

  bool stored = Step(insert_request_);
  if (stored && !row.events.empty()) {
    sqlite3_bind_int64(insert_event_.get(), 1, r.id);
    sqlite3_bind_blob64(insert_event_.get(), 2, row.events.data(), row.events.size(), SQLITE_STATIC);
    stored = Step(insert_event_);
  }
  if (stored && options_.save_text) {
    sqlite3_bind_int64(insert_text_.get(), 1, r.id);
    sqlite3_bind_text64(insert_text_.get(), 2, row.text.data() != nullptr ? row.text.data() : "",
                        row.text.size(), SQLITE_STATIC, SQLITE_UTF8);
    stored = Step(insert_text_);
  }
  if (stored) {
    ++stored_rows_;
    ++uncommitted_rows_;
    kept_.Add(row);
  } else {
    ++lost_rows_;
  }
}

void FileResultWriter::StoreSamples(int64_t now_ns) {
  if (!options_.sampler) return;
  const int64_t t_ns = now_ns - start_ns_.load(std::memory_order_relaxed);
  for (const Options::Sample& sample : options_.sampler(t_ns)) {
    if (!Begin()) return;
    sqlite3_stmt* statement = insert_sample_.get();
    sqlite3_bind_int64(statement, 1, t_ns);
    sqlite3_bind_text64(statement, 2, sample.source.data(), sample.source.size(), SQLITE_STATIC, SQLITE_UTF8);
    sqlite3_bind_text64(statement, 3, sample.name.data(), sample.name.size(), SQLITE_STATIC, SQLITE_UTF8);
    sqlite3_bind_double(statement, 4, sample.value);
    if (!Step(insert_sample_)) return;
  }
}

bool FileResultWriter::Step(const Statement& statement) {
  const int code = sqlite3_step(statement.get());
  if (code == SQLITE_DONE) {
    sqlite3_reset(statement.get());
    return true;
  }
  // The reason is read before the reset, which may replace it.
  const std::string reason = SqliteReason(db_.get(), code);
  sqlite3_reset(statement.get());
  if ((code & 0xff) == SQLITE_CONSTRAINT) {
    // Two rows of one number are a fault of ours, not of the disk: say so, and keep what else comes.
    Note(absl::InternalError("The result file " + options_.path + " refused a row: " + reason + "."));
  } else {
    Fail(code, reason);
  }
  return false;
}

bool FileResultWriter::Begin() {
  if (in_transaction_) return true;
  if (!can_store_) return false;
  const int code = Execute(db_.get(), "BEGIN");
  if (code != SQLITE_OK) {
    Fail(code, SqliteReason(db_.get(), code));
    return false;
  }
  in_transaction_ = true;
  return true;
}

void FileResultWriter::Commit() {
  if (!in_transaction_) return;
  const int code = Execute(db_.get(), "COMMIT");
  // Somebody reads the file where the file system has no WAL: the transaction stays open until next time.
  if ((code & 0xff) == SQLITE_BUSY) return;
  if (code != SQLITE_OK) return Fail(code, SqliteReason(db_.get(), code));
  in_transaction_ = false;
  uncommitted_rows_ = 0;
}

void FileResultWriter::CheckFileIsOurs() {
  if (!can_store_) return;
  int moved = 0;
  if (sqlite3_file_control(db_.get(), "main", SQLITE_FCNTL_HAS_MOVED, &moved) == SQLITE_OK && moved != 0) {
    Fail(SQLITE_IOERR, "the file was removed or renamed while the run was writing it");
  }
}

void FileResultWriter::Fail(int code, const std::string& reason) {
  // What the open transaction held goes with it; what was committed before stays readable.
  if (in_transaction_) {
    Execute(db_.get(), "ROLLBACK");
    in_transaction_ = false;
    stored_rows_ -= uncommitted_rows_;
    lost_rows_ += uncommitted_rows_;
    uncommitted_rows_ = 0;
  }
  can_store_ = false;
  const int error = (code & 0xff) == SQLITE_FULL ? ENOSPC : sqlite3_system_errno(db_.get());
  Note(absl::DataLossError("The result file " + options_.path + " could not be written: " + reason + "; " +
                           Remedy(error) + "."));
}

void FileResultWriter::Note(const absl::Status& status) {
  const std::lock_guard lock(status_mutex_);
  if (!status_.ok()) return;
  status_ = status;
  failed_.store(true, std::memory_order_release);
}

// Leaves one file. Failing to fold the log in is no loss: SQLite reads the file together with its -wal.
void FileResultWriter::Close() {
  if (in_transaction_) {
    // Only a reader can have held the last commit up.
    sqlite3_busy_timeout(db_.get(), 5000);
    Commit();
    if (in_transaction_) Fail(SQLITE_BUSY, "another process keeps reading it");
  }
  insert_request_.reset();
  insert_event_.reset();
  insert_sample_.reset();
  insert_text_.reset();
  Execute(db_.get(), "PRAGMA wal_checkpoint(TRUNCATE);PRAGMA journal_mode=DELETE");
  db_.reset();
}

}  // namespace

absl::StatusOr<std::unique_ptr<ResultWriter>> ResultWriter::Create(Options options) {
  const std::string path = options.path;
  if (const absl::Status cleared = ClearPath(path); !cleared.ok()) return cleared;

  Database db;
  int code = OpenDatabase(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, db);
  if (code == SQLITE_OK) code = Execute(db.get(), kOpeningPragmas);
  // The tables and the first run row go into the file proper before it becomes a WAL file, so that even the
  // bare file, copied without its -wal, is a result.
  const std::string create = "BEGIN;PRAGMA application_id=" + std::to_string(kApplicationId) +
                             ";PRAGMA user_version=" + std::to_string(kSchemaVersion) + ";" +
                             CreateTablesSql(options.save_text);
  if (code == SQLITE_OK) code = Execute(db.get(), create.c_str());
  if (code == SQLITE_OK) {
    const Statement insert = Prepare(db.get(), "INSERT INTO run VALUES (?)");
    sqlite3_bind_text64(insert.get(), 1, options.run_json.data(), options.run_json.size(), SQLITE_STATIC,
                        SQLITE_UTF8);
    code = sqlite3_step(insert.get()) == SQLITE_DONE ? SQLITE_OK : sqlite3_extended_errcode(db.get());
  }
  if (code == SQLITE_OK) code = Execute(db.get(), "COMMIT");
  if (code == SQLITE_OK) {
    if (!SwitchToWal(db.get())) Execute(db.get(), "PRAGMA journal_mode=TRUNCATE");
    code = Execute(db.get(), kRunningPragmas);
  }
  if (code != SQLITE_OK) {
    const int error =
        (code & 0xff) == SQLITE_FULL ? ENOSPC : (db != nullptr ? sqlite3_system_errno(db.get()) : 0);
    const std::string reason = SqliteReason(db.get(), code);
    db.reset();
    for (const char* suffix : kFileSuffixes) unlink((path + suffix).c_str());
    return CannotCreate(path, error, reason);
  }

  auto writer = std::make_unique<FileResultWriter>(std::move(options), std::move(db));
  if (const absl::Status prepared = writer->PrepareStatements(); !prepared.ok()) return prepared;
  return std::unique_ptr<ResultWriter>(std::move(writer));
}

}  // namespace llmbench
