#include "llmbench/aggregate/event_digest.h"

#include <gtest/gtest.h>

#include "llmbench/base/clock.h"
#include "llmbench/record/event_blob.h"

namespace llmbench {
namespace {

constexpr int64_t kS = kNsPerSecond;

TEST(SecondBins, CountWholeSeconds) {
  SecondBins bins(10 * kS);
  bins.Add(10 * kS, 1);
  bins.Add(11 * kS - 1, 2);
  bins.Add(13 * kS, 4);
  bins.Add(9 * kS, 8);                                // before the origin
  bins.Add(std::numeric_limits<int64_t>::max(), 16);  // centuries later
  EXPECT_EQ(bins.Until(14 * kS), (std::vector<double>{3, 0, 0, 4}));
  EXPECT_EQ(bins.Until(14 * kS - 1), (std::vector<double>{3, 0, 0}));
  EXPECT_EQ(bins.Until(16 * kS), (std::vector<double>{3, 0, 0, 4, 0, 0}));
  EXPECT_TRUE(bins.Until(10 * kS).empty());
  EXPECT_TRUE(bins.Until(kNoTime).empty());
  EXPECT_EQ(bins.EndOfSecond(10 * kS), 11 * kS);
  EXPECT_EQ(bins.EndOfSecond(11 * kS - 1), 11 * kS);
  EXPECT_EQ(bins.EndOfSecond(0), 10 * kS);
}

RequestRecord Row(Outcome outcome, int64_t sent_ns, int32_t output_tokens) {
  RequestRecord r;
  r.outcome = outcome;
  r.sent_ns = r.scheduled_ns = sent_ns;
  r.output_tokens = output_tokens;
  r.token_source = TokenSource::kUsage;
  return r;
}

void Add(EventDigest& digest, const RequestRecord& r, const std::vector<int64_t>& times_ns,
         std::vector<uint32_t> tokens = {}) {
  tokens.resize(times_ns.size());
  digest.Add(r, times_ns, tokens, std::vector<uint8_t>(times_ns.size(), kEventKernelStamp));
}

TEST(EventDigest, SpreadsTokensOverSecondsAndSortsRequestsByWhatIsKnown) {
  EventDigest digest({});
  RequestRecord warm = Row(Outcome::kOk, -5 * kS, 2);
  warm.phase = Phase::kWarmup;
  Add(digest, warm, {-4 * kS, -3 * kS});
  Add(digest, Row(Outcome::kOk, kS, 3), {2 * kS, 3 * kS, 3 * kS + 1});  // a token each
  Add(digest, Row(Outcome::kOk, kS, 10), {2 * kS, 4 * kS}, {4, 6});     // counted
  Add(digest, Row(Outcome::kOk, kS, 10), {2 * kS, 4 * kS}, {4, 0});     // unknown: evenly
  Add(digest, Row(Outcome::kDns, kS, 100), {2 * kS});                   // failed
  Add(digest, Row(Outcome::kCut, kS, 1), {4 * kS});
  EXPECT_EQ(digest.origin_ns(), kS);
  EXPECT_EQ(digest.output_tokens().Until(6 * kS), (std::vector<double>{0, 1 + 4 + 5, 2, 6 + 5 + 1, 0}));
  EXPECT_EQ(digest.ok, 3u);
  EXPECT_EQ(digest.one_token_each, 1u);
  EXPECT_EQ(digest.counted, 1u);
  EXPECT_EQ(digest.events, 8u);
  EXPECT_DOUBLE_EQ(digest.tokens_in_window, 24);
  EXPECT_EQ(digest.gaps(GapUnit::kChunks).size(), 4u);
  EXPECT_EQ(digest.gaps(GapUnit::kTokens).size(), 2u + 6u);
  EXPECT_EQ(std::vector<uint32_t>(digest.gap_rows().begin(), digest.gap_rows().end()),
            (std::vector<uint32_t>{1, 2, 3}));
}

TEST(EventDigest, KeepsToItsWindow) {
  EventDigest digest({2 * kS, 4 * kS});
  Add(digest, Row(Outcome::kOk, kS, 4), {kS + 1, 2 * kS, 3 * kS, 5 * kS});
  EXPECT_EQ(digest.origin_ns(), 2 * kS);
  EXPECT_EQ(digest.ok, 0u) << "sent before it";
  EXPECT_EQ(digest.events, 2u);
  EXPECT_DOUBLE_EQ(digest.tokens_in_window, 2);
  EXPECT_EQ(digest.gaps(GapUnit::kChunks).size(), 2u);
  EXPECT_EQ(digest.output_tokens().Until(4 * kS), (std::vector<double>{1, 1}));
}

TEST(EventDigest, APartIsNotMadeOfTheWholeWhereTheWarmUpReachesIntoIt) {
  RequestRecord warm = Row(Outcome::kOk, 0, 2);
  warm.phase = Phase::kWarmup;
  warm.end_ns = 4 * kS;
  const RequestRecord measured = Row(Outcome::kOk, 2 * kS, 3);
  const std::vector<RequestRecord> rows = {warm, measured};
  auto digest_of = [&](const MeasureWindow& window) {
    EventDigest digest(window);
    Add(digest, warm, {3 * kS, 4 * kS});
    Add(digest, measured, {3 * kS, 4 * kS, 5 * kS});
    return digest;
  };
  const EventDigest whole = digest_of({});
  EXPECT_DOUBLE_EQ(whole.tokens_in_window, 3);
  EXPECT_EQ(whole.ok, 1u);
  EXPECT_FALSE(whole.Within({4 * kS, 6 * kS}, rows).has_value());
  EXPECT_DOUBLE_EQ(digest_of({4 * kS, 6 * kS}).tokens_in_window, 3);
  const std::optional<EventDigest> later = whole.Within({5 * kS, 6 * kS}, rows);
  ASSERT_TRUE(later.has_value());
  EXPECT_DOUBLE_EQ(later->tokens_in_window, 1);
}

TEST(EventDigest, WithoutEventsTokensCameWithTheEnd) {
  EventDigest digest({});
  RequestRecord r = Row(Outcome::kOk, 0, 7);
  r.end_ns = kS + 5;
  Add(digest, r, {});
  EXPECT_EQ(digest.output_tokens().Until(3 * kS), (std::vector<double>{0, 7, 0}));
  EXPECT_DOUBLE_EQ(digest.tokens_in_window, 7);
}

}  // namespace
}  // namespace llmbench
