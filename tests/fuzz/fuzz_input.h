// What every fuzz target needs: padded copies of the input, slices, and a check that stays in release builds.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "llmbench/wire/stream_decoder.h"
#include "llmbench/wire/wire_format.h"

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

// Every named wire format, and one of rules of its own for each framing that it can have.
inline const std::vector<WireFormat>& AllFormats() {
  static const std::vector<WireFormat> formats = [] {
    std::vector<WireFormat> all;
    for (const std::string& name : WireFormat::Names()) {
      if (name != "template") all.push_back(WireFormat::Named(name).value());
    }
    for (const char* rules :
         {R"({"framing":"sse","text":"/a/-/b","finish_reason":"/f","output_tokens":"/n","text_mode":"auto"})",
          R"({"framing":"nul","text":["/text/0","/text"],"text_mode":"cumulative","strip_prompt":true})",
          R"({"framing":"json-documents","text":"/-/text","count_mode":"per_chunk","output_tokens":"/n"})"}) {
      all.push_back(WireFormat::FromRules(rules).value());
    }
    return all;
  }();
  return formats;
}

// What `make(format, scratch)` gives for each of AllFormats(), in their order.
template <typename Made, typename Make>
std::vector<std::unique_ptr<Made>> OfAllFormats(Make&& make) {
  const auto scratch = MakeJsonScratch();
  std::vector<std::unique_ptr<Made>> all;
  for (const WireFormat& format : AllFormats()) all.push_back(make(format, scratch));
  return all;
}

// A first line that names a wire format gives the rest to that one alone: the seeds are written so, which
// lets a fuzzer learn each format by itself. Anything else goes to all of them. Calls use(place in
// AllFormats(), bytes).
template <typename Fn>
void ForEachFormat(std::string_view input, Fn&& use) {
  const std::vector<WireFormat>& formats = AllFormats();
  const size_t end = std::min(input.find('\n'), input.size());
  for (size_t i = 0; i < formats.size(); ++i) {
    if (end < input.size() && formats[i].name() == input.substr(0, end) && formats[i].name() != "template") {
      return use(i, input.substr(end + 1));
    }
  }
  for (size_t i = 0; i < formats.size(); ++i) use(i, input);
}

}  // namespace llmbench::wire
