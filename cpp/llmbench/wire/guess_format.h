// Which server's answer this looks like, for the message to a user who named another one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace llmbench::wire {

// The names of the formats whose answers look like these bytes: an event's payload, a document, or the
// beginning of a body that holds some. Several formats may look the same; the likeliest is the first.
std::vector<std::string_view> GuessFormats(std::string_view bytes);

// "; this looks like tgi", for behind the message that `bytes` are not of the format `format`; "" when they
// look like nothing known, or like it after all.
std::string LooksLike(std::string_view bytes, std::string_view format);

}  // namespace llmbench::wire
