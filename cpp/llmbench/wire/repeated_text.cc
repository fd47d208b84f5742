#include "llmbench/wire/repeated_text.h"

#include <algorithm>

#include "llmbench/wire/json_string.h"

namespace llmbench::wire {
namespace {

// Behind half a surrogate pair an other half changes what came before.
bool MayEndInHalfPair(std::string_view inside) {
  if (inside.size() < 6) return false;
  const std::string_view last = inside.substr(inside.size() - 6);
  return last[0] == '\\' && last[1] == 'u' && (last[2] | 32) == 'd';
}

// Without the replacement characters at its end, which stand for half a character that may become whole.
std::string_view WithoutHalves(std::string_view inside) {
  for (;;) {
    if (inside.ends_with("\xef\xbf\xbd")) {
      inside.remove_suffix(3);
    } else if (inside.ends_with("\\ufffd") || inside.ends_with("\\uFFFD")) {
      inside.remove_suffix(6);
    } else {
      return inside;
    }
  }
}

}  // namespace

size_t RawSize(std::string_view inside, size_t size) {
  std::string one;
  bool lone = false;
  size_t raw = 0;
  for (size_t text = 0; text < size && raw < inside.size();) {
    if (inside[raw] != '\\') {
      ++raw;
      ++text;
      continue;
    }
    const std::string_view rest = inside.substr(raw);
    size_t length = rest.size() > 1 && rest[1] == 'u' ? 6 : 2;
    one.clear();
    // Two escapes that are one character must be taken together.
    if (length == 6 && rest.size() >= 12 && MayEndInHalfPair(rest.substr(0, 6)) && rest[6] == '\\') {
      lone = false;
      if (AppendUnescaped(rest.substr(0, 12), one, lone) && !lone) {
        length = 12;
      } else {
        one.clear();
      }
    }
    if (length != 12 && !AppendUnescaped(rest.substr(0, length), one, lone)) return inside.size();
    raw += length;
    text += one.size();
  }
  return std::min(raw, inside.size());
}

void RepeatedText::Reset() {
  raw_.clear();
  found_ = TextMode::kAuto;
  any_ = false;
}

RepeatedText::Change RepeatedText::Advance(std::string_view inside, TextMode mode) {
  if (inside.empty()) return {};  // an event without text, not a text that was taken back
  if (mode == TextMode::kAuto && found_ == TextMode::kAuto && any_) {
    const std::string_view before = WithoutHalves(raw_);
    if (!inside.starts_with(before)) {
      found_ = TextMode::kDelta;
    } else if (!before.empty() && inside.size() > raw_.size()) {
      found_ = TextMode::kCumulative;
    }
  }
  any_ = true;
  if (mode == TextMode::kAuto && found_ == TextMode::kDelta) raw_.clear();
  const bool whole = inside.starts_with(raw_) && !MayEndInHalfPair(raw_);
  return whole ? Append(inside) : Replace(inside);
}

RepeatedText::Change RepeatedText::Append(std::string_view inside) {
  Change change;
  const std::string_view added = inside.substr(raw_.size());
  raw_.append(added);
  if (added.find('\\') == std::string_view::npos) {
    change.added = added;
    return change;
  }
  new_.clear();
  change.valid = AppendUnescaped(added, new_, change.lone_surrogate);
  change.added = new_;
  return change;
}

RepeatedText::Change RepeatedText::Replace(std::string_view inside) {
  Change change;
  bool old_lone = false;
  old_.clear();
  new_.clear();
  AppendUnescaped(raw_, old_, old_lone);
  change.valid = AppendUnescaped(inside, new_, change.lone_surrogate);
  raw_.assign(inside);
  const size_t limit = std::min(old_.size(), new_.size());
  size_t common = static_cast<size_t>(
      std::mismatch(old_.begin(), old_.begin() + static_cast<std::ptrdiff_t>(limit), new_.begin()).first -
      old_.begin());
  // Not within a character.
  const auto tail = [](const std::string& s, size_t at) {
    return at < s.size() && (static_cast<unsigned char>(s[at]) & 0xc0) == 0x80;
  };
  while (common > 0 && (tail(old_, common) || tail(new_, common))) --common;
  change.dropped = old_.size() - common;
  change.added = std::string_view(new_).substr(common);
  return change;
}

}  // namespace llmbench::wire
