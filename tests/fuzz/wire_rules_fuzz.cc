// No rules of a user's break anything: they are refused with a reason, or whatever a server sends can be read
// by them.
#include <string>

#include "fuzz_input.h"
#include "llmbench/wire/response_reader.h"

namespace {

using namespace llmbench::wire;  // NOLINT: a fuzz target of this namespace

struct Count : EventSink {
  void OnOutput(const StreamEvent&) override { ++events; }
  size_t events = 0;
};

// Something for every framing, with the names that the seeds look for.
constexpr std::string_view kBodies[] = {
    "data: {\"choices\":[{\"text\":\"a\"},{\"text\":\"b\"}],\"n\":1,\"ids\":[1,2]}\n\ndata: "
    "{\"done\":true}\n\n",
    "{\"text\":[\"The river a\"],\"n\":1}\n{\"text\":[\"The river ab\"],\"done\":true,\"why\":\"length\"}\n",
    "[{\"out\":{\"text\":\"a\"}}]",
    "{\"out\":{\"text\":\"a\"}}{\"error\":\"no\"}",
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto scratch = MakeJsonScratch();
  // A seed that is a response has no rules: its JSON lines may still become some.
  const std::string_view rules(reinterpret_cast<const char*>(data), size);
  for (const std::string_view name : {"template", "triton", "ollama"}) {
    const auto format = WireFormat::Named(name, rules);
    if (!format.ok()) {
      FUZZ_CHECK(!format.status().message().empty());
      continue;
    }
    const auto reader = MakeResponseReader(*format, scratch);
    for (const std::string_view body : kBodies) {
      for (const bool streamed : {false, true}) {
        std::string text;
        Count events;
        reader->Start(streamed, &text, "The river");
        const std::string response = "HTTP/1.1 200 OK\r\n\r\n" + std::string(body);
        const PaddedCopy copy(response);
        reader->Feed(copy.view().data(), copy.view().size(), events);
        reader->Close(false, events);
        FUZZ_CHECK(reader->complete() || reader->answer().error != WireError::kNone);
      }
    }
  }
  return 0;
}
