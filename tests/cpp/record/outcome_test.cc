#include "llmbench/record/outcome.h"

#include <gtest/gtest.h>

#include <set>
#include <string_view>

#include "llmbench/record/request_record.h"

namespace llmbench {
namespace {

TEST(Outcome, EveryNameIsItsOwnAndLeadsBack) {
  std::set<std::string_view> names;
  for (int i = 0; i < static_cast<int>(Outcome::kCount); ++i) {
    const auto outcome = static_cast<Outcome>(i);
    EXPECT_TRUE(names.insert(OutcomeName(outcome)).second) << OutcomeName(outcome);
    EXPECT_EQ(OutcomeFromName(OutcomeName(outcome)), outcome);
  }
  EXPECT_EQ(OutcomeFromName("no_such_outcome"), std::nullopt);
  EXPECT_EQ(OutcomeFromName(""), std::nullopt);
}

TEST(Outcome, NamesStayWhereTheyBelong) {
  EXPECT_EQ(OutcomeName(Outcome::kOk), "ok");
  EXPECT_EQ(OutcomeName(Outcome::kClientLimit), "client_limit");
  EXPECT_EQ(OutcomeName(Outcome::kTimeoutTotal), "timeout_total");
  EXPECT_EQ(OutcomeName(Outcome::kHttp429), "http_429");
  EXPECT_EQ(OutcomeName(Outcome::kServerErrorEvent), "server_error_event");
}

TEST(Outcome, OkAndCutAreNoFailures) {
  EXPECT_FALSE(IsFailure(Outcome::kOk));
  EXPECT_FALSE(IsFailure(Outcome::kCut));
  EXPECT_TRUE(IsFailure(Outcome::kDns));
  EXPECT_TRUE(IsFailure(Outcome::kServerErrorEvent));
}

TEST(RequestRecord, EnumsHaveTheirTexts) {
  EXPECT_EQ(PhaseName(Phase::kWarmup), "warmup");
  EXPECT_EQ(PhaseName(Phase::kMeasure), "measure");
  EXPECT_EQ(PhaseName(Phase::kDrain), "drain");
  EXPECT_EQ(PhaseName(Phase::kCooldown), "cooldown");
  EXPECT_EQ(TokenSourceName(TokenSource::kNone), "");
  EXPECT_EQ(TokenSourceName(TokenSource::kUsage), "usage");
  EXPECT_EQ(TokenSourceName(TokenSource::kTokenIds), "token_ids");
  EXPECT_EQ(TokenSourceName(TokenSource::kTokenizer), "tokenizer");
  EXPECT_EQ(TokenSourceName(TokenSource::kEvents), "events");
}

}  // namespace
}  // namespace llmbench
