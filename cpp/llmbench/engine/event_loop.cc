#include "llmbench/engine/event_loop.h"

#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <string>

#include "llmbench/base/clock.h"

namespace llmbench {
namespace {

constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

absl::Status Errno(const char* what) {
  const std::string message = std::string(what) + ": " + std::strerror(errno);
  return errno == EMFILE || errno == ENFILE ? absl::ResourceExhaustedError(message)
                                            : absl::InternalError(message);
}

}  // namespace

EventLoop::EventLoop() : armed_ns_(kNever) {}

EventLoop::~EventLoop() {
  if (timer_ >= 0) close(timer_);
  if (wake_ >= 0) close(wake_);
  if (epoll_ >= 0) close(epoll_);
}

absl::Status EventLoop::Open() {
  epoll_ = epoll_create1(EPOLL_CLOEXEC);
  if (epoll_ < 0) return Errno("epoll_create1");
  wake_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (wake_ < 0) return Errno("eventfd");
  events_.resize(64);
  timer_ = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
  if (timer_ < 0) return Errno("timerfd_create");
  // Edge-triggered: each expiry is told once and need not be read.
  if (absl::Status status = Add(timer_, EPOLLIN | EPOLLET, kTimerTag); !status.ok()) return status;
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

std::span<const epoll_event> EventLoop::Wait(int64_t now_ns, int64_t deadline_ns) {
  if (watched_ > events_.size()) events_.resize(watched_ * 2);
  int timeout = -1;
  if (deadline_ns <= now_ns) {
    timeout = 0;
  } else if (deadline_ns < armed_ns_) {
    const itimerspec when{
        .it_interval = {},
        .it_value = {.tv_sec = deadline_ns / kNsPerSecond, .tv_nsec = deadline_ns % kNsPerSecond}};
    timerfd_settime(timer_, TFD_TIMER_ABSTIME, &when, nullptr);
    armed_ns_ = deadline_ns;
  }
  const int ready = epoll_wait(epoll_, events_.data(), static_cast<int>(events_.size()), timeout);
  for (int i = 0; i < ready; ++i) {
    const Tag tag = events_[static_cast<size_t>(i)].data.u64;
    if (tag == kTimerTag) {
      armed_ns_ = kNever;
    } else if (tag == kWakeTag) {
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
