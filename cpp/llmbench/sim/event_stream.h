// The dress of a stream: what stands around the payload of an event, in server-sent events, in lines and in
// bare documents.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "llmbench/sim/answer.h"
#include "llmbench/sim/http_writer.h"
#include "llmbench/sim/options.h"

namespace llmbench::sim {

// Appends the events of one answer after another to the buffers they are sent from.
//
//   std::string& payload = stream.Begin();
//   payload += ...;
//   stream.End();
//
// Not thread-safe: one per serving loop.
class EventStream {
 public:
  explicit EventStream(const Options& options);

  // The answer and the buffer that the next calls are for.
  void Bind(Answer* answer, std::string* out) {
    answer_ = answer;
    out_ = out;
  }
  const Answer& answer() const { return *answer_; }

  // What comes before the first event: a byte order mark where one is asked for.
  void Open();
  // Begins an event; its payload is appended to what is returned. `name` is that of a named server-sent
  // event, `field` the line's.
  std::string& Begin() {
    if (!plain_ || !sse()) return Begin({}, "data");
    event_ = data_;
    payload_at_ = event_.size();
    return event_;
  }
  std::string& Begin(std::string_view name, std::string_view field = "data");
  void End();
  void Event(std::string_view payload, std::string_view name = {});
  // A comment between events: nothing but a line with a colon, and `text` behind it. Only in server-sent
  // events.
  void Comment(std::string_view text);
  // The number of the event that is begun, from 0, counting all of the answer's.
  int64_t number() const { return answer_->wire_events; }

 private:
  bool sse() const { return answer_->stream == StreamKind::kServerSentEvents; }

  Answer* answer_ = nullptr;
  std::string* out_ = nullptr;
  std::string event_;  // scratch
  size_t payload_at_ = 0;
  std::string line_end_ = "\n";   // of server-sent events
  std::string delimiter_ = "\n";  // of lines
  std::string extras_;            // members of every object
  size_t padding_ = 0;
  bool comments_;
  bool bom_;
  bool ids_;
  bool blanks_;
  bool space_;
  bool plain_;        // nothing but a data line
  std::string data_;  // the beginning of one
};

}  // namespace llmbench::sim
