#include "llmbench/engine/transfer.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "loopback_server.h"

namespace llmbench {
namespace {

using testing::StreamHead;
using testing::StreamTail;
using testing::TokenEvent;
using testing::WholeStream;

class CountingRecorder : public Recorder {
 public:
  void Append(const RequestRecord&, std::span<const uint8_t>, std::string_view, std::string_view) override {}
  void AppendSample(ClientSample kind, int64_t value_ns) override {
    if (kind == ClientSample::kMergedWidth) widths.push_back(value_ns);
  }
  void HandOver(int64_t, bool) override {}
  std::vector<int64_t> widths;
};

class TransferTest : public ::testing::Test {
 protected:
  TransferTest()
      : transfer_(wire::MakeResponseReader(wire::WireFormat::OpenAiCompletions(), wire::MakeJsonScratch())) {
    PlannedRequest plan;
    plan.id = 7;
    plan.scheduled_ns = 900;
    plan.slot_ns = 900;
    plan.attempts = 1;
    transfer_.Begin(plan, {.body = {}, .prompt_tokens = 5, .asked_tokens = 9, .prompt = {}},
                    /*streamed=*/true,
                    /*save_text=*/true);
    transfer_.record().sent_ns = 1000;
  }

  void Read(const std::string& bytes, int64_t time_ns, int64_t previous_turn_ns = 0, bool kernel = true) {
    std::string padded = bytes + std::string(wire::kPadding, '\0');
    transfer_.OnBytes(padded.data(), bytes.size(), {time_ns, previous_turn_ns, kernel}, recorder_);
  }

  std::vector<BlobEvent> Events() {
    std::vector<BlobEvent> events;
    EXPECT_TRUE(ForEachEvent(transfer_.events(), 1000, [&](const BlobEvent& e) { events.push_back(e); }));
    return events;
  }

  CountingRecorder recorder_;
  Transfer transfer_;
};

TEST_F(TransferTest, FillsTheRow) {
  Read(StreamHead(), 2000);
  Read(TokenEvent("a"), 3000);
  Read(TokenEvent("b"), 4000);
  EXPECT_FALSE(transfer_.over());
  Read(StreamTail(3, 2), 5000);
  ASSERT_TRUE(transfer_.over());
  EXPECT_TRUE(transfer_.may_reuse_connection());
  const RequestRecord row = transfer_.Finished();
  EXPECT_EQ(row.id, 7);
  EXPECT_EQ(row.outcome, Outcome::kOk);
  EXPECT_EQ(row.status, 200);
  EXPECT_EQ(row.first_byte_ns, 2000);
  EXPECT_EQ(row.first_token_ns, 3000);
  EXPECT_EQ(row.first_answer_ns, 3000);
  EXPECT_EQ(row.last_token_ns, 4000);
  EXPECT_EQ(row.end_ns, 5000);
  EXPECT_EQ(row.prompt_tokens, 3);  // the server's word over the workload's
  EXPECT_EQ(row.asked_tokens, 9);
  EXPECT_EQ(row.output_tokens, 2);
  EXPECT_EQ(row.token_source, TokenSource::kUsage);
  EXPECT_EQ(row.events, 2);
  EXPECT_EQ(row.merged_events, 0);
  EXPECT_EQ(row.flags & kTurnStamped, 0u);
  EXPECT_STREQ(row.finish_reason, "length");
  EXPECT_EQ(transfer_.text(), "ab");
  const auto events = Events();
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].time_ns, 3000);
  EXPECT_EQ(events[1].time_ns, 4000);
  EXPECT_EQ(events[0].flags, kEventKernelStamp);
}

TEST_F(TransferTest, TwoOutputsInOneReadAreMerged) {
  Read(StreamHead() + TokenEvent("a"), 3000, 2500);
  Read(TokenEvent("b") + TokenEvent("c"), 4000, 3800);
  Read(TokenEvent("d"), 5000, 4500);
  const auto events = Events();
  ASSERT_EQ(events.size(), 4u);
  EXPECT_FALSE(events[0].flags & kEventMerged);
  EXPECT_TRUE(events[1].flags & kEventMerged);
  EXPECT_TRUE(events[2].flags & kEventMerged);
  EXPECT_FALSE(events[3].flags & kEventMerged);
  EXPECT_EQ(transfer_.record().merged_events, 2);
  EXPECT_EQ(recorder_.widths, (std::vector<int64_t>{200, 200}));
}

TEST_F(TransferTest, AnEventBegunInTheSameReadMergesTheOneBefore) {
  const std::string next = TokenEvent("b");
  Read(StreamHead() + TokenEvent("a") + next.substr(0, 20), 3000, 2000);
  EXPECT_EQ(transfer_.record().merged_events, 0);  // not known yet whether what began carries output
  Read(next.substr(20), 4000, 3500);
  const auto events = Events();
  ASSERT_EQ(events.size(), 2u);
  EXPECT_TRUE(events[0].flags & kEventMerged);
  EXPECT_FALSE(events[1].flags & kEventMerged);  // its own last byte came alone
  EXPECT_EQ(events[1].time_ns, 4000);
  EXPECT_EQ(recorder_.widths, (std::vector<int64_t>{1000}));
}

