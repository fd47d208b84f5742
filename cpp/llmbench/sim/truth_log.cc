#include "llmbench/sim/truth_log.h"

#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

#include "llmbench/sim/json_text.h"

namespace llmbench::sim {
namespace {

// Rows are gathered this long, so that the log costs a wake-up now and then instead of one per request.
constexpr std::chrono::milliseconds kGather{100};

template <typename Number>
void AppendList(const char* name, const std::vector<Number>& values, std::string* out) {
  *out += name;
  for (size_t i = 0; i < values.size(); ++i) {
    if (i > 0) *out += ',';
    AppendNumber(static_cast<int64_t>(values[i]), out);
  }
  *out += ']';
}

void AppendRow(const TruthRow& row, std::string* out) {
  *out += "{\"request_id\":";
  AppendJsonString(row.request_id, out);
  *out += ",\"received_ns\":";
  AppendNumber(row.received_ns, out);
  *out += ",\"status\":";
  AppendNumber(int64_t{row.status}, out);
  *out += row.complete ? ",\"complete\":true" : ",\"complete\":false";
  if (!row.fault.empty()) {
    *out += ",\"fault\":";
    AppendJsonString(row.fault, out);
  }
  *out += ",\"prompt_tokens\":";
  AppendNumber(row.prompt_tokens, out);
  *out += ",\"cached_tokens\":";
  AppendNumber(row.cached_tokens, out);
  AppendList(",\"event_ns\":[", row.event_ns, out);
  AppendList(",\"tokens\":[", row.tokens, out);
  *out += "}\n";
}

}  // namespace

absl::StatusOr<std::unique_ptr<TruthLog>> TruthLog::Open(const std::string& path) {
  std::FILE* file = std::fopen(path.c_str(), "we");
  if (file == nullptr) {
    return absl::FailedPreconditionError("cannot write the truth log '" + path +
                                         "': " + std::strerror(errno) + ".");
  }
  return std::unique_ptr<TruthLog>(new TruthLog(file));
}

TruthLog::TruthLog(std::FILE* file) : file_(file), thread_([this] { Write(); }) {}

TruthLog::~TruthLog() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  wake_.notify_one();
  thread_.join();
  std::fclose(file_);
}

void TruthLog::Add(TruthRow row) {
  const std::lock_guard lock(mutex_);
  rows_.push_back(std::move(row));
}

void TruthLog::Write() {
  std::vector<TruthRow> rows;
  std::string text;
  bool last = false;
  while (!last) {
    {
      std::unique_lock lock(mutex_);
      wake_.wait_for(lock, kGather, [this] { return closing_; });
      last = closing_;
      rows.swap(rows_);
    }
    text.clear();
    for (const TruthRow& row : rows) AppendRow(row, &text);
    rows.clear();
    if (!text.empty()) {
      std::fwrite(text.data(), 1, text.size(), file_);
      std::fflush(file_);
    }
  }
}

}  // namespace llmbench::sim
