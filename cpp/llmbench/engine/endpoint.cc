#include "llmbench/engine/endpoint.h"

#include <algorithm>
#include <string_view>

namespace llmbench {
namespace {

bool SameName(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return (x | 0x20) == (y | 0x20); });
}

bool IsToken(std::string_view name) {
  constexpr std::string_view kSymbols = "!#$%&'*+-.^_`|~";
  return !name.empty() && std::all_of(name.begin(), name.end(), [&](unsigned char c) {
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') ||
           kSymbols.find(static_cast<char>(c)) != std::string_view::npos;
  });
}

bool HasControl(std::string_view text) {
  return std::any_of(text.begin(), text.end(),
                     [](unsigned char c) { return (c < 0x20 && c != '\t') || c == 0x7f; });
}

absl::Status Bad(const std::string& what) { return absl::InvalidArgumentError(what); }

using Headers = std::vector<std::pair<std::string, std::string>>;

// The headers we send by ourselves, and those of the endpoint in place of them or after them.
Headers WithGiven(Headers own, const Endpoint& endpoint) {
  for (const auto& given : endpoint.headers) {
    std::erase_if(own, [&](const auto& one) { return SameName(one.first, given.first); });
  }
  own.insert(own.end(), endpoint.headers.begin(), endpoint.headers.end());
  return own;
}

}  // namespace

absl::Status Endpoint::Validate() const {
  if (host.empty()) return Bad("the endpoint has no host");
  if (HasControl(host) || host.find_first_of(" /?#@[]") != std::string::npos) {
    return Bad("host '" + host + "' is not a host name or address");
  }
  if (port == 0) return Bad("port is 0; give the port the server listens on");
  if (path.empty() || path[0] != '/' || HasControl(path) || path.find(' ') != std::string::npos) {
    return Bad("path '" + path + "' must begin with / and hold no spaces");
  }
  if (!IsToken(method)) return Bad("method '" + method + "' is not an HTTP method");
  for (const auto& [name, value] : headers) {
    if (!IsToken(name)) return Bad("header name '" + name + "' is not valid");
    // The value is not shown: it may be a key.
    if (HasControl(value))
      return Bad("the value of header '" + name + "' holds a line break or control character");
    for (const char* own : {"content-length", "transfer-encoding", "connection", "expect"}) {
      if (SameName(name, own)) return Bad("header '" + name + "' is set by llmbench and cannot be given");
    }
  }
  return absl::OkStatus();
}

std::string Endpoint::HostHeader() const {
  std::string name = host.find(':') == std::string::npos ? host : "[" + host + "]";
  if (port != (tls ? 443 : 80)) name.append(":").append(std::to_string(port));
  return name;
}

std::string Endpoint::Url() const {
  const std::string name = host.find(':') == std::string::npos ? host : "[" + host + "]";
  return std::string(tls ? "https://" : "http://") + name + ":" + std::to_string(port);
}

std::string MakeRequestHead(const Endpoint& endpoint, bool streamed) {
  std::string head = endpoint.method + " " + endpoint.path + " HTTP/1.1\r\n";
  const Headers own = {
      {"Host", endpoint.HostHeader()},      {"User-Agent", "llmbench/" LLMBENCH_VERSION},
      {"Content-Type", "application/json"}, {"Accept", streamed ? "text/event-stream" : "application/json"},
      {"Accept-Encoding", "identity"},
  };
  for (const auto& [name, value] : WithGiven(own, endpoint)) head += name + ": " + value + "\r\n";
  return head + "Content-Length: ";
}

Headers MakeHttp2Fields(const Endpoint& endpoint, bool streamed, bool grpc) {
  Headers own = {{"host", endpoint.HostHeader()}, {"user-agent", "llmbench/" LLMBENCH_VERSION}};
  if (grpc) {
    own.insert(own.end(), {{"content-type", "application/grpc"}, {"te", "trailers"}});
  } else {
    own.insert(own.end(), {{"content-type", "application/json"},
                           {"accept", streamed ? "text/event-stream" : "application/json"},
                           {"accept-encoding", "identity"}});
  }
  Headers fields = {{":method", endpoint.method},
                    {":scheme", endpoint.tls ? "https" : "http"},
                    {":authority", ""},
                    {":path", endpoint.path}};
  for (auto& [name, value] : WithGiven(own, endpoint)) {
    for (char& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    // Fields of a connection have no place in HTTP/2, and the host has another one.
    if (name == "host") {
      fields[2].second = value;
    } else if (name != "keep-alive" && name != "upgrade" && name != "proxy-connection") {
      fields.emplace_back(name, value);
    }
  }
  return fields;
}

}  // namespace llmbench
