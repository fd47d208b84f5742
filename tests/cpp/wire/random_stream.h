// Streams made up from a seed, in every wire format and every dress a server may give them, with what they
// must mean. The generator writes the formats from their servers' documentation and knows nothing of the
// decoders.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "llmbench/wire/stream_decoder.h"

namespace llmbench::wire {

struct RandomStream {
  std::string format;  // its name; `rules` go with it
  std::string rules;
  std::string prompt;     // as the server saw it
  std::string bytes;      // the whole response
  bool to_close = false;  // the body ends where the connection does

  // What it means.
  std::vector<StreamEvent> events;
  std::string text;
  std::string finish_reason;
  int32_t output_tokens = -1;
  int32_t token_ids = -1;
};

// The names of the streams that MakeRandomStream makes: wire formats, some with an appendix.
const std::vector<std::string>& RandomStreamNames();

RandomStream MakeRandomStream(std::string_view name, std::mt19937& random);

}  // namespace llmbench::wire
