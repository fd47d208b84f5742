// What is made to go wrong with a request, by chance or because the request asks for it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "llmbench/workload/counter_rng.h"

namespace llmbench::sim {

enum class FaultKind {
  kNone,
  // Instead of the answer.
  kStatus,       // "429", "503" … with the dialect's error body
  kHtml,         // 200 and an HTML page
  kEmpty,        // 200 and nothing
  kGarbage,      // bytes that are no HTTP
  kBadLength,    // a negative Content-Length
  kTwoLengths,   // two Content-Length fields that differ
  kHugeHeader,   // a header field of 300 KiB
  kGzip,         // a Content-Encoding nobody asked for
  kCloseEarly,   // the connection is closed before any byte
  kResetEarly,   // and reset
  kNoAnswer,     // nothing ever comes
  kNotStreamed,  // one JSON document although a stream was asked for
  // At the first event or in mid-stream, half of the tokens having been sent.
  kErrorFirst,  // an error as an event, in the dialect's words
  kErrorMid,
  kBadJson,    // an event that is no JSON
  kBadUtf8,    // an event that is not UTF-8
  kSchema,     // an event without choices
  kHugeEvent,  // an event of 10 MB
  kBadChunk,   // a malformed HTTP chunk
  kEndMid,     // the body ends as if it were whole
  kEofMid,     // the connection is closed
  kResetMid,   // the connection is reset
  kStall,      // nothing more comes, the connection stays
  // At the end.
  kErrorLast,   // an error after all of the text
  kAbort,       // the finish reason is "abort"
  kNoDone,      // no [DONE], or what else ends the stream
  kDoubleDone,  // [DONE] twice
  kWrongUsage,  // the final count of output tokens is twice what was sent
  kTrailers,    // HTTP trailers
  // Throughout.
  kContinues,  // three 100 Continue in front
  kSlowHead,   // the response head a byte at a time
  kSlowBody,   // everything a byte at a time
};

struct Fault {
  FaultKind kind = FaultKind::kNone;
  int status = 0;  // of kStatus
  std::string name;

  bool is(FaultKind wanted) const { return kind == wanted; }
  bool in_mid_stream() const { return kind >= FaultKind::kErrorMid && kind <= FaultKind::kStall; }
};

// "reset-mid" or a status from 300 to 999. The error lists the names.
absl::StatusOr<Fault> ParseFault(const std::string& name);

// Faults and their probabilities: "429=0.1,reset-mid=0.05".
class FaultPlan {
 public:
  static absl::StatusOr<FaultPlan> Parse(const std::string& text);

  // What happens to this request; the same seed and number give the same fault.
  Fault Draw(const CounterRng& chance, uint64_t request) const;

 private:
  struct Entry {
    Fault fault;
    double until;  // cumulative probability
  };
  std::vector<Entry> entries_;
};

}  // namespace llmbench::sim
