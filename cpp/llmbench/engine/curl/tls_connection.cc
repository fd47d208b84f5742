#include "llmbench/engine/curl/tls_connection.h"

#include <linux/errqueue.h>
#include <sys/socket.h>

#include <cerrno>
#include <string>
#include <utility>

namespace llmbench::curl {
namespace {

constexpr size_t kPeekBytes = size_t{1} << 20;

}  // namespace

TlsConnection::TlsConnection(Easy easy, CURLM* multi, int fd, bool certificate_wanted)
    : easy_(std::move(easy)), multi_(multi), fd_(fd), certificate_wanted_(certificate_wanted) {
  EnableReceiveTimes(fd_);
  // Only the first receive attaches the connection to its handle. Nothing can have come: no request was sent.
  char byte;
  size_t got = 0;
  curl_easy_recv(easy_.get(), &byte, 0, &got);
}

TlsConnection::~TlsConnection() { curl_multi_remove_handle(multi_, easy_.get()); }

ReadResult TlsConnection::Read(char* buffer, size_t capacity, const KernelClock& clock) {
  ReadResult result;
  // MSG_TRUNC: TCP counts the bytes without copying them; all we want is the time of the newest.
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(scm_timestamping))];
  iovec part{.iov_base = nullptr, .iov_len = kPeekBytes};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  if (recvmsg(fd_, &message, MSG_DONTWAIT | MSG_PEEK | MSG_TRUNC) > 0) {
    if (const int64_t real = ReceiveTime(message); real != 0) {
      result.stamped = true;
      result.time_ns = clock.ToMonotonic(real);
    }
  }
  result.drained = false;
  while (result.size < capacity) {
    size_t got = 0;
    const CURLcode code = curl_easy_recv(easy_.get(), buffer + result.size, capacity - result.size, &got);
    if (code == CURLE_AGAIN) {
      result.drained = true;
      break;
    }
    if (code != CURLE_OK || got == 0) {
      // What came before the end is handed out first; the end shows at the next read.
      if (result.size > 0) break;
      result.drained = true;
      result.state = code == CURLE_OK ? ReadResult::State::kClosed : ReadResult::State::kReset;
      result.error = code == CURLE_OK ? 0 : ECONNRESET;
      return result;
    }
    result.size += got;
  }
  if (result.size > 0) result.state = ReadResult::State::kData;
  return result;
}

ptrdiff_t TlsConnection::Write(std::span<const iovec> parts) {
  // One send for the whole request, so that it travels in one TLS record where it fits.
  joined_.clear();
  for (const iovec& part : parts) joined_.append(static_cast<const char*>(part.iov_base), part.iov_len);
  size_t done = 0;
  while (done < joined_.size()) {
    size_t put = 0;
    const CURLcode code = curl_easy_send(easy_.get(), joined_.data() + done, joined_.size() - done, &put);
    if (code == CURLE_AGAIN) break;
    if (code != CURLE_OK) {
      errno = EPIPE;
      return -1;
    }
    done += put;
  }
  return static_cast<ptrdiff_t>(done);
}

}  // namespace llmbench::curl
