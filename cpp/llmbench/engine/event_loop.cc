#include "llmbench/engine/event_loop.h"

#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include "llmbench/base/clock.h"

namespace llmbench {
namespace {

// By number: glibc has had a wrapper since 2.35 only, and the wheel is to run on older ones.
#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 441
#endif
int EpollPwait2(int epoll, epoll_event* events, int size, const timespec* timeout) {
  return static_cast<int>(syscall(SYS_epoll_pwait2, epoll, events, size, timeout, nullptr, 0));
}

absl::Status Errno(const char* what) {
  const std::string message = std::string(what) + ": " + std::strerror(errno);
  return errno == EMFILE || errno == ENFILE ? absl::ResourceExhaustedError(message)
                                            : absl::InternalError(message);
}

}  // namespace

EventLoop::~EventLoop() {
  if (wake_ >= 0) close(wake_);
  if (epoll_ >= 0) close(epoll_);
}

absl::Status EventLoop::Open() {
  epoll_ = epoll_create1(EPOLL_CLOEXEC);
  if (epoll_ < 0) return Errno("epoll_create1");
  wake_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (wake_ < 0) return Errno("eventfd");
  events_.resize(64);
  return Add(wake_, EPOLLIN, kWakeTag);
}

absl::Status EventLoop::Add(int fd, uint32_t events, Tag tag) {
  epoll_event event{.events = events, .data = {.u64 = tag}};
  if (epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) != 0) return Errno("epoll_ctl");
  ++watched_;
  return absl::OkStatus();
}

void EventLoop::Modify(int fd, uint32_t events, Tag tag) {
  epoll_event event{.events = events, .data = {.u64 = tag}};
  epoll_ctl(epoll_, EPOLL_CTL_MOD, fd, &event);
}

void EventLoop::Remove(int fd) {
  if (epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, nullptr) == 0) --watched_;
}

std::span<const epoll_event> EventLoop::Wait(int64_t deadline_ns) {
  if (watched_ > events_.size()) events_.resize(watched_ * 2);
  const int64_t wait_ns = std::max<int64_t>(0, deadline_ns - MonotonicNs());
  int ready = -1;
  if (nanoseconds_) {
    const timespec timeout{.tv_sec = wait_ns / kNsPerSecond, .tv_nsec = wait_ns % kNsPerSecond};
    ready = EpollPwait2(epoll_, events_.data(), static_cast<int>(events_.size()), &timeout);
    if (ready < 0 && errno == ENOSYS) nanoseconds_ = false;  // Linux before 5.11, valgrind
  }
  if (!nanoseconds_) {
    // Rounded up: a late wake-up shows as client lag, an early one would spin.
    const int timeout_ms = static_cast<int>((wait_ns + kNsPerMs - 1) / kNsPerMs);
    ready = epoll_wait(epoll_, events_.data(), static_cast<int>(events_.size()), timeout_ms);
  }
  for (int i = 0; i < ready; ++i) {
    if (events_[i].data.u64 == kWakeTag) {
      uint64_t count;
      [[maybe_unused]] const auto got = read(wake_, &count, sizeof count);
    }
  }
  return {events_.data(), static_cast<size_t>(std::max(ready, 0))};
}

void EventLoop::Wake() const {
  const uint64_t one = 1;
  [[maybe_unused]] const auto put = write(wake_, &one, sizeof one);
}

}  // namespace llmbench
