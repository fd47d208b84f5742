#include "llmbench/record/kept_rows.h"

#include <algorithm>
#include <string_view>
#include <utility>

namespace llmbench {
namespace {

// The numbers of names in the order in which rows first bear them.
class NameNumbers {
 public:
  NameNumbers(const std::vector<std::string>& names, std::vector<std::string>& seen)
      : names_(names), seen_(seen), numbers_(names.size(), kNone) {}

  int32_t Of(int32_t index) {
    const bool known = index >= 0 && static_cast<size_t>(index) < names_.size();
    int32_t& number = known ? numbers_[static_cast<size_t>(index)] : unknown_;
    if (number == kNone)
      number = NumberOf(known ? std::string_view(names_[static_cast<size_t>(index)]) : std::string_view());
    return number;
  }

 private:
  static constexpr int32_t kNone = -1;

  int32_t NumberOf(std::string_view name) {
    const auto found = std::find(seen_.begin(), seen_.end(), name);
    if (found == seen_.end()) {
      seen_.emplace_back(name);
      return static_cast<int32_t>(seen_.size() - 1);
    }
    return static_cast<int32_t>(found - seen_.begin());
  }

  const std::vector<std::string>& names_;
  std::vector<std::string>& seen_;
  std::vector<int32_t> numbers_;
  int32_t unknown_ = kNone;
};

}  // namespace

void KeptRows::Add(const RowView& row) {
  if (!holds_all_) return;
  if (blocks_.empty() || !blocks_.back()->AppendRow(row.record, row.events, row.error, {})) {
    const size_t bytes = std::max(kBlockBytes, RowBlock::BytesFor(row.events.size(), row.error.size(), 0));
    RowBlock::Ptr block = bytes_ + bytes <= most_bytes_ ? RowBlock::Allocate(bytes) : nullptr;
    if (block == nullptr) return LetGo();
    bytes_ += block->allocated_bytes();
    block->AppendRow(row.record, row.events, row.error, {});
    blocks_.push_back(std::move(block));
  }
  ++rows_;
  events_ += static_cast<size_t>(std::max(row.record.events, 0));
}

void KeptRows::LetGo() {
  holds_all_ = false;
  blocks_.clear();
  bytes_ = rows_ = events_ = 0;
}

RecordTable KeptRows::Table(
    const std::function<void(size_t, size_t)>& on_size,
    const std::function<void(const RequestRecord&, std::span<const uint8_t>)>& on_row) const {
  std::vector<RowView> rows;
  rows.reserve(rows_);
  for (const RowBlock::Ptr& block : blocks_) {
    block->ForEach([&rows](const RowView& row) { rows.push_back(row); }, [](ClientSample, int64_t) {});
  }
  std::vector<std::pair<int64_t, const RowView*>> order;
  order.reserve(rows.size());
  for (const RowView& row : rows) order.emplace_back(row.record.id, &row);
  std::sort(order.begin(), order.end());

  RecordTable table;
  table.requests.reserve(rows.size());
  table.event_offsets.assign(rows.size() + 1, 0);
  NameNumbers endpoint_numbers(endpoints_, table.endpoints), model_numbers(models_, table.models);
  on_size(rows.size(), events_);
  for (const auto& [id, row] : order) {
    RequestRecord& record = table.requests.emplace_back(row->record);
    record.endpoint = endpoint_numbers.Of(record.endpoint);
    record.model = model_numbers.Of(record.model);
    on_row(record, row->events);
    if (row->error.empty()) continue;
    table.errors.resize(table.requests.size());
    table.errors.back() = row->error;
  }
  if (!table.errors.empty()) table.errors.resize(table.requests.size());
  return table;
}

}  // namespace llmbench
