#include "llmbench/sim/http_request.h"

#include <algorithm>
#include <charconv>
#include <cstring>

namespace llmbench::sim {
namespace {

constexpr size_t kMaxChunkLine = 1024;

char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }

bool EqualsIgnoringCase(std::string_view a, std::string_view b) {
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) { return Lower(x) == Lower(y); });
}

std::string_view Trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

bool IsTokenChar(char c) {
  if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')) return true;
  return c != '\0' && std::strchr("!#$%&'*+-.^_`|~", c) != nullptr;
}

bool IsToken(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), IsTokenChar);
}

// Whether a comma-separated list names `wanted`.
bool Lists(std::string_view list, std::string_view wanted) {
  while (!list.empty()) {
    const size_t comma = list.find(',');
    if (EqualsIgnoringCase(Trim(list.substr(0, comma)), wanted)) return true;
    if (comma == std::string_view::npos) break;
    list.remove_prefix(comma + 1);
  }
  return false;
}

}  // namespace

void HttpRequestParser::Reset() { *this = HttpRequestParser(); }

HttpRequestParser::State HttpRequestParser::Fail(int status, const char* why) {
  error_status_ = status;
  error_ = why;
  return state_ = State::kError;
}

HttpRequestParser::State HttpRequestParser::Advance(char* input, size_t size) {
  if (state_ == State::kHead) {
    const std::string_view text(input, size);
    const size_t end = text.find("\r\n\r\n", scanned_ < 3 ? 0 : scanned_ - 3);
    if (end == std::string_view::npos) {
      scanned_ = size;
      return size > kMaxHead ? Fail(431, "request head too large") : state_;
    }
    if (end > kMaxHead) return Fail(431, "request head too large");
    head_size_ = read_ = end + 4;
    if (!ParseHead(text.substr(0, end + 2))) return state_;
    state_ = State::kBody;
  }
  if (state_ != State::kBody) return state_;
  if (chunked_) return AdvanceChunks(input, size);
  if (size - head_size_ >= body_size_) {
    consumed_ = head_size_ + body_size_;
    state_ = State::kComplete;
  }
  return state_;
}

bool HttpRequestParser::ParseHead(std::string_view head) {
  const auto fail = [this](int status, const char* why) { return Fail(status, why) != State::kError; };
  size_t end = head.find("\r\n");
  const std::string_view line = head.substr(0, end);
  const size_t space = line.find(' ');
  const size_t last_space = line.rfind(' ');
  if (space == std::string_view::npos || space == last_space) return fail(400, "malformed request line");
  const std::string_view method = line.substr(0, space);
  const std::string_view target = line.substr(space + 1, last_space - space - 1);
  const std::string_view version = line.substr(last_space + 1);
  if (!IsToken(method) || target.empty() || target.find(' ') != std::string_view::npos) {
    return fail(400, "malformed request line");
  }
  if (version == "HTTP/1.0") {
    request_.http_1_0 = true;
    request_.keep_alive = false;
  } else if (version != "HTTP/1.1") {
    return fail(505, "HTTP version not supported");
  }
  request_.method = method;
  const size_t question = std::min(target.find('?'), target.size());
  request_.target = target.substr(0, question);
  if (question < target.size()) request_.query = target.substr(question + 1);

  head.remove_prefix(end + 2);
  while (!head.empty()) {
    end = head.find("\r\n");
    const std::string_view field = head.substr(0, end);
    const size_t colon = field.find(':');
    if (colon == std::string_view::npos || !IsToken(field.substr(0, colon)))
      return fail(400, "malformed header field");
    if (!ParseField(field.substr(0, colon), Trim(field.substr(colon + 1)))) return false;
    head.remove_prefix(end + 2);
  }
  if (chunked_ && has_length_) return fail(400, "both Content-Length and Transfer-Encoding");
  return true;
}

bool HttpRequestParser::ParseField(std::string_view name, std::string_view value) {
  const auto fail = [this](int status, const char* why) { return Fail(status, why) != State::kError; };
  if (EqualsIgnoringCase(name, "content-length")) {
    size_t length = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), length);
    if (error != std::errc() || end != value.data() + value.size())
      return fail(400, "malformed Content-Length");
    if (has_length_ && length != body_size_) return fail(400, "two different Content-Length fields");
    if (length > kMaxBody) return fail(413, "request body too large");
    has_length_ = true;
    body_size_ = length;
  } else if (EqualsIgnoringCase(name, "transfer-encoding")) {
    if (!EqualsIgnoringCase(value, "chunked"))
      return fail(501, "only the chunked transfer encoding is known");
    chunked_ = true;
  } else if (EqualsIgnoringCase(name, "connection")) {
    if (Lists(value, "close")) request_.keep_alive = false;
    if (Lists(value, "keep-alive")) request_.keep_alive = true;
  } else if (EqualsIgnoringCase(name, "expect")) {
    request_.expect_continue = EqualsIgnoringCase(value, "100-continue");
  } else if (EqualsIgnoringCase(name, "content-type")) {
    request_.body_is_json = EqualsIgnoringCase(Trim(value.substr(0, value.find(';'))), "application/json");
  } else if (EqualsIgnoringCase(name, "authorization")) {
    request_.authorization = value;
  } else if (EqualsIgnoringCase(name, "x-api-key")) {
    request_.api_key = value;
  } else if (EqualsIgnoringCase(name, "ocp-apim-subscription-key")) {
    request_.subscription_key = value;
  } else if (EqualsIgnoringCase(name, "x-request-id")) {
    request_.request_id = value;
  } else if (EqualsIgnoringCase(name, "x-sim-fault")) {
    request_.fault = value;
  }
  return true;
}

HttpRequestParser::State HttpRequestParser::AdvanceChunks(char* input, size_t size) {
  while (true) {
    if (chunk_part_ == ChunkPart::kData) {
      const size_t n = std::min(chunk_left_, size - read_);
      std::memmove(input + head_size_ + body_size_, input + read_, n);
      body_size_ += n;
      read_ += n;
      chunk_left_ -= n;
      if (chunk_left_ > 0) return state_;
      chunk_part_ = ChunkPart::kDataEnd;
    }
    const std::string_view rest(input + read_, size - read_);
    const size_t end = rest.find("\r\n");
    if (end == std::string_view::npos)
      return rest.size() > kMaxChunkLine ? Fail(400, "malformed chunk") : state_;
    const std::string_view line = rest.substr(0, end);
    read_ += end + 2;
    switch (chunk_part_) {
      case ChunkPart::kSize: {
        const std::string_view digits = Trim(line.substr(0, line.find(';')));
        const auto [stop, error] =
            std::from_chars(digits.data(), digits.data() + digits.size(), chunk_left_, 16);
        if (error != std::errc() || stop != digits.data() + digits.size())
          return Fail(400, "malformed chunk size");
        if (chunk_left_ > kMaxBody - body_size_) return Fail(413, "request body too large");
        chunk_part_ = chunk_left_ == 0 ? ChunkPart::kTrailer : ChunkPart::kData;
        break;
      }
      case ChunkPart::kDataEnd:
        if (!line.empty()) return Fail(400, "malformed chunk");
        chunk_part_ = ChunkPart::kSize;
        break;
      case ChunkPart::kTrailer:
        if (!line.empty()) break;
        consumed_ = read_;
        return state_ = State::kComplete;
      case ChunkPart::kData:
        break;
    }
  }
}

}  // namespace llmbench::sim
