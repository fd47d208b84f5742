// Text that every event repeats from its beginning: what of it is new.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "llmbench/wire/wire_rules.h"

namespace llmbench::wire {

// How much of a JSON string's inside, escapes and all, its first `size` bytes of text take.
size_t RawSize(std::string_view inside, size_t size);

// One sequence's text so far. All bytes are those between the quotes of a JSON string, escapes and all, so
// that what is repeated need not be unescaped again.
class RepeatedText {
 public:
  // What an event's text adds to the text so far: drop the last `dropped` bytes of that, append `added`.
  struct Change {
    std::string_view added;  // unescaped; valid until the next call
    size_t dropped = 0;      // a half character that became whole, as a rule
    bool lone_surrogate = false;
    bool valid = true;  // no escape is malformed
  };

  void Reset();

  // The text begins with these bytes, which are not output.
  void Skip(std::string_view inside) { raw_.assign(inside); }

  // `mode` kAuto: finds out with the second text whether texts repeat.
  Change Advance(std::string_view inside, TextMode mode);

 private:
  Change Append(std::string_view inside);
  Change Replace(std::string_view inside);

  std::string raw_;        // what the last event repeated or said
  std::string old_, new_;  // unescaped
  TextMode found_ = TextMode::kAuto;
  bool any_ = false;
};

}  // namespace llmbench::wire
