// A connection whose bytes pass through libcurl's TLS.
#pragma once

#include <string>

#include "llmbench/engine/connection.h"
#include "llmbench/engine/curl/handles.h"

namespace llmbench::curl {

// The handle is connected (CURLOPT_CONNECT_ONLY) and still in the multi, which must outlive the connection.
class TlsConnection : public Connection {
 public:
  // `certificate_wanted`: the server asked for the client's certificate while connecting.
  TlsConnection(Easy easy, CURLM* multi, int fd, bool certificate_wanted);
  ~TlsConnection() override;
  int fd() const override { return fd_; }
  ReadResult Read(char* buffer, size_t capacity, const KernelClock& clock) override;
  ptrdiff_t Write(std::span<const iovec> parts) override;
  bool certificate_wanted() const override { return certificate_wanted_; }

 private:
  Easy easy_;
  CURLM* const multi_;
  const int fd_;
  const bool certificate_wanted_;
  // The parts of a request joined: scratch memory, used again.
  std::string joined_;
};

}  // namespace llmbench::curl
