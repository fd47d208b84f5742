// A piece of memory that carries rows and samples from a worker to the writer.
//
// A block is a sequence of entries, each starting with a 64-bit word on an 8-byte boundary: the low byte says
// what it is, the other 56 bits are a sample's value or a row's size. A row is the record, three lengths, and
// the bytes of its events, error message and text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>

#include "llmbench/record/recorder.h"
#include "llmbench/record/request_record.h"

namespace llmbench {

// A row as it lies in its block.
struct RowView {
  const RequestRecord& record;
  std::span<const uint8_t> events;
  std::string_view error, text;
};

class RowBlock {
 public:
  static constexpr size_t kBytes = 64 * 1024;  // of a usual block, this header included

  struct Unmap {
    void operator()(RowBlock* block) const;
  };
  using Ptr = std::unique_ptr<RowBlock, Unmap>;

  // Straight from the kernel and back to it, so that memory taken in a busy minute does not stay with the
  // allocator. At least `bytes`, header included; null when there is none.
  static Ptr Allocate(size_t bytes = kBytes);
  // What a block must have to hold this row alone.
  static size_t BytesFor(size_t events, size_t error, size_t text) {
    return sizeof(RowBlock) + RowBytes(events, error, text);
  }

  // False, and nothing written, when the entry does not fit.
  bool AppendRow(const RequestRecord& record, std::span<const uint8_t> events, std::string_view error,
                 std::string_view text);
  bool AppendSample(ClientSample kind, int64_t value_ns);

  // Calls on_row(RowView) and on_sample(ClientSample, int64_t) for every entry, in order.
  template <typename OnRow, typename OnSample>
  void ForEach(OnRow&& on_row, OnSample&& on_sample) const;

  void Clear() { used_ = 0; }
  bool empty() const { return used_ == 0; }
  size_t allocated_bytes() const { return sizeof(RowBlock) + capacity_; }
  bool is_usual_size() const { return allocated_bytes() == kBytes; }

  RowBlock* next = nullptr;  // for whoever holds the block

 private:
  static constexpr uint64_t kRowTag = 0;  // a sample's tag is its kind + 1
  struct Lengths {
    uint32_t events, error, text, unused;
  };

  explicit RowBlock(size_t capacity) : capacity_(capacity) {}

  static size_t RowBytes(size_t events, size_t error, size_t text) {
    return (sizeof(uint64_t) + sizeof(RequestRecord) + sizeof(Lengths) + events + error + text + 7) &
           ~size_t{7};
  }
  std::byte* data() { return reinterpret_cast<std::byte*>(this + 1); }
  const std::byte* data() const { return reinterpret_cast<const std::byte*>(this + 1); }

  size_t capacity_;
  size_t used_ = 0;
};
static_assert(sizeof(RowBlock) % 8 == 0);

template <typename OnRow, typename OnSample>
void RowBlock::ForEach(OnRow&& on_row, OnSample&& on_sample) const {
  for (const std::byte *at = data(), *end = data() + used_; at < end;) {
    uint64_t word;
    std::memcpy(&word, at, sizeof word);
    const uint64_t tag = word & 0xff;
    const int64_t value = static_cast<int64_t>(word) >> 8;
    if (tag != kRowTag) {
      on_sample(static_cast<ClientSample>(tag - 1), value);
      at += sizeof word;
      continue;
    }
    const auto* record = reinterpret_cast<const RequestRecord*>(at + sizeof word);
    const auto* lengths = reinterpret_cast<const Lengths*>(record + 1);
    const auto* bytes = reinterpret_cast<const char*>(lengths + 1);
    on_row(RowView{*record,
                   {reinterpret_cast<const uint8_t*>(bytes), lengths->events},
                   {bytes + lengths->events, lengths->error},
                   {bytes + lengths->events + lengths->error, lengths->text}});
    at += value;
  }
}

}  // namespace llmbench
