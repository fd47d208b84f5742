// Whether a worker's reads may gather: instead of waking up for every socket, it then looks at all of them
// twice in a millisecond.
//
// Going to sleep and being woken costs as much as reading a token. What the kernel stamps stays exact however
// late it is read; what is late is the worker's answer: the next request of a closed loop. And events of one
// stream that share a read share a time. So reads gather only where there are many, where a stream's events
// are far apart, where requests last long, and not for long where events share reads all the same.
#pragma once

#include <cstdint>

#include "llmbench/base/clock.h"

namespace llmbench {

class ReadPace {
 public:
  static constexpr int64_t kGatherNs = 500 * kNsPerUs;
  // The load is judged anew this often: longer than the gaps of streams that run in step, so that it sees
  // neither their bursts nor the silence between them. Where nothing came there is nothing to judge.
  static constexpr int64_t kWindowNs = 20 * kNsPerMs;
  // Fewer events: there is little to save.
  static constexpr int64_t kLeastEventsPerSecond = 30'000;
  // A stream's events are so many times as far apart.
  static constexpr int64_t kLeastGapNs = 16 * kGatherNs;
  // Closed loop: requests last so long. A slot rests half of kGatherNs in the mean: a twentieth of a percent.
  static constexpr int64_t kLeastRequestNs = 1000 * kGatherNs;
  // One in so many events shares a read, at most; otherwise reads do not gather for a while.
  static constexpr int64_t kMergedShare = 200;
  static constexpr int64_t kRefrainNs = 4 * kNsPerSecond;

  // What the worker has counted since its start, and what is on its way.
  struct Seen {
    int64_t output_events = 0;
    int64_t merged_events = 0;
    int64_t unstamped_reads = 0;  // without a kernel time: the turn's time is the token's
    int64_t decoding = 0;         // streams between first token and end, now
  };

  explicit ReadPace(bool closed_loop) : closed_loop_(closed_loop) {}

  // The load begins.
  void Begin(int64_t now_ns, const Seen& seen);
  // A request ended after so long.
  void NoteRequest(int64_t lasted_ns) {
    request_ns_ = request_ns_ == 0 ? lasted_ns : request_ns_ + (lasted_ns - request_ns_) / 16;
  }
  // Once a turn.
  void NoteTurn(int64_t turn_ns, const Seen& seen) {
    if (turn_ns - window_begin_ns_ >= kWindowNs) Judge(turn_ns, seen);
  }

  bool gathers() const { return gathers_; }

 private:
  void Judge(int64_t now_ns, const Seen& seen);

  const bool closed_loop_;
  bool gathers_ = false;
  int64_t window_begin_ns_ = 0;
  int64_t refrain_until_ns_ = 0;
  int64_t request_ns_ = 0;  // how long requests last, smoothed
  Seen before_;             // when the window began
};

}  // namespace llmbench
