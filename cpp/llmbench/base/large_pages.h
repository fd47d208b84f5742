// Memory for what every event of a stream touches, on few and large pages.
//
// The state of a thousand streams lies on more pages of the usual size than a processor remembers the
// addresses of: finding them again can cost as much as reading them. Where the kernel has large pages to
// give, this memory is on them.
#pragma once

#include <cstddef>
#include <memory_resource>

namespace llmbench {

// For all threads and for blocks of up to 4 KiB; larger ones are the heap's. What is given back is used
// again, and never returned to the kernel. Under AddressSanitizer all is the heap's, which that watches.
std::pmr::memory_resource& LargePages();

// Base of a class whose objects, made with `new`, lie there. Each has its cache lines to itself: what one
// worker writes is on no line that another one reads.
struct InLargePages {
  static constexpr size_t kLine = 64;

  static void* operator new(size_t size) { return LargePages().allocate(Lines(size), kLine); }
  static void operator delete(void* object, size_t size) {
    LargePages().deallocate(object, Lines(size), kLine);
  }

 private:
  static constexpr size_t Lines(size_t size) { return (size + kLine - 1) / kLine * kLine; }
};

}  // namespace llmbench
