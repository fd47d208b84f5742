#include "llmbench/record/result_schema.h"

#include <cstddef>

namespace llmbench {

constexpr std::array<Column, kRequestColumnCount> kRequestColumns = {{
    {"id", "INTEGER PRIMARY KEY"},
    {"phase", "TEXT NOT NULL"},
    {"workload", "INTEGER"},
    {"endpoint", "TEXT"},
    {"model", "TEXT"},
    {"session", "INTEGER"},
    {"turn", "INTEGER"},
    {"worker", "INTEGER"},
    {"connection", "INTEGER"},
    {"attempts", "INTEGER"},
    {"scheduled_ns", "INTEGER"},
    {"slot_ns", "INTEGER"},
    {"connected_ns", "INTEGER"},
    {"sent_ns", "INTEGER"},
    {"send_done_ns", "INTEGER"},
    {"first_byte_ns", "INTEGER"},
    {"first_token_ns", "INTEGER"},
    {"first_answer_ns", "INTEGER"},
    {"last_token_ns", "INTEGER"},
    {"end_ns", "INTEGER"},
    {"dns_ns", "INTEGER"},
    {"connect_ns", "INTEGER"},
    {"tls_ns", "INTEGER"},
    {"status", "INTEGER"},
    {"outcome", "TEXT NOT NULL"},
    {"finish_reason", "TEXT"},
    {"error", "TEXT"},
    {"prompt_tokens", "INTEGER"},
    {"cached_tokens", "INTEGER"},
    {"asked_tokens", "INTEGER"},
    {"output_tokens", "INTEGER"},
    {"reasoning_tokens", "INTEGER"},
    {"token_source", "TEXT"},
    {"events", "INTEGER"},
    {"merged_events", "INTEGER"},
    {"bytes_in", "INTEGER"},
    {"bytes_out", "INTEGER"},
    {"flags", "INTEGER"},
}};

namespace {

std::string ColumnNames() {
  std::string names;
  for (const Column& column : kRequestColumns) {
    if (!names.empty()) names += ", ";
    names += column.name;
  }
  return names;
}

}  // namespace

std::string CreateTablesSql(bool with_text) {
  std::string sql = "CREATE TABLE run(json TEXT NOT NULL);\nCREATE TABLE request(";
  for (size_t i = 0; i < kRequestColumns.size(); ++i) {
    if (i != 0) sql += ", ";
    sql += kRequestColumns[i].name;
    sql += ' ';
    sql += kRequestColumns[i].type;
  }
  sql +=
      ");\n"
      "CREATE TABLE event(request_id INTEGER PRIMARY KEY, events BLOB NOT NULL);\n"
      "CREATE TABLE sample(t_ns INTEGER NOT NULL, source TEXT NOT NULL, name TEXT NOT NULL, value REAL);\n";
  if (with_text) sql += "CREATE TABLE text(request_id INTEGER PRIMARY KEY, text TEXT NOT NULL);\n";
  return sql;
}

std::string InsertRequestSql() {
  std::string sql = "INSERT INTO request VALUES (?";
  for (int i = 1; i < kRequestColumnCount; ++i) sql += ",?";
  return sql + ")";
}

std::string SelectRequestsSql() { return "SELECT " + ColumnNames() + " FROM request ORDER BY id"; }

}  // namespace llmbench
