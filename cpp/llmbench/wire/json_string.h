// The text of a JSON string.
#pragma once

#include <string>
#include <string_view>

namespace llmbench::wire {

// Appends the text of what stands between a JSON string's quotes. A surrogate escape without its other half,
// which Python servers do send, becomes U+FFFD and sets `lone_surrogate`. False when an escape is malformed;
// what came before it is appended. The bytes are taken to be valid UTF-8.
bool AppendUnescaped(std::string_view inside, std::string& text, bool& lone_surrogate);

}  // namespace llmbench::wire
