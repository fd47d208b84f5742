// Whatever the bytes, a guess is among the formats there are, each at most once, and the same every time.
#include <algorithm>
#include <string>
#include <vector>

#include "framing_check.h"
#include "llmbench/wire/guess_format.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace llmbench::wire;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  for (const std::string_view part : {bytes, Body(bytes)}) {
    const PaddedCopy copy(part);
    std::vector<std::string_view> guessed = GuessFormats(copy.view());
    FUZZ_CHECK(guessed == GuessFormats(part));
    const std::vector<std::string>& names = WireFormat::Names();
    for (const std::string_view name : guessed) {
      FUZZ_CHECK(std::find(names.begin(), names.end(), name) != names.end());
    }
    std::sort(guessed.begin(), guessed.end());
    FUZZ_CHECK(std::adjacent_find(guessed.begin(), guessed.end()) == guessed.end());
  }
  return 0;
}
