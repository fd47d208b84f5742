#include "llmbench/sim/fault_bytes.h"

namespace llmbench::sim {
namespace {

constexpr size_t kHugeHeaderBytes = 300 * 1024;
constexpr size_t kHugeEventBytes = 10 * 1000 * 1000;

}  // namespace

std::string MalformedReply(const Fault& fault) {
  const std::string ok = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
  switch (fault.kind) {
    case FaultKind::kGarbage:
      return std::string("\x15\x03\x01\x02\x80 this is not HTTP\r\n\r\n");
    case FaultKind::kBadLength:
      return ok + "content-length: -1\r\n\r\n{}";
    case FaultKind::kTwoLengths:
      return ok + "content-length: 2\r\ncontent-length: 5\r\n\r\n{}   ";
    case FaultKind::kHugeHeader:
      return ok + "x-padding: " + std::string(kHugeHeaderBytes, 'x') + "\r\ncontent-length: 2\r\n\r\n{}";
    case FaultKind::kGzip:
      // An empty member, compressed.
      return ok + "content-encoding: gzip\r\ncontent-length: 20\r\n\r\n" +
             std::string("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00",
                         20);
    default:
      return "";
  }
}

std::string WrongEvent(const Fault& fault, std::string_view event_front) {
  switch (fault.kind) {
    case FaultKind::kErrorFirst:
    case FaultKind::kErrorMid:
      return R"({"error":{"message":"injected fault","type":"InternalServerError","param":null,"code":500}})";
    case FaultKind::kBadJson:
      return R"({"id":"broken","choices":[{"index":0,"text":"unfinished)";
    case FaultKind::kBadUtf8:
      return std::string(event_front) +
             "{\"index\":0,\"text\":\"\xff\xfe\",\"delta\":{\"content\":\"\xff\xfe\"}}]}";
    case FaultKind::kSchema:
      return R"({"choices":{"index":0}})";
    case FaultKind::kHugeEvent:
      return std::string(event_front) + R"(],"usage":null,"padding":")" + std::string(kHugeEventBytes, 'x') +
             "\"}";
    default:
      return "";
  }
}

std::string ErrorTypeOf(int status) {
  switch (status) {
    case 401:
      return "AuthenticationError";
    case 404:
      return "NotFoundError";
    case 429:
      return "RateLimitError";
    case 503:
      return "ServiceUnavailableError";
    default:
      return status >= 500 ? "InternalServerError" : "BadRequestError";
  }
}

}  // namespace llmbench::sim
