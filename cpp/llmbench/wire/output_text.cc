#include "llmbench/wire/output_text.h"

#include <algorithm>

#include "llmbench/wire/json_string.h"

namespace llmbench::wire {
namespace {

void AppendPlain(std::string_view inside, Answer& answer, bool& valid) {
  if (answer.text == nullptr) return;
  bool lone = false;
  valid &= AppendUnescaped(inside, *answer.text, lone);
  answer.lone_surrogate |= lone;
}

}  // namespace

void OutputText::Reset(std::string_view prompt) {
  prompt_ = prompt;
  for (size_t i = 0; i < used_; ++i) {
    sequences_[i].text.Reset();
    sequences_[i].begun = false;
  }
  used_ = 0;
}

void OutputText::Begin(const Answer& answer) {
  size_before_ = answer.text != nullptr ? answer.text->size() : 0;
  replaced_ = false;
}

void OutputText::Undo(Answer& answer) const {
  if (answer.text == nullptr) return;
  if (replaced_) {
    *answer.text = before_;
  } else {
    answer.text->resize(size_before_);
  }
}

OutputText::Sequence& OutputText::SequenceAt(size_t i) {
  i = std::min(i, kMaxSequences - 1);
  if (i >= sequences_.size()) sequences_.resize(i + 1);
  used_ = std::max(used_, i + 1);
  return sequences_[i];
}

bool OutputText::Append(size_t which, std::string_view inside, bool streamed, Answer& answer, bool& valid) {
  const bool repeats = streamed && rules_.text_mode != TextMode::kDelta;
  const bool strips = (rules_.strip_prompt && !prompt_.empty()) || !rules_.strip_until.empty();
  if (inside.empty() && !repeats) return false;
  if (!repeats && !strips) {
    AppendPlain(inside, answer, valid);
    return true;
  }
  Sequence& sequence = SequenceAt(which);
  size_t not_output = 0;
  if (strips && !sequence.begun) not_output = NotOutput(inside);
  sequence.begun |= !inside.empty();
  if (!repeats) {
    inside.remove_prefix(not_output);
    AppendPlain(inside, answer, valid);
    return !inside.empty();
  }
  if (not_output > 0) sequence.text.Skip(inside.substr(0, not_output));
  const RepeatedText::Change change = sequence.text.Advance(inside, rules_.text_mode);
  valid &= change.valid;
  if (answer.text != nullptr) {
    answer.lone_surrogate |= change.lone_surrogate;
    if (change.dropped > 0 && !replaced_) {
      before_ = *answer.text;
      replaced_ = true;
    }
    answer.text->resize(answer.text->size() - std::min(change.dropped, answer.text->size()));
    answer.text->append(change.added);
  }
  return !change.added.empty();
}

size_t OutputText::NotOutput(std::string_view inside) {
  plain_.clear();
  bool lone = false;
  if (!AppendUnescaped(inside, plain_, lone)) return 0;
  if (!rules_.strip_until.empty()) {
    const size_t marker = plain_.rfind(rules_.strip_until);
    if (marker != std::string::npos) return RawSize(inside, marker + rules_.strip_until.size());
  }
  const bool repeated = rules_.strip_prompt && !prompt_.empty() && plain_.starts_with(prompt_);
  return repeated ? RawSize(inside, prompt_.size()) : 0;
}

}  // namespace llmbench::wire
