// What tests of the server share: a server in this process, and ways to look at what it sent.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cctype>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "llmbench/sim/server.h"

namespace llmbench::sim {

// A server with no delays; what a test wants otherwise it sets.
inline Options Quick() {
  Options options;
  options.fixed = true;
  options.ttft_ms = 0;
  options.itl_ms = 0;
  return options;
}

class Serving {
 public:
  explicit Serving(const Options& options) : server_(Server::Create(options).value()) {
    ports_ = server_->Start().value();
  }
  int port(size_t i = 0) const { return ports_[i]; }
  Server& server() { return *server_; }

 private:
  std::unique_ptr<Server> server_;
  std::vector<int> ports_;
};

inline std::string TempPath(const std::string& name) {
  return testing::TempDir() + "llmbench-sim-" + std::to_string(getpid()) + "-" + name;
}

inline std::string Contents(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// The numbers of a JSON list of integers.
inline std::vector<int64_t> Numbers(const std::string& json, const std::string& key) {
  const size_t at = json.find("\"" + key + "\":");
  if (at == std::string::npos) return {};
  const char* text = json.c_str() + at + key.size() + 3;
  if (*text == '[') ++text;
  std::vector<int64_t> numbers;
  while (*text == '-' || std::isdigit(static_cast<unsigned char>(*text)) != 0) {
    char* end;
    numbers.push_back(std::strtoll(text, &end, 10));
    text = *end == ',' ? end + 1 : end;
  }
  return numbers;
}

inline size_t Count(const std::string& text, const std::string& part) {
  size_t n = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

}  // namespace llmbench::sim
