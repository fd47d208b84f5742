// A body read whole and byte by byte, as text that shows what came of it.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "feeding.h"
#include "llmbench/wire/body_reader.h"

namespace llmbench::wire {

struct Body {
  std::string_view bytes;
  std::string_view prompt = {};
  bool streamed = true;
  std::string_view content_type = {};
  std::string_view rules = {};
  bool cut = false;  // the connection was closed before the body's end
};

// "events" kinds and tokens, "answer" what is known of it, "text" its text.
struct Read {
  std::string events, answer, text, error_text;
};

inline std::string DescribeAnswer(const Answer& answer) {
  std::string out = answer.finish_reason;
  const auto count = [&out](const char* name, int32_t value) {
    if (value >= 0) out += std::string(out.empty() ? "" : " ") + name + ":" + std::to_string(value);
  };
  const auto flag = [&out](const char* name, bool set) {
    if (set) out += std::string(out.empty() ? "" : " ") + name;
  };
  count("prompt", answer.prompt_tokens);
  count("cached", answer.cached_tokens);
  count("output", answer.output_tokens);
  count("reasoning", answer.reasoning_tokens);
  count("ids", answer.token_ids);
  flag("done", answer.done);
  flag("done_order", answer.done_order);
  flag("lone_surrogate", answer.lone_surrogate);
  flag("unterminated", answer.unterminated);
  flag("not_streamed", answer.not_streamed);
  if (answer.error != WireError::kNone) flag(("error=" + Name(answer.error)).c_str(), true);
  return out;
}

inline Read ReadOnce(BodyReader& reader, const Body& body, size_t slice) {
  Read read;
  Outcome outcome;
  reader.Start(body.streamed, &read.text, body.prompt);
  reader.OnHead({.status = 200, .content_type = body.content_type, .content_encoding = {}, .location = {}});
  for (size_t at = 0; at < body.bytes.size(); at += slice) {
    WithPadding(body.bytes.substr(at, slice), [&](std::string_view bytes) { reader.OnBody(bytes, outcome); });
  }
  if (body.cut) {
    reader.OnCut(WireError::kTruncated, "the connection was closed within the response body");
  } else {
    reader.OnEnd({}, outcome);
  }
  read.events = Describe(outcome.events);
  read.answer = DescribeAnswer(reader.answer());
  read.error_text = reader.answer().error_text;
  return read;
}

// Expects that slices and an earlier answer change nothing.
inline Read ReadBody(std::string_view format, const Body& body) {
  const auto named = WireFormat::Named(format, body.rules);
  if (!named.ok()) {
    ADD_FAILURE() << named.status();
    return {};
  }
  BodyReader reader(*named, MakeJsonScratch(), {});
  const Read whole = ReadOnce(reader, body, body.bytes.size() + 1);
  for (const size_t slice : {1, 2, 7, 64}) {
    const Read sliced = ReadOnce(reader, body, slice);
    EXPECT_EQ(sliced.events, whole.events) << "in slices of " << slice;
    EXPECT_EQ(sliced.answer, whole.answer) << "in slices of " << slice;
    EXPECT_EQ(sliced.text, whole.text) << "in slices of " << slice;
  }
  return whole;
}

}  // namespace llmbench::wire
