// Waiting for sockets and for moments: epoll with nanosecond deadlines.
#pragma once

#include <sys/epoll.h>

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"

namespace llmbench {

// One per worker; not thread-safe except Wake.
class EventLoop {
 public:
  // Comes back with the events of its descriptor; the worker says what it means.
  using Tag = uint64_t;
  static constexpr Tag kWakeTag = ~Tag{0};

  EventLoop() = default;
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  absl::Status Open();
  absl::Status Add(int fd, uint32_t events, Tag tag);
  void Modify(int fd, uint32_t events, Tag tag);
  void Remove(int fd);

  // Everything that is ready, waiting until deadline_ns (CLOCK_MONOTONIC) when nothing is. The span is good
  // until the next call. One call returns all that is ready, so that one turn drains it.
  std::span<const epoll_event> Wait(int64_t deadline_ns);

  // Ends a Wait from another thread.
  void Wake() const;

 private:
  int epoll_ = -1;
  int wake_ = -1;
  bool nanoseconds_ = true;  // epoll_pwait2 is there
  size_t watched_ = 0;
  std::vector<epoll_event> events_;
};

}  // namespace llmbench
