// One HTTP/1.1 request out of a byte stream: small, strict, no copies of the body unless it is chunked.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace llmbench::sim {

struct HttpRequest {
  std::string method;
  std::string target;  // the path, without the query
  std::string query;   // what stands behind the question mark
  bool http_1_0 = false;
  bool keep_alive = true;
  bool expect_continue = false;
  bool body_is_json = false;  // Content-Type is application/json
  std::string authorization;
  std::string api_key;           // X-Api-Key
  std::string subscription_key;  // Ocp-Apim-Subscription-Key
  std::string request_id;        // X-Request-Id
  std::string fault;             // X-Sim-Fault
};

// Where a request stands in a connection's input buffer.
//
// Feed it the whole unconsumed input each time some came. Once complete, `body()` points into that buffer
// (or, for a chunked body, its front) and `consumed()` bytes of it belong to the request; Reset() before the
// next one.
class HttpRequestParser {
 public:
  enum class State { kHead, kBody, kComplete, kError };
  static constexpr size_t kMaxHead = 64 * 1024;
  static constexpr size_t kMaxBody = 256 * 1024 * 1024;

  // `input` is writable: a chunked body is joined in place.
  State Advance(char* input, size_t size);
  void Reset();

  State state() const { return state_; }
  const HttpRequest& request() const { return request_; }
  // Offset and size of the body in the input.
  size_t body_offset() const { return head_size_; }
  size_t body_size() const { return body_size_; }
  size_t consumed() const { return consumed_; }
  // How large the input must become, 0 while unknown: lets the caller reserve once.
  size_t expected_size() const { return chunked_ || state_ == State::kHead ? 0 : head_size_ + body_size_; }
  // After kError: the status to answer with, and why.
  int error_status() const { return error_status_; }
  const char* error() const { return error_; }

 private:
  State Fail(int status, const char* why);
  bool ParseHead(std::string_view head);
  bool ParseField(std::string_view name, std::string_view value);
  State AdvanceChunks(char* input, size_t size);

  State state_ = State::kHead;
  HttpRequest request_;
  size_t scanned_ = 0;    // of the head, for its end
  size_t head_size_ = 0;  // with the empty line
  size_t body_size_ = 0;
  size_t consumed_ = 0;
  bool has_length_ = false;
  bool chunked_ = false;
  size_t read_ = 0;        // chunked: next input byte to look at
  size_t chunk_left_ = 0;  // chunked: data bytes of the running chunk still to come
  enum class ChunkPart { kSize, kData, kDataEnd, kTrailer } chunk_part_ = ChunkPart::kSize;
  int error_status_ = 0;
  const char* error_ = "";
};

}  // namespace llmbench::sim
