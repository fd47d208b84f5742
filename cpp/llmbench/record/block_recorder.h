// The recorder that feeds a ResultWriter: blocks of rows through one queue, empty blocks back through
// another.
//
// Neither side waits. When the writer is behind and the queue is full, full blocks wait in a list of the
// recorder's own; when no empty block has come back, a fresh one is taken from the kernel. Blocks there is no
// use for go back to the kernel, so that memory is flat again once the writer has caught up. Should the
// writer stand still for good (a hung file system), rows beyond kMaxBytes are dropped and counted.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "llmbench/record/recorder.h"
#include "llmbench/record/row_block.h"
#include "llmbench/record/spsc_ring.h"

namespace llmbench {

class BlockRecorder final : public Recorder {
 public:
  static constexpr size_t kQueuedBlocks = 256;  // 16 MiB on their way to the writer
  static constexpr size_t kSpareBlocks = 16;    // 1 MiB on its way back
  static constexpr size_t kMaxBytes = size_t{256} << 20;

  BlockRecorder() = default;
  ~BlockRecorder() override;
  BlockRecorder(const BlockRecorder&) = delete;
  BlockRecorder& operator=(const BlockRecorder&) = delete;

  // The worker's side.
  void Append(const RequestRecord& record, std::span<const uint8_t> events, std::string_view error,
              std::string_view text) override;
  void AppendSample(ClientSample kind, int64_t value_ns) override;
  void HandOver(int64_t now_ns, bool all = false) override;

  // The writer's side. A block taken comes back through GiveBack.
  RowBlock* Take();
  void GiveBack(RowBlock* block);
  // The same for blocks that never got into the queue. Only after the worker's thread was joined.
  RowBlock* TakeRest();

  // Rows that were not kept for want of memory. Any thread.
  uint64_t dropped_rows() const { return dropped_rows_.load(std::memory_order_relaxed); }
  // Memory in blocks, wherever they are. Any thread.
  size_t allocated_bytes() const { return allocated_bytes_.load(std::memory_order_relaxed); }

 private:
  RowBlock* Fresh(size_t bytes);
  bool OpenBlock();
  void Queue(RowBlock* block);
  void FlushWaiting();
  void Free(RowBlock* block);

  // The worker's own.
  RowBlock* open_ = nullptr;
  int64_t open_since_ns_ = 0;  // the first turn that saw it filled; 0 before
  RowBlock *waiting_first_ = nullptr, *waiting_last_ = nullptr;

  SpscRing<RowBlock*, kQueuedBlocks> full_;
  SpscRing<RowBlock*, kSpareBlocks> spare_;
  std::atomic<size_t> allocated_bytes_{0};
  std::atomic<uint64_t> dropped_rows_{0};
};

}  // namespace llmbench
