// What every fuzz target needs: padded copies of the input, slices, and a check that stays in release builds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string_view>

#include "llmbench/wire/stream_decoder.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

#define FUZZ_CHECK(condition)                                                            \
  do {                                                                                   \
    if (!(condition)) {                                                                  \
      std::fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                      \
    }                                                                                    \
  } while (false)

namespace llmbench::wire {

// A chunk's header or trailers that are malformed and too large as well fail for what is seen first, which
// the slicing decides: the two count as one.
inline WireError Kind(WireError error) {
  return error == WireError::kHeaderTooLarge ? WireError::kProtocol : error;
}

// A copy of some bytes in memory of its own, with the padding a decoder may read and nothing behind that.
class PaddedCopy {
 public:
  explicit PaddedCopy(std::string_view bytes)
      : size_(bytes.size()), data_(new char[bytes.size() + kPadding]) {
    if (size_ > 0) std::memcpy(data_.get(), bytes.data(), size_);
    std::memset(data_.get() + size_, '}', kPadding);
  }
  std::string_view view() const { return {data_.get(), size_}; }

 private:
  size_t size_;
  std::unique_ptr<char[]> data_;
};

// Calls feed(view) for the slices of `bytes`; the same bytes are always cut in the same way. Stops when feed
// says false.
template <typename Fn>
void ForEachSlice(std::string_view bytes, Fn&& feed) {
  uint64_t state = 0x9e3779b97f4a7c15;
  for (const char c : bytes) state = (state ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  while (!bytes.empty()) {
    state = state * 6364136223846793005 + 1442695040888963407;
    const size_t length = 1 + static_cast<size_t>(state >> 33) % (state >> 62 == 0 ? 400 : 1 + (state >> 60));
    const PaddedCopy slice(bytes.substr(0, length));
    if (!feed(slice.view())) return;
    bytes.remove_prefix(slice.view().size());
  }
}

}  // namespace llmbench::wire
