// The table of the answer formats that have a name.
#pragma once

#include <span>
#include <string_view>

#include "llmbench/wire/wire_format.h"

namespace llmbench::wire {

struct NamedFormat {
  std::string_view name;
  WireFormat::Decoding decoding;
  std::string_view rules;  // JSON for ParseWireRules
  std::string_view
      signature;  // JSON: lists of conditions, one of which an event or document of the format meets
};

std::span<const NamedFormat> NamedFormats();
const NamedFormat* FindNamedFormat(std::string_view name);  // null when there is none

}  // namespace llmbench::wire
