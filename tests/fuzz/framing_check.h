// What every framing owes its callers, whatever the bytes: checked on a whole stream and on slices of it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "fuzz_input.h"
#include "llmbench/wire/framing.h"

namespace llmbench::wire {

struct Framed {
  std::vector<std::string> events;  // "!" before those the framing marks as errors
  bool too_large = false;
  bool unfinished = false;  // the last event lacked its end
};

inline void Feed(Framing& framing, std::string_view input, Framed& framed) {
  Frame frame;
  for (;;) {
    const size_t before = input.size();
    const FrameStep step = framing.Next(input, frame);
    FUZZ_CHECK(input.size() <= before);
    if (step == FrameStep::kNeedMore) {
      FUZZ_CHECK(input.empty());
      return;
    }
    if (step == FrameStep::kTooLarge) {
      framed.too_large = true;
      return;
    }
    FUZZ_CHECK(!framed.too_large);
    framed.events.push_back((frame.error ? "!" : "") + std::string(frame.payload));
  }
}

inline void Finish(Framing& framing, Framed& framed) {
  Frame frame;
  if (framed.too_large || framing.Finish(frame) != FrameStep::kEvent) return;
  framed.events.push_back((frame.error ? "!" : "") + std::string(frame.payload));
  framed.unfinished = true;
}

// The frames of `bytes`, which are the same in one read and in many.
inline Framed FrameAnyway(Framing& framing, std::string_view bytes) {
  Framed whole, sliced;
  framing.Reset();
  const PaddedCopy copy(bytes);
  Feed(framing, copy.view(), whole);
  (void)framing.begun();
  Finish(framing, whole);

  framing.Reset();
  ForEachSlice(bytes, [&](std::string_view slice) {
    Feed(framing, slice, sliced);
    return !sliced.too_large;
  });
  Finish(framing, sliced);
  FUZZ_CHECK(whole.too_large == sliced.too_large);
  FUZZ_CHECK(whole.unfinished == sliced.unfinished);
  FUZZ_CHECK(whole.events == sliced.events);
  return whole;
}

// The body of an HTTP response; other bytes as they are. The seeds are responses, their chunk headers are
// noise.
inline std::string_view Body(std::string_view bytes) {
  const size_t end = bytes.starts_with("HTTP/") ? bytes.find("\r\n\r\n") : std::string_view::npos;
  return end == std::string_view::npos ? bytes : bytes.substr(end + 4);
}

}  // namespace llmbench::wire
