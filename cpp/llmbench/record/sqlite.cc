#include "llmbench/record/sqlite.h"

#include <cerrno>
#include <cstring>

namespace llmbench {

int OpenDatabase(const std::string& path, int flags, Database& db) {
  sqlite3* raw = nullptr;
  const int code = sqlite3_open_v2(path.c_str(), &raw, flags | SQLITE_OPEN_NOMUTEX, nullptr);
  db.reset(raw);
  if (raw != nullptr) sqlite3_extended_result_codes(raw, 1);
  return code;
}

int Execute(sqlite3* db, const char* sql) { return sqlite3_exec(db, sql, nullptr, nullptr, nullptr); }

Statement Prepare(sqlite3* db, const char* sql) {
  sqlite3_stmt* statement = nullptr;
  sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
  return Statement(statement);
}

int64_t QueryInt(sqlite3* db, const char* sql, int64_t otherwise) {
  const Statement statement = Prepare(db, sql);
  if (statement == nullptr || sqlite3_step(statement.get()) != SQLITE_ROW) return otherwise;
  return sqlite3_column_int64(statement.get(), 0);
}

std::string SqliteReason(sqlite3* db, int code) {
  const std::string said = db != nullptr ? sqlite3_errmsg(db) : sqlite3_errstr(code);
  int error = db != nullptr ? sqlite3_system_errno(db) : 0;
  const int primary = code & 0xff;
  if (primary == SQLITE_FULL && error == 0) error = ENOSPC;
  if (error == 0 || (primary != SQLITE_IOERR && primary != SQLITE_FULL && primary != SQLITE_CANTOPEN))
    return said;
  return std::string(std::strerror(error)) + " (" + said + ")";
}

}  // namespace llmbench
