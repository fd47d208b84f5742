// What the first characters of a JSON value tell, and the text between a string's quotes.
#pragma once

#include <algorithm>
#include <string_view>

namespace llmbench::wire {

// A string value with at least one character. `token` begins where the value does.
inline bool IsText(std::string_view token) { return token[0] == '"' && token[1] != '"'; }

// What is between the quotes of a string's token, escapes and all.
inline std::string_view Inside(std::string_view token) { return token.substr(1, token.rfind('"') - 1); }

inline const char* TypeName(char first) {
  switch (first) {
    case '{':
      return "an object";
    case '[':
      return "an array";
    case '"':
      return "a string";
    case 'n':
      return "null";
    case 't':
    case 'f':
      return "a boolean";
    default:
      return "a number";
  }
}

inline std::string_view TrimSpace(std::string_view s) {
  constexpr std::string_view kSpace = " \t\r\n";
  if (s.empty() ||
      (static_cast<unsigned char>(s.front()) > ' ' && static_cast<unsigned char>(s.back()) > ' ')) {
    return s;
  }
  s.remove_prefix(std::min(s.find_first_not_of(kSpace), s.size()));
  return s.substr(0, s.find_last_not_of(kSpace) + 1);
}

}  // namespace llmbench::wire
