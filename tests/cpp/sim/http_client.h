// A client for tests of the server: one blocking connection, whole answers, and a deadline on every read.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

namespace llmbench::sim {

struct HttpReply {
  bool whole = false;  // ended as its head promised
  int status = 0;
  std::string head;
  std::string body;  // without the chunks
  int chunks = 0;

  // Payloads of the data lines.
  std::vector<std::string> events() const {
    std::vector<std::string> found;
    for (size_t at = body.find("data: "); at != std::string::npos; at = body.find("data: ", at + 1)) {
      const size_t end = body.find_first_of("\r\n", at);
      found.push_back(body.substr(at + 6, end - at - 6));
    }
    return found;
  }
};

class HttpClient {
 public:
  explicit HttpClient(int port) : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    const timeval limit = {10, 0};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    (void)!connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address);
  }
  ~HttpClient() { close(fd_); }
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  int fd() const { return fd_; }

  void Send(const std::string& bytes) { (void)!send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL); }

  void SendPost(const std::string& path, const std::string& body, const std::string& headers = "") {
    Send("POST " + path + " HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n" + headers +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
  }

  HttpReply Post(const std::string& path, const std::string& body, const std::string& headers = "") {
    SendPost(path, body, headers);
    return Read();
  }

  HttpReply Get(const std::string& path, const std::string& headers = "") {
    Send("GET " + path + " HTTP/1.1\r\nHost: test\r\n" + headers + "\r\n");
    return Read();
  }

  // The next answer; what is behind it stays for the one after.
  HttpReply Read() {
    HttpReply reply;
    size_t end;
    while ((end = input_.find("\r\n\r\n")) == std::string::npos) {
      if (!More()) return reply;
    }
    reply.head = Take(end + 4);
    reply.status = std::atoi(reply.head.c_str() + 9);
    if (reply.status == 100) {
      reply.whole = true;
    } else if (reply.head.find("transfer-encoding: chunked") != std::string::npos) {
      reply.whole = ReadChunks(&reply);
    } else if (const size_t at = reply.head.find("content-length: "); at != std::string::npos) {
      const auto size = static_cast<size_t>(std::atoll(reply.head.c_str() + at + 16));
      while (input_.size() < size && More()) {
      }
      reply.whole = input_.size() >= size;
      reply.body = Take(std::min(size, input_.size()));
    } else {
      while (More()) {
      }
      reply.whole = true;
      reply.body = std::exchange(input_, "");
    }
    return reply;
  }

  // What one receive brings; it is also kept for Read(). Empty at the end.
  std::string ReadOnce() {
    const size_t before = input_.size();
    return More() ? input_.substr(before) : "";
  }

  // All that comes until the server closes.
  std::string ReadAll() {
    while (More()) {
    }
    return std::exchange(input_, "");
  }

  bool StaysSilentFor(double seconds) {
    pollfd poll_fd = {fd_, POLLIN, 0};
    return poll(&poll_fd, 1, static_cast<int>(seconds * 1e3)) == 0;
  }

  // Whether the server has closed; waits for it. What was not read is dropped.
  bool Closed() {
    input_.clear();
    return !More() && errno != EAGAIN;
  }

 private:
  bool More() {
    char buffer[65536];
    errno = 0;
    const ssize_t n = recv(fd_, buffer, sizeof buffer, 0);
    if (n > 0) input_.append(buffer, static_cast<size_t>(n));
    return n > 0;
  }

  std::string Take(size_t size) {
    std::string taken = input_.substr(0, size);
    input_.erase(0, size);
    return taken;
  }

  bool ReadChunks(HttpReply* reply) {
    while (true) {
      size_t end;
      while ((end = input_.find("\r\n")) == std::string::npos) {
        if (!More()) return false;
      }
      char* stop;
      const size_t size = std::strtoul(input_.c_str(), &stop, 16);
      if (stop != input_.c_str() + end && *stop != ';') return false;
      Take(end + 2);
      if (size == 0) break;
      while (input_.size() < size + 2) {
        if (!More()) return false;
      }
      reply->body += Take(size);
      Take(2);
      ++reply->chunks;
    }
    // Trailers end with an empty line.
    while (true) {
      size_t end;
      while ((end = input_.find("\r\n")) == std::string::npos) {
        if (!More()) return false;
      }
      Take(end + 2);
      if (end == 0) return true;
    }
  }

  int fd_;
  std::string input_;
};

}  // namespace llmbench::sim
