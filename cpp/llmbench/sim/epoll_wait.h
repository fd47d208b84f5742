// epoll with nanoseconds.
#pragma once

#include <sys/epoll.h>

#include <cstdint>
#include <limits>

namespace llmbench::sim {

inline constexpr int64_t kForever = std::numeric_limits<int64_t>::max();

// The number of events; 0 when the time was up or a signal came. Kernels before 5.11 sleep in ppoll.
int EpollWait(int epoll_fd, epoll_event* events, int size, int64_t timeout_ns);

}  // namespace llmbench::sim
