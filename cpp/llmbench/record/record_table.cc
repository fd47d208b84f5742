#include "llmbench/record/record_table.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <system_error>
#include <utility>

#include "llmbench/base/return_if_error.h"
#include "llmbench/record/event_blob.h"
#include "llmbench/record/result_schema.h"
#include "llmbench/record/sqlite.h"

namespace llmbench {
namespace {

namespace fs = std::filesystem;

std::string_view TextOf(sqlite3_stmt* statement, int column) {
  const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement, column));
  if (text == nullptr) return {};
  return {text, static_cast<size_t>(sqlite3_column_bytes(statement, column))};
}

std::span<const uint8_t> BlobOf(sqlite3_stmt* statement, int column) {
  const auto* blob = static_cast<const uint8_t*>(sqlite3_column_blob(statement, column));
  return {blob, blob != nullptr ? static_cast<size_t>(sqlite3_column_bytes(statement, column)) : 0};
}

// Reads the values of one row of `request`.
class RowReader {
 public:
  explicit RowReader(sqlite3_stmt* statement) : statement_(statement) {}

  std::string_view Text(int column) const { return TextOf(statement_, column); }
  int64_t Int(int column) const { return sqlite3_column_int64(statement_, column); }
  int32_t Number(int column) const { return static_cast<int32_t>(Int(column)); }
  int64_t Time(int column) const { return IsNull(column) ? kNoTime : Int(column); }
  int32_t Count(int column) const { return IsNull(column) ? kNoCount : Number(column); }

 private:
  bool IsNull(int column) const { return sqlite3_column_type(statement_, column) == SQLITE_NULL; }

  sqlite3_stmt* statement_;
};

// Numbers names in the order in which they first appear.
int32_t IndexOfName(std::vector<std::string>& names, std::string_view name) {
  const auto found = std::find(names.begin(), names.end(), name);
  if (found != names.end()) return static_cast<int32_t>(found - names.begin());
  names.emplace_back(name);
  return static_cast<int32_t>(names.size() - 1);
}

std::optional<Phase> PhaseFromName(std::string_view name) {
  for (const Phase phase : {Phase::kWarmup, Phase::kMeasure, Phase::kDrain, Phase::kCooldown}) {
    if (PhaseName(phase) == name) return phase;
  }
  return std::nullopt;
}

std::optional<TokenSource> TokenSourceFromName(std::string_view name) {
  for (const TokenSource source : {TokenSource::kNone, TokenSource::kUsage, TokenSource::kTokenIds,
                                   TokenSource::kTokenizer, TokenSource::kEvents}) {
    if (TokenSourceName(source) == name) return source;
  }
  return std::nullopt;
}

// A query by ascending id, walked beside the one of the requests.
class Cursor {
 public:
  explicit Cursor(Statement statement) : statement_(std::move(statement)) {}

  bool valid() const { return statement_ != nullptr; }
  sqlite3_stmt* get() const { return statement_.get(); }
  bool Next() {
    code_ = sqlite3_step(statement_.get());
    return code_ == SQLITE_ROW;
  }
  // Moves to this id, which never is below the one before. False when there is none.
  bool MoveTo(int64_t id) {
    if (code_ == SQLITE_OK) Next();
    while (code_ == SQLITE_ROW && sqlite3_column_int64(get(), 0) < id) Next();
    return code_ == SQLITE_ROW && sqlite3_column_int64(get(), 0) == id;
  }
  // SQLite's code when the walk ended otherwise than by the end of the rows, else SQLITE_OK.
  int error() const { return code_ == SQLITE_ROW || code_ == SQLITE_DONE ? SQLITE_OK : code_; }

 private:
  Statement statement_;
  int code_ = SQLITE_OK;
};

