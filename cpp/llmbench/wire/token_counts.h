// The counts of an answer as its events tell them: the answer's own, and how many tokens each event holds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "llmbench/wire/found_fields.h"
#include "llmbench/wire/stream_decoder.h"
#include "llmbench/wire/wire_rules.h"

namespace llmbench::wire {

class TokenCounts {
 public:
  explicit TokenCounts(CountMode mode) : mode_(mode) {}

  // Gets ready for the next answer.
  void Reset();

  // Keeps what an event or a document tells in `answer`; returns how many tokens are its own, 0 when the
  // server does not say. `sequence`: which one an event belongs to. `wrong`: gets a value that should be a
  // count and is none.
  uint32_t Keep(const FoundFields& found, size_t sequence, bool streamed, EventKind kind, Answer& answer,
                const FieldCapture*& wrong);

 private:
  const CountMode mode_;
  std::vector<int32_t> counted_;  // output tokens so far of each sequence, where the server counts up
  bool continuous_ = true;        // every event with output so far had a count
};

}  // namespace llmbench::wire
