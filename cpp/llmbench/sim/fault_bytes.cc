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

std::string_view WrongText(const Fault& fault) {
  if (fault.is(FaultKind::kBadUtf8)) return "\xff\xfe";
  return fault.is(FaultKind::kBadJson) ? "unfinished" : "";
}

std::string WrongPayload(const Fault& fault, std::string probe, std::string_view schema) {
  switch (fault.kind) {
    case FaultKind::kBadJson:
      probe.resize(probe.find("unfinished") + 10);
      return probe;
    case FaultKind::kBadUtf8:
      return probe;
    case FaultKind::kSchema:
      return std::string(schema);
    case FaultKind::kHugeEvent:
      probe.pop_back();
      return probe + R"(,"padding":")" + std::string(kHugeEventBytes, 'x') + "\"}";
    default:
      return "";
  }
}

}  // namespace llmbench::sim
