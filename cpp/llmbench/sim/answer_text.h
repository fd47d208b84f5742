// What answers say: meaningless words, one per token, chosen by the answer's id and the token's number, so
// that the same tokens have the same text in every dialect.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "llmbench/sim/answer.h"
#include "llmbench/sim/options.h"

namespace llmbench::sim {

// All text is escaped for a JSON string.
class AnswerText {
 public:
  explicit AnswerText(TextStyle style);

  // Where the words of the answer with this id begin.
  uint64_t FirstWord(std::string_view id) const;

  // The text of the tokens [first, first + count). In the style `withheld` every character takes two tokens:
  // the first of them has no text.
  void Append(const Answer& answer, size_t choice, int64_t first, int64_t count, std::string* out) const;
  // The text of the first `count` tokens, as a server that sends all of it each time has it: half a character
  // at its end is U+FFFD.
  void AppendSoFar(const Answer& answer, size_t choice, int64_t count, std::string* out) const;

  uint32_t IdOf(const Answer& answer, size_t choice, int64_t token) const {
    return ids_[WordAt(answer, choice, token)];
  }
  // "3,17,4"
  void AppendIds(const Answer& answer, size_t choice, int64_t first, int64_t count, std::string* out) const;

 private:
  size_t WordAt(const Answer& answer, size_t choice, int64_t token) const {
    return (answer.first_word + choice * 7 + static_cast<size_t>(token)) % words_.size();
  }

  std::vector<std::string> words_;
  std::vector<uint32_t> ids_;
};

}  // namespace llmbench::sim
