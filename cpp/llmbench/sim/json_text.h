// JSON written by hand: strings and numbers appended to a buffer.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace llmbench::sim {

void AppendJsonString(std::string_view text, std::string* out);   // with the quotes
void AppendJsonEscaped(std::string_view text, std::string* out);  // without
void AppendNumber(int64_t value, std::string* out);
void AppendNumber(double value, std::string* out);

}  // namespace llmbench::sim
