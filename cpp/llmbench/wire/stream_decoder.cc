#include "llmbench/wire/stream_decoder.h"

#include <utility>

#include "llmbench/wire/escape.h"
#include "llmbench/wire/fastgen_grpc_decoder.h"
#include "llmbench/wire/field_decoder.h"
#include "llmbench/wire/openai_decoder.h"
#include "llmbench/wire/wire_format.h"

namespace llmbench::wire {

void Answer::Reset(std::string* text_sink) {
  prompt_tokens = cached_tokens = output_tokens = reasoning_tokens = token_ids = -1;
  finish_reason[0] = '\0';
  done = done_order = lone_surrogate = unterminated = not_streamed = false;
  error = WireError::kNone;
  error_text.clear();
  text = text_sink;
}

bool Answer::Fail(WireError e, std::string_view what) {
  if (error == WireError::kNone) {
    error = e;
    error_text = OneLine(what);
  }
  return false;
}

std::unique_ptr<StreamDecoder> MakeStreamDecoder(const WireFormat& format,
                                                 std::shared_ptr<JsonScratch> scratch) {
  switch (format.decoding()) {
    case WireFormat::Decoding::kOpenAiCompletions:
      return MakeOpenAiCompletionsDecoder(std::move(scratch));
    case WireFormat::Decoding::kOpenAiChat:
      return MakeOpenAiChatDecoder(std::move(scratch));
    case WireFormat::Decoding::kFastGenGrpc:
      return MakeFastGenGrpcDecoder();
    case WireFormat::Decoding::kRules:
      return MakeFieldDecoder(format, std::move(scratch));
  }
  return nullptr;
}

}  // namespace llmbench::wire
