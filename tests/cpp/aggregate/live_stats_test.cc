#include "llmbench/aggregate/live_stats.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <span>
#include <thread>
#include <utility>

#include "llmbench/base/clock.h"
#include "llmbench/record/event_blob.h"

namespace llmbench {
namespace {

RequestRecord Streamed(int64_t ttft_ms, Outcome outcome = Outcome::kOk) {
  RequestRecord r;
  r.outcome = outcome;
  r.scheduled_ns = r.sent_ns = 0;
  r.first_token_ns = ttft_ms * kNsPerMs;
  r.end_ns = r.first_token_ns + 30 * kNsPerMs;
  r.events = 3;
  r.output_tokens = 3;
  r.merged_events = 1;
  return r;
}

std::vector<uint8_t> EventsOf(const RequestRecord& r, int64_t gap_ms) {
  EventBlobWriter blob;
  blob.Reset(r.sent_ns);
  for (int i = 0; i < r.events; ++i) blob.Append(r.first_token_ns + i * gap_ms * kNsPerMs, 1, 0);
  return {blob.bytes().begin(), blob.bytes().end()};
}

void Sample(LiveStats& stats, ClientSample kind, int64_t value_ns) {
  stats.OnSamples(kind, std::span(&value_ns, 1));
}

TEST(LiveStats, CountsAndPercentiles) {
  LiveStats stats;
  for (int64_t ttft_ms = 1; ttft_ms <= 100; ++ttft_ms) {
    const RequestRecord r = Streamed(ttft_ms);
    stats.OnRecord(r, EventsOf(r, 10));
  }
  const RequestRecord cut = Streamed(10'000, Outcome::kCut);
  stats.OnRecord(cut, EventsOf(cut, 500));
  stats.OnRecord(Streamed(10'000, Outcome::kTimeoutIdle), {});
  RequestRecord warmup = Streamed(10'000);
  warmup.phase = Phase::kWarmup;
  stats.OnRecord(warmup, {});
  for (int64_t us = 1; us <= 100; ++us) Sample(stats, ClientSample::kReadLateness, us * kNsPerUs);
  Sample(stats, ClientSample::kMergedWidth, 5 * kNsPerMs);

  const LiveSnapshot s = stats.Snapshot();
  EXPECT_EQ(s.requests, 102u);
  EXPECT_EQ(s.completed, 100u);
  EXPECT_EQ(s.cut, 1u);
  EXPECT_EQ(s.failed, 1u);
  EXPECT_EQ(s.warmup, 1u);
  EXPECT_EQ(s.outcomes[static_cast<size_t>(Outcome::kTimeoutIdle)], 1u);
  EXPECT_EQ(s.output_tokens, 303u);
  EXPECT_EQ(s.output_events, 303u);
  EXPECT_EQ(s.merged_events, 101u);
  EXPECT_EQ(s.ttft.n, 100u);
  EXPECT_NEAR(s.ttft.p50_ms, 50, 0.05);
  EXPECT_NEAR(s.ttft.p99_ms, 99, 0.1);
  EXPECT_EQ(s.ttft.max_ms, 100);
  EXPECT_NEAR(s.e2el.p50_ms, 80, 0.08);
  EXPECT_EQ(s.icl.n, 200u);
  EXPECT_NEAR(s.icl.p99_ms, 10, 0.01);
  EXPECT_EQ(s.client_lag.max_ms, 0);
  EXPECT_NEAR(s.read_lateness.p50_ms, 0.05, 0.0001);
  EXPECT_EQ(s.merged_width.max_ms, 5);
}

TEST(LiveStats, AnIntervalHoldsWhatCameSinceTheLastOne) {
  LiveStats stats;
  stats.OnRecord(Streamed(500), {});
  Sample(stats, ClientSample::kReadLateness, 7 * kNsPerMs);
  LiveInterval interval = stats.TakeInterval();
  EXPECT_EQ(interval.output_tokens, 3u);
  EXPECT_EQ(interval.ttft.max_ms, 500);
  EXPECT_EQ(interval.read_lateness.max_ms, 7);

  for (int64_t ttft_ms = 1; ttft_ms <= 100; ++ttft_ms) stats.OnRecord(Streamed(ttft_ms), {});
  stats.OnRecord(Streamed(10'000, Outcome::kTimeoutIdle), {});
  Sample(stats, ClientSample::kMergedWidth, 5 * kNsPerMs);
  interval = stats.TakeInterval();
  EXPECT_EQ(interval.output_tokens, 300u);
  EXPECT_NEAR(interval.ttft.p50_ms, 50, 0.05);
  EXPECT_NEAR(interval.ttft.p99_ms, 99, 0.1);
  EXPECT_EQ(interval.client_lag.n, 100u);
  EXPECT_EQ(interval.read_lateness.n, 0u);

  interval = stats.TakeInterval();
  EXPECT_EQ(interval.output_tokens, 0u);
  EXPECT_TRUE(std::isnan(interval.ttft.p99_ms));
  EXPECT_EQ(stats.Snapshot().ttft.n, 101u);
}

TEST(LiveStats, NothingYetIsNaN) {
  const LiveSnapshot s = LiveStats().Snapshot();
  EXPECT_EQ(s.requests, 0u);
  EXPECT_TRUE(std::isnan(s.ttft.p50_ms));
  EXPECT_TRUE(std::isnan(s.read_lateness.max_ms));
}

TEST(LiveStats, SharesOfMergedWidths) {
  LiveStats stats;
  EXPECT_TRUE(stats.MergedWidthShares().empty());
  for (int i = 1; i <= 100; ++i) Sample(stats, ClientSample::kMergedWidth, i * 10'000);
  const auto shares = stats.MergedWidthShares();
  ASSERT_EQ(shares.size(), 27u);  // 0.01 ms to 0.01 × 2^6.5 ms
  EXPECT_EQ(shares.front(), std::make_pair(0.01, 1.0));
  for (size_t i = 1; i < shares.size(); ++i) {
    EXPECT_NEAR(shares[i].first / shares[i - 1].first, std::exp2(0.25), 1e-3);
    EXPECT_LE(shares[i].second, shares[i - 1].second);
    EXPECT_NEAR(shares[i].second, 1.01 - shares[i].first, 0.01);
  }
}

TEST(LiveStats, SnapshotsAreWhole) {
  LiveStats stats;
  std::atomic<bool> ended{false};
  std::thread writer([&] {
    const RequestRecord r = Streamed(5);
    const std::vector<uint8_t> events = EventsOf(r, 1);
    for (int i = 0; i < 2000; ++i) {
      stats.OnRecord(r, events);
      Sample(stats, ClientSample::kReadLateness, i);
    }
    ended = true;
  });
  uint64_t torn = 0;
  while (!ended) {
    const LiveSnapshot s = stats.Snapshot();
    torn += s.completed != s.ttft.n || s.icl.n != 2 * s.ttft.n;
  }
  writer.join();
  EXPECT_EQ(torn, 0u);
  EXPECT_EQ(stats.Snapshot().completed, 2000u);
}

}  // namespace
}  // namespace llmbench
