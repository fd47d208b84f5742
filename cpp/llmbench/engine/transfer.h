// One request from its place in the plan to its row: what was sent, what came back, and when.
//
// A Transfer knows no socket: it is fed bytes with their receive times, so that it can be tested on bytes
// alone.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "llmbench/engine/planned_request.h"
#include "llmbench/record/event_blob.h"
#include "llmbench/record/recorder.h"
#include "llmbench/record/request_record.h"
#include "llmbench/wire/response_reader.h"
#include "llmbench/workload/workload.h"

namespace llmbench {

// What one read brought.
struct ReadStamp {
  int64_t time_ns = 0;           // receive time of the newest byte
  int64_t previous_turn_ns = 0;  // the worker's loop turn before this one
  bool kernel = false;           // time_ns is the kernel's, not the loop turn's
};

Outcome OutcomeOf(wire::WireError error, int status);

class Transfer : public wire::EventSink {
 public:
  explicit Transfer(std::unique_ptr<wire::ResponseReader> reader) : reader_(std::move(reader)) {}

  // A new request on this connection. The row starts here; times stay absolute until TakeRecord.
  void Begin(const PlannedRequest& plan, const Workload::Item& item, bool streamed, bool save_text);

  // Takes what a read brought. Afterwards over() tells whether the answer is whole or has failed.
  void OnBytes(const char* data, size_t size, const ReadStamp& stamp, Recorder& recorder);
  // The peer ended or broke the connection.
  void OnClosed(bool reset, int64_t time_ns);
  // Asks for the memory OnBytes will touch beyond this object and its reader, ahead of time.
  void Prefetch() const {
    reader_->Prefetch();
    blob_.Prefetch();
  }
  // The engine ends it: a time-out, a cut, a failed connect.
  void End(Outcome outcome, int64_t time_ns, std::string_view error);

  bool over() const { return over_; }
  bool any_bytes() const { return reader_->any_bytes(); }
  bool has_output() const { return record_.first_token_ns != kNoTime; }
  bool may_reuse_connection() const { return reader_->complete() && reader_->keep_alive(); }
  int64_t last_activity_ns() const { return last_activity_ns_; }

  RequestRecord& record() { return record_; }
  const RequestRecord& record() const { return record_; }
  const wire::ResponseReader* reader() const { return reader_.get(); }
  const PlannedRequest& plan() const { return plan_; }
  std::span<const uint8_t> events() const { return blob_.bytes(); }
  const std::string& error() const { return error_; }
  const std::string& text() const { return text_; }

  // The finished row: counts and flags filled in. Times are still absolute.
  RequestRecord Finished() const;

  void OnOutput(const wire::StreamEvent& event) override;

 private:
  void Conclude(int64_t time_ns);
  void MarkMerged();

  std::unique_ptr<wire::ResponseReader> reader_;
  PlannedRequest plan_;
  RequestRecord record_;
  EventBlobWriter blob_;
  std::string error_, text_;
  int64_t last_activity_ns_ = 0;
  bool over_ = false;

  // Within one read.
  ReadStamp stamp_;
  Recorder* recorder_ = nullptr;
  int outputs_in_read_ = 0;
  // The last output event shared its read with the beginning of a next event: merged, if that one carries
  // output.
  bool begun_behind_last_ = false;
  int64_t last_width_ns_ = 0;
};

}  // namespace llmbench
