#include "llmbench/engine/transfer.h"

#include <algorithm>
#include <cstring>

namespace llmbench {

Outcome OutcomeOf(wire::WireError error, int status) {
  using wire::WireError;
  switch (error) {
    case WireError::kNone:
      return Outcome::kOk;
    case WireError::kHttpStatus:
      if (status == 429) return Outcome::kHttp429;
      if (status == 503) return Outcome::kHttp503;
      if (status >= 500 && status <= 599) return Outcome::kHttp5xx;
      if (status >= 400 && status <= 499) return Outcome::kHttp4xx;
      return Outcome::kHttpStatus;
    case WireError::kProtocol:
      return Outcome::kProtocol;
    case WireError::kHeaderTooLarge:
      return Outcome::kHeaderTooLarge;
    case WireError::kRedirect:
      return Outcome::kRedirect;
    case WireError::kContentType:
      return Outcome::kContentType;
    case WireError::kContentEncoding:
      return Outcome::kContentEncoding;
    case WireError::kEmptyStream:
      return Outcome::kEmptyStream;
    case WireError::kEventTooLarge:
      return Outcome::kEventTooLarge;
    case WireError::kSseJsonInvalid:
      return Outcome::kSseJsonInvalid;
    case WireError::kBadEvent:
      return Outcome::kBadEvent;
    case WireError::kSchema:
      return Outcome::kSchema;
    case WireError::kServerErrorEvent:
      return Outcome::kServerErrorEvent;
    case WireError::kEmptyReply:
      return Outcome::kEmptyReply;
    case WireError::kResetBeforeHeaders:
      return Outcome::kResetBeforeHeaders;
    case WireError::kResetMidStream:
      return Outcome::kResetMidStream;
    case WireError::kTruncated:
      return Outcome::kTruncated;
    case WireError::kTruncatedNoDone:
      return Outcome::kTruncatedNoDone;
  }
  return Outcome::kProtocol;
}

void Transfer::Begin(const PlannedRequest& plan, const Workload::Item& item, bool streamed, bool save_text) {
  plan_ = plan;
  record_ = RequestRecord{};
  record_.id = plan.id;
  record_.phase = plan.phase;
  record_.scheduled_ns = plan.scheduled_ns;
  record_.slot_ns = plan.slot_ns;
  record_.workload = plan.workload;
  record_.endpoint = plan.endpoint;
  record_.attempts = plan.attempts;
  record_.prompt_tokens = item.prompt_tokens;
  record_.asked_tokens = item.asked_tokens;
  if (plan.slot_waited) record_.flags |= kSlotWaited;
  error_.clear();
  text_.clear();
  blob_.Reset(0);
  over_ = false;
  begun_behind_last_ = false;
  reader_->Start(streamed, save_text ? &text_ : nullptr, item.prompt);
}

void Transfer::OnBytes(const char* data, size_t size, const ReadStamp& stamp, Recorder& recorder) {
  // Pieces with one receive time are one read: HTTP/2 hands a read out frame by frame.
  const int64_t read_ns = std::max(stamp.time_ns, record_.sent_ns);
  if (read_ns != stamp_.time_ns || record_.first_byte_ns == kNoTime) outputs_in_read_ = 0;
  stamp_ = stamp;
  // Not before the request went out, even if the two clocks disagree by a few nanoseconds.
  stamp_.time_ns = read_ns;
  recorder_ = &recorder;
  last_activity_ns_ = stamp_.time_ns;
  if (record_.first_byte_ns == kNoTime) {
    record_.first_byte_ns = stamp_.time_ns;
    blob_.Reset(record_.sent_ns);
  }
  if (!stamp.kernel) record_.flags |= kTurnStamped;
  record_.bytes_in += static_cast<int64_t>(size);
  const bool had_interim = reader_->interim();
  const bool good = reader_->Feed(data, size, *this);
  if (reader_->interim() && !had_interim) {
    // The first byte is the final response's: of this read when its header is here, else of one to come.
    record_.first_byte_ns = reader_->status() != 0 ? stamp_.time_ns : kNoTime;
  }
  if (outputs_in_read_ == 1) begun_behind_last_ = reader_->event_begun();
  if (!good || reader_->complete()) Conclude(stamp_.time_ns);
}

void Transfer::OnClosed(bool reset, int64_t time_ns) {
  stamp_ = {.time_ns = std::max(time_ns, record_.sent_ns), .previous_turn_ns = time_ns, .kernel = false};
  recorder_ = nullptr;
  outputs_in_read_ = 0;
  record_.flags |= kServerClosed;
  reader_->Close(reset, *this);
  Conclude(stamp_.time_ns);
}

void Transfer::End(Outcome outcome, int64_t time_ns, std::string_view error) {
  record_.outcome = outcome;
  record_.end_ns = time_ns;
  error_ = error;
  over_ = true;
}

void Transfer::Conclude(int64_t time_ns) {
  const wire::Answer& answer = reader_->answer();
  record_.outcome = OutcomeOf(answer.error, reader_->status());
  record_.end_ns = time_ns;
  error_ = answer.error_text;
  over_ = true;
  if (answer.not_streamed) {  // one document: its arrival is the end, not a token's time
    record_.first_token_ns = record_.first_answer_ns = record_.last_token_ns = kNoTime;
    record_.events = record_.merged_events = 0;
    blob_.Reset(record_.sent_ns);
  }
}

void Transfer::MarkMerged() {
  blob_.FlagLast(kEventMerged);
  ++record_.merged_events;
  if (recorder_ != nullptr) recorder_->AppendSample(ClientSample::kMergedWidth, last_width_ns_);
}

void Transfer::OnOutput(const wire::StreamEvent& event) {
  ++outputs_in_read_;
  const bool merged = outputs_in_read_ > 1;
  if (outputs_in_read_ == 2 || (outputs_in_read_ == 1 && begun_behind_last_)) MarkMerged();
  begun_behind_last_ = false;

  if (record_.first_token_ns == kNoTime) record_.first_token_ns = stamp_.time_ns;
  const bool reasoning = event.kind == wire::EventKind::kReasoning;
  if (!reasoning && record_.first_answer_ns == kNoTime) record_.first_answer_ns = stamp_.time_ns;
  record_.last_token_ns = stamp_.time_ns;
  ++record_.events;
  last_width_ns_ = std::max<int64_t>(0, stamp_.time_ns - stamp_.previous_turn_ns);
  const uint8_t flags =
      static_cast<uint8_t>((stamp_.kernel ? kEventKernelStamp : 0) | (reasoning ? kEventReasoning : 0));
  blob_.Append(stamp_.time_ns, event.tokens, flags);
  if (merged) MarkMerged();
}

RequestRecord Transfer::Finished() const {
  RequestRecord row = record_;
  const wire::Answer& answer = reader_->answer();
  row.status = reader_->status();
  if (row.attempts > 0) {
    if (answer.prompt_tokens >= 0) row.prompt_tokens = answer.prompt_tokens;
    row.cached_tokens = answer.cached_tokens;
    row.reasoning_tokens = answer.reasoning_tokens;
    if (answer.output_tokens >= 0) {
      row.output_tokens = answer.output_tokens;
      row.token_source = TokenSource::kUsage;
    } else if (answer.token_ids >= 0) {
      row.output_tokens = answer.token_ids;
      row.token_source = TokenSource::kTokenIds;
    } else if (row.events > 0) {
      row.output_tokens = row.events;
      row.token_source = TokenSource::kEvents;
    }
    std::memcpy(row.finish_reason, answer.finish_reason, sizeof row.finish_reason);
    if (answer.not_streamed) row.flags |= kNotStreamed;
    if (answer.done_order) row.flags |= kDoneOrder;
    if (answer.unterminated) row.flags |= kUnterminatedEvent;
    if (answer.lone_surrogate) row.flags |= kLoneSurrogate;
    if (!answer.done && !answer.not_streamed && row.outcome == Outcome::kOk) row.flags |= kDoneMissing;
    if (reader_->http10()) row.flags |= kHttp10;
  }
  return row;
}

}  // namespace llmbench
