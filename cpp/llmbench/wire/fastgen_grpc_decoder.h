// The replies of FastGen's gRPC service, protobuf read by hand:
//
//   MultiGenerationReply   1 response: repeated SingleGenerationReply
//   SingleGenerationReply  1 response: string   2 finish_reason: string   3 prompt_tokens: int64
//                          4 generated_tokens: int64   5 time_taken: float   6 model_time_taken: float
//
// In a stream each message holds one reply: text that is new, maybe "" while a character is incomplete, and
// the number of tokens generated so far. The finish reason is "none" until the last. Unknown fields are
// skipped, and a field that is missing has its type's zero.
#pragma once

#include <memory>

#include "llmbench/wire/stream_decoder.h"

namespace llmbench::wire {

std::unique_ptr<StreamDecoder> MakeFastGenGrpcDecoder();

}  // namespace llmbench::wire
