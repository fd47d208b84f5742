// Which server's answer this looks like, for the message to a user who named another one.
#pragma once

#include <string_view>
#include <vector>

namespace llmbench::wire {

// The names of the formats whose answers look like these bytes: an event's payload, a document, or the
// beginning of a body that holds some. Several formats may look the same; the likeliest is the first.
std::vector<std::string_view> GuessFormats(std::string_view bytes);

}  // namespace llmbench::wire
