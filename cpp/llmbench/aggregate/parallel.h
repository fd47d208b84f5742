// Work cut into parts, done by several threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <thread>
#include <vector>

namespace llmbench {

// How many threads `parts` of work are worth, where at most `limit` may be used (0: one per processor).
inline size_t ThreadsFor(size_t parts, size_t limit) {
  const size_t most = limit != 0 ? limit : std::max(1u, std::thread::hardware_concurrency());
  return std::max<size_t>(1, std::min(parts, most));
}

// Calls fn(thread, part) for every part, `thread` below `threads`; parts of one thread follow each other. The
// results must not depend on which thread took which part.
template <typename Fn>
void InParallel(size_t parts, size_t threads, Fn&& fn) {
  std::atomic<size_t> next{0};
  auto work = [&](size_t thread) {
    for (size_t part; (part = next.fetch_add(1, std::memory_order_relaxed)) < parts;) fn(thread, part);
  };
  std::vector<std::thread> others;
  for (size_t thread = 1; thread < threads; ++thread) others.emplace_back(work, thread);
  work(0);
  for (std::thread& other : others) other.join();
}

}  // namespace llmbench
