// A connection whose bytes pass through libcurl's TLS.
#pragma once

#include <string>

#include "llmbench/engine/connection.h"
#include "llmbench/engine/curl/handles.h"

namespace llmbench::curl {

// The handle is connected (CURLOPT_CONNECT_ONLY) and still in the multi, which must outlive the connection.
class TlsConnection : public Connection {
 public:
  TlsConnection(Easy easy, CURLM* multi, int fd);
  ~TlsConnection() override;
  int fd() const override { return fd_; }
  ReadResult Read(char* buffer, size_t capacity, const KernelClock& clock) override;
  ptrdiff_t Write(std::span<const iovec> parts) override;

 private:
  Easy easy_;
  CURLM* const multi_;
  const int fd_;
  // The parts of a request joined: scratch memory, used again.
  std::string joined_;
};

}  // namespace llmbench::curl
