#include "llmbench/aggregate/request_times.h"

#include "llmbench/aggregate/order_statistics.h"

namespace llmbench {

double TpotNs(const RequestRecord& r) {
  const int64_t decoding_ns = Between(FirstTokenNs(r), r.last_token_ns);
  const int64_t tokens = OutputTokens(r);
  if (decoding_ns == kNoTime || tokens < 2) return kNaN;
  return static_cast<double>(decoding_ns) / static_cast<double>(tokens - 1);
}

double NormalizedLatencyNs(const RequestRecord& r) {
  const int64_t e2e_ns = E2eNs(r);
  const int64_t tokens = OutputTokens(r);
  if (e2e_ns == kNoTime || tokens < 1) return kNaN;
  return static_cast<double>(e2e_ns) / static_cast<double>(tokens);
}

}  // namespace llmbench
