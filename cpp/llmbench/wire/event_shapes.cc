#include "llmbench/wire/event_shapes.h"

#include <simdjson.h>

#include <bit>
#include <cstring>

namespace llmbench::wire {
namespace {

constexpr uint64_t kOnes = 0x0101010101010101;
constexpr uint64_t kHighs = 0x8080808080808080;

uint64_t Load(const char* at) {
  uint64_t word;
  std::memcpy(&word, at, sizeof word);
  if constexpr (std::endian::native == std::endian::big) word = __builtin_bswap64(word);
  return word;
}

// Of eight bytes, the first that is marked by its highest bit. What a borrow or a carry marks lies behind it.
size_t FirstMarked(uint64_t marks) { return static_cast<size_t>(std::countr_zero(marks)) / 8; }

// Marks quotes, backslashes, control characters and what is not ASCII.
uint64_t MarkSpecial(uint64_t word) {
  const uint64_t quote = word ^ (kOnes * '"'), backslash = word ^ (kOnes * '\\');
  return ((word - kOnes * 0x20) | (quote - kOnes) | (backslash - kOnes) | word) & kHighs;
}

// Marks what is not a digit.
uint64_t MarkOther(uint64_t word) {
  const uint64_t value = word ^ (kOnes * '0');
  return ((value + kOnes * (0x7f - 9)) | value) & kHighs;
}

// The quote that ends the string whose inside begins here; null when there is none before `end`, or a byte
// that JSON does not allow. `other_than_ascii` is set when such a byte lies before it.
const char* FindQuote(const char* at, const char* end, bool& other_than_ascii) {
  while (at < end) {
    const uint64_t special = MarkSpecial(Load(at));
    if (special == 0) {
      at += 8;
      continue;
    }
    at += FirstMarked(special);
    const auto byte = static_cast<uint8_t>(*at);
    if (byte == '"') return at < end ? at : nullptr;
    if (byte < 0x20) return nullptr;
    // An escaped character needs no look unless it would mean something by itself.
    if (byte == '\\' && (at[1] == '"' || at[1] == '\\')) ++at;
    if (byte >= 0x80) other_than_ascii = true;
    ++at;
  }
  return nullptr;
}

// The first byte behind the whole number that begins here; null when there is none that is surely well
// formed.
const char* NumberEnd(const char* begin, const char* end, size_t max_digits) {
  const char* at = begin;
  uint64_t other = 0;
  while (at < end && (other = MarkOther(Load(at))) == 0) at += 8;
  if (other == 0) return nullptr;
  at += FirstMarked(other);
  const auto digits = static_cast<size_t>(at - begin);
  return digits == 0 || digits > max_digits || at > end || (*begin == '0' && digits > 1) ? nullptr : at;
}

}  // namespace

bool EventShapes::Fits(Shape& shape, std::string_view payload, Values& values) const {
  const char* at = payload.data();
  const char* const end = at + payload.size();
  const char* literal = shape.literal.data();
  values.size = 0;
  for (size_t i = 0; i < shape.holes; ++i) {
    const Shape::Hole& hole = shape.list[i];
    if (end - at < hole.before || std::memcmp(at, literal, hole.before) != 0) return false;
    literal += hole.before;
    at += hole.before;
    const char* const begin = at;
    bool other_than_ascii = false;
    switch (hole.kind) {
      case Value::Kind::kString:
      case Value::Kind::kOutput:
        at = FindQuote(begin, end, other_than_ascii);
        break;
      case Value::Kind::kNumber:
        at = NumberEnd(begin, end, 18);
        break;
      case Value::Kind::kCount:
        at = NumberEnd(begin, end, 9);
        break;
    }
    if (at == nullptr) return false;
    const auto size = static_cast<size_t>(at - begin);
    if (other_than_ascii && !simdjson::validate_utf8(begin, size)) return false;
    if (hole.kind == Value::Kind::kOutput) {
      if (size == 0) return false;
      values.list[values.size++] = {begin, static_cast<uint32_t>(size), hole.kind, hole.count, hole.text};
    } else if (hole.kind == Value::Kind::kCount) {
      int32_t count = 0;
      for (const char* digit = begin; digit < at; ++digit) count = 10 * count + (*digit - '0');
      shape.event.counts[hole.count] = count;
    }
  }
  return end - at == shape.rest && std::memcmp(at, literal, shape.rest) == 0;
}

const OpenAiEvent* EventShapes::Match(std::string_view payload, Values& values) {
  if (hopeless()) return nullptr;
  uint16_t index = shapes_[last_].next;
  for (size_t tried = 0; tried < kShapes; ++tried) {
    Shape& shape = shapes_[index];
    if (shape.bytes != 0 && Fits(shape, payload, values)) {
      shapes_[last_].next = index;
      last_ = index;
      failures_ = 0;
      return &shape.event;
    }
    index = static_cast<uint16_t>((index + 1) % kShapes);
  }
  return nullptr;
}

void EventShapes::Learn(std::string_view payload, const OpenAiEvent& event, const Values& values) {
  const bool skip = hopeless();
  ++failures_;
  if (skip || !values.complete || payload.size() > kMaxBytes) return;
  Shape& shape = shapes_[oldest_];
  shape.event = event;
  shape.holes = 0;
  shape.bytes = 0;
  const char* at = payload.data();
  for (const Value& value : values) {
    const auto before = static_cast<uint16_t>(value.begin - at);
    std::memcpy(shape.literal.data() + shape.bytes, at, before);
    shape.bytes += before;
    shape.list[shape.holes++] = {before, value.kind, value.count, value.text};
    at = value.begin + value.size;
  }
  shape.rest = static_cast<uint16_t>(payload.data() + payload.size() - at);
  std::memcpy(shape.literal.data() + shape.bytes, at, shape.rest);
  shape.bytes += shape.rest;
  shapes_[last_].next = oldest_;
  last_ = oldest_;
  oldest_ = static_cast<uint16_t>((oldest_ + 1) % kShapes);
}

}  // namespace llmbench::wire
