#include "llmbench/record/row_block.h"

#include <sys/mman.h>

#include <new>

namespace llmbench {

void RowBlock::Unmap::operator()(RowBlock* block) const { munmap(block, block->allocated_bytes()); }

RowBlock::Ptr RowBlock::Allocate(size_t bytes) {
  constexpr size_t kGrain = 4096;
  bytes = (bytes + kGrain - 1) / kGrain * kGrain;
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  return Ptr(new (memory) RowBlock(bytes - sizeof(RowBlock)));
}

bool RowBlock::AppendRow(const RequestRecord& record, std::span<const uint8_t> events, std::string_view error,
                         std::string_view text) {
  const size_t bytes = RowBytes(events.size(), error.size(), text.size());
  if (capacity_ - used_ < bytes) return false;

  std::byte* at = data() + used_;
  auto put = [&at](const void* from, size_t size) {
    if (size != 0) std::memcpy(at, from, size);
    at += size;
  };
  const uint64_t word = uint64_t{bytes} << 8 | kRowTag;
  const Lengths lengths{static_cast<uint32_t>(events.size()), static_cast<uint32_t>(error.size()),
                        static_cast<uint32_t>(text.size()), 0};
  put(&word, sizeof word);
  put(&record, sizeof record);
  put(&lengths, sizeof lengths);
  put(events.data(), events.size());
  put(error.data(), error.size());
  put(text.data(), text.size());
  used_ += bytes;
  return true;
}

bool RowBlock::AppendSample(ClientSample kind, int64_t value_ns) {
  const uint64_t word = static_cast<uint64_t>(value_ns) << 8 | (static_cast<uint64_t>(kind) + 1);
  if (capacity_ - used_ < sizeof word) return false;
  std::memcpy(data() + used_, &word, sizeof word);
  used_ += sizeof word;
  return true;
}

}  // namespace llmbench
