// Waiting for sockets and for moments: epoll, and one timer that is seldom touched.
//
// A deadline given with every wait would program the processor's timer at every sleep, which costs as much as
// reading a socket. Here an absolute timer stands in the epoll set; it is set only when a deadline is nearer
// than what it is set to. So a wait may end early, for nothing: once per deadline that moved away.
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
  static constexpr Tag kTimerTag = kWakeTag - 1;

  EventLoop();
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  absl::Status Open();
  absl::Status Add(int fd, uint32_t events, Tag tag);
  void Modify(int fd, uint32_t events, Tag tag);
  void Remove(int fd);

  // Everything that is ready, waiting until deadline_ns (CLOCK_MONOTONIC), or an earlier deadline given
  // before, when nothing is; now_ns says whether the deadline has passed. The span is good until the next
  // call. One call returns all that is ready, so that one turn drains it.
  std::span<const epoll_event> Wait(int64_t now_ns, int64_t deadline_ns);

  // Ends a Wait from another thread.
  void Wake() const;

 private:
  int epoll_ = -1;
  int wake_ = -1;
  int timer_ = -1;
  int64_t armed_ns_;  // what the timer is set to; INT64_MAX when it is not
  size_t watched_ = 0;
  std::vector<epoll_event> events_;
};

}  // namespace llmbench
