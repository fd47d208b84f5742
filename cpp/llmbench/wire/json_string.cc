#include "llmbench/wire/json_string.h"

#include <algorithm>
#include <cstdint>
#include <optional>

namespace llmbench::wire {
namespace {

constexpr uint32_t kReplacement = 0xfffd;

// The four hexadecimal digits after \u.
std::optional<uint32_t> CodeUnit(std::string_view s) {
  if (s.size() < 6 || s[0] != '\\' || s[1] != 'u') return std::nullopt;
  uint32_t unit = 0;
  for (const char c : s.substr(2, 4)) {
    uint32_t digit;
    if (c >= '0' && c <= '9') {
      digit = static_cast<uint32_t>(c - '0');
    } else if ((c | 32) >= 'a' && (c | 32) <= 'f') {
      digit = static_cast<uint32_t>((c | 32) - 'a' + 10);
    } else {
      return std::nullopt;
    }
    unit = unit << 4 | digit;
  }
  return unit;
}

void AppendUtf8(uint32_t code, std::string& text) {
  const auto tail = [&](int shift) { text += static_cast<char>(0x80 | ((code >> shift) & 0x3f)); };
  if (code < 0x80) {
    text += static_cast<char>(code);
  } else if (code < 0x800) {
    text += static_cast<char>(0xc0 | code >> 6);
    tail(0);
  } else if (code < 0x10000) {
    text += static_cast<char>(0xe0 | code >> 12);
    tail(6);
    tail(0);
  } else {
    text += static_cast<char>(0xf0 | code >> 18);
    tail(12);
    tail(6);
    tail(0);
  }
}

}  // namespace

bool AppendUnescaped(std::string_view inside, std::string& text, bool& lone_surrogate) {
  while (!inside.empty()) {
    const size_t plain = std::min(inside.find('\\'), inside.size());
    text.append(inside.substr(0, plain));
    inside.remove_prefix(plain);
    if (inside.empty()) return true;
    if (inside.size() < 2) return false;
    if (inside[1] == 'u') {
      const auto unit = CodeUnit(inside);
      if (!unit) return false;
      inside.remove_prefix(6);
      uint32_t code = *unit;
      if (code >= 0xd800 && code < 0xe000) {
        const auto low = code < 0xdc00 ? CodeUnit(inside) : std::nullopt;
        if (low && *low >= 0xdc00 && *low < 0xe000) {
          code = 0x10000 + ((code - 0xd800) << 10) + (*low - 0xdc00);
          inside.remove_prefix(6);
        } else {
          code = kReplacement;
          lone_surrogate = true;
        }
      }
      AppendUtf8(code, text);
      continue;
    }
    static constexpr std::string_view kFrom = "\"\\/bfnrt", kTo = "\"\\/\b\f\n\r\t";
    const size_t escape = kFrom.find(inside[1]);
    if (escape == std::string_view::npos) return false;
    text += kTo[escape];
    inside.remove_prefix(2);
  }
  return true;
}

}  // namespace llmbench::wire
