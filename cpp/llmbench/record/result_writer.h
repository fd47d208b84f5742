// The .llmbench file while it is being written: one SQLite database, fed by a low-priority thread of its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "llmbench/record/kept_rows.h"
#include "llmbench/record/recorder.h"

namespace llmbench {

class ResultWriter {
 public:
  struct Options {
    std::string path = {};      // replaced when it exists
    std::string run_json = {};  // first content of the `run` table; its status must say "running"
    bool save_text = false;
    // Names behind the record's endpoint and model numbers.
    std::vector<std::string> endpoints = {}, models = {};
    RecordObserver* observer = nullptr;  // outlives the writer; called on its thread
    // Called on the writer's thread once a second; returns rows of the `sample` table.
    struct Sample {
      std::string source, name;
      double value;
    };
    std::function<std::vector<Sample>(int64_t t_ns)> sampler = {};
    size_t keep_bytes = 0;  // what TakeKept's rows may take of memory
    // t0 on CLOCK_MONOTONIC, from which `sample.t_ns` counts. May be set later by SetStart.
    int64_t start_ns = 0;
  };

  // Creates the file and its tables. Errors name the path and what to do about it.
  static absl::StatusOr<std::unique_ptr<ResultWriter>> Create(Options options);
  virtual ~ResultWriter() = default;

  // A producer's end, one per worker thread; all are added before Start.
  virtual Recorder* AddRecorder() = 0;
  virtual void Start() = 0;
  virtual void SetStart(int64_t start_ns) = 0;
  // Ok while rows can be stored; otherwise why not (a full disk, a lost directory). Any thread.
  virtual absl::Status status() const = 0;
  // After every worker has ended: stores what is left, commits, closes. The file then holds all rows; its
  // `run` row is rewritten by the caller who summarises them.
  virtual absl::Status Finish() = 0;
  // After Finish, once: the rows of the file. They hold all when these fit into keep_bytes and none was lost.
  virtual KeptRows TakeKept() = 0;
};

}  // namespace llmbench
