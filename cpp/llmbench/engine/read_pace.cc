#include "llmbench/engine/read_pace.h"

namespace llmbench {

void ReadPace::Begin(int64_t now_ns, const Seen& seen) {
  window_begin_ns_ = now_ns;
  before_ = seen;
}

void ReadPace::Judge(int64_t now_ns, const Seen& seen) {
  const int64_t elapsed_ns = now_ns - window_begin_ns_;
  const int64_t events = seen.output_events - before_.output_events;
  const int64_t merged = seen.merged_events - before_.merged_events;
  const bool stamped = seen.unstamped_reads == before_.unstamped_reads;
  window_begin_ns_ = now_ns;
  before_ = seen;
  if (events == 0) return;

  if (merged * kMergedShare > events) refrain_until_ns_ = now_ns + kRefrainNs;
  // Before the first request has ended no slot rests.
  const bool brief = closed_loop_ && request_ns_ > 0 && request_ns_ < kLeastRequestNs;
  gathers_ = stamped && now_ns >= refrain_until_ns_ &&
             events * kNsPerSecond >= kLeastEventsPerSecond * elapsed_ns &&
             seen.decoding * elapsed_ns >= kLeastGapNs * events && !brief;
}

}  // namespace llmbench
