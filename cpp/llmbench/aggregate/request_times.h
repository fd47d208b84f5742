// The latencies of one request, each defined once; docs/metrics.md says the same in words. Nanoseconds,
// kNoTime when undefined.
#pragma once

#include <algorithm>
#include <cstdint>

#include "llmbench/record/request_record.h"

namespace llmbench {

inline int64_t Between(int64_t from_ns, int64_t to_ns) {
  return from_ns == kNoTime || to_ns == kNoTime ? kNoTime : to_ns - from_ns;
}

// An answer that was not streamed has no first token: the time of its only piece is the end.
inline int64_t FirstTokenNs(const RequestRecord& r) {
  return r.flags & kNotStreamed ? kNoTime : r.first_token_ns;
}

inline int64_t TtftNs(const RequestRecord& r) { return Between(r.sent_ns, FirstTokenNs(r)); }
inline int64_t TtftFromScheduleNs(const RequestRecord& r) { return Between(r.scheduled_ns, FirstTokenNs(r)); }
inline int64_t TtfbNs(const RequestRecord& r) { return Between(r.sent_ns, r.first_byte_ns); }
inline int64_t TtfatNs(const RequestRecord& r) {
  return r.flags & kNotStreamed ? kNoTime : Between(r.sent_ns, r.first_answer_ns);
}
inline int64_t E2eNs(const RequestRecord& r) { return Between(r.sent_ns, r.end_ns); }
inline int64_t E2eFromScheduleNs(const RequestRecord& r) { return Between(r.scheduled_ns, r.end_ns); }
inline int64_t SlotWaitNs(const RequestRecord& r) { return Between(r.scheduled_ns, r.slot_ns); }
inline int64_t ConnectWaitNs(const RequestRecord& r) { return Between(r.slot_ns, r.connected_ns); }
// What is left of sent − scheduled when the waits for a slot and for a connection are taken away: the
// client's fault alone. kNoTime is the smallest of all times, so an absent one never wins.
inline int64_t ClientLagNs(const RequestRecord& r) {
  return Between(std::max({r.scheduled_ns, r.slot_ns, r.connected_ns}), r.sent_ns);
}

// The last thing known of a request, for those that have no end.
inline int64_t EndNs(const RequestRecord& r) {
  return r.end_ns != kNoTime ? r.end_ns
                             : std::max({r.last_token_ns, r.first_byte_ns, r.send_done_ns, r.sent_ns});
}

// The server's count, or the number of events where nobody counted (TokenSource::kEvents).
inline int64_t OutputTokens(const RequestRecord& r) {
  return std::max(r.output_tokens != kNoCount ? r.output_tokens : r.events, 0);
}

// Time per output token after the first, as a fraction of nanoseconds; NaN with fewer than two tokens.
double TpotNs(const RequestRecord& r);
// End-to-end latency per output token; NaN without tokens.
double NormalizedLatencyNs(const RequestRecord& r);

}  // namespace llmbench
