// Feeds bytes as a read would: the padding after them is hostile, and they are gone when the call returns.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "llmbench/wire/framing.h"
#include "llmbench/wire/response_reader.h"
#include "llmbench/wire/stream_decoder.h"

namespace llmbench::wire {

// Calls use(view) with a copy of `bytes` that ends right before kPadding bytes which look like more JSON and
// more lines.
inline void WithPadding(std::string_view bytes, const std::function<void(std::string_view)>& use) {
  static constexpr std::string_view kHostile =
      "}]\"\n\ndata: {\"error\":1}\n\n\r\n\"}]}0\r\n\r\n\\\"x\xff\xfe{[\"1234567890abcdefghijklmnopqr";
  static_assert(kHostile.size() >= kPadding);
  std::vector<char> buffer(bytes.size() + kPadding);
  if (!bytes.empty()) std::memcpy(buffer.data(), bytes.data(), bytes.size());
  std::memcpy(buffer.data() + bytes.size(), kHostile.data(), kPadding);
  use({buffer.data(), bytes.size()});
  std::memset(buffer.data(), '?', buffer.size());
}

// Calls check(slices) with the bytes one by one, and cut in two at every place.
inline void InEverySlicing(std::string_view bytes,
                           const std::function<void(const std::vector<std::string_view>& slices)>& check) {
  std::vector<std::string_view> slices;
  for (size_t i = 0; i < bytes.size(); ++i) slices.push_back(bytes.substr(i, 1));
  {
    SCOPED_TRACE("byte by byte");
    check(slices);
  }
  for (size_t cut = 1; cut <= bytes.size(); ++cut) {
    SCOPED_TRACE("cut at " + std::to_string(cut));
    check({bytes.substr(0, cut), bytes.substr(cut)});
  }
}

// What came out of one answer.
struct Outcome : EventSink {
  void OnOutput(const StreamEvent& event) override { events.push_back(event); }

  std::vector<StreamEvent> events;
  bool good = true;  // what the last Feed returned
};

inline void FeedBytes(ResponseReader& reader, std::string_view bytes, Outcome& outcome) {
  WithPadding(bytes, [&](std::string_view padded) {
    outcome.good = reader.Feed(padded.data(), padded.size(), outcome);
  });
}

enum class End { kOpen, kClosed, kReset };

// A whole answer in one read.
inline Outcome ReadAnswer(ResponseReader& reader, std::string_view bytes, End end = End::kOpen,
                          bool streamed = true, std::string* text = nullptr) {
  Outcome outcome;
  reader.Start(streamed, text);
  FeedBytes(reader, bytes, outcome);
  if (end != End::kOpen) reader.Close(end == End::kReset, outcome);
  return outcome;
}

inline std::string Name(WireError error) {
  static constexpr const char* kNames[] = {"none",
                                           "protocol",
                                           "header_too_large",
                                           "http_status",
                                           "redirect",
                                           "content_type",
                                           "content_encoding",
                                           "empty_stream",
                                           "event_too_large",
                                           "sse_json_invalid",
                                           "bad_event",
                                           "schema",
                                           "server_error_event",
                                           "empty_reply",
                                           "reset_before_headers",
                                           "reset_mid_stream",
                                           "truncated",
                                           "truncated_no_done"};
  return kNames[static_cast<size_t>(error)];
}

inline std::string Name(EventKind kind) {
  static constexpr const char* kNames[] = {"none", "answer", "reasoning", "tool"};
  return kNames[static_cast<size_t>(kind)];
}

inline std::string Describe(const std::vector<StreamEvent>& events) {
  std::string text;
  for (const StreamEvent& event : events) {
    text += text.empty() ? "" : " ";
    text += Name(event.kind);
    if (event.tokens > 0) text += ":" + std::to_string(event.tokens);
  }
  return text;
}

// Frames as text, "|" between them, "~" before one that lacked its end, "!" where the parser gave up.
template <typename Parser>
std::string Split(Parser& parser, std::string_view bytes, size_t slice) {
  std::string out;
  Frame frame;
  parser.Reset();
  for (size_t at = 0; at < bytes.size(); at += slice) {
    WithPadding(bytes.substr(at, slice), [&](std::string_view input) {
      for (;;) {
        const FrameStep step = parser.Next(input, frame);
        if (step == FrameStep::kTooLarge && !out.ends_with('!')) out += "!";
        if (step != FrameStep::kEvent) return;
        out += std::string(frame.payload) + "|";
      }
    });
  }
  if (parser.Finish(frame) == FrameStep::kEvent) out += "~" + std::string(frame.payload);
  return out;
}

}  // namespace llmbench::wire
