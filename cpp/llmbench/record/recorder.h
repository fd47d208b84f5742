// The producer's end of a result: one Recorder per worker thread, which appends rows and never waits.
//
// Rows go into blocks; a full block (or one that has been open for kHandOverNs) is handed to the writer
// thread through a single-producer queue and an empty one taken back. When the writer falls behind, the
// recorder takes fresh memory rather than wait: nothing the writer does can hold a worker up.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "llmbench/base/clock.h"
#include "llmbench/record/request_record.h"

namespace llmbench {

// What a worker learns about itself, besides its rows; values are nanoseconds.
enum class ClientSample : uint8_t {
  kReadLateness,  // kernel receive time → loop turn, per read
  kMergedWidth,   // what a merged event's time may be late by
  kCount,
};

class Recorder {
 public:
  static constexpr int64_t kHandOverNs = 50 * kNsPerMs;

  virtual ~Recorder() = default;
  // Copies the row, its events (an EventBlobWriter's bytes), its error message and its text.
  virtual void Append(const RequestRecord& record, std::span<const uint8_t> events, std::string_view error,
                      std::string_view text) = 0;
  virtual void AppendSample(ClientSample kind, int64_t value_ns) = 0;
  // Hands over a block that has waited for kHandOverNs. Called once a loop turn, with `all` at the end.
  virtual void HandOver(int64_t now_ns, bool all = false) = 0;
};

// Sees every row on the writer's thread, after it was stored: live percentiles, time series. When rows can no
// longer be stored (a full disk) it still sees them, so that there is something to report.
class RecordObserver {
 public:
  virtual ~RecordObserver() = default;
  virtual void OnRecord(const RequestRecord& record, std::span<const uint8_t> events) = 0;
  // Several of one kind, in order: there is one for every read.
  virtual void OnSamples(ClientSample kind, std::span<const int64_t> values_ns) = 0;
};

}  // namespace llmbench