// The file and what a killed writer left beside it, in a directory where there is room to put them together.
class TemporaryCopy {
 public:
  explicit TemporaryCopy(const std::string& path) {
    std::string directory = (fs::temp_directory_path(error_) / "llmbench-XXXXXX").string();
    if (error_ || mkdtemp(directory.data()) == nullptr) return;
    directory_ = directory;
    for (const char* suffix : {"", "-wal", "-journal"}) {
      std::error_code error;
      fs::copy_file(path + suffix, this->path() + suffix, error);
      if (error && error != std::errc::no_such_file_or_directory) error_ = error;
    }
  }
  ~TemporaryCopy() {
    if (!directory_.empty()) fs::remove_all(directory_, error_);
  }
  TemporaryCopy(const TemporaryCopy&) = delete;
  TemporaryCopy& operator=(const TemporaryCopy&) = delete;

  bool ok() const { return !directory_.empty() && !error_; }
  std::string path() const { return directory_ + "/copy"; }

 private:
  std::string directory_;
  std::error_code error_;
};

// Where blobs go that are not to be kept.
struct BlobTaker {
  const std::function<void(size_t, size_t)>& on_size;
  const std::function<void(const RequestRecord&, std::span<const uint8_t>)>& on_row;
};

class TableLoader {
 public:
  TableLoader(const std::string& path, bool salvage, const BlobTaker* taker = nullptr)
      : path_(path), salvage_(salvage), taker_(taker) {}

  absl::StatusOr<RecordTable> Load();

 private:
  absl::Status Open();
  absl::Status TryOpen(const std::string& path, int flags, int& code);
  absl::Status Reserve();
  absl::Status ReadRows();
  absl::Status ReadRow(sqlite3_stmt* statement);
  absl::Status NoteDamage(const Cursor& cursor, const std::string& what);
  void ReadEvents(sqlite3_stmt* statement);
  absl::Status Damaged(const std::string& reason) const {
    return absl::DataLossError(path_ + " cannot be read as a result: " + reason + ".");
  }

  const std::string path_;
  const bool salvage_;
  const BlobTaker* const taker_;
  std::unique_ptr<TemporaryCopy> copy_;
  Database db_;
  RecordTable table_;
};

absl::StatusOr<RecordTable> TableLoader::Load() {
  LLMBENCH_RETURN_IF_ERROR(Open());
  LLMBENCH_RETURN_IF_ERROR(Reserve());
  LLMBENCH_RETURN_IF_ERROR(ReadRows());
  return std::move(table_);
}

// Opens so that nothing is changed if that can be had, and checks what kind of file it is.
absl::Status TableLoader::Open() {
  struct stat status;
  if (stat(path_.c_str(), &status) != 0) {
    const std::string message = "There is no result file " + path_ + ": " + std::strerror(errno) + ".";
    return errno == ENOENT ? absl::NotFoundError(message) : absl::PermissionDeniedError(message);
  }
  int code = SQLITE_OK;
  absl::Status opened = TryOpen(path_, SQLITE_OPEN_READONLY, code);
  auto refused = [&code] {
    const int primary = code & 0xff;
    return primary == SQLITE_CANTOPEN || primary == SQLITE_READONLY || primary == SQLITE_IOERR;
  };
  // A journal left by a killed writer (on a file system without WAL) must be rolled back: that is a write.
  if (refused()) opened = TryOpen(path_, SQLITE_OPEN_READWRITE, code);
  // A log left by a killed writer is read through an index beside it, which a read-only directory refuses.
  if (refused()) {
    copy_ = std::make_unique<TemporaryCopy>(path_);
    if (copy_->ok()) opened = TryOpen(copy_->path(), SQLITE_OPEN_READWRITE, code);
  }
  LLMBENCH_RETURN_IF_ERROR(opened);
  constexpr char kTables[] =
      "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name IN ('request', 'event')";
  if (QueryInt(db_.get(), kTables, 0) != 2) return Damaged("it is a database of something else");
  const int64_t version = QueryInt(db_.get(), "PRAGMA user_version", 0);
  if (version > kSchemaVersion) {
    return Damaged("it has schema version " + std::to_string(version) + ", this llmbench knows " +
                   std::to_string(kSchemaVersion) + "; update llmbench");
  }
  return absl::OkStatus();
}

