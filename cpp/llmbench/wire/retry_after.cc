#include "llmbench/wire/retry_after.h"

#include <time.h>

#include <algorithm>
#include <charconv>
#include <optional>

namespace llmbench::wire {
namespace {

// Whole non-negative decimal number or nothing.
std::optional<int64_t> ParseNumber(const std::string& s) {
  int64_t value = 0;
  const auto [end, ec] = std::from_chars(s.data(), s.data() + s.size(), value);
  if (ec != std::errc() || end != s.data() + s.size() || value < 0) return std::nullopt;
  return value;
}

// Seconds since 1970 of an HTTP date ("Sun, 06 Nov 1994 08:49:37 GMT" or one of its two obsolete forms).
std::optional<int64_t> ParseDate(const std::string& s) {
  for (const char* format :
       {"%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y"}) {
    tm fields{};
    const char* end = strptime(s.c_str(), format, &fields);
    if (end != nullptr && *end == '\0') return timegm(&fields);
  }
  return std::nullopt;
}

}  // namespace

int64_t RetryAfter::seconds() const {
  if (const auto ms = ParseNumber(after_ms)) return *ms / 1000 + (*ms % 1000 != 0);
  if (after.empty()) return -1;
  if (const auto whole = ParseNumber(after)) return *whole;
  const auto until = ParseDate(after), now = ParseDate(date);
  return until && now ? std::max<int64_t>(0, *until - *now) : -1;
}

}  // namespace llmbench::wire
