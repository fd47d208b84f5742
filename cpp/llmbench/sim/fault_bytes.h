// The wrong bytes of the faults that consist of wrong bytes.
#pragma once

#include <string>
#include <string_view>

#include "llmbench/sim/faults.h"

namespace llmbench::sim {

// A whole reply, malformed, after which the connection is closed; empty for a fault that is none.
std::string MalformedReply(const Fault& fault);

// The payload of a wrong event: `probe` is a right one, made of the text that WrongText() gives; `schema` one
// of another schema. Empty for a fault that is none.
std::string WrongPayload(const Fault& fault, std::string probe, std::string_view schema);
std::string_view WrongText(const Fault& fault);

}  // namespace llmbench::sim
