// Owning handles for SQLite, and its errors in our words. Private to this stage.
#pragma once

#include <sqlite3.h>

#include <memory>
#include <string>

#include "absl/status/status.h"

namespace llmbench {

struct CloseDatabase {
  void operator()(sqlite3* db) const { sqlite3_close(db); }
};
struct FinalizeStatement {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using Database = std::unique_ptr<sqlite3, CloseDatabase>;
using Statement = std::unique_ptr<sqlite3_stmt, FinalizeStatement>;

// Opens with SQLITE_OPEN_* flags; the connection belongs to one thread at a time. The handle is set even when
// the result is an error, for SqliteReason.
int OpenDatabase(const std::string& path, int flags, Database& db);

// Runs statements that return nothing of interest.
int Execute(sqlite3* db, const char* sql);
// Null when the statement is not understood; sqlite3_errmsg says why.
Statement Prepare(sqlite3* db, const char* sql);
// First column of the first row as a number, or `otherwise`.
int64_t QueryInt(sqlite3* db, const char* sql, int64_t otherwise);

// Why the last call failed, with the system's own words where it was the system: "No space left on device
// (database or disk is full)".
std::string SqliteReason(sqlite3* db, int code);

}  // namespace llmbench
