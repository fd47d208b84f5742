#include "llmbench/wire/grpc_frames.h"

#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "feeding.h"
#include "protobuf.h"

namespace llmbench::wire {
namespace {

using namespace std::string_literals;

constexpr size_t kLimit = 300;

// Payloads, errors with a "!" before them; "TOO LARGE" ends the list.
using Messages = std::vector<std::string>;

void Feed(GrpcFrames& frames, std::string_view bytes, Messages& messages) {
  WithPadding(bytes, [&](std::string_view input) {
    for (Frame frame;;) {
      switch (frames.Next(input, frame)) {
        case FrameStep::kNeedMore:
          EXPECT_EQ(input, "");
          return;
        case FrameStep::kTooLarge:
          if (messages.empty() || messages.back() != "TOO LARGE") messages.emplace_back("TOO LARGE");
          return;
        case FrameStep::kEvent:
          messages.push_back((frame.error ? "!" : "") + std::string(frame.payload));
      }
    }
  });
}

std::string Message(const std::string& payload) { return GrpcMessage(payload); }

struct Row {
  const char* name;
  std::string stream;
  Messages messages;
  std::string torn = {};  // what Finish hands out
};
std::ostream& operator<<(std::ostream& out, const Row& row) { return out << row.name; }

class GrpcFramesRows : public testing::TestWithParam<Row> {};

TEST_P(GrpcFramesRows, InAnySlicing) {
  const Row& row = GetParam();
  GrpcFrames frames(kLimit);
  InEverySlicing(row.stream, [&](const std::vector<std::string_view>& slices) {
    frames.Reset();
    EXPECT_FALSE(frames.begun());
    Messages messages;
    for (const std::string_view slice : slices) Feed(frames, slice, messages);
    EXPECT_EQ(messages, row.messages);
    EXPECT_EQ(frames.begun(), !row.torn.empty());
    Frame frame;
    const FrameStep end = frames.Finish(frame);
    if (row.torn.empty()) {
      const bool too_large = !row.messages.empty() && row.messages.back() == "TOO LARGE";
      EXPECT_EQ(end, too_large ? FrameStep::kTooLarge : FrameStep::kNeedMore);
    } else {
      ASSERT_EQ(end, FrameStep::kEvent);
      EXPECT_EQ(frame.payload, row.torn);
    }
  });
}

const char* const kCompressed = "!the message is compressed though nobody asked for it";

INSTANTIATE_TEST_SUITE_P(
    Streams, GrpcFramesRows,
    testing::Values(
        Row{"nothing", "", {}},
        Row{"messages", Message("a") + Message("") + Message("bcd"), {"a", "", "bcd"}},
        Row{"the largest", Message(std::string(kLimit, 'x')), {std::string(kLimit, 'x')}},
        Row{"one too large", Message("a") + Message(std::string(kLimit + 1, 'x')), {"a", "TOO LARGE"}},
        Row{"a size over 2^31", "\0\xff\xff\xff\xff"s, {"TOO LARGE"}},
        Row{"a torn prefix", Message("a") + "\0\0\0"s, {"a"}, "\0\0\0"s},
        Row{"a torn message", Message("abc").substr(0, 7), {}, "\0\0\0\0\3ab"s},
        Row{"compressed", Message("a") + "\1\0\0\0\1z"s + Message("b"), {"a", kCompressed}}),
    [](const auto& row) {
      std::string name = row.param.name;
      for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
      return name;
    });

TEST(GrpcFrames, AMessageWholeInOneReadIsNotCopied) {
  GrpcFrames frames(kLimit);
  const std::string stream = Message("abc");
  WithPadding(stream, [&](std::string_view input) {
    const char* const begin = input.data();
    Frame frame;
    ASSERT_EQ(frames.Next(input, frame), FrameStep::kEvent);
    EXPECT_EQ(frame.payload.data(), begin + GrpcFrames::kPrefixBytes);
  });
}

}  // namespace
}  // namespace llmbench::wire
