// TLS as a filter between the socket and HTTP: bytes go in, bytes come out, nothing here touches a
// descriptor.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace llmbench::sim {

class TlsContext {
 public:
  // Reads the PEM files. InvalidArgument naming the file that does not do.
  static absl::StatusOr<std::unique_ptr<TlsContext>> Load(const std::string& certificate,
                                                          const std::string& key);
  ~TlsContext();

 private:
  friend class TlsSession;
  struct Impl;
  explicit TlsContext(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// One connection's.
class TlsSession {
 public:
  explicit TlsSession(const TlsContext& context);
  ~TlsSession();

  enum class State { kOpen, kEnded, kBroken };
  // Takes bytes from the socket; appends what they decrypt to, and what must be sent in turn (the handshake).
  State Receive(const char* data, size_t size, std::string* plain, std::string* to_send);
  // Appends the records that carry these bytes.
  void Encrypt(const char* data, size_t size, std::string* to_send);
  // Appends the farewell.
  void End(std::string* to_send);

 private:
  void TakeOutput(std::string* to_send);

  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace llmbench::sim
