// Where requests go and the bytes that are the same in each of them.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"

namespace llmbench {

struct Endpoint {
  bool tls = false;
  std::string host;  // a name, an IPv4 or an IPv6 address without brackets
  uint16_t port = 0;
  std::string path = "/";
  std::string method = "POST";
  std::vector<std::pair<std::string, std::string>> headers;  // sent as they are; none may hold CR, LF or NUL
  std::string unix_socket;
  std::string proxy;    // empty: none, whatever the environment says
  std::string ca_file;  // empty: SSL_CERT_FILE, then the usual places
  bool insecure = false;

  // Errors name the field and the value.
  absl::Status Validate() const;
  std::string HostHeader() const;
  // scheme://host:port, IPv6 in brackets.
  std::string Url() const;
};

// The request's head up to and including "Content-Length: "; what follows differs from request to request.
std::string MakeRequestHead(const Endpoint& endpoint, bool streamed);

// The same for HTTP/2: pseudo-header fields first, names in lower case. `grpc`: what a call of gRPC needs,
// unless the endpoint's headers say otherwise.
std::vector<std::pair<std::string, std::string>> MakeHttp2Fields(const Endpoint& endpoint, bool streamed,
                                                                 bool grpc);

}  // namespace llmbench
