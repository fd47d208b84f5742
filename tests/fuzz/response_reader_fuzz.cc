// Whatever a server sends, cut in any way, the events and the answer are the same.
#include <cstring>
#include <string>
#include <vector>

#include "fuzz_input.h"
#include "llmbench/wire/response_reader.h"

namespace {

using namespace llmbench::wire;  // NOLINT: a fuzz target of this namespace

constexpr std::string_view kPrompt = "The river";  // of most seeds that repeat one

struct Events : EventSink {
  void OnOutput(const StreamEvent& event) override {
    kinds += static_cast<char>('0' + static_cast<int>(event.kind));
    tokens.push_back(event.tokens);
  }
  std::string kinds;
  std::vector<uint32_t> tokens;
};

void Compare(ResponseReader* reader, std::string_view bytes) {
  Events whole_events, sliced_events;
  std::string whole_text, sliced_text;

  reader->Start(true, &whole_text, kPrompt);
  const PaddedCopy copy(bytes);
  reader->Feed(copy.view().data(), copy.view().size(), whole_events);
  (void)reader->event_begun();
  reader->Close(false, whole_events);
  const Answer whole = reader->answer();
  const bool complete = reader->complete();
  const int status = reader->status();
  FUZZ_CHECK(complete || whole.error != WireError::kNone);
  FUZZ_CHECK(whole.error_text.size() <= 512);

  reader->Start(true, &sliced_text, kPrompt);
  ForEachSlice(bytes, [&](std::string_view slice) {
    const bool good = reader->Feed(slice.data(), slice.size(), sliced_events);
    FUZZ_CHECK(good == (reader->answer().error == WireError::kNone));
    return true;
  });
  reader->Close(false, sliced_events);
  const Answer& sliced = reader->answer();
  FUZZ_CHECK(Kind(whole.error) == Kind(sliced.error));
  FUZZ_CHECK(complete == reader->complete());
  FUZZ_CHECK(status == reader->status());
  FUZZ_CHECK(whole_events.kinds == sliced_events.kinds);
  FUZZ_CHECK(whole_events.tokens == sliced_events.tokens);
  FUZZ_CHECK(whole_text == sliced_text);
  FUZZ_CHECK(whole.done == sliced.done && whole.done_order == sliced.done_order);
  FUZZ_CHECK(whole.unterminated == sliced.unterminated && whole.not_streamed == sliced.not_streamed);
  FUZZ_CHECK(whole.output_tokens == sliced.output_tokens && whole.token_ids == sliced.token_ids);
  FUZZ_CHECK(std::strcmp(whole.finish_reason, sliced.finish_reason) == 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto readers = OfAllFormats<ResponseReader>([](const WireFormat& format, auto scratch) {
    return MakeResponseReader(format, scratch, {.max_header_bytes = 1000, .max_event_bytes = 1 << 16});
  });
  ForEachFormat({reinterpret_cast<const char*>(data), size},
                [](size_t format, std::string_view bytes) { Compare(readers[format].get(), bytes); });
  return 0;
}
