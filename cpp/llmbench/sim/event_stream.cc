#include "llmbench/sim/event_stream.h"

#include "llmbench/sim/json_text.h"

namespace llmbench::sim {

EventStream::EventStream(const Options& options)
    : padding_(static_cast<size_t>(options.padding_bytes)),
      comments_(ListContains(options.dress, "comments")),
      bom_(ListContains(options.dress, "bom")),
      ids_(ListContains(options.dress, "ids")),
      blanks_(ListContains(options.dress, "blanks")),
      space_(!ListContains(options.dress, "nospace")),
      plain_(!comments_ && !ids_ && !blanks_),
      data_(space_ ? "data: " : "data:") {
  switch (options.line_ending) {
    case LineEnding::kLf:
      break;
    case LineEnding::kCrLf:
      line_end_ = delimiter_ = "\r\n";
      break;
    case LineEnding::kCr:
      line_end_ = "\r";
      break;
    case LineEnding::kNul:
      delimiter_.assign(1, '\0');
      break;
  }
  if (ListContains(options.extras, "numbers")) extras_ += R"(,"sim_large":9007199254740993,"sim_small":1e-7)";
  if (ListContains(options.extras, "duplicates")) extras_ += R"(,"sim_key":1,"sim_key":{"sim_key":[2]})";
}

void EventStream::Open() {
  if (bom_) answer_->http->Body(*answer_, "\xef\xbb\xbf", out_);
}

std::string& EventStream::Begin(std::string_view name, std::string_view field) {
  event_.clear();
  if (sse()) {
    if (blanks_) {
      event_ += line_end_;
      event_ += line_end_;
    }
    if (comments_) {
      event_ += ": ping";
      event_ += line_end_;
      event_ += line_end_;
    }
    if (!name.empty() || ids_) {
      event_ += space_ ? "event: " : "event:";
      event_ += name.empty() ? std::string_view("message") : name;
      event_ += line_end_;
    }
    if (ids_) {
      event_ += "id: ";
      AppendNumber(answer_->wire_events, &event_);
      event_ += line_end_;
      event_ += "retry: 1000";
      event_ += line_end_;
    }
    event_ += field;
    event_ += space_ ? ": " : ":";
  } else if (blanks_ && answer_->stream == StreamKind::kLines) {
    event_ += delimiter_;
  }
  payload_at_ = event_.size();
  return event_;
}

void EventStream::End() {
  if ((padding_ > 0 || !extras_.empty()) && event_.back() == '}' && event_.size() > payload_at_ + 2) {
    event_.pop_back();
    event_ += extras_;
    if (const size_t size = event_.size() - payload_at_ + 18; size < padding_) {
      event_ += R"(,"sim_padding":")";
      event_.append(padding_ - size, 'x');
      event_ += '"';
    }
    event_ += '}';
  }
  switch (answer_->stream) {
    case StreamKind::kServerSentEvents:
      event_ += line_end_;
      event_ += line_end_;
      break;
    case StreamKind::kLines:
      event_ += delimiter_;
      break;
    case StreamKind::kDocuments:
      break;
  }
  ++answer_->wire_events;
  answer_->http->Body(*answer_, event_, out_);
}

void EventStream::Event(std::string_view payload, std::string_view name) {
  Begin(name) += payload;
  End();
}

void EventStream::Comment(std::string_view text) {
  if (!sse()) return;
  event_ = ":";
  event_ += text;
  event_ += line_end_;
  event_ += line_end_;
  answer_->http->Body(*answer_, event_, out_);
}

}  // namespace llmbench::sim
