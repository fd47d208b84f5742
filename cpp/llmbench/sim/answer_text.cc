#include "llmbench/sim/answer_text.h"

#include "llmbench/sim/json_text.h"
#include "llmbench/sim/toy_tokenizer.h"

namespace llmbench::sim {
namespace {

constexpr const char* kPlainWords[] = {
    "time",   "water", "light", "house", "river", "stone", "green", "small", "great", "night", "paper",
    "music",  "table", "world", "field", "north", "bread", "cloud", "dance", "earth", "flame", "glass",
    "heart",  "ideas", "jolly", "kites", "lemon", "maple", "noble", "ocean", "piano", "quiet", "roads",
    "sugar",  "train", "under", "voice", "wheat", "young", "zebra", "apple", "beach", "chair", "dream",
    "eagle",  "frost", "grape", "horse", "inner", "judge", "known", "larch", "month", "ninth", "orbit",
    "pearls", "queen", "raven", "sheep", "tower", "unity", "vivid", "willow"};

// Multi-byte and astral characters, and line separators that are no line ends to an event stream.
constexpr const char* kUnicodeWords[] = {
    "caf\u00e9", "\u6f22\u5b57", "\u043c\u0438\u0440", "\U0001f600", "a\u2028b", "c\u2029d",
    "e\u0085f",  "na\u00efve",   "\U0001d54f",         "\u2264",     "plain",    "\ufeffmark"};
constexpr const char* kEscapedWords[] = {"caf\\u00e9",     "\\u6f22\\u5b57", "\\u043c\\u0438\\u0440",
                                         "\\ud83d\\ude00", "a\\u2028b",      "c\\u2029d",
                                         "e\\u0085f",      "tab\\there",     "\\ud835\\udd4f",
                                         "\\\"quoted\\\"", "line\\nbreak",   "nul\\u0000nul"};
constexpr const char* kSurrogateWords[] = {"lone\\ud83d", "\\ude00low", "plain"};
// First and second half of a character, in turn.
constexpr const char* kWithheldWords[] = {"", "\U0001f600", "", "\u6f22", "", "\u00e9"};

constexpr const char* kHalfCharacter = "\ufffd";

uint64_t Hash(std::string_view text) {
  uint64_t hash = 14695981039346656037u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
  return hash;
}

}  // namespace

AnswerText::AnswerText(TextStyle style) {
  const auto use = [this](const auto& words) {
    for (const char* word : words) {
      const bool half = *word == '\0';
      words_.push_back(half ? "" : std::string(" ") + word);
      std::vector<uint32_t> ids;
      Tokenize(half ? kHalfCharacter : word, &ids);
      ids_.push_back(ids.front());
    }
  };
  switch (style) {
    case TextStyle::kPlain:
      use(kPlainWords);
      break;
    case TextStyle::kUnicode:
      use(kUnicodeWords);
      break;
    case TextStyle::kEscaped:
      use(kEscapedWords);
      break;
    case TextStyle::kSurrogates:
      use(kSurrogateWords);
      break;
    case TextStyle::kWithheld:
      use(kWithheldWords);
      break;
  }
}

uint64_t AnswerText::FirstWord(std::string_view id) const { return Hash(id) % words_.size(); }

void AnswerText::Append(const Answer& answer, size_t choice, int64_t first, int64_t count,
                        std::string* out) const {
  for (int64_t i = first; i < first + count; ++i) *out += words_[WordAt(answer, choice, i)];
  // What was withheld to the last goes out as it is.
  const int64_t last = first + count - 1;
  if (count > 0 && last + 1 == answer.choices[choice].target && words_[WordAt(answer, choice, last)].empty())
    *out += kHalfCharacter;
}

void AnswerText::AppendSoFar(const Answer& answer, size_t choice, int64_t count, std::string* out) const {
  for (int64_t i = 0; i < count; ++i) *out += words_[WordAt(answer, choice, i)];
  if (count > 0 && words_[WordAt(answer, choice, count - 1)].empty()) *out += kHalfCharacter;
}

void AnswerText::AppendIds(const Answer& answer, size_t choice, int64_t first, int64_t count,
                           std::string* out) const {
  for (int64_t i = first; i < first + count; ++i) {
    if (i > first) *out += ',';
    AppendNumber(int64_t{IdOf(answer, choice, i)}, out);
  }
}

}  // namespace llmbench::sim
