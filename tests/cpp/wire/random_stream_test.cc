// Streams nobody wrote down: what a seed makes up must be read as it was meant, however it is cut.
#include "random_stream.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "feeding.h"
#include "llmbench/wire/response_reader.h"

namespace llmbench::wire {
namespace {

class RandomStreamTest : public testing::TestWithParam<std::string> {};

TEST_P(RandomStreamTest, MeansWhatWasMeantHoweverItIsCut) {
  std::mt19937 random(20251124);
  for (int round = 0; round < 150 && !HasFailure(); ++round) {
    const RandomStream stream = MakeRandomStream(GetParam(), random);
    const auto format = WireFormat::Named(stream.format, stream.rules);
    ASSERT_TRUE(format.ok()) << format.status();
    const auto reader = MakeResponseReader(*format, MakeJsonScratch());
    // At once, byte by byte, and in slices that get longer from round to round.
    for (int slicing = 0; slicing < 12; ++slicing) {
      std::string text;
      Outcome outcome;
      reader->Start(true, &text, stream.prompt);
      std::string_view rest = stream.bytes;
      while (!rest.empty()) {
        const size_t longest = slicing == 0 ? rest.size() : slicing == 1 ? 1 : size_t{1} << (slicing - 1);
        const size_t size = slicing < 2 ? longest : std::min(rest.size(), 1 + random() % longest);
        FeedBytes(*reader, rest.substr(0, size), outcome);
        rest.remove_prefix(size);
      }
      if (stream.to_close) reader->Close(false, outcome);

      SCOPED_TRACE("round " + std::to_string(round) + ", slicing " + std::to_string(slicing) + ":\n" +
                   stream.bytes);
      const Answer& answer = reader->answer();
      ASSERT_EQ(Name(answer.error), "none") << answer.error_text;
      ASSERT_TRUE(reader->complete());
      ASSERT_EQ(reader->keep_alive(), !stream.to_close);
      ASSERT_EQ(Describe(outcome.events), Describe(stream.events));
      ASSERT_EQ(text, stream.text);
      ASSERT_EQ(answer.finish_reason, stream.finish_reason);
      ASSERT_EQ(answer.output_tokens, stream.output_tokens);
      ASSERT_EQ(answer.token_ids, stream.token_ids);
      ASSERT_TRUE(answer.done);
      ASSERT_FALSE(answer.done_order);
    }
  }
}

TEST_P(RandomStreamTest, HasTheSameEventsWhetherItsTextIsWantedOrNot) {
  std::mt19937 random(20251125);
  for (int round = 0; round < 50 && !HasFailure(); ++round) {
    const RandomStream stream = MakeRandomStream(GetParam(), random);
    const auto format = WireFormat::Named(stream.format, stream.rules);
    ASSERT_TRUE(format.ok()) << format.status();
    const auto reader = MakeResponseReader(*format, MakeJsonScratch());
    Outcome outcome;
    reader->Start(true, nullptr, stream.prompt);
    FeedBytes(*reader, stream.bytes, outcome);
    if (stream.to_close) reader->Close(false, outcome);
    ASSERT_EQ(Describe(outcome.events), Describe(stream.events)) << stream.bytes;
    ASSERT_EQ(Name(reader->answer().error), "none") << reader->answer().error_text;
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, RandomStreamTest, testing::ValuesIn(RandomStreamNames()),
                         [](const auto& name) {
                           std::string identifier = name.param;
                           std::replace_if(
                               identifier.begin(), identifier.end(),
                               [](char c) { return c == '-' || c == ' '; }, '_');
                           return identifier;
                         });

}  // namespace
}  // namespace llmbench::wire
