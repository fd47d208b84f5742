#include "llmbench/wire/token_counts.h"

#include <algorithm>
#include <limits>

namespace llmbench::wire {
namespace {

// A sum of counts, where -1 is none.
int32_t Sum(int32_t a, int32_t b) {
  const int64_t sum = static_cast<int64_t>(std::max(a, 0)) + std::max(b, 0);
  return static_cast<int32_t>(std::min<int64_t>(sum, std::numeric_limits<int32_t>::max()));
}

// A field's count: of output all that match added up, else the first; -1 where there is none.
int32_t CountOf(const FoundFields& found, Field field, const FieldCapture*& wrong) {
  int32_t total = -1;
  const FieldCapture *other = nullptr, *no_number = nullptr;
  found.ForEach(field, ValueKind::kCount, &other, [&](const FieldCapture& capture) {
    const int32_t value = ToCount(capture.token);
    if (value < 0) {
      no_number = &capture;
    } else if (total < 0 || field == Field::kOutputTokens) {
      total = Sum(total, value);
    }
  });
  if (other == nullptr) other = no_number;
  if (other != nullptr) wrong = other;
  return total;
}

}  // namespace

void TokenCounts::Reset() {
  counted_.clear();
  continuous_ = true;
}

uint32_t TokenCounts::Keep(const FoundFields& found, size_t sequence, bool streamed, EventKind kind,
                           Answer& answer, const FieldCapture*& wrong) {
  const auto count = [&](Field field) { return found.LooksFor(field) ? CountOf(found, field, wrong) : -1; };
  if (const int32_t prompt = count(Field::kPromptTokens); prompt >= 0) {
    answer.prompt_tokens = prompt;
    found.ForAll(Field::kPromptTokensMore, [&](const FieldCapture& capture) {
      if (IsKind(capture.token, ValueKind::kCount)) {
        answer.prompt_tokens = Sum(answer.prompt_tokens, ToCount(capture.token));
      }
    });
  }
  if (const int32_t cached = count(Field::kCachedTokens); cached >= 0) {
    answer.cached_tokens = cached;
  }
  if (const int32_t thought = count(Field::kReasoningTokens); thought >= 0) {
    answer.reasoning_tokens = thought;
  }

  int32_t ids = 0;
  if (found.ForEach(Field::kTokenIds, ValueKind::kTokens, nullptr, [&](const FieldCapture& capture) {
        ids = Sum(ids, capture.token[0] == '[' ? std::max(0, capture.elements) : 1);
      }) != nullptr) {
    answer.token_ids = Sum(answer.token_ids, ids);
  }
  int32_t own = 0;
  const int32_t output = count(Field::kOutputTokens);
  if (output < 0) {
    // A count that comes later is then not of one event.
    if (kind != EventKind::kNone) continuous_ = false;
  } else if (!streamed || mode_ == CountMode::kFinal) {
    answer.output_tokens = output;
    if (!streamed) own = output;
  } else if (mode_ == CountMode::kPerChunk) {
    answer.output_tokens = Sum(answer.output_tokens, output);
    own = output;
  } else {
    sequence = std::min(sequence, kMaxSequences - 1);
    if (sequence >= counted_.size()) counted_.resize(sequence + 1);
    // Never back: of an answer cut short the highest is the best known.
    const int32_t more = std::max(0, output - counted_[sequence]);
    counted_[sequence] += more;
    if (continuous_) own = more;
    answer.output_tokens = Sum(answer.output_tokens, more);
  }
  return static_cast<uint32_t>(ids > 0 ? ids : own);
}

}  // namespace llmbench::wire
