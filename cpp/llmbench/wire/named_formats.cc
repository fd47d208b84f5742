#include "llmbench/wire/named_formats.h"

namespace llmbench::wire {
namespace {

using Decoding = WireFormat::Decoding;

constexpr NamedFormat kFormats[] = {
    {"openai-completions", Decoding::kOpenAiCompletions, R"({"framing": "sse", "done": "[DONE]"})",
     R"([{"/choices/0/text": "*"}])"},
    {"openai-chat", Decoding::kOpenAiChat, R"({"framing": "sse", "done": "[DONE]"})",
     R"([{"/choices/0/delta": "*"}])"},
    {"fastgen-grpc", Decoding::kFastGenGrpc, "", ""},  // protobuf: no rules
};

}  // namespace

std::span<const NamedFormat> NamedFormats() { return kFormats; }

const NamedFormat* FindNamedFormat(std::string_view name) {
  for (const NamedFormat& format : kFormats) {
    if (format.name == name) return &format;
  }
  return nullptr;
}

}  // namespace llmbench::wire
