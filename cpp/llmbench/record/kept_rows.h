// The rows of a run while they are still in memory, so that a summary right after it need not read the file
// back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "llmbench/record/record_table.h"
#include "llmbench/record/row_block.h"

namespace llmbench {

// Takes rows with their events until they no longer fit into the memory allowed; then it lets go of all, for
// which the file is there.
class KeptRows {
 public:
  // `endpoints` and `models` are the names behind the records' numbers.
  KeptRows(size_t most_bytes, std::vector<std::string> endpoints, std::vector<std::string> models)
      : most_bytes_(most_bytes), endpoints_(std::move(endpoints)), models_(std::move(models)) {}

  // Copies the row, but for its text.
  void Add(const RowView& row);
  // From now on it keeps nothing.
  void LetGo();
  bool holds_all() const { return holds_all_; }

  // What RecordTable::LoadRows gives of a file with these rows, and calls likewise. Only while it holds all.
  RecordTable Table(
      const std::function<void(size_t requests, size_t events)>& on_size,
      const std::function<void(const RequestRecord&, std::span<const uint8_t> events)>& on_row) const;

 private:
  static constexpr size_t kBlockBytes = size_t{256} << 10;

  size_t most_bytes_;
  std::vector<std::string> endpoints_, models_;
  bool holds_all_ = true;
  size_t bytes_ = 0;  // of all blocks
  size_t rows_ = 0, events_ = 0;
  std::vector<RowBlock::Ptr> blocks_;
};

}  // namespace llmbench
