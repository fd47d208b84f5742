// Any slicing of any bytes gives the same documents; together they are the bytes, less what may stand between
// documents; and each ends where its outermost bracket closes.
#include <string>

#include "framing_check.h"
#include "llmbench/wire/document_parser.h"

namespace llmbench::wire {
namespace {

bool IsGap(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\0'; }

// Where the document that starts here closes; npos when it does not.
size_t ClosesAt(std::string_view document) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < document.size(); ++i) {
    const char c = document[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
      continue;
    }
    if (c == '"') in_string = true;
    if (c == '{' || c == '[') ++depth;
    if ((c == '}' || c == ']') && --depth == 0) return i;
  }
  return std::string_view::npos;
}

void Check(std::string_view bytes) {
  DocumentParser parser(bytes.size() + 1);
  const Framed framed = FrameAnyway(parser, bytes);
  FUZZ_CHECK(!framed.too_large);
  std::string_view rest = bytes;
  for (size_t i = 0; i < framed.events.size(); ++i) {
    while (!rest.empty() && IsGap(rest[0])) rest.remove_prefix(1);
    const std::string& event = framed.events[i];
    FUZZ_CHECK(!event.empty() && rest.starts_with(event));
    rest.remove_prefix(event.size());
    if (event[0] != '{' && event[0] != '[') continue;
    const bool last_and_unfinished = framed.unfinished && i + 1 == framed.events.size();
    FUZZ_CHECK(ClosesAt(event) == (last_and_unfinished ? std::string_view::npos : event.size() - 1));
  }
  while (!rest.empty() && IsGap(rest[0])) rest.remove_prefix(1);
  FUZZ_CHECK(rest.empty());

  DocumentParser small(20);
  for (const std::string& event : FrameAnyway(small, bytes).events) FUZZ_CHECK(event.size() <= 20);
}

}  // namespace
}  // namespace llmbench::wire

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace llmbench::wire;
  Check(Body({reinterpret_cast<const char*>(data), size}));
  return 0;
}
