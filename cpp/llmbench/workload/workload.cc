#include "llmbench/workload/workload.h"

#include <numeric>
#include <utility>

namespace llmbench {

void Workload::Add(std::string_view body, int32_t prompt_tokens, int32_t asked_tokens,
                   std::string_view prompt) {
  items_.push_back({bytes_.size(), static_cast<uint32_t>(body.size()), static_cast<uint32_t>(prompt.size()),
                    prompt_tokens, asked_tokens});
  bytes_.append(body).append(prompt);
}

Workload::Item Workload::operator[](size_t i) const {
  const Entry& entry = items_[i];
  const std::string_view bytes(bytes_);
  return {bytes.substr(entry.offset, entry.size), entry.prompt_tokens, entry.asked_tokens,
          bytes.substr(entry.offset + entry.size, entry.prompt_size)};
}

DrawSequence::DrawSequence(size_t size, DrawOrder order, uint64_t seed)
    : size_(size), order_(order), rng_(seed, ChanceStream::kWhat) {
  if (order_ != DrawOrder::kShuffled) return;
  shuffled_.resize(size_);
  std::iota(shuffled_.begin(), shuffled_.end(), 0u);
  for (size_t i = size_; i > 1; --i) {  // Fisher–Yates
    std::swap(shuffled_[i - 1], shuffled_[rng_.Below(i, i)]);
  }
}

uint32_t DrawSequence::At(uint64_t request) const {
  switch (order_) {
    case DrawOrder::kWithReplacement:
      return static_cast<uint32_t>(rng_.Below(request, size_));
    case DrawOrder::kShuffled:
      return shuffled_[request % size_];
    case DrawOrder::kInOrder:
      break;
  }
  return static_cast<uint32_t>(request % size_);
}

}  // namespace llmbench
