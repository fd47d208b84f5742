// Protobuf messages by hand, for tests.
#pragma once

#include <cstdint>
#include <string>

namespace llmbench::wire {

inline std::string Varint(uint64_t value) {
  std::string bytes;
  for (; value > 0x7f; value >>= 7) bytes += static_cast<char>((value & 0x7f) | 0x80);
  return bytes + static_cast<char>(value);
}
inline std::string NumberField(int number, int64_t value) {
  return Varint(static_cast<uint64_t>(number) << 3) + Varint(static_cast<uint64_t>(value));
}
inline std::string BytesField(int number, const std::string& bytes) {
  return Varint(static_cast<uint64_t>(number) << 3 | 2) + Varint(bytes.size()) + bytes;
}

// A SingleGenerationReply as field 1 of a MultiGenerationReply.
inline std::string FastGenReply(const std::string& text, const std::string& finish_reason,
                                int64_t prompt_tokens, int64_t generated_tokens) {
  std::string reply;
  if (!text.empty()) reply += BytesField(1, text);  // as proto3 does: zeros and "" are not written
  if (!finish_reason.empty()) reply += BytesField(2, finish_reason);
  if (prompt_tokens != 0) reply += NumberField(3, prompt_tokens);
  if (generated_tokens != 0) reply += NumberField(4, generated_tokens);
  const std::string minus_one = {'\0', '\0', '\x80', '\xbf'};
  return BytesField(1, reply + '\x2d' + minus_one + '\x35' + minus_one);
}

// With gRPC's prefix.
inline std::string GrpcMessage(const std::string& message) {
  std::string frame(1, '\0');
  for (int shift = 24; shift >= 0; shift -= 8) frame += static_cast<char>(message.size() >> shift & 0xff);
  return frame + message;
}

}  // namespace llmbench::wire
