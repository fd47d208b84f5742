#include "llmbench/engine/resolve.h"

#include <netdb.h>
#include <sys/socket.h>

#include <algorithm>
#include <memory>

namespace llmbench {

absl::StatusOr<std::vector<std::string>> ResolveHost(const std::string& host, uint16_t port) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG;
  addrinfo* list = nullptr;
  const std::string service = std::to_string(port);
  int error = getaddrinfo(host.c_str(), service.c_str(), &hints, &list);
  if (error != 0) {  // a machine with nothing but loopback has no "configured" address
    hints.ai_flags = 0;
    error = getaddrinfo(host.c_str(), service.c_str(), &hints, &list);
  }
  if (error != 0) {
    return absl::UnavailableError("cannot resolve host '" + host + "': " + gai_strerror(error) +
                                  "; check the name in the URL");
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(list, &freeaddrinfo);
  std::vector<std::string> addresses;
  for (const addrinfo* a = list; a != nullptr; a = a->ai_next) {
    char text[NI_MAXHOST];
    if (getnameinfo(a->ai_addr, a->ai_addrlen, text, sizeof text, nullptr, 0, NI_NUMERICHOST) != 0) continue;
    if (std::find(addresses.begin(), addresses.end(), text) == addresses.end()) addresses.emplace_back(text);
  }
  if (addresses.empty()) return absl::UnavailableError("host '" + host + "' has no address");
  return addresses;
}

}  // namespace llmbench
