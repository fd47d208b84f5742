#include "llmbench/sim/epoll_wait.h"

#include <poll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>

#include "llmbench/base/clock.h"

namespace llmbench::sim {

int EpollWait(int epoll_fd, epoll_event* events, int size, int64_t timeout_ns) {
  timespec timeout = {static_cast<time_t>(timeout_ns / kNsPerSecond),
                      static_cast<long>(timeout_ns % kNsPerSecond)};
  timespec* limit = timeout_ns == kForever ? nullptr : &timeout;
#ifdef SYS_epoll_pwait2
  static std::atomic<bool> missing{false};
  if (!missing.load(std::memory_order_relaxed)) {
    const long n = syscall(SYS_epoll_pwait2, epoll_fd, events, size, limit, nullptr, 0);
    if (n >= 0) return static_cast<int>(n);
    if (errno != ENOSYS) return 0;
    missing.store(true, std::memory_order_relaxed);
  }
#endif
  pollfd readable = {epoll_fd, POLLIN, 0};
  if (ppoll(&readable, 1, limit, nullptr) <= 0) return 0;
  return std::max(0, epoll_wait(epoll_fd, events, size, 0));
}

}  // namespace llmbench::sim