absl::Status TableLoader::TryOpen(const std::string& path, int flags, int& code) {
  code = OpenDatabase(path, flags, db_);
  if (code == SQLITE_OK) sqlite3_busy_timeout(db_.get(), 5000);
  // Otherwise SQLite refuses at once a file that is shorter than its header says.
  if (code == SQLITE_OK && salvage_) code = Execute(db_.get(), "PRAGMA writable_schema=ON");
  // One snapshot for all queries, also of a file that is still being written.
  if (code == SQLITE_OK)
    code = Execute(db_.get(), "PRAGMA cache_size=-16384;BEGIN;SELECT count(*) FROM sqlite_schema");
  return code == SQLITE_OK ? absl::OkStatus() : Damaged(SqliteReason(db_.get(), code));
}

absl::Status TableLoader::Reserve() {
  const int64_t rows = QueryInt(db_.get(), "SELECT count(*) FROM request", -1);
  // length() of a blob reads its header alone. Two bytes an event are the least there can be, so that a false
  // count in a damaged row cannot ask for more memory than the file accounts for.
  const int64_t counted = QueryInt(db_.get(), "SELECT coalesce(sum(events), 0) FROM request", -1);
  const int64_t bytes = QueryInt(db_.get(), "SELECT coalesce(sum(length(events)), 0) FROM event", -1);
  if (rows < 0 || counted < 0 || bytes < 0) {
    return salvage_ ? absl::OkStatus() : Damaged(sqlite3_errmsg(db_.get()));
  }
  const auto events = static_cast<size_t>(std::min(counted, bytes / 2));
  table_.requests.reserve(static_cast<size_t>(rows));
  table_.event_offsets.reserve(static_cast<size_t>(rows) + 1);
  if (taker_ != nullptr) {
    taker_->on_size(static_cast<size_t>(rows), events);
    return absl::OkStatus();
  }
  table_.event_times_ns.reserve(events);
  table_.event_tokens.reserve(events);
  table_.event_flags.reserve(events);
  return absl::OkStatus();
}

absl::Status TableLoader::ReadRows() {
  Cursor requests(Prepare(db_.get(), SelectRequestsSql().c_str()));
  Cursor events(Prepare(db_.get(), "SELECT request_id, events FROM event ORDER BY request_id"));
  if (!requests.valid() || !events.valid()) return Damaged(sqlite3_errmsg(db_.get()));
  Cursor texts(taker_ != nullptr
                   ? nullptr
                   : Prepare(db_.get(),
                             "SELECT request_id, text FROM text ORDER BY request_id"));  // few files have it

  table_.event_offsets.push_back(0);
  size_t unreadable = 0;
  while (requests.Next()) {
    if (const absl::Status read = ReadRow(requests.get()); !read.ok()) {
      if (!salvage_) return read;
      table_.requests.pop_back();
      ++unreadable;
      continue;
    }
    const int64_t id = table_.requests.back().id;
    const bool has_events = events.MoveTo(id);
    if (taker_ != nullptr) {
      taker_->on_row(table_.requests.back(),
                     has_events ? BlobOf(events.get(), 1) : std::span<const uint8_t>());
    } else if (has_events) {
      ReadEvents(events.get());
    }
    table_.event_offsets.push_back(static_cast<int64_t>(table_.event_times_ns.size()));
    if (texts.valid())
      table_.texts.emplace_back(texts.MoveTo(id) ? TextOf(texts.get(), 1) : std::string_view());
  }
  if (!table_.errors.empty()) table_.errors.resize(table_.requests.size());
  if (unreadable != 0)
    table_.damage = std::to_string(unreadable) + " requests are missing: their rows are unreadable";
  const std::string after =
      table_.requests.empty() ? "all" : "after " + std::to_string(table_.requests.back().id);
  LLMBENCH_RETURN_IF_ERROR(NoteDamage(requests, "requests (" + after + ")"));
  LLMBENCH_RETURN_IF_ERROR(NoteDamage(events, "events"));
  return texts.valid() ? NoteDamage(texts, "texts") : absl::OkStatus();
}

