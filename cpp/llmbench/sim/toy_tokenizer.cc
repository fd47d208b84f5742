#include "llmbench/sim/toy_tokenizer.h"

#include <algorithm>
#include <array>

namespace llmbench::sim {
namespace {

constexpr size_t kBytesPerToken = 8;

enum class CharClass : uint8_t { kSpace, kWord, kOther };

constexpr std::array<CharClass, 256> kClasses = [] {
  std::array<CharClass, 256> classes{};
  for (int c = 0; c < 256; ++c) {
    const bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c >= 0x80;
    classes[static_cast<size_t>(c)] = c <= ' ' ? CharClass::kSpace
                                      : word   ? CharClass::kWord
                                               : CharClass::kOther;
  }
  return classes;
}();

CharClass ClassOf(char c) { return kClasses[static_cast<unsigned char>(c)]; }

template <typename Visit>
void ForEachToken(std::string_view text, Visit visit) {
  for (size_t at = 0; at < text.size();) {
    switch (ClassOf(text[at])) {
      case CharClass::kSpace:
        ++at;
        break;
      case CharClass::kOther:
        visit(text.substr(at, 1));
        ++at;
        break;
      case CharClass::kWord: {
        size_t end = at;
        while (end < text.size() && ClassOf(text[end]) == CharClass::kWord) ++end;
        for (; at < end; at += std::min(kBytesPerToken, end - at)) {
          visit(text.substr(at, std::min(kBytesPerToken, end - at)));
        }
        break;
      }
    }
  }
}

// FNV-1a.
uint32_t IdOf(std::string_view piece) {
  uint32_t hash = 2166136261u;
  for (const char c : piece) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
  return hash % kToyVocabulary;
}

}  // namespace

int64_t CountTokens(std::string_view text) {
  int64_t count = 0;
  ForEachToken(text, [&count](std::string_view) { ++count; });
  return count;
}

int64_t Tokenize(std::string_view text, std::vector<uint32_t>* ids) {
  const size_t before = ids->size();
  ForEachToken(text, [ids](std::string_view piece) { ids->push_back(IdOf(piece)); });
  return static_cast<int64_t>(ids->size() - before);
}

}  // namespace llmbench::sim
