// All rows of a result, read back from its file: what every number is computed from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "llmbench/record/request_record.h"

namespace llmbench {

// Rows are in schedule order (by id, warm-up first). Events of row i are [offsets[i], offsets[i + 1]).
struct RecordTable {
  std::vector<RequestRecord> requests;
  std::vector<int64_t> event_offsets;  // requests.size() + 1
  std::vector<int64_t> event_times_ns;
  std::vector<uint32_t> event_tokens;
  std::vector<uint8_t> event_flags;
  std::vector<std::string> errors;  // one per request, empty when it succeeded; empty vector when none failed
  std::vector<std::string> texts;   // one per request with save_text, otherwise empty
  std::vector<std::string> endpoints,
      models;  // names behind the records' numbers, in order of first appearance

  std::string damage;  // what is missing and why, of a damaged file; otherwise empty

  // Reads a finished, interrupted or killed run's file, also while it is written, and leaves it as it is.
  // Torn blobs give the events before the tear. A file that is itself damaged (cut short by a copy, say) is
  // an error, unless `salvage` asks for the rows before the damage.
  static absl::StatusOr<RecordTable> Load(const std::string& path, bool salvage = false);

  // The same without events and texts, of which a long run has more than memory. Calls on_size once, with the
  // numbers of requests and (at most) of events, then on_row for each row with its blob (event_blob.h), which
  // is empty when it has none.
  static absl::StatusOr<RecordTable> LoadRows(
      const std::string& path, const std::function<void(size_t requests, size_t events)>& on_size,
      const std::function<void(const RequestRecord&, std::span<const uint8_t> events)>& on_row);
};

}  // namespace llmbench
