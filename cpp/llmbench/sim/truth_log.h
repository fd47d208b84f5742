// The ground truth: one JSON line per request with what was really sent and when, on CLOCK_MONOTONIC.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace llmbench::sim {

struct TruthRow {
  std::string request_id;
  int64_t received_ns = 0;  // the kernel's receive time of the request's last byte
  int status = 0;           // of the reply, 0 when none was sent
  bool complete = false;    // the whole answer was handed to the kernel
  std::string fault;        // what was made to go wrong, if anything
  int64_t prompt_tokens = 0;
  int64_t cached_tokens = 0;
  std::vector<int64_t> event_ns;  // just before each event's write
  std::vector<uint32_t> tokens;   // of each event
};

// Rows are handed over under a lock of a few instructions; formatting and writing happen in a thread of the
// log.
class TruthLog {
 public:
  // FailedPrecondition when the file cannot be written.
  static absl::StatusOr<std::unique_ptr<TruthLog>> Open(const std::string& path);
  // Writes what is left and closes the file.
  ~TruthLog();

  void Add(TruthRow row);

 private:
  explicit TruthLog(std::FILE* file);
  void Write();

  std::FILE* const file_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<TruthRow> rows_;
  bool closing_ = false;
  std::thread thread_;
};

}  // namespace llmbench::sim
