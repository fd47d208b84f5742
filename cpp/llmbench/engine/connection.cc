#include "llmbench/engine/connection.h"

#include <linux/errqueue.h>
#include <linux/net_tstamp.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace llmbench {

void EnableReceiveTimes(int fd) {
  const int flags = SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE;
  setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPING, &flags, sizeof flags);
}

int64_t ReceiveTime(const msghdr& message) {
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr;
       c = CMSG_NXTHDR(const_cast<msghdr*>(&message), c)) {
    if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPING) {
      timespec software;  // the first of three
      std::memcpy(&software, CMSG_DATA(c), sizeof software);
      return ToNs(software);
    }
  }
  return 0;
}

PlainConnection::PlainConnection(int fd) : fd_(fd) { EnableReceiveTimes(fd); }

PlainConnection::~PlainConnection() { close(fd_); }

ReadResult PlainConnection::Read(char* buffer, size_t capacity, const KernelClock& clock) {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(scm_timestamping))];
  iovec part{.iov_base = buffer, .iov_len = capacity};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ptrdiff_t got;
  do {
    // Not by the library's function: it is a cancellation point and pays for it at every call.
    got = syscall(SYS_recvmsg, fd_, &message, MSG_DONTWAIT);
  } while (got < 0 && errno == EINTR);

  ReadResult result;
  if (got > 0) {
    result.state = ReadResult::State::kData;
    result.size = static_cast<size_t>(got);
    // A short read means that the socket was empty: the next byte brings a new edge.
    result.drained = result.size < capacity;
    if (const int64_t real = ReceiveTime(message); real != 0) {
      result.stamped = true;
      result.time_ns = clock.ToMonotonic(real);
    }
  } else if (got == 0) {
    result.state = ReadResult::State::kClosed;
  } else if (errno != EAGAIN && errno != EWOULDBLOCK) {
    result.state = ReadResult::State::kReset;
    result.error = errno;
  }
  return result;
}

ptrdiff_t PlainConnection::Write(std::span<const iovec> parts) {
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(parts.data());
  message.msg_iovlen = parts.size();
  ptrdiff_t put;
  do {
    put = sendmsg(fd_, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (put < 0 && errno == EINTR);
  if (put < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return 0;
  return put;
}

}  // namespace llmbench
