// An open connection: bytes out, bytes in, and when the kernel received them.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "llmbench/base/clock.h"
#include "llmbench/base/large_pages.h"

namespace llmbench {

struct ReadResult {
  enum class State : uint8_t {
    kData,     // `size` bytes came
    kNothing,  // nothing to read now
    kClosed,   // the peer ended the stream
    kReset,    // the connection broke
  };
  State state = State::kNothing;
  bool drained = true;   // nothing more was there when this returned
  bool stamped = false;  // time_ns is the kernel's
  size_t size = 0;
  int64_t time_ns = 0;  // CLOCK_MONOTONIC receive time of the newest byte
  int error = 0;        // errno, or 0
};

// Non-blocking throughout. Plain TCP and Unix sockets are PlainConnection; TLS is curl::TlsConnection.
class Connection : public InLargePages {
 public:
  virtual ~Connection() = default;
  virtual int fd() const = 0;
  virtual ReadResult Read(char* buffer, size_t capacity, const KernelClock& clock) = 0;
  // Bytes taken, 0 when the socket is full, -1 when the connection is broken (errno says how).
  virtual ptrdiff_t Write(std::span<const iovec> parts) = 0;
  // The server asked for the client's certificate, which it did not get. With TLS 1.3 the client learns only
  // from the end of the connection that the server would not go on without.
  virtual bool certificate_wanted() const { return false; }
};

inline constexpr char kCertificateWanted[] =
    "the server wants a client certificate: not supported, put a proxy in front";

// Asks the kernel to stamp what this socket receives. Where it cannot (a Unix socket), reads come unstamped.
void EnableReceiveTimes(int fd);
// The kernel's receive time in a message's control data, on CLOCK_REALTIME; 0 when there is none.
int64_t ReceiveTime(const msghdr& message);

class PlainConnection : public Connection {
 public:
  // Takes over fd.
  explicit PlainConnection(int fd);
  ~PlainConnection() override;
  int fd() const override { return fd_; }
  ReadResult Read(char* buffer, size_t capacity, const KernelClock& clock) override;
  ptrdiff_t Write(std::span<const iovec> parts) override;

 private:
  const int fd_;
};

}  // namespace llmbench
