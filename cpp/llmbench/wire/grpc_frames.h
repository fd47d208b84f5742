// gRPC's framing: one byte that says whether the message is compressed, four bytes of length (big-endian),
// the message.
#pragma once

#include <cstddef>

#include "llmbench/wire/framing.h"
#include "llmbench/wire/padded_buffer.h"

namespace llmbench::wire {

// A compressed message, which nobody asked for, comes out as an error whose payload says so; nothing after
// it.
class GrpcFrames final : public Framing {
 public:
  static constexpr size_t kPrefixBytes = 5;

  explicit GrpcFrames(size_t max_message_bytes) : max_message_bytes_(max_message_bytes) {}

  void Reset() override;
  FrameStep Next(std::string_view& input, Frame& frame) override;
  // A message that lacks its end can only be handed out torn: its prefix, or the beginning of it.
  FrameStep Finish(Frame& frame) override;
  bool begun() const override { return state_ == State::kOpen && !dispatched_ && !held_.empty(); }

 private:
  enum class State : uint8_t { kOpen, kCompressed, kTooLarge };

  const size_t max_message_bytes_;
  PaddedBuffer held_;  // prefix and message, as far as they have come
  State state_ = State::kOpen;
  bool dispatched_ = false;  // the last message lay in held_
};

}  // namespace llmbench::wire
