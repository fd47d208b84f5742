#include "llmbench/wire/body_reader.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "llmbench/wire/document_parser.h"
#include "llmbench/wire/escape.h"
#include "llmbench/wire/grpc_frames.h"
#include "llmbench/wire/guess_format.h"
#include "llmbench/wire/line_parser.h"
#include "llmbench/wire/server_error.h"

namespace llmbench::wire {
namespace {

// An error's JSON must be whole to be understood; servers that echo the request make it long.
constexpr size_t kMaxErrorBody = 64 * 1024;

constexpr size_t kMarkSize = 3;
// A byte order mark, with the padding that framings want.
constexpr char kMark[kMarkSize + kPadding] = {'\xef', '\xbb', '\xbf'};

// "text/html" of "Text/HTML; charset=utf-8".
bool IsType(std::string_view header, std::string_view type) {
  if (header.size() < type.size()) return false;
  const bool same = std::equal(type.begin(), type.end(), header.begin(),
                               [](char want, char c) { return want == (c >= 'A' && c <= 'Z' ? c + 32 : c); });
  return same && (header.size() == type.size() || header[type.size()] == ';' || header[type.size()] == ' ');
}

bool IsLines(std::string_view header) {
  for (const char* type : {"application/x-ndjson", "application/ndjson", "application/jsonl",
                           "application/x-jsonlines", "application/json-lines"}) {
    if (IsType(header, type)) return true;
  }
  return false;
}

std::unique_ptr<Framing> MakeFraming(StreamFraming framing, size_t max_event_bytes) {
  switch (framing) {
    case StreamFraming::kNdjson:
    case StreamFraming::kNul:
      return std::make_unique<LineParser>(max_event_bytes, framing == StreamFraming::kNul);
    case StreamFraming::kDocuments:
      return std::make_unique<DocumentParser>(max_event_bytes);
    case StreamFraming::kGrpc:
      return std::make_unique<GrpcFrames>(max_event_bytes);
    case StreamFraming::kNone:
    case StreamFraming::kSse:
      break;
  }
  return nullptr;
}

}  // namespace

BodyReader::BodyReader(const WireFormat& format, std::shared_ptr<JsonScratch> scratch, ReaderLimits limits)
    : scratch_(std::move(scratch)),
      format_(format),
      decoder_(MakeStreamDecoder(format, scratch_)),
      max_document_(limits.max_event_bytes),
      sse_(limits.max_event_bytes),
      own_framing_(MakeFraming(format.rules().framing, limits.max_event_bytes)),
      framing_(&sse_) {}

void BodyReader::Start(bool streamed, std::string* text, std::string_view prompt) {
  answer_.Reset(text);
  decoder_->Reset(prompt);
  sse_.Reset();
  if (own_framing_ != nullptr) own_framing_->Reset();
  framing_ = &sse_;
  document_.Clear();
  status_ = 0;
  content_ = Content::kUnknown;
  mark_ = 0;
  streamed_ = streamed || format_.rules().always_streams;
  complete_ = had_output_ = false;
  events_ = 0;
}

void BodyReader::Fail(WireError error, std::string_view what) {
  answer_.Fail(error, what);
  content_ = Content::kDropped;
}

void BodyReader::OnHead(const ResponseHead& head) {
  status_ = head.status;
  content_type_ = head.content_type;
  content_encoding_ = head.content_encoding;
  if (status_ / 100 == 3) {
    const std::string to(head.location);
    Fail(WireError::kRedirect,
         "status " + std::to_string(status_) + (to.empty() ? ", no Location" : ", Location " + to));
  } else if (status_ / 100 != 2) {
    content_ = Content::kErrorBody;
  } else if (!content_encoding_.empty()) {
    Fail(WireError::kContentEncoding,
         "the body is encoded as " + content_encoding_ + " though identity was asked for");
  }
}

void BodyReader::OnBody(std::string_view body, EventSink& sink) {
  if (content_ == Content::kUnknown && !Recognise(body)) return;
  switch (content_) {
    case Content::kEvents:
      return OnEvents(body, sink);
    case Content::kOtherEvents:
      return OnOtherEvents(body, sink);
    case Content::kDocument:
      if (document_.size() + body.size() > max_document_) {
        return Fail(WireError::kEventTooLarge,
                    "the document is larger than " + std::to_string(max_document_) + " bytes");
      }
      return document_.Append(body);
    case Content::kErrorBody:
      return document_.Append(body.substr(0, kMaxErrorBody - document_.size()));
    case Content::kUnknown:
    case Content::kDropped:
      return;
  }
}

// Content types are not to be trusted: the first character tells. False while only space has come, or after a
// failure.
bool BodyReader::Recognise(std::string_view& body) {
  if (grpc()) {  // which is binary: there is nothing to recognise, and the reader of the head knows its type
    framing_ = own_framing_.get();
    content_ = Content::kEvents;
    return true;
  }
  // An empty line of a format whose lines end in NUL is nothing but that.
  constexpr std::string_view kSpace(" \t\r\n\0", 5);
  const auto skip_space = [&] {
    body.remove_prefix(
        std::min(body.find_first_not_of(kSpace.substr(0, own_framing_ != nullptr ? 5 : 4)), body.size()));
  };
  if (mark_ == 0) skip_space();
  for (; mark_ < kMarkSize && !body.empty() && body[0] == kMark[mark_]; ++mark_) body.remove_prefix(1);
  if (mark_ == kMarkSize) skip_space();
  if (body.empty()) return false;
  if (mark_ % kMarkSize == 0 && (body[0] == '{' || body[0] == '[')) {
    // In a format that streams JSON without more around it, a stream and a document begin alike.
    if (own_framing_ != nullptr && (streamed_ || IsLines(content_type_))) {
      framing_ = own_framing_.get();
      content_ = Content::kEvents;
      return true;
    }
    content_ = Content::kDocument;
    answer_.not_streamed = true;
    return true;
  }
  // data, id, event, error, retry, a comment; what began like a mark and was none
  const bool event_like = std::strchr("dier:", body[0]) != nullptr || mark_ % kMarkSize != 0;
  if (IsType(content_type_, "text/event-stream") || (event_like && !IsType(content_type_, "text/html"))) {
    content_ = own_framing_ != nullptr ? Content::kOtherEvents : Content::kEvents;
    if (mark_ > 0) {
      std::string_view mark(kMark, mark_);
      Frame none;
      (void)sse_.Next(mark, none);
    }
    return true;
  }
  Fail(WireError::kContentType, "the answer is " +
                                    (content_type_.empty() ? "of no stated type" : content_type_) +
                                    (streamed_ ? ", not an event stream: " : ", not JSON: ") + Quote(body));
  return false;
}

void BodyReader::OnEvents(std::string_view body, EventSink& sink) {
  Frame event;
  for (;;) {
    // Nearly every stream there is has this framing, and it is known at compile time.
    const FrameStep step = framing_ == &sse_ ? sse_.Next(body, event) : framing_->Next(body, event);
    switch (step) {
      case FrameStep::kEvent:
        OnEvent(event, sink);
        if (good()) continue;
        content_ = Content::kDropped;
        return;
      case FrameStep::kTooLarge:
        return FailTooLarge();
      case FrameStep::kNeedMore:
        return;
    }
  }
}

// Some server may well wrap its lines so. But where the first event looks like another format's, events of
// the right shape do not mean the same.
void BodyReader::OnOtherEvents(std::string_view body, EventSink& sink) {
  Frame event;
  switch (sse_.Next(body, event)) {
    case FrameStep::kEvent:
      if (!JudgeOtherEvents(event)) return;
      OnEvent(event, sink);
      if (!good()) {
        content_ = Content::kDropped;
        return;
      }
      return OnEvents(body, sink);
    case FrameStep::kTooLarge:
      return FailTooLarge();
    case FrameStep::kNeedMore:
      return;
  }
}

bool BodyReader::JudgeOtherEvents(const Frame& event) {
  content_ = Content::kEvents;
  if (event.error || format_.name() == "template") return true;
  const std::string line = "data: " + std::string(event.payload);
  const std::string other = LooksLike(line, format_.name());
  if (other.empty()) return true;
  Fail(WireError::kSchema, "expected the framing " + std::string(FramingName(format_.rules().framing)) +
                               ", got server-sent events: " + Quote(line) + other);
  return false;
}

void BodyReader::OnEvent(const Frame& event, EventSink& sink) {
  ++events_;
  if (event.error) {
    if (answer_.done) {
      answer_.done_order = true;
    } else {
      decoder_->DecodeError(event.payload, answer_);
    }
    return;
  }
  if (grpc() && !streamed_) {  // the reply of a unary call
    answer_.not_streamed = true;
    decoder_->DecodeDocument(event.payload, answer_);
    return;
  }
  const StreamEvent output = decoder_->Decode(event.payload, answer_);
  if (output.kind == EventKind::kNone && output.tokens == 0) return;
  had_output_ = true;
  sink.OnOutput(output);
}

void BodyReader::OnEnd(const ResponseTrailers& trailers, EventSink& sink) {
  complete_ = true;
  switch (content_) {
    case Content::kUnknown:
      Fail(WireError::kEmptyStream, "status " + std::to_string(status_) + " with an empty body");
      break;
    case Content::kEvents:
    case Content::kOtherEvents:
      FinishEvents(sink);
      break;
    case Content::kDocument:
      decoder_->DecodeDocument(document_.view(), answer_);
      break;
    case Content::kErrorBody:
      FailStatus();
      break;
    case Content::kDropped:
      break;
  }
  // Not a failure by itself, but what explains one that the stream does not explain.
  if (answer_.error_text.empty()) answer_.error_text = OneLine(trailers.error);
}

void BodyReader::OnCut(WireError error, std::string_view what) {
  if (content_ == Content::kErrorBody) FailStatus();
  answer_.Fail(error, what);
}

void BodyReader::FinishEvents(EventSink& sink) {
  Frame event;
  bool torn = false;
  if (framing_->Finish(event) == FrameStep::kEvent) {
    torn = !event.error && !decoder_->IsWhole(event.payload);
    if (!torn && content_ == Content::kOtherEvents && !JudgeOtherEvents(event)) return;
    if (!torn) {
      answer_.unterminated = framing_ == &sse_;  // other framings need no end behind the last event
      OnEvent(event, sink);
    }
  }
  if (!good()) return;
  // A server that knows no streams answers with a single document, and says of what type it is.
  if (framing_ != &sse_ && events_ == 1 && IsType(content_type_, "application/json")) {
    answer_.not_streamed = true;
  }
  if (format_.rules().done_at_end && events_ > 0 && !torn) answer_.done = true;
  const bool finished = answer_.finish_reason[0] != '\0';
  if (events_ == 0) {
    if (grpc()) {
      Fail(WireError::kTruncatedNoDone, "the stream ended within its first message");
    } else if (IsType(content_type_, "text/event-stream")) {
      Fail(WireError::kEmptyStream, "the stream held no event");
    } else {
      Fail(WireError::kContentType, "the answer held no event and is of type " + content_type_);
    }
  } else if (!answer_.done && !finished) {
    Fail(WireError::kTruncatedNoDone,
         torn ? "the stream ended within an event"
              : "the stream ended with neither " + format_.end() + " nor a finish reason");
  } else if (!had_output_ && !finished && answer_.output_tokens < 0) {
    Fail(WireError::kEmptyStream, "the stream ended without output, finish reason or usage");
  }
}

void BodyReader::FailTooLarge() {
  Fail(WireError::kEventTooLarge, "an event is larger than " + std::to_string(max_document_) + " bytes");
}

void BodyReader::FailStatus() {
  std::string what;
  if (content_encoding_.empty()) {
    what = ServerErrorMessage(*scratch_, document_.view());
    if (what.empty()) what = document_.view();
  } else {
    what = "body encoded as " + content_encoding_;
  }
  Fail(WireError::kHttpStatus, what);
}

}  // namespace llmbench::wire
