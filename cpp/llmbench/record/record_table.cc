#include "llmbench/record/record_table.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <span>

#include "llmbench/record/event_blob.h"
#include "llmbench/record/result_schema.h"
#include "llmbench/record/sqlite.h"

namespace llmbench {
namespace {

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
  for (const Phase phase : {Phase::kWarmup, Phase::kMeasure, Phase::kDrain}) {
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

class TableLoader {
 public:
  explicit TableLoader(const std::string& path) : path_(path) {}

  absl::StatusOr<RecordTable> Load();

 private:
  absl::Status Open();
  absl::Status TryOpen(int flags, bool exclusive, int& code);
  absl::Status Reserve();
  absl::Status ReadRows();
  absl::Status ReadRow(sqlite3_stmt* statement);
  void ReadEvents(sqlite3_stmt* statement);
  absl::Status Damaged(const std::string& reason) const {
    return absl::DataLossError(path_ + " cannot be read as a result: " + reason + ".");
  }

  const std::string path_;
  Database db_;
  RecordTable table_;
};

absl::StatusOr<RecordTable> TableLoader::Load() {
  if (const absl::Status opened = Open(); !opened.ok()) return opened;
  if (const absl::Status reserved = Reserve(); !reserved.ok()) return reserved;
  if (const absl::Status read = ReadRows(); !read.ok()) return read;
  return std::move(table_);
}

// Opens so that nothing is changed if that can be had, and checks what kind of file it is.
absl::Status TableLoader::Open() {
  struct stat status;
  if (stat(path_.c_str(), &status) != 0) {
    const std::string message = "There is no result file " + path_ + ": " + std::strerror(errno) + ".";
    return errno == ENOENT ? absl::NotFoundError(message) : absl::PermissionDeniedError(message);
  }
  // A killed writer leaves a log beside the file. Reading the two together needs an index in shared memory
  // beside them; where that cannot be had (a read-only directory) exclusive mode keeps the index in our own
  // memory. An interrupted rollback journal, from a file system without WAL, has to be rolled back, which
  // takes write access.
  struct Attempt {
    int flags;
    bool exclusive;
  };
  constexpr Attempt kAttempts[] = {
      {SQLITE_OPEN_READONLY, false}, {SQLITE_OPEN_READONLY, true}, {SQLITE_OPEN_READWRITE, false}};
  int code = SQLITE_OK;
  absl::Status result;
  for (const Attempt& attempt : kAttempts) {
    result = TryOpen(attempt.flags, attempt.exclusive, code);
    const int primary = code & 0xff;
    if (primary != SQLITE_CANTOPEN && primary != SQLITE_READONLY && primary != SQLITE_IOERR) break;
  }
  if (!result.ok()) return result;
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

absl::Status TableLoader::TryOpen(int flags, bool exclusive, int& code) {
  code = OpenDatabase(path_, flags, db_);
  if (code == SQLITE_OK) sqlite3_busy_timeout(db_.get(), 5000);
  if (code == SQLITE_OK && exclusive) code = Execute(db_.get(), "PRAGMA locking_mode=EXCLUSIVE");
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
  if (rows < 0 || counted < 0 || bytes < 0) return Damaged(sqlite3_errmsg(db_.get()));
  const auto events = static_cast<size_t>(std::min(counted, bytes / 2));
  table_.requests.reserve(static_cast<size_t>(rows));
  table_.event_offsets.reserve(static_cast<size_t>(rows) + 1);
  table_.event_times_ns.reserve(events);
  table_.event_tokens.reserve(events);
  table_.event_flags.reserve(events);
  return absl::OkStatus();
}

absl::Status TableLoader::ReadRows() {
  const Statement requests = Prepare(db_.get(), SelectRequestsSql().c_str());
  const Statement events = Prepare(db_.get(), "SELECT request_id, events FROM event ORDER BY request_id");
  if (requests == nullptr || events == nullptr) return Damaged(sqlite3_errmsg(db_.get()));
  const Statement texts =
      Prepare(db_.get(), "SELECT request_id, text FROM text ORDER BY request_id");  // may be absent

  // Three cursors in order of id, advanced together.
  auto step_to = [](sqlite3_stmt* statement, bool& more, int64_t id) {
    while (more && sqlite3_column_int64(statement, 0) < id) more = sqlite3_step(statement) == SQLITE_ROW;
    return more && sqlite3_column_int64(statement, 0) == id;
  };
  bool more_events = sqlite3_step(events.get()) == SQLITE_ROW;
  bool more_texts = texts != nullptr && sqlite3_step(texts.get()) == SQLITE_ROW;
  table_.event_offsets.push_back(0);
  int code;
  while ((code = sqlite3_step(requests.get())) == SQLITE_ROW) {
    if (const absl::Status read = ReadRow(requests.get()); !read.ok()) return read;
    const int64_t id = table_.requests.back().id;
    if (step_to(events.get(), more_events, id)) ReadEvents(events.get());
    table_.event_offsets.push_back(static_cast<int64_t>(table_.event_times_ns.size()));
    if (texts != nullptr) {
      const bool found = step_to(texts.get(), more_texts, id);
      table_.texts.emplace_back(found ? TextOf(texts.get(), 1) : std::string_view());
    }
  }
  if (code != SQLITE_DONE) return Damaged(SqliteReason(db_.get(), code));
  if (!table_.errors.empty()) table_.errors.resize(table_.requests.size());
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
  std::memcpy(r.finish_reason, reason.data(), std::min(reason.size(), sizeof r.finish_reason));
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

absl::StatusOr<RecordTable> RecordTable::Load(const std::string& path) { return TableLoader(path).Load(); }

}  // namespace llmbench
