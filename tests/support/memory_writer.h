// A result that stays in memory, so that the engine's tests see rows without a file.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "llmbench/record/event_blob.h"
#include "llmbench/record/result_writer.h"

namespace llmbench::testing {

struct StoredRow {
  RequestRecord record;
  std::vector<BlobEvent> events;
  std::string error, text;
};

class MemoryWriter : public ResultWriter {
 public:
  Recorder* AddRecorder() override {
    recorders_.push_back(std::make_unique<MemoryRecorder>(this));
    return recorders_.back().get();
  }
  void Start() override {}
  void SetStart(int64_t start_ns) override { start_ns_ = start_ns; }
  absl::Status status() const override {
    std::lock_guard lock(mutex_);
    return status_;
  }
  absl::Status Finish() override { return status(); }
  KeptRows TakeKept() override {
    KeptRows none(0, {}, {});
    none.LetGo();
    return none;
  }

  void FailWith(absl::Status status) {
    std::lock_guard lock(mutex_);
    status_ = std::move(status);
  }
  int64_t start_ns() const { return start_ns_; }
  // By request id, once the run is over.
  const std::map<int64_t, StoredRow>& rows() const { return rows_; }
  size_t duplicates() const { return duplicates_; }

 private:
  class MemoryRecorder : public Recorder {
   public:
    explicit MemoryRecorder(MemoryWriter* writer) : writer_(writer) {}
    void Append(const RequestRecord& record, std::span<const uint8_t> events, std::string_view error,
                std::string_view text) override {
      StoredRow row{record, {}, std::string(error), std::string(text)};
      ForEachEvent(events, record.sent_ns, [&](const BlobEvent& event) { row.events.push_back(event); });
      std::lock_guard lock(writer_->mutex_);
      if (!writer_->rows_.emplace(record.id, std::move(row)).second) ++writer_->duplicates_;
    }
    void AppendSample(ClientSample, int64_t) override {}
    void HandOver(int64_t, bool) override {}

   private:
    MemoryWriter* const writer_;
  };

  mutable std::mutex mutex_;
  absl::Status status_;
  std::atomic<int64_t> start_ns_{0};
  std::map<int64_t, StoredRow> rows_;
  size_t duplicates_ = 0;
  std::vector<std::unique_ptr<MemoryRecorder>> recorders_;
};

}  // namespace llmbench::testing
