// No sequence of payloads breaks a decoder, in any wire format, and what is found does not depend on whether
// the text is wanted.
#include <string>
#include <vector>

#include "fuzz_input.h"

namespace {

using namespace llmbench::wire;  // NOLINT: a fuzz target of this namespace

constexpr std::string_view kPrompt = "The river";

// Each line is a payload, less the name of its field where it has one: the seeds are whole responses.
std::vector<std::string_view> Payloads(std::string_view rest) {
  std::vector<std::string_view> payloads;
  while (!rest.empty()) {
    std::string_view line = rest.substr(0, rest.find_first_of(std::string_view("\n\0", 2)));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    if (line.starts_with("data:")) line.remove_prefix(5);
    payloads.push_back(line);
  }
  return payloads;
}

struct Found {
  std::vector<StreamEvent> events;
  Answer answer;
};

Found Decode(StreamDecoder& decoder, const std::vector<std::string_view>& payloads, std::string* text) {
  Found found;
  found.answer.Reset(text);
  decoder.Reset(kPrompt);
  for (const std::string_view payload : payloads) {
    const PaddedCopy copy(payload);
    const size_t before = text != nullptr ? text->size() : 0;
    const StreamEvent event = decoder.Decode(copy.view(), found.answer);
    if (found.answer.error != WireError::kNone) {
      FUZZ_CHECK(event.kind == EventKind::kNone && event.tokens == 0);
      FUZZ_CHECK(text == nullptr || text->size() == before);
      break;
    }
    found.events.push_back(event);
  }
  FUZZ_CHECK(found.answer.error_text.size() <= 512);
  return found;
}

void Check(StreamDecoder* decoder, std::string_view input) {
  const std::vector<std::string_view> payloads = Payloads(input);
  std::string text;
  const Found with_text = Decode(*decoder, payloads, &text);
  const Found without = Decode(*decoder, payloads, nullptr);
  // Escapes are only looked at where the text is wanted: there it may fail earlier.
  if (with_text.answer.error == WireError::kNone) {
    FUZZ_CHECK(without.answer.error == WireError::kNone);
    FUZZ_CHECK(with_text.answer.output_tokens == without.answer.output_tokens);
    FUZZ_CHECK(with_text.answer.token_ids == without.answer.token_ids);
    FUZZ_CHECK(std::strcmp(with_text.answer.finish_reason, without.answer.finish_reason) == 0);
  }
  FUZZ_CHECK(with_text.events.size() <= without.events.size());
  for (size_t i = 0; i < with_text.events.size(); ++i) {
    FUZZ_CHECK(with_text.events[i].kind == without.events[i].kind);
    FUZZ_CHECK(with_text.events[i].tokens == without.events[i].tokens);
  }

  const PaddedCopy whole(input);
  Answer document;
  text.clear();
  document.Reset(&text);
  decoder->Reset(kPrompt);
  decoder->DecodeDocument(whole.view(), document);
  FUZZ_CHECK(document.error_text.size() <= 512);
  Answer error;
  error.Reset(nullptr);
  decoder->Reset();
  decoder->DecodeError(whole.view(), error);
  FUZZ_CHECK(error.error == WireError::kServerErrorEvent);
  (void)decoder->IsWhole(whole.view());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto decoders = OfAllFormats<StreamDecoder>(MakeStreamDecoder);
  ForEachFormat({reinterpret_cast<const char*>(data), size}, [](size_t format, std::string_view input) {
    if (AllFormats()[format].rules().framing == StreamFraming::kGrpc) return;  // its payloads are not JSON
    Check(decoders[format].get(), input);
  });
  return 0;
}
