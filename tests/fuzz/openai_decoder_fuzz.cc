// No payload breaks the OpenAI decoders, and what they find does not depend on whether the text is wanted.
#include <string>

#include "fuzz_input.h"
#include "llmbench/wire/openai_decoder.h"

namespace {

using namespace llmbench::wire;  // NOLINT: a fuzz target of this namespace

void Decode(StreamDecoder* decoder, std::string_view payload) {
  decoder->Reset();
  std::string text;
  Answer with_text, without;
  with_text.Reset(&text);
  without.Reset(nullptr);
  const StreamEvent event = decoder->Decode(payload, with_text);
  FUZZ_CHECK(with_text.error_text.size() <= 512);
  FUZZ_CHECK(with_text.error == WireError::kNone || text.empty());
  FUZZ_CHECK(with_text.error == WireError::kNone || (event.kind == EventKind::kNone && event.tokens == 0));
  decoder->Reset();
  const StreamEvent again = decoder->Decode(payload, without);
  if (with_text.error != WireError::kBadEvent) {  // escapes are only looked at where the text is wanted
    FUZZ_CHECK(event.kind == again.kind && event.tokens == again.tokens);
    FUZZ_CHECK(with_text.error == without.error);
  }
  if (with_text.error == WireError::kNone && event.kind == EventKind::kAnswer) FUZZ_CHECK(!text.empty());

  decoder->Reset();
  text.clear();
  with_text.Reset(&text);
  decoder->DecodeDocument(payload, with_text);
  with_text.Reset(&text);
  decoder->DecodeError(payload, with_text);
  FUZZ_CHECK(with_text.error == WireError::kServerErrorEvent);
  (void)decoder->IsWhole(payload);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto scratch = MakeJsonScratch();
  static const auto chat = MakeStreamDecoder(WireFormat::OpenAiChat(), scratch);
  static const auto completions = MakeStreamDecoder(WireFormat::OpenAiCompletions(), scratch);
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  // Each line is a payload. A few suffice to show what one leaves behind for the next; of hundreds, which a
  // fuzzer would soon have, it would not get through many. The streams that the test suite replays are whole
  // responses, of which the lines with data matter.
  constexpr int kMostPayloads = 4;
  const bool response = rest.starts_with("HTTP/");
  for (int payloads = 0; !rest.empty() && (response || payloads < kMostPayloads);) {
    std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    if (line.starts_with("data:")) {
      line.remove_prefix(5);
    } else if (response) {
      continue;
    }
    ++payloads;
    const PaddedCopy copy(line);
    Decode(chat.get(), copy.view());
    Decode(completions.get(), copy.view());
  }
  return 0;
}
