// The text of an answer as its events bring it: what of each text is new, with neither the prompt nor what
// was said before.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "llmbench/wire/repeated_text.h"
#include "llmbench/wire/stream_decoder.h"
#include "llmbench/wire/wire_rules.h"

namespace llmbench::wire {

class OutputText {
 public:
  // `rules` must outlive this.
  explicit OutputText(const WireRules& rules) : rules_(rules) {}

  // Gets ready for the next answer. `prompt`: as the server saw it; valid as long as the answer lasts.
  void Reset(std::string_view prompt);

  // Before the texts of an event: Undo takes back what was appended since.
  void Begin(const Answer& answer);
  void Undo(Answer& answer) const;

  // Takes one text of a sequence, the bytes between the quotes of its JSON string, and appends to answer.text
  // what of it is output, where that is wanted. Returns whether any is. `valid`: becomes false when an escape
  // is malformed.
  bool Append(size_t sequence, std::string_view inside, bool streamed, Answer& answer, bool& valid);

 private:
  struct Sequence {
    RepeatedText text;
    bool begun = false;  // a text came
  };

  Sequence& SequenceAt(size_t i);
  // How much of a first text is the prompt, or what else comes before the answer.
  size_t NotOutput(std::string_view inside);

  const WireRules& rules_;
  std::string_view prompt_;
  std::vector<Sequence> sequences_;
  size_t used_ = 0;    // of the sequences, by this answer
  std::string plain_;  // an unescaped text
  size_t size_before_ = 0;
  std::string before_;     // the answer's text before this event, where that replaced some of it
  bool replaced_ = false;  // before_ is what was there
};

}  // namespace llmbench::wire