TEST_F(TransferTest, TheEndBehindTheLastTokenIsNoMerging) {
  Read(StreamHead() + TokenEvent("a"), 3000);
  Read(TokenEvent("b") + StreamTail(3, 2), 4000);
  EXPECT_TRUE(transfer_.over());
  EXPECT_EQ(transfer_.record().merged_events, 0);
}

TEST_F(TransferTest, TurnStampsAreMarked) {
  Read(WholeStream({"a"}), 3000, 0, /*kernel=*/false);
  EXPECT_TRUE(transfer_.Finished().flags & kTurnStamped);
  EXPECT_EQ(Events()[0].flags & kEventKernelStamp, 0);
}

TEST_F(TransferTest, AnInterimResponseIsNotTheFirstByte) {
  Read("HTTP/1.1 100 Continue\r\n\r\n", 2000);
  EXPECT_EQ(transfer_.record().first_byte_ns, kNoTime);
  Read(WholeStream({"a"}), 3000);
  EXPECT_EQ(transfer_.record().first_byte_ns, 3000);
  EXPECT_EQ(transfer_.record().first_token_ns, 3000);
  EXPECT_EQ(Events()[0].time_ns, 3000);
}

TEST_F(TransferTest, NoTimeIsBeforeTheSend) {
  Read(WholeStream({"a"}), 900);  // the two clocks differ by a few nanoseconds
  EXPECT_EQ(transfer_.record().first_byte_ns, 1000);
  EXPECT_EQ(transfer_.record().first_token_ns, 1000);
}

TEST_F(TransferTest, ADocumentInsteadOfAStreamHasNoTokenTimes) {
  const std::string body = R"({"choices":[{"index":0,"text":"hello","finish_reason":"stop"}],)"
                           R"("usage":{"prompt_tokens":4,"completion_tokens":2}})";
  Read("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) +
           "\r\n\r\n" + body,
       3000);
  ASSERT_TRUE(transfer_.over());
  const RequestRecord row = transfer_.Finished();
  EXPECT_EQ(row.outcome, Outcome::kOk);
  EXPECT_TRUE(row.flags & kNotStreamed);
  EXPECT_EQ(row.first_token_ns, kNoTime);
  EXPECT_EQ(row.events, 0);
  EXPECT_EQ(row.output_tokens, 2);
  EXPECT_EQ(row.end_ns, 3000);
}

TEST_F(TransferTest, WhatCameBeforeAFailureIsKept) {
  Read(StreamHead() + TokenEvent("a") + TokenEvent("b"), 3000);
  transfer_.OnClosed(/*reset=*/true, 4000);
  ASSERT_TRUE(transfer_.over());
  const RequestRecord row = transfer_.Finished();
  EXPECT_EQ(row.outcome, Outcome::kResetMidStream);
  EXPECT_EQ(row.events, 2);
  EXPECT_EQ(row.output_tokens, 2);
  EXPECT_EQ(row.token_source, TokenSource::kEvents);
  EXPECT_EQ(row.end_ns, 4000);
  EXPECT_FALSE(transfer_.may_reuse_connection());
}

TEST_F(TransferTest, TheNextRequestStartsClean) {
  Read(WholeStream({"a", "b"}), 3000);
  PlannedRequest plan;
  plan.id = 8;
  plan.attempts = 1;
  transfer_.Begin(plan, {.body = {}, .prompt_tokens = -1, .asked_tokens = 9, .prompt = {}}, true, false);
  transfer_.record().sent_ns = 5000;
  EXPECT_FALSE(transfer_.over());
  EXPECT_FALSE(transfer_.has_output());
  EXPECT_FALSE(transfer_.any_bytes());
  Read(WholeStream({"c"}), 6000);
  const RequestRecord row = transfer_.Finished();
  EXPECT_EQ(row.id, 8);
  EXPECT_EQ(row.events, 1);
  EXPECT_EQ(row.output_tokens, 1);
  EXPECT_EQ(row.merged_events, 0);
  EXPECT_EQ(transfer_.text(), "");  // nobody wanted it
}

TEST(OutcomeOf, TellsStatusesApart) {
  struct Row {
    int status;
    Outcome outcome;
  };
  for (const Row& row : std::vector<Row>{{400, Outcome::kHttp4xx},
                                         {401, Outcome::kHttp4xx},
                                         {404, Outcome::kHttp4xx},
                                         {429, Outcome::kHttp429},
                                         {500, Outcome::kHttp5xx},
                                         {502, Outcome::kHttp5xx},
                                         {503, Outcome::kHttp503},
                                         {999, Outcome::kHttpStatus}}) {
    EXPECT_EQ(OutcomeOf(wire::WireError::kHttpStatus, row.status), row.outcome) << row.status;
  }
  EXPECT_EQ(OutcomeOf(wire::WireError::kNone, 200), Outcome::kOk);
}

}  // namespace
}  // namespace llmbench
