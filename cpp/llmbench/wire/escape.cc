#include "llmbench/wire/escape.h"

#include <algorithm>
#include <cstdint>

namespace llmbench::wire {
namespace {

// Length of the well-formed UTF-8 character at the front of `bytes`, 0 when there is none.
size_t CharacterLength(std::string_view bytes) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(bytes[i]); };
  const auto tail = [&](size_t i) { return i < bytes.size() && (byte(i) & 0xc0) == 0x80; };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return 1;
  if (lead >= 0xc2 && lead <= 0xdf) return tail(1) ? 2 : 0;
  if (lead >= 0xe0 && lead <= 0xef) {
    if (!tail(1) || !tail(2)) return 0;
    if (lead == 0xe0 && byte(1) < 0xa0) return 0;  // overlong
    if (lead == 0xed && byte(1) > 0x9f) return 0;  // surrogate
    return 3;
  }
  if (lead >= 0xf0 && lead <= 0xf4) {
    if (!tail(1) || !tail(2) || !tail(3)) return 0;
    if (lead == 0xf0 && byte(1) < 0x90) return 0;
    if (lead == 0xf4 && byte(1) > 0x8f) return 0;
    return 4;
  }
  return 0;
}

}  // namespace

std::string Quote(std::string_view bytes, size_t limit) {
  static constexpr char kHex[] = "0123456789abcdef";
  const bool cut = bytes.size() > limit;
  std::string out = "\"";
  for (const char c : bytes.substr(0, limit)) {
    const auto byte = static_cast<uint8_t>(c);
    switch (c) {
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      case '"':
      case '\\':
        out += '\\';
        out += c;
        break;
      default:
        if (byte >= 0x20 && byte < 0x7f) {
          out += c;
        } else {
          out += "\\x";
          out += kHex[byte >> 4];
          out += kHex[byte & 15];
        }
    }
  }
  out += cut ? "\"…" : "\"";
  return out;
}

std::string OneLine(std::string_view bytes, size_t limit) {
  std::string out;
  // Nothing beyond this can be part of the result, except that leading space is dropped first.
  const size_t first = std::min(bytes.find_first_not_of(" \t\r\n"), bytes.size());
  bytes.remove_prefix(first);
  while (!bytes.empty()) {
    size_t length = CharacterLength(bytes);
    std::string_view character = bytes.substr(0, length);
    if (length == 0) {
      character = "\xef\xbf\xbd";
      length = 1;
    } else if (length == 1 && (static_cast<uint8_t>(bytes[0]) < 0x20 || bytes[0] == 0x7f)) {
      character = " ";
    }
    if (out.size() + character.size() > limit) break;
    out += character;
    bytes.remove_prefix(length);
  }
  out.erase(out.find_last_not_of(' ') + 1);
  return out;
}

}  // namespace llmbench::wire
