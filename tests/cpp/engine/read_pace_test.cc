#include "llmbench/engine/read_pace.h"

#include <gtest/gtest.h>

#include <string>

namespace llmbench {
namespace {

// A steady load, as a worker would report it.
struct Load {
  std::string name;
  bool gathers;
  int64_t streams = 1000;
  int64_t gap_ns = 10 * kNsPerMs;
  int64_t request_ns = 640 * kNsPerMs;
  bool closed_loop = true;
  int64_t merged_in_thousand = 0;
  bool stamped = true;
};

void PrintTo(const Load& load, std::ostream* out) { *out << load.name; }

// Plays so much of it; the pace as it is then, and how much of the time reads gathered.
struct Played {
  ReadPace pace;
  int64_t now_ns = kNsPerSecond;
  ReadPace::Seen seen;
  int64_t turns = 0, gathering = 0;

  explicit Played(const Load& load) : pace(load.closed_loop) { pace.Begin(now_ns, seen); }

  void Play(const Load& load, int64_t for_ns) {
    constexpr int64_t kTurnNs = kNsPerMs;
    for (const int64_t end_ns = now_ns + for_ns; now_ns < end_ns; now_ns += kTurnNs) {
      const int64_t events = load.streams * kTurnNs / load.gap_ns;
      seen.output_events += events;
      seen.merged_events = seen.output_events * load.merged_in_thousand / 1000;
      if (!load.stamped) seen.unstamped_reads += events;
      seen.decoding = load.streams;
      if (load.request_ns > 0) pace.NoteRequest(load.request_ns);
      pace.NoteTurn(now_ns, seen);
      ++turns;
      if (pace.gathers()) ++gathering;
    }
  }
};

class ReadPaceOf : public testing::TestWithParam<Load> {};

TEST_P(ReadPaceOf, ASteadyLoad) {
  Played played(GetParam());
  played.Play(GetParam(), kNsPerSecond);
  EXPECT_EQ(played.pace.gathers(), GetParam().gathers);
}

INSTANTIATE_TEST_SUITE_P(
    Loads, ReadPaceOf,
    testing::Values(Load{.name = "ManyStreams", .gathers = true},
                    Load{.name = "FewStreams", .gathers = false, .streams = 100},
                    Load{.name = "EventsOfAStreamClose", .gathers = false, .gap_ns = 5 * kNsPerMs},
                    Load{.name = "ShortRequestsClosed", .gathers = false, .request_ns = 300 * kNsPerMs},
                    Load{.name = "ShortRequestsOpen",
                         .gathers = true,
                         .request_ns = 300 * kNsPerMs,
                         .closed_loop = false},
                    Load{.name = "EventsInPairs", .gathers = false, .merged_in_thousand = 20},
                    Load{.name = "AFewInPairs", .gathers = true, .merged_in_thousand = 2},
                    Load{.name = "WithoutKernelTimes", .gathers = false, .stamped = false}),
    [](const auto& load) { return load.param.name; });

TEST(ReadPace, GathersUntilARequestEndsThatWasBrief) {
  Load load{.name = "", .gathers = true, .request_ns = 0};  // none has ended
  Played played(load);
  played.Play(load, 3 * ReadPace::kWindowNs);
  EXPECT_TRUE(played.pace.gathers());
  load.request_ns = ReadPace::kLeastRequestNs - kNsPerMs;
  played.Play(load, 3 * ReadPace::kWindowNs);
  EXPECT_FALSE(played.pace.gathers());
}

TEST(ReadPace, RefrainsWhereGatheringItselfMakesEventsShareReads) {
  ReadPace pace(/*closed_loop=*/false);
  ReadPace::Seen seen{.decoding = 1000};
  constexpr int64_t kEvents = ReadPace::kWindowNs / (10 * kNsPerUs), kWindows = 4000;
  int64_t gathering = 0;
  for (int64_t window = 1; window <= kWindows; ++window) {
    if (pace.gathers()) {
      ++gathering;
      seen.merged_events += kEvents / 10;
    }
    seen.output_events += kEvents;
    pace.NoteTurn(window * ReadPace::kWindowNs, seen);
  }
  EXPECT_GT(gathering, 0);
  EXPECT_LT(gathering * 100, kWindows);
}

TEST(ReadPace, GathersStreamsThatRunInStep) {
  // A thousand tokens within a millisecond, then nothing for nine; between two waves of requests nothing at
  // all.
  ReadPace pace(/*closed_loop=*/true);
  ReadPace::Seen seen{.decoding = 1000};
  pace.Begin(0, seen);
  int64_t now_ns = 0;
  const auto play = [&](int64_t for_ns, bool tokens) {
    int64_t gathering = 0, turns = 0;
    for (const int64_t end_ns = now_ns + for_ns; now_ns < end_ns; now_ns += kNsPerMs) {
      if (tokens && now_ns / kNsPerMs % 10 == 0) seen.output_events += 1000;
      pace.NoteTurn(now_ns, seen);
      ++turns;
      gathering += pace.gathers() ? 1 : 0;
    }
    return static_cast<double>(gathering) / static_cast<double>(turns);
  };
  play(ReadPace::kLeastRequestNs + ReadPace::kWindowNs, true);
  for (int wave = 0; wave < 5; ++wave) {
    pace.NoteRequest(640 * kNsPerMs);
    play(50 * kNsPerMs, false);
    EXPECT_GE(play(640 * kNsPerMs, true), 0.95);
  }
}

TEST(ReadPace, StopsWhenTheLoadDoes) {
  Load load{.name = "", .gathers = true};
  Played played(load);
  played.Play(load, kNsPerSecond);
  ASSERT_TRUE(played.pace.gathers());
  load.streams = 10;
  played.Play(load, 3 * ReadPace::kWindowNs);
  EXPECT_FALSE(played.pace.gathers());
}

}  // namespace
}  // namespace llmbench
