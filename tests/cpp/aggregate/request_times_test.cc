#include "llmbench/aggregate/request_times.h"

#include <gtest/gtest.h>

#include <cmath>

#include "llmbench/aggregate/order_statistics.h"

namespace llmbench {
namespace {

RequestRecord Streamed() {
  RequestRecord r;
  r.scheduled_ns = 100;
  r.slot_ns = 130;
  r.connected_ns = 170;
  r.sent_ns = 180;
  r.send_done_ns = 190;
  r.first_byte_ns = 250;
  r.first_token_ns = 300;
  r.first_answer_ns = 350;
  r.last_token_ns = 700;
  r.end_ns = 750;
  r.output_tokens = 5;
  r.events = 4;
  return r;
}

TEST(RequestTimes, ALatencyIsBetweenTwoTimesAndNothingWithoutBoth) {
  using Time = int64_t RequestRecord::*;
  const struct {
    const char* name;
    int64_t (*latency)(const RequestRecord&);
    Time from, to;
    int64_t expected;
  } kCases[] = {
      {"ttft", TtftNs, &RequestRecord::sent_ns, &RequestRecord::first_token_ns, 120},
      {"ttft_from_schedule", TtftFromScheduleNs, &RequestRecord::scheduled_ns, &RequestRecord::first_token_ns,
       200},
      {"ttfb", TtfbNs, &RequestRecord::sent_ns, &RequestRecord::first_byte_ns, 70},
      {"ttfat", TtfatNs, &RequestRecord::sent_ns, &RequestRecord::first_answer_ns, 170},
      {"e2el", E2eNs, &RequestRecord::sent_ns, &RequestRecord::end_ns, 570},
      {"e2el_from_schedule", E2eFromScheduleNs, &RequestRecord::scheduled_ns, &RequestRecord::end_ns, 650},
      {"slot_wait", SlotWaitNs, &RequestRecord::scheduled_ns, &RequestRecord::slot_ns, 30},
      {"connect_wait", ConnectWaitNs, &RequestRecord::slot_ns, &RequestRecord::connected_ns, 40},
  };
  for (const auto& row : kCases) {
    EXPECT_EQ(row.latency(Streamed()), row.expected) << row.name;
    for (const Time missing : {row.from, row.to}) {
      RequestRecord r = Streamed();
      r.*missing = kNoTime;
      EXPECT_EQ(row.latency(r), kNoTime) << row.name;
    }
  }
}

TEST(RequestTimes, ATimeBeforeTheRunIsATime) {
  RequestRecord r = Streamed();
  r.sent_ns = -1000;
  r.first_token_ns = -400;
  r.last_token_ns = r.end_ns = 0;
  EXPECT_EQ(TtftNs(r), 600);
  EXPECT_EQ(E2eNs(r), 1000);
  EXPECT_DOUBLE_EQ(TpotNs(r), 100);
}

TEST(RequestTimes, AnAnswerThatWasNotStreamedHasNoFirstToken) {
  RequestRecord r = Streamed();
  r.flags = kNotStreamed | kReusedConnection;
  EXPECT_EQ(TtftNs(r), kNoTime);
  EXPECT_EQ(TtftFromScheduleNs(r), kNoTime);
  EXPECT_EQ(TtfatNs(r), kNoTime);
  EXPECT_TRUE(std::isnan(TpotNs(r)));
  EXPECT_EQ(TtfbNs(r), 70);
  EXPECT_EQ(E2eNs(r), 570);
  EXPECT_DOUBLE_EQ(NormalizedLatencyNs(r), 114);
}

TEST(RequestTimes, TheClientsLagBeginsWhenNothingIsWaitedForAnyMore) {
  const struct {
    int64_t scheduled, slot, connected, sent, expected;
  } kCases[] = {
      {100, 130, 170, 180, 10},          {100, 130, 90, 180, 50},  // the connection was there before
      {100, 100, 90, 180, 80},                                     // and the slot was free
      {100, kNoTime, kNoTime, 180, 80},                            // neither was waited for
      {100, kNoTime, 170, 180, 10},                                // the slot was not
      {-500, -480, kNoTime, -470, 10},                             // in the warm-up
      {100, 130, 170, kNoTime, kNoTime},                           // never sent
  };
  for (const auto& row : kCases) {
    RequestRecord r;
    r.scheduled_ns = row.scheduled;
    r.slot_ns = row.slot;
    r.connected_ns = row.connected;
    r.sent_ns = row.sent;
    EXPECT_EQ(ClientLagNs(r), row.expected) << row.scheduled << " " << row.slot << " " << row.connected;
  }
}

TEST(RequestTimes, ARequestWithoutAnEndIsKnownUpToTheLastThingSeen) {
  RequestRecord r = Streamed();
  EXPECT_EQ(EndNs(r), 750);
  r.end_ns = kNoTime;
  EXPECT_EQ(EndNs(r), 700);
  r.last_token_ns = kNoTime;
  EXPECT_EQ(EndNs(r), 250);
  r.first_byte_ns = kNoTime;
  EXPECT_EQ(EndNs(r), 190);
  r.send_done_ns = kNoTime;
  EXPECT_EQ(EndNs(r), 180);
  r.sent_ns = kNoTime;
  EXPECT_EQ(EndNs(r), kNoTime);
}

TEST(RequestTimes, TokensAreTheServersCountOrTheEvents) {
  const struct {
    int32_t output_tokens, events;
    int64_t expected;
  } kCases[] = {{5, 4, 5}, {0, 4, 0}, {kNoCount, 4, 4}, {kNoCount, 0, 0}, {kNoCount, kNoCount, 0}};
  for (const auto& row : kCases) {
    RequestRecord r;
    r.output_tokens = row.output_tokens;
    r.events = row.events;
    EXPECT_EQ(OutputTokens(r), row.expected) << row.output_tokens << " " << row.events;
  }
}

TEST(RequestTimes, TimesPerTokenNeedTokens) {
  const struct {
    int32_t tokens;
    int64_t first_token, last_token, end;
    double tpot, normalized;  // kNaN: undefined
  } kCases[] = {
      {5, 300, 700, 750, 100, 114},           {2, 300, 700, 750, 400, 285},
      {3, 300, 301, 750, 0.5, 190},                                           // parts of a nanosecond stay
      {9, 300, 300, 480, 0, 300.0 / 9},       {1, 300, 400, 750, kNaN, 570},  // no token after the first
      {0, kNoTime, kNoTime, 750, kNaN, kNaN}, {5, 300, kNoTime, 750, kNaN, 114},
      {5, kNoTime, 700, 750, kNaN, 114},      {5, 300, 700, kNoTime, 100, kNaN},  // cut
  };
  const auto same = [](double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); };
  for (const auto& row : kCases) {
    RequestRecord r = Streamed();
    r.output_tokens = row.tokens;
    r.first_token_ns = row.first_token;
    r.last_token_ns = row.last_token;
    r.end_ns = row.end;
    EXPECT_PRED2(same, TpotNs(r), row.tpot) << row.tokens << " tokens";
    EXPECT_PRED2(same, NormalizedLatencyNs(r), row.normalized) << row.tokens << " tokens";
  }
}

}  // namespace
}  // namespace llmbench
