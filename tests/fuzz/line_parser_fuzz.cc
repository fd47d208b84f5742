// Any slicing of any lines gives the ones that a plain reading of the rules gives.
#include <string>
#include <vector>

#include "framing_check.h"
#include "llmbench/wire/line_parser.h"

namespace llmbench::wire {
namespace {

constexpr std::string_view kSpace = " \t\r";

std::string Trimmed(std::string_view line) {
  const size_t begin = std::min(line.find_first_not_of(kSpace), line.size());
  line.remove_prefix(begin);
  return std::string(line.substr(0, line.find_last_not_of(kSpace) + 1));
}

// The rules with no regard to cost: split at LF, and at NUL where it ends lines too; drop empty ones.
std::vector<std::string> Plain(std::string_view stream, bool nul) {
  std::vector<std::string> lines;
  while (!stream.empty()) {
    const size_t end =
        std::min(stream.find_first_of(nul ? std::string_view("\n\0", 2) : "\n"), stream.size());
    if (std::string line = Trimmed(stream.substr(0, end)); !line.empty()) lines.push_back(std::move(line));
    stream.remove_prefix(std::min(end + 1, stream.size()));
  }
  return lines;
}

void Check(std::string_view bytes, bool nul) {
  LineParser parser(bytes.size() + 1, nul);
  Framed framed = FrameAnyway(parser, bytes);
  FUZZ_CHECK(!framed.too_large);
  for (std::string& line : framed.events) line = Trimmed(line);
  FUZZ_CHECK(framed.events == Plain(bytes, nul));

  LineParser small(20, nul);
  for (const std::string& line : FrameAnyway(small, bytes).events) FUZZ_CHECK(line.size() <= 20);
}

}  // namespace
}  // namespace llmbench::wire

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace llmbench::wire;
  const std::string_view bytes = Body({reinterpret_cast<const char*>(data), size});
  Check(bytes, false);
  Check(bytes, true);
  return 0;
}
