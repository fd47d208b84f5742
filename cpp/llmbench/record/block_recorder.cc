#include "llmbench/record/block_recorder.h"

#include <utility>

namespace llmbench {

BlockRecorder::~BlockRecorder() {
  RowBlock* block = nullptr;
  while (full_.TryPop(block)) Free(block);
  while (spare_.TryPop(block)) Free(block);
  while ((block = TakeRest()) != nullptr) Free(block);
}

void BlockRecorder::Append(const RequestRecord& record, std::span<const uint8_t> events,
                           std::string_view error, std::string_view text) {
  if (open_ != nullptr && open_->AppendRow(record, events, error, text)) return;

  const size_t alone = RowBlock::BytesFor(events.size(), error.size(), text.size());
  if (alone > RowBlock::kBytes) {
    if (RowBlock* block = Fresh(alone)) {
      block->AppendRow(record, events, error, text);
      Queue(block);
      return;
    }
  } else if (OpenBlock() && open_->AppendRow(record, events, error, text)) {
    return;
  }
  dropped_rows_.fetch_add(1, std::memory_order_relaxed);
}

void BlockRecorder::AppendSample(ClientSample kind, int64_t value_ns) {
  if (open_ != nullptr && open_->AppendSample(kind, value_ns)) return;
  if (OpenBlock()) open_->AppendSample(kind, value_ns);
}

void BlockRecorder::HandOver(int64_t now_ns, bool all) {
  if (waiting_first_ != nullptr) FlushWaiting();
  if (open_ == nullptr || open_->empty()) return;
  // Append is not told the time, and need not be: the turn that follows it is close enough.
  if (open_since_ns_ == 0) open_since_ns_ = now_ns;
  if (all || now_ns - open_since_ns_ >= kHandOverNs) Queue(std::exchange(open_, nullptr));
}

RowBlock* BlockRecorder::Take() {
  RowBlock* block = nullptr;
  return full_.TryPop(block) ? block : nullptr;
}

void BlockRecorder::GiveBack(RowBlock* block) {
  block->Clear();
  if (!block->is_usual_size() || !spare_.TryPush(block)) Free(block);
}

RowBlock* BlockRecorder::TakeRest() {
  if (RowBlock* block = waiting_first_) {
    waiting_first_ = std::exchange(block->next, nullptr);
    return block;
  }
  return std::exchange(open_, nullptr);
}

RowBlock* BlockRecorder::Fresh(size_t bytes) {
  if (allocated_bytes_.load(std::memory_order_relaxed) + bytes > kMaxBytes) return nullptr;
  RowBlock* block = RowBlock::Allocate(bytes).release();
  if (block != nullptr) allocated_bytes_.fetch_add(block->allocated_bytes(), std::memory_order_relaxed);
  return block;
}

// Puts an empty block in place of the open one, which is queued.
bool BlockRecorder::OpenBlock() {
  if (open_ != nullptr) Queue(std::exchange(open_, nullptr));
  open_since_ns_ = 0;
  if (!spare_.TryPop(open_)) open_ = Fresh(RowBlock::kBytes);
  return open_ != nullptr;
}

void BlockRecorder::Queue(RowBlock* block) {
  if (waiting_first_ != nullptr) FlushWaiting();
  if (waiting_first_ == nullptr && full_.TryPush(block)) return;
  (waiting_first_ == nullptr ? waiting_first_ : waiting_last_->next) = block;
  waiting_last_ = block;
}

void BlockRecorder::FlushWaiting() {
  // The next pointer is read before the push: afterwards the block is the writer's.
  while (waiting_first_ != nullptr) {
    RowBlock* block = waiting_first_;
    RowBlock* next = block->next;
    block->next = nullptr;
    if (!full_.TryPush(block)) {
      block->next = next;
      return;
    }
    waiting_first_ = next;
  }
}

void BlockRecorder::Free(RowBlock* block) {
  allocated_bytes_.fetch_sub(block->allocated_bytes(), std::memory_order_relaxed);
  RowBlock::Unmap()(block);
}

}  // namespace llmbench
