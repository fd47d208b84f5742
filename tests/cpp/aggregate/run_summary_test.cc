// The numbers themselves are checked against an independent computation in tests/python/test_core_summary.py;
// here are the cases a person can follow with a pencil.
#include "llmbench/aggregate/run_summary.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "llmbench/base/clock.h"
#include "llmbench/record/event_blob.h"

namespace llmbench {
namespace {

constexpr int64_t kMs = kNsPerMs;

// Rows by hand, times in ms.
class Table {
 public:
  Table() { table_.event_offsets = {0}; }

  // Sent, events, end; everything else follows.
  RequestRecord& Add(int64_t sent_ms, const std::vector<int64_t>& events_ms, int64_t end_ms,
                     const std::vector<uint32_t>& tokens = {}) {
    RequestRecord& r = table_.requests.emplace_back();
    r.id = static_cast<int64_t>(table_.requests.size()) - 1;
    r.outcome = Outcome::kOk;
    r.scheduled_ns = r.slot_ns = r.connected_ns = r.sent_ns = sent_ms * kMs;
    r.end_ns = end_ms * kMs;
    r.attempts = 1;
    r.events = r.output_tokens = static_cast<int32_t>(events_ms.size());
    r.token_source = TokenSource::kUsage;
    for (size_t i = 0; i < events_ms.size(); ++i) {
      table_.event_times_ns.push_back(events_ms[i] * kMs);
      table_.event_tokens.push_back(i < tokens.size() ? tokens[i] : 0);
      table_.event_flags.push_back(kEventKernelStamp);
    }
    if (!events_ms.empty()) {
      r.first_byte_ns = r.first_token_ns = r.first_answer_ns = events_ms.front() * kMs;
      r.last_token_ns = events_ms.back() * kMs;
    }
    table_.event_offsets.push_back(static_cast<int64_t>(table_.event_times_ns.size()));
    return r;
  }

  RunSummary Summarize(const SummaryOptions& options = {}) const {
    return llmbench::Summarize(table_, options);
  }

