// The simulator's own tokenizer: deterministic, needs no files, about one token per short word.
//
// White space separates and costs nothing. A run of letters, digits and non-ASCII bytes is one token per
// eight bytes begun; every other character is a token of its own. The id of a token is a hash of its bytes.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace llmbench::sim {

inline constexpr uint32_t kToyVocabulary = 100'000;

// Number of tokens of `text`.
int64_t CountTokens(std::string_view text);

// The same count, and appends the ids.
int64_t Tokenize(std::string_view text, std::vector<uint32_t>* ids);

}  // namespace llmbench::sim
