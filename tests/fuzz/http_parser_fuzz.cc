// Whatever a peer sends, cut in any way, the framing is the same.
#include <string>

#include "fuzz_input.h"
#include "llmbench/wire/http_parser.h"

namespace llmbench::wire {
namespace {

struct Framed {
  std::string body;
  HttpParser::Step last = HttpParser::Step::kNeedMore;
  int status = 0;
  bool keep_alive = false;
  WireError error = WireError::kNone;
};

// False when the message is over.
bool Feed(HttpParser& parser, std::string_view input, Framed& framed) {
  std::string_view body;
  for (;;) {
    const size_t before = input.size();
    framed.last = parser.Advance(input, body);
    FUZZ_CHECK(input.size() <= before);
    if (framed.last == HttpParser::Step::kBody) framed.body += body;
    if (framed.last == HttpParser::Step::kNeedMore) {
      FUZZ_CHECK(input.empty());
      return true;
    }
    if (framed.last == HttpParser::Step::kComplete || framed.last == HttpParser::Step::kError) return false;
  }
}

Framed Finish(HttpParser& parser, Framed framed) {
  if (framed.last == HttpParser::Step::kNeedMore) framed.last = parser.Close();
  framed.status = parser.status();
  framed.keep_alive = parser.keep_alive();
  framed.error = parser.error();
  (void)parser.begun();
  (void)parser.retry_after_s();
  return framed;
}

}  // namespace
}  // namespace llmbench::wire

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace llmbench::wire;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  HttpParser parser(1000);
  Framed whole;
  const PaddedCopy copy(bytes);
  Feed(parser, copy.view(), whole);
  whole = Finish(parser, whole);

  parser.Reset();
  Framed sliced;
  ForEachSlice(bytes, [&](std::string_view slice) { return Feed(parser, slice, sliced); });
  sliced = Finish(parser, sliced);
  FUZZ_CHECK(whole.last == sliced.last);
  FUZZ_CHECK(whole.body == sliced.body);
  FUZZ_CHECK(whole.status == sliced.status);
  FUZZ_CHECK(whole.keep_alive == sliced.keep_alive);
  FUZZ_CHECK(Kind(whole.error) == Kind(sliced.error));
  return 0;
}