 private:
  RecordTable table_;
};

TEST(RunSummary, OneStream) {
  Table table;
  RequestRecord& r = table.Add(100, {150, 160, 180}, 200);
  r.scheduled_ns = 90 * kMs;
  r.slot_ns = 95 * kMs;
  r.connected_ns = 97 * kMs;
  r.prompt_tokens = 7;
  std::memcpy(r.finish_reason, "stop", 4);
  RunSummary s = table.Summarize();
  const struct {
    const char* name;
    uint64_t n;
    double mean;
  } kCases[] = {
      {"ttft", 1, 50},
      {"ttft_from_schedule", 1, 60},
      {"ttfb", 1, 50},
      {"ttfat", 1, 50},
      {"e2el", 1, 100},
      {"e2el_from_schedule", 1, 110},
      {"tpot", 1, 15},
      {"itl", 2, 15},
      {"icl", 2, 15},
      {"slot_wait", 1, 5},
      {"connect_wait", 1, 2},
      {"client_lag", 1, 3},
      {"normalized_latency", 1, 100.0 / 3},
      {"connect", 1, 0},
      {"dns", 1, 0},
      {"tls", 1, 0},
  };
  EXPECT_EQ(s.latency_ms.size(), std::size(kCases));
  for (const auto& c : kCases) {
    EXPECT_EQ(s.latency_ms[c.name].n, c.n) << c.name;
    EXPECT_DOUBLE_EQ(s.latency_ms[c.name].mean, c.mean) << c.name;
  }
  EXPECT_EQ(s.latency_ms["icl"].std, 5);
  EXPECT_DOUBLE_EQ(s.duration_s, 0.1);
  EXPECT_DOUBLE_EQ(s.request_throughput, 10);
  EXPECT_DOUBLE_EQ(s.output_throughput, 30);
  EXPECT_DOUBLE_EQ(s.input_throughput, 70);
  EXPECT_DOUBLE_EQ(s.total_throughput, 100);
  EXPECT_DOUBLE_EQ(s.concurrency_mean, 1);
  EXPECT_DOUBLE_EQ(s.waiting_mean, 0.5);
  EXPECT_DOUBLE_EQ(s.decoding_mean, 0.5);
  EXPECT_EQ(s.concurrency_peak, 1u);
  EXPECT_EQ(s.finish_reasons, (std::map<std::string, uint64_t>{{"stop", 1}}));
  EXPECT_EQ(s.itl_share, 1);
}

TEST(RunSummary, MetricsApartInOneRequestAreDescribedApart) {
  Table table;
  for (int i = 0; i < 40; ++i) table.Add(10 * i, {10 * i + 5 + i % 3}, 10 * i + 5 + i % 3);
  RunSummary s = table.Summarize();
  for (const char* name : {"ttft_from_schedule", "ttfb", "ttfat", "e2el", "normalized_latency"}) {
    EXPECT_EQ(s.latency_ms[name].mean, s.latency_ms["ttft"].mean) << name;
    EXPECT_EQ(s.latency_ms[name].percentiles, s.latency_ms["ttft"].percentiles) << name;
    EXPECT_EQ(s.latency_ms[name].percentile_intervals.size(), 4u) << name;
  }
  EXPECT_TRUE(s.latency_ms["client_lag"].percentile_intervals.empty());

  RequestRecord& last = table.Add(400, {405}, 409);
  last.first_byte_ns = 403 * kMs;
  last.scheduled_ns = 392 * kMs;
  table.Add(410, {}, 420).outcome = Outcome::kResetMidStream;
  s = table.Summarize();
  const std::pair<const char*, double> maxima[] = {{"ttft", 7},      {"ttft_from_schedule", 13}, {"ttfb", 7},
                                                   {"e2el", 9},      {"e2el_from_schedule", 17}, {"ttfat", 7},
                                                   {"slot_wait", 8}, {"normalized_latency", 9}};
  for (const auto& [name, max] : maxima) EXPECT_EQ(s.latency_ms[name].max, max) << name;
  EXPECT_LT(s.latency_ms["ttfb"].mean, s.latency_ms["ttft"].mean);
  EXPECT_EQ(s.with_failures_ms["ttft"].n, 42u);
  EXPECT_EQ(s.with_failures_ms["e2el_from_schedule"].min, s.latency_ms["e2el_from_schedule"].min);
}

TEST(RunSummary, TpotNeedsTwoTokens) {
  Table table;
  table.Add(0, {50}, 60);
  table.Add(0, {50, 70}, 80);
  RunSummary s = table.Summarize();
  EXPECT_EQ(s.latency_ms["tpot"].n, 1u);
  EXPECT_EQ(s.latency_ms["tpot"].mean, 20);
}

TEST(RunSummary, WarmUpCountsNowhereAndDrainingCounts) {
  Table table;
  table.Add(-100, {-50}, -40).phase = Phase::kWarmup;
  table.Add(0, {50}, 100).phase = Phase::kMeasure;
  table.Add(50, {150}, 200).phase = Phase::kDrain;
  const RunSummary s = table.Summarize();
  EXPECT_EQ(s.requests, 2u);
  EXPECT_EQ(s.output_tokens, 2u);
  EXPECT_DOUBLE_EQ(s.duration_s, 0.2);
  EXPECT_EQ(s.concurrency_peak, 2u);
}

TEST(RunSummary, FailedAndCutRequests) {
  Table table;
  table.Add(0, {10}, 20);
  RequestRecord& failed = table.Add(0, {10, 20}, 1000);
  failed.outcome = Outcome::kTimeoutIdle;
  RequestRecord& cut = table.Add(0, {10, 20, 30}, 500);
  cut.outcome = Outcome::kCut;
  RunSummary s = table.Summarize();
  EXPECT_EQ(s.completed, 1u);
  EXPECT_EQ(s.failed, 1u);
  EXPECT_EQ(s.cut, 1u);
  EXPECT_EQ(s.errors, (std::map<std::string, uint64_t>{{"timeout_idle", 1}}));
  EXPECT_EQ(s.output_tokens, 4u);     // the cut one's count, the failed one's do not
  EXPECT_DOUBLE_EQ(s.duration_s, 1);  // but the time it took counts
  EXPECT_EQ(s.latency_ms["ttft"].n, 1u);
  EXPECT_EQ(s.with_failures_ms["ttft"].n, 3u);
  EXPECT_EQ(s.with_failures_ms["ttft"].median, std::numeric_limits<double>::infinity());
  EXPECT_TRUE(std::isnan(s.with_failures_ms["ttft"].std));
}

TEST(RunSummary, ItlIsWeightedByTokens) {
  Table table;
  RequestRecord& r = table.Add(0, {10, 30, 40}, 40, {1, 4, 1});  // four tokens in 20 ms, then one in 10
  r.output_tokens = 6;
  RunSummary s = table.Summarize();
  EXPECT_EQ(s.latency_ms["itl"].n, 5u);
  EXPECT_DOUBLE_EQ(s.latency_ms["itl"].mean, 6);
  EXPECT_DOUBLE_EQ(s.latency_ms["itl"].median, 5);
  EXPECT_DOUBLE_EQ(s.latency_ms["itl"].max, 10);
  EXPECT_DOUBLE_EQ(s.latency_ms["icl"].mean, 15);
}

TEST(RunSummary, ItlIsAbsentWhenChunksAreNotTokens) {
  Table table;
  table.Add(0, {10, 30}, 40).output_tokens = 5;
  RunSummary s = table.Summarize();
  EXPECT_EQ(s.latency_ms["itl"].n, 0u);
  EXPECT_TRUE(std::isnan(s.latency_ms["itl"].mean));
  EXPECT_EQ(s.latency_ms["icl"].n, 1u);
  EXPECT_NE(s.itl_absent_because.find("known for 0 of 1 ok requests"), std::string::npos)
      << s.itl_absent_because;
}

TEST(RunSummary, EventsAreNotTakenForTokens) {
  Table table;
  table.Add(0, {10, 30}, 40).token_source = TokenSource::kEvents;
  EXPECT_EQ(table.Summarize().itl_share, 0);
}

TEST(RunSummary, AnAnswerThatWasNotStreamedHasNoTtft) {
  Table table;
  table.Add(0, {40}, 40).flags = kNotStreamed;
  RunSummary s = table.Summarize();
  EXPECT_EQ(s.latency_ms["ttft"].n, 0u);
  EXPECT_EQ(s.latency_ms["e2el"].n, 1u);
  EXPECT_DOUBLE_EQ(s.waiting_mean, 1);
}

TEST(RunSummary, AWindowTakesWhatWasSentAndWhatArrivedInIt) {
  Table table;
  table.Add(0, {50, 100, 150}, 160);  // sent before, two events and the completion inside
  table.Add(120, {180, 250}, 260);    // sent inside, completes behind
  SummaryOptions options;
  options.window.begin_ns = 100 * kMs;
  options.window.end_ns = 200 * kMs;
  RunSummary s = table.Summarize(options);
  EXPECT_DOUBLE_EQ(s.duration_s, 0.1);
  EXPECT_EQ(s.requests, 1u);
  EXPECT_EQ(s.latency_ms["ttft"].n, 1u);
  EXPECT_EQ(s.latency_ms["ttft"].mean, 60);
  EXPECT_EQ(s.output_tokens, 3u);
  EXPECT_DOUBLE_EQ(s.request_throughput, 10);
  EXPECT_EQ(s.latency_ms["icl"].n, 2u);
  EXPECT_DOUBLE_EQ(s.concurrency_mean, 0.6 + 0.8);
}

TEST(RunSummary, AWindowTakesWhatRequestsOfTheWarmUpDidInIt) {
  Table table;
  table.Add(0, {50, 100, 150}, 160).phase = Phase::kWarmup;
  table.Add(120, {180, 250}, 260);
  table.Add(220, {230}, 240).phase = Phase::kCooldown;
  SummaryOptions options;
  options.goodput = {{"ttft", 1000}};
  options.window.begin_ns = 100 * kMs;
  options.window.end_ns = 200 * kMs;
  RunSummary s = table.Summarize(options);
  EXPECT_EQ(s.requests, 1u);
  EXPECT_EQ(s.completed, 1u);
  EXPECT_EQ(s.latency_ms["ttft"].n, 1u);
  EXPECT_EQ(s.latency_ms["ttft"].mean, 60);
  EXPECT_EQ(s.output_tokens, 3u);
  EXPECT_DOUBLE_EQ(s.request_throughput, 10);
  EXPECT_DOUBLE_EQ(*s.goodput, 10);
  EXPECT_EQ(s.latency_ms["icl"].n, 2u);
  EXPECT_DOUBLE_EQ(s.concurrency_mean, 0.6 + 0.8);

  options.window.begin_ns = kNoTime;  // without a beginning they count nowhere
  s = table.Summarize(options);
  EXPECT_EQ(s.requests, 1u);
  EXPECT_EQ(s.output_tokens, 1u);
  EXPECT_DOUBLE_EQ(s.duration_s, 0.08);
}

TEST(RunSummary, OutputTokensBySecond) {
  Table table;
  table.Add(500, {600, 1400, 1500, 3000}, 3600);
  RunSummary s = table.Summarize();
  EXPECT_EQ(s.output_tokens_by_second, (std::vector<double>{2, 1, 1, 0}));
  EXPECT_TRUE(Table().Summarize().output_tokens_by_second.empty());
}

TEST(RunSummary, TokensOfLargeEventsAreSpreadByTheirCounts) {
  Table table;
  table.Add(0, {50, 150}, 150, {1, 9}).output_tokens = 20;  // the server's total stands, shared out 1 : 9
  SummaryOptions options;
  options.window.begin_ns = 100 * kMs;
  EXPECT_EQ(table.Summarize(options).output_tokens, 18u);
}

TEST(RunSummary, Goodput) {
  Table table;
  table.Add(0, {50, 60}, 100);
  table.Add(0, {250, 260}, 300);
  table.Add(0, {}, 1000).outcome = Outcome::kTimeoutTotal;
  table.Add(900, {950}, 1000);  // a single token meets any tpot limit
  SummaryOptions options;
  options.goodput = {{"ttft", 200}, {"tpot", 20}};
  const RunSummary s = table.Summarize(options);
  EXPECT_DOUBLE_EQ(*s.goodput, 2);
  EXPECT_DOUBLE_EQ(*s.goodput_share, 0.5);
  EXPECT_FALSE(table.Summarize().goodput.has_value());
}

}  // namespace
}  // namespace llmbench
