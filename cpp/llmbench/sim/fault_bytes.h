// The wrong bytes of the faults that consist of wrong bytes.
#pragma once

#include <string>
#include <string_view>

#include "llmbench/sim/faults.h"

namespace llmbench::sim {

// A whole reply, malformed, after which the connection is closed; empty for a fault that is none.
std::string MalformedReply(const Fault& fault);

// The payload of a wrong event; `event_front` is the front of the right ones. Empty for a fault that is none.
std::string WrongEvent(const Fault& fault, std::string_view event_front);

// vLLM's error object for a status.
std::string ErrorTypeOf(int status);

}  // namespace llmbench::sim
