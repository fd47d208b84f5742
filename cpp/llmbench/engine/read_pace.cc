#include "llmbench/engine/read_pace.h"

namespace llmbench {

void ReadPace::Begin(int64_t now_ns, const Seen& seen) {
  begin_ns_ = window_begin_ns_ = now_ns;
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
  // Before the first request has ended they are at least as long as the load is old.
  const int64_t lasts_ns = request_ns_ > 0 ? request_ns_ : now_ns - begin_ns_;
  gathers_ =
      stamped && now_ns >= refrain_until_ns_ && events * kNsPerSecond >= kLeastEventsPerSecond * elapsed_ns &&
      seen.decoding * elapsed_ns >= kLeastGapNs * events && (!closed_loop_ || lasts_ns >= kLeastRequestNs);
}

}  // namespace llmbench
