// The messages of FastGen's gRPC service: protobuf by hand.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace llmbench::sim {

// A framed MultiStringRequest as JSON, {"request": ["…"], "max_new_tokens": 4, …}; "" for what is none.
std::string FastgenRequestToJson(std::string_view framed);

// A SingleGenerationReply as field 1 of a MultiGenerationReply; several make one message. `text` is escaped
// for a JSON string.
void AppendFastgenReply(std::string_view text, std::string_view finish_reason, int64_t prompt_tokens,
                        int64_t generated_tokens, std::string* message);

// gRPC's five bytes in front of a message of this size.
std::string GrpcPrefix(size_t size);

}  // namespace llmbench::sim
