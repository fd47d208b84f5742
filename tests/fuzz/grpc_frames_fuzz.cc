// Any slicing of any bytes gives the messages that a plain reading of the prefixes gives, and no message
// breaks the decoder of FastGen's replies.
#include <string>
#include <vector>

#include "framing_check.h"
#include "llmbench/wire/grpc_frames.h"

namespace llmbench::wire {
namespace {

constexpr size_t kLimit = 1 << 16;

// The messages up to the first that is compressed, too large or torn.
std::vector<std::string> Plain(std::string_view stream) {
  std::vector<std::string> messages;
  while (stream.size() >= 5 && stream[0] == 0) {
    size_t size = 0;
    for (const char c : stream.substr(1, 4)) size = size << 8 | static_cast<unsigned char>(c);
    if (size > kLimit || stream.size() - 5 < size) break;
    messages.emplace_back(stream.substr(5, size));
    stream.remove_prefix(5 + size);
  }
  return messages;
}

void Decode(const std::vector<std::string>& messages) {
  static const auto decoder = MakeStreamDecoder(WireFormat::Named("fastgen-grpc").value(), MakeJsonScratch());
  std::string text;
  Answer answer;
  answer.Reset(&text);
  decoder->Reset();
  for (const std::string& message : messages) {
    const PaddedCopy copy(message);
    const size_t before = text.size();
    const StreamEvent event = decoder->Decode(copy.view(), answer);
    FUZZ_CHECK(answer.error_text.size() <= 512);
    if (answer.error != WireError::kNone) {
      FUZZ_CHECK(event.kind == EventKind::kNone && event.tokens == 0 && text.size() == before);
      break;
    }
    FUZZ_CHECK((event.kind == EventKind::kAnswer) == (text.size() > before));
  }
  for (const std::string& message : messages) {
    const PaddedCopy copy(message);
    Answer whole;
    text.clear();
    whole.Reset(&text);
    decoder->Reset();
    decoder->DecodeDocument(copy.view(), whole);
    FUZZ_CHECK(whole.error_text.size() <= 512);
  }
}

}  // namespace
}  // namespace llmbench::wire

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace llmbench::wire;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  GrpcFrames frames(kLimit);
  const Framed framed = FrameAnyway(frames, bytes);
  const std::vector<std::string> plain = Plain(bytes);
  FUZZ_CHECK(framed.events.size() >= plain.size());
  for (size_t i = 0; i < plain.size(); ++i) FUZZ_CHECK(framed.events[i] == plain[i]);
  // What comes behind them is at most one frame that says what is wrong.
  FUZZ_CHECK(framed.events.size() <= plain.size() + 1);
  Decode(plain);
  return 0;
}
