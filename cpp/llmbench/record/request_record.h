// One row per request: the fixed layout that goes from a worker to the result file and comes back as an
// array.
#pragma once

#include <cstdint>
#include <limits>
#include <string_view>
#include <type_traits>

#include "llmbench/record/outcome.h"

namespace llmbench {

// A time that was never reached; NULL in the file.
inline constexpr int64_t kNoTime = std::numeric_limits<int64_t>::min();
// A count nobody told us; NULL in the file.
inline constexpr int32_t kNoCount = -1;

enum class Phase : uint8_t { kWarmup = 0, kMeasure = 1, kDrain = 2, kCooldown = 3 };

// Where output_tokens comes from, in order of trust.
enum class TokenSource : uint8_t { kNone = 0, kUsage = 1, kTokenIds = 2, kTokenizer = 3, kEvents = 4 };

// Texts of the request table's columns: warmup, measure, drain, cooldown; usage, token_ids, tokenizer,
// events, or "".
std::string_view PhaseName(Phase phase);
std::string_view TokenSourceName(TokenSource source);

// Bits of RequestRecord::flags.
enum RecordFlag : uint32_t {
  kReusedConnection = 1u << 0,
  kTurnStamped = 1u << 1,        // at least one read had no kernel time and took the loop turn's
  kNotStreamed = 1u << 2,        // a JSON answer came although a stream was asked for, or none was asked for
  kDoneMissing = 1u << 3,        // complete by its finish reason, without the terminal event
  kDoneOrder = 1u << 4,          // data after the terminal event, or the terminal event twice
  kUnterminatedEvent = 1u << 5,  // the last event lacked its empty line and was accepted
  kLoneSurrogate = 1u << 6,      // a lone surrogate escape was read as U+FFFD
  kServerClosed = 1u << 7,       // the server closed the connection after the answer
  kHttp10 = 1u << 8,
  kSlotWaited = 1u << 9,  // the concurrency limit held it back
  kHttp2 = 1u << 10,
};

// Times are nanoseconds since the run's start (its t0 on CLOCK_MONOTONIC), kNoTime when absent; warm-up
// requests and connects made beforehand are negative. Durations (dns, connect, tls) are nanoseconds too, and
// 0 on a reused connection.
struct RequestRecord {
  int64_t id = 0;  // schedule index; warm-up requests count down from -1
  int64_t scheduled_ns = kNoTime;
  int64_t slot_ns = kNoTime;
  int64_t connected_ns = kNoTime;
  int64_t sent_ns = kNoTime;
  int64_t send_done_ns = kNoTime;
  int64_t first_byte_ns = kNoTime;
  int64_t first_token_ns = kNoTime;
  int64_t first_answer_ns = kNoTime;
  int64_t last_token_ns = kNoTime;
  int64_t end_ns = kNoTime;
  int64_t dns_ns = 0;
  int64_t connect_ns = 0;
  int64_t tls_ns = 0;
  int64_t bytes_in = 0;
  int64_t bytes_out = 0;
  int32_t workload = kNoCount;  // index of the item in the workload
  int32_t endpoint = 0;
  int32_t model = 0;
  int32_t session = kNoCount;
  int32_t turn = kNoCount;
  int32_t worker = 0;
  int32_t connection = kNoCount;  // number of the connection within its worker
  int32_t attempts = 0;
  int32_t status = 0;  // HTTP status, 0 before one came
  int32_t prompt_tokens = kNoCount;
  int32_t cached_tokens = kNoCount;
  int32_t asked_tokens = kNoCount;
  int32_t output_tokens = kNoCount;
  int32_t reasoning_tokens = kNoCount;
  int32_t events = 0;         // output-carrying events
  int32_t merged_events = 0;  // of these, how many shared their read with another one
  uint32_t flags = 0;
  Phase phase = Phase::kMeasure;
  Outcome outcome = Outcome::kCut;
  TokenSource token_source = TokenSource::kNone;
  uint8_t reserved = 0;
  char finish_reason[24] = {};  // verbatim, NUL-padded
};

static_assert(std::is_trivially_copyable_v<RequestRecord>);
static_assert(sizeof(RequestRecord) == 16 * 8 + 17 * 4 + 4 + 24);

}  // namespace llmbench
