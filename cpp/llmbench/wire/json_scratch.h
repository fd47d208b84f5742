// simdjson's parsers and their memory, and what decoders know of events they have parsed: one of each per
// thread.
#pragma once

#include <simdjson.h>

#include <algorithm>
#include <bit>
#include <string_view>

#include "llmbench/wire/event_shapes.h"
#include "llmbench/wire/stream_decoder.h"

namespace llmbench::wire {

static_assert(kPadding >= simdjson::SIMDJSON_PADDING);

class JsonScratch {
 public:
  // Starts an on-demand pass over `json` in place, which ends when the next one starts.
  simdjson::error_code Iterate(std::string_view json, simdjson::ondemand::document& document) {
    if (json.size() > parser_.capacity()) {
      if (const auto error = parser_.allocate(std::max(kCapacity, std::bit_ceil(json.size())))) return error;
    }
    return parser_.iterate(json.data(), json.size(), json.size() + kPadding).get(document);
  }

  // Parses the whole document: for the rare cases where all of it must be valid, or known.
  simdjson::error_code Parse(std::string_view json, simdjson::dom::element& root) {
    return dom_.parse(json.data(), json.size(), /*realloc_if_needed=*/false).get(root);
  }

  bool IsWhole(std::string_view json) {
    simdjson::dom::element root;
    return !json.empty() && Parse(json, root) == simdjson::SUCCESS;
  }

  EventShapes completions_shapes, chat_shapes;  // of OpenAI's two formats

 private:
  static constexpr size_t kCapacity = 64 * 1024;

  simdjson::ondemand::parser parser_;
  simdjson::dom::parser dom_;
};

}  // namespace llmbench::wire
