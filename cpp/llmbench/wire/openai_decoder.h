// OpenAI's two answer formats, as its API defines them and as the servers that copy it send them.
//
// Accepted besides the definition: no role chunk, `content` or `text` null or missing, text in the finish
// chunk, finish reasons "" and null, usage in its own, the last or every chunk, `choices` null or missing
// beside usage, several indices, reasoning as `reasoning` or `reasoning_content`, errors as string or object
// or flat, at any position.
#pragma once

#include <memory>

#include "llmbench/wire/stream_decoder.h"

namespace llmbench::wire {

// /v1/completions: choices[].text.
std::unique_ptr<StreamDecoder> MakeOpenAiCompletionsDecoder(std::shared_ptr<JsonScratch> scratch);

// /v1/chat/completions: choices[].delta, or choices[].message when not streamed.
std::unique_ptr<StreamDecoder> MakeOpenAiChatDecoder(std::shared_ptr<JsonScratch> scratch);

}  // namespace llmbench::wire
