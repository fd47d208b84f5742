// Bytes from a server made fit for a message.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace llmbench::wire {

// The first `limit` bytes in double quotes, everything but printable ASCII escaped as in C; "…" after them
// when there are more.
std::string Quote(std::string_view bytes, size_t limit = 64);

// Valid UTF-8 on one line: control characters become spaces and invalid bytes U+FFFD, surrounding space goes,
// and what is over `limit` bytes is cut between characters.
std::string OneLine(std::string_view bytes, size_t limit = 512);

}  // namespace llmbench::wire
