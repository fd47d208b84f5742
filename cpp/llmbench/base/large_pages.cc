#include "llmbench/base/large_pages.h"

#include <sys/mman.h>

#include <mutex>
#include <new>

namespace llmbench {
namespace {

constexpr size_t kPage = size_t{2} << 20;  // of x86-64, and of ARM with small pages of 4 KiB
// Larger blocks have few pages for their bytes anyway: they are the heap's, which does not keep them.
constexpr size_t kLargestBlock = 4096;

// Straight from the kernel, asking for large pages, which begin at multiples of their size.
class Advised final : public std::pmr::memory_resource {
  void* do_allocate(size_t bytes, size_t alignment) override {
    if (alignment > kPage) throw std::bad_alloc();
    bytes = Rounded(bytes);
    void* const memory =
        mmap(nullptr, bytes + kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    char* const begin = static_cast<char*>(memory);
    const size_t before = (kPage - reinterpret_cast<size_t>(begin) % kPage) % kPage;
    if (before > 0) munmap(begin, before);
    if (before < kPage) munmap(begin + before + bytes, kPage - before);
    madvise(begin + before, bytes, MADV_HUGEPAGE);  // without them it is memory like any other
    return begin + before;
  }
  void do_deallocate(void* memory, size_t bytes, size_t /*alignment*/) override {
    munmap(memory, Rounded(bytes));
  }
  bool do_is_equal(const memory_resource& other) const noexcept override { return this == &other; }

  static size_t Rounded(size_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }
};

class Pool final : public std::pmr::memory_resource {
  void* do_allocate(size_t bytes, size_t alignment) override {
    if (bytes > kLargestBlock) return heap_.allocate(bytes, alignment);
    const std::lock_guard lock(mutex_);
    return pool_.allocate(bytes, alignment);
  }
  void do_deallocate(void* memory, size_t bytes, size_t alignment) override {
    if (bytes > kLargestBlock) return heap_.deallocate(memory, bytes, alignment);
    const std::lock_guard lock(mutex_);
    pool_.deallocate(memory, bytes, alignment);
  }
  bool do_is_equal(const memory_resource& other) const noexcept override { return this == &other; }

  std::pmr::memory_resource& heap_ = *std::pmr::new_delete_resource();
  std::mutex mutex_;
  Advised advised_;
  std::pmr::monotonic_buffer_resource pages_{kPage, &advised_};
  std::pmr::unsynchronized_pool_resource pool_{
      {.max_blocks_per_chunk = 0, .largest_required_pool_block = kLargestBlock}, &pages_};
};

}  // namespace

std::pmr::memory_resource& LargePages() {
#if defined(__SANITIZE_ADDRESS__)
  return *std::pmr::new_delete_resource();
#else
  // Never destroyed: what lies in it may outlive it.
  static Pool* const pool = new Pool;
  return *pool;
#endif
}

}  // namespace llmbench