absl::Status TableLoader::NoteDamage(const Cursor& cursor, const std::string& what) {
  if (cursor.error() == SQLITE_OK) return absl::OkStatus();
  const std::string reason = SqliteReason(nullptr, cursor.error());
  if (!salvage_) return Damaged(reason);
  if (!table_.damage.empty()) table_.damage += "; ";
  table_.damage += what + " are missing: " + reason;
  return absl::OkStatus();
}

absl::Status TableLoader::ReadRow(sqlite3_stmt* statement) {
  const RowReader row(statement);
  RequestRecord& r = table_.requests.emplace_back();
  r.id = row.Int(kColId);
  const auto phase = PhaseFromName(row.Text(kColPhase));
  const auto outcome = OutcomeFromName(row.Text(kColOutcome));
  const auto source = TokenSourceFromName(row.Text(kColTokenSource));
  if (!phase || !outcome || !source) {
    return Damaged("request " + std::to_string(r.id) + " has an unknown phase, outcome or token_source");
  }
  r.phase = *phase;
  r.outcome = *outcome;
  r.token_source = *source;
  r.workload = row.Count(kColWorkload);
  r.endpoint = IndexOfName(table_.endpoints, row.Text(kColEndpoint));
  r.model = IndexOfName(table_.models, row.Text(kColModel));
  r.session = row.Count(kColSession);
  r.turn = row.Count(kColTurn);
  r.worker = row.Number(kColWorker);
  r.connection = row.Count(kColConnection);
  r.attempts = row.Number(kColAttempts);
  r.scheduled_ns = row.Time(kColScheduled);
  r.slot_ns = row.Time(kColSlot);
  r.connected_ns = row.Time(kColConnected);
  r.sent_ns = row.Time(kColSent);
  r.send_done_ns = row.Time(kColSendDone);
  r.first_byte_ns = row.Time(kColFirstByte);
  r.first_token_ns = row.Time(kColFirstToken);
  r.first_answer_ns = row.Time(kColFirstAnswer);
  r.last_token_ns = row.Time(kColLastToken);
  r.end_ns = row.Time(kColEnd);
  r.dns_ns = row.Int(kColDns);
  r.connect_ns = row.Int(kColConnect);
  r.tls_ns = row.Int(kColTls);
  r.status = row.Number(kColStatus);
  r.prompt_tokens = row.Count(kColPromptTokens);
  r.cached_tokens = row.Count(kColCachedTokens);
  r.asked_tokens = row.Count(kColAskedTokens);
  r.output_tokens = row.Count(kColOutputTokens);
  r.reasoning_tokens = row.Count(kColReasoningTokens);
  r.events = row.Number(kColEvents);
  r.merged_events = row.Number(kColMergedEvents);
  r.bytes_in = row.Int(kColBytesIn);
  r.bytes_out = row.Int(kColBytesOut);
  r.flags = static_cast<uint32_t>(row.Int(kColFlags));
  const std::string_view reason = row.Text(kColFinishReason);
  reason.copy(r.finish_reason, sizeof r.finish_reason);
  if (const std::string_view error = row.Text(kColError); !error.empty()) {
    table_.errors.resize(table_.requests.size());
    table_.errors.back() = error;
  }
  return absl::OkStatus();
}

void TableLoader::ReadEvents(sqlite3_stmt* statement) {
  const RequestRecord& record = table_.requests.back();
  const int64_t origin_ns = record.sent_ns != kNoTime ? record.sent_ns : 0;
  ForEachEvent(BlobOf(statement, 1), origin_ns, [this](const BlobEvent& event) {
    table_.event_times_ns.push_back(event.time_ns);
    table_.event_tokens.push_back(event.tokens);
    table_.event_flags.push_back(event.flags);
  });
}

}  // namespace

absl::StatusOr<RecordTable> RecordTable::Load(const std::string& path, bool salvage) {
  return TableLoader(path, salvage).Load();
}

absl::StatusOr<RecordTable> RecordTable::LoadRows(
    const std::string& path, const std::function<void(size_t, size_t)>& on_size,
    const std::function<void(const RequestRecord&, std::span<const uint8_t>)>& on_row) {
  const BlobTaker taker{on_size, on_row};
  return TableLoader(path, /*salvage=*/false, &taker).Load();
}

}  // namespace llmbench
