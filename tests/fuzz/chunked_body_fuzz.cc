// Whatever follows the head of a chunked response, the body is what a plain reading of the rules gives.
#include <optional>
#include <string>

#include "framing_check.h"
#include "llmbench/wire/http_parser.h"

namespace llmbench::wire {
namespace {

constexpr std::string_view kHead = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

struct Chunked {
  std::string bytes;
  HttpParser::Step last = HttpParser::Step::kNeedMore;
};

Chunked Read(HttpParser& parser, std::string_view bytes, bool sliced) {
  Chunked body;
  const auto feed = [&](std::string_view input) {
    std::string_view piece;
    for (;;) {
      body.last = parser.Advance(input, piece);
      if (body.last == HttpParser::Step::kBody) body.bytes += piece;
      if (body.last == HttpParser::Step::kNeedMore) return true;
      if (body.last == HttpParser::Step::kComplete || body.last == HttpParser::Step::kError) return false;
    }
  };
  parser.Reset();
  const PaddedCopy head(kHead);
  FUZZ_CHECK(feed(head.view()));
  if (sliced) {
    ForEachSlice(bytes, feed);
  } else {
    const PaddedCopy copy(bytes);
    feed(copy.view());
  }
  return body;
}

// The body of chunks without extensions or trailers, the plainest there are; nothing when it is anything
// else.
std::optional<std::string> Plain(std::string_view bytes) {
  std::string body;
  for (;;) {
    const size_t end = bytes.find("\r\n");
    if (end == std::string_view::npos || end == 0 || end > 7) return std::nullopt;
    size_t size = 0;
    for (const char c : bytes.substr(0, end)) {
      const size_t digit = c >= '0' && c <= '9'   ? static_cast<size_t>(c - '0')
                           : c >= 'a' && c <= 'f' ? static_cast<size_t>(c - 'a' + 10)
                           : c >= 'A' && c <= 'F' ? static_cast<size_t>(c - 'A' + 10)
                                                  : 16;
      if (digit == 16) return std::nullopt;
      size = size * 16 + digit;
    }
    bytes.remove_prefix(end + 2);
    if (bytes.size() < size + 2 || bytes.substr(size, 2) != "\r\n") return std::nullopt;
    if (size == 0) return body;
    body += bytes.substr(0, size);
    bytes.remove_prefix(size + 2);
  }
}

}  // namespace
}  // namespace llmbench::wire

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace llmbench::wire;
  const std::string_view bytes = Body({reinterpret_cast<const char*>(data), size});
  HttpParser parser(1000);
  const Chunked whole = Read(parser, bytes, false);
  const Chunked sliced = Read(parser, bytes, true);
  FUZZ_CHECK(whole.bytes == sliced.bytes);
  FUZZ_CHECK(whole.last == sliced.last);
  if (const auto plain = Plain(bytes)) {
    FUZZ_CHECK(whole.last == HttpParser::Step::kComplete);
    FUZZ_CHECK(whole.bytes == *plain);
  }
  return 0;
}
