// Events that differ from an earlier one in a few values only: what they say, without parsing them again.
//
// The events of a stream are alike but for a text, those of two streams but for an id and some counts. A
// shape is an event that was parsed once, with holes where such values lay. An event with the same bytes
// outside the holes, and in them values of the same type, says the same but for these values: whatever a
// parser would find has been found. Anything else, the rare value that would need a second look included, has
// no shape, and is parsed.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "llmbench/wire/stream_decoder.h"

namespace llmbench::wire {

// What one event of OpenAI's formats says. Counts are -1 where it has none.
struct OpenAiEvent {
  enum Count : uint8_t { kPrompt, kOutput, kCached, kReasoning, kCounts };

  EventKind kind = EventKind::kNone;
  bool has_choices = false;  // an array, maybe an empty one
  bool choices_null = false;
  bool has_usage = false;
  bool finished = false;  // a finish reason came
  bool several = false;   // a choice other than the first
  uint32_t choices = 0;
  int32_t token_ids = -1;
  std::array<int32_t, kCounts> counts = {-1, -1, -1, -1};
  char finish_reason[24] = {};
};

// One thread's shapes of one format.
class EventShapes {
 public:
  // A value that may be another one in the next event: the inside of a string, or a whole number.
  struct Value {
    enum class Kind : uint8_t {
      kString,  // of no consequence
      kNumber,  // of no consequence
      kOutput,  // not empty
      kCount,   // of the event, below a billion
    };
    const char* begin;
    uint32_t size;
    Kind kind;
    OpenAiEvent::Count count;
    bool text;  // kOutput: belongs to the answer's text

    std::string_view bytes() const { return {begin, size}; }
  };
  static constexpr size_t kMaxValues = 8;
  struct Values {
    std::array<Value, kMaxValues> list;
    size_t size = 0;
    bool complete = true;  // there was room for all

    void Add(const Value& value) {
      if (size == kMaxValues) {
        complete = false;
      } else {
        list[size++] = value;
      }
    }
    const Value* begin() const { return list.data(); }
    const Value* end() const { return list.data() + size; }
  };

  // What `payload` says, when it has the shape of an earlier event; null otherwise. It has kPadding readable
  // bytes after it. Its values are those of kOutput, whose escapes nobody has looked at. Both are good until
  // the next call.
  const OpenAiEvent* Match(std::string_view payload, Values& values);

  // `payload` was parsed: it says `event`, and has these values, in order.
  void Learn(std::string_view payload, const OpenAiEvent& event, const Values& values);

 private:
  // Streams take turns between few shapes: output, a finish reason, usage.
  static constexpr size_t kShapes = 4;
  static constexpr size_t kMaxBytes = 1000;
  // Events of which no two are alike, with log probabilities say, are not worth comparing: after so many
  // failures in a row only one in kRetry is.
  static constexpr uint32_t kPatience = 16, kRetry = 32;

  struct Shape {
    OpenAiEvent event;
    uint16_t holes = 0;
    uint16_t next = 0;   // the shape that followed it last
    uint32_t bytes = 0;  // 0: none
    struct Hole {
      uint16_t before;  // bytes between the hole before it and this one
      Value::Kind kind;
      OpenAiEvent::Count count;
      bool text;
    };
    std::array<Hole, kMaxValues> list;
    uint16_t rest = 0;  // bytes behind the last hole
    std::array<char, kMaxBytes> literal;
  };

  bool Fits(Shape& shape, std::string_view payload, Values& values) const;
  bool hopeless() const { return failures_ > kPatience && failures_ % kRetry != 0; }

  std::array<Shape, kShapes> shapes_;
  uint16_t last_ = 0;      // the shape that fitted last
  uint16_t oldest_ = 0;    // whose place the next one takes
  uint32_t failures_ = 0;  // in a row
};

}  // namespace llmbench::wire
