#include "llmbench/wire/response_reader.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "llmbench/wire/escape.h"
#include "llmbench/wire/http_parser.h"
#include "llmbench/wire/padded_buffer.h"
#include "llmbench/wire/server_error.h"
#include "llmbench/wire/sse_parser.h"

namespace llmbench::wire {
namespace {

// An error's JSON must be whole to be understood; servers that echo the request make it long.
constexpr size_t kMaxErrorBody = 64 * 1024;

// "text/html" of "Text/HTML; charset=utf-8".
bool IsType(std::string_view header, std::string_view type) {
  if (header.size() < type.size()) return false;
  const bool same = std::equal(type.begin(), type.end(), header.begin(),
                               [](char want, char c) { return want == (c >= 'A' && c <= 'Z' ? c + 32 : c); });
  return same && (header.size() == type.size() || header[type.size()] == ';' || header[type.size()] == ' ');
}

class Http1ResponseReader final : public ResponseReader {
 public:
  Http1ResponseReader(WireFormat format, std::shared_ptr<JsonScratch> scratch, ReaderLimits limits)
      : scratch_(std::move(scratch)),
        decoder_(MakeStreamDecoder(format, scratch_)),
        http_(limits.max_header_bytes),
        sse_(limits.max_event_bytes),
        max_document_(limits.max_event_bytes) {}

  void Start(bool streamed, std::string* text) override {
    answer_.Reset(text);
    decoder_->Reset();
    http_.Reset();
    sse_.Reset();
    document_.Clear();
    content_ = Content::kUnknown;
    streamed_ = streamed;
    any_bytes_ = complete_ = extra_ = had_event_ = had_output_ = false;
  }

  void Prefetch() const override { http_.Prefetch(); }

  bool Feed(const char* data, size_t size, EventSink& sink) override {
    if (size == 0) return answer_.error == WireError::kNone;
    any_bytes_ = true;
    if (complete_) {
      extra_ = true;
      return answer_.error == WireError::kNone;
    }
    std::string_view input(data, size), body;
    for (;;) {
      switch (http_.Advance(input, body)) {
        case HttpParser::Step::kHeader:
          OnHeader();
          continue;
        case HttpParser::Step::kBody:
          OnBody(body, sink);
          continue;
        case HttpParser::Step::kComplete:
          extra_ = !input.empty();
          OnComplete(sink);
          break;
        case HttpParser::Step::kError:
          answer_.Fail(http_.error(), http_.error_text());
          break;
        case HttpParser::Step::kNeedMore:
          break;
      }
      return answer_.error == WireError::kNone;
    }
  }

  void Close(bool reset, EventSink& sink) override {
    if (complete_) {
      extra_ = true;  // nothing can follow on this connection
      return;
    }
    const int code = http_.status();
    if (!any_bytes_) {
      answer_.Fail(reset ? WireError::kResetBeforeHeaders : WireError::kEmptyReply,
                   reset ? "the connection was reset before the response"
                         : "the connection was closed without a response");
      return;
    }
    if (reset) {
      if (content_ == Content::kErrorBody) FailStatus();
      answer_.Fail(code == 0 ? WireError::kResetBeforeHeaders : WireError::kResetMidStream,
                   code == 0 ? "the connection was reset within the response header"
                             : "the connection was reset within the response body");
      return;
    }
    extra_ = true;
    switch (http_.Close()) {
      case HttpParser::Step::kComplete:
        OnComplete(sink);
        break;
      case HttpParser::Step::kError:
        answer_.Fail(http_.error(), http_.error_text());
        break;
      default:
        if (content_ == Content::kErrorBody) FailStatus();
        answer_.Fail(WireError::kTruncated, code == 0 ? "the connection was closed within the response header"
                                                      : "the connection was closed within the response body");
    }
  }

  bool complete() const override { return complete_; }
  bool event_begun() const override {
    if (complete_ || answer_.error != WireError::kNone) return false;
    return (content_ == Content::kEvents || content_ == Content::kUnknown) && (sse_.begun() || http_.begun());
  }
  bool any_bytes() const override { return any_bytes_; }
  bool interim() const override { return http_.interim(); }
  int status() const override { return http_.status(); }
  bool keep_alive() const override { return complete_ && !extra_ && http_.keep_alive(); }
  bool http10() const override { return http_.http10(); }
  const Answer& answer() const override { return answer_; }
  int64_t retry_after_s() const override { return http_.retry_after_s(); }

 private:
  enum class Content : uint8_t {
    kUnknown,  // no byte of the body has come that would tell
    kEvents,
    kDocument,   // one JSON document
    kErrorBody,  // of an answer whose status is no success
    kDropped,    // the answer has failed: only the end of the body matters
  };

  void Fail(WireError error, std::string_view what) {
    answer_.Fail(error, what);
    content_ = Content::kDropped;
  }

  void OnHeader() {
    const int code = http_.status();
    if (code / 100 == 3) {
      const std::string to(http_.location());
      Fail(WireError::kRedirect,
           "status " + std::to_string(code) + (to.empty() ? ", no Location" : ", Location " + to));
    } else if (code / 100 != 2) {
      content_ = Content::kErrorBody;
    } else if (!http_.content_encoding().empty()) {
      Fail(WireError::kContentEncoding, "the body is encoded as " + std::string(http_.content_encoding()) +
                                            " though identity was asked for");
    }
  }

  void OnBody(std::string_view body, EventSink& sink) {
    if (content_ == Content::kUnknown && !Recognise(body)) return;
    switch (content_) {
      case Content::kEvents:
        return OnEvents(body, sink);
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

  // Content types are not to be trusted: the first character tells. False while only space has come, or after
  // a failure.
  bool Recognise(std::string_view& body) {
    body.remove_prefix(std::min(body.find_first_not_of(" \t\r\n"), body.size()));
    if (body.empty()) return false;
    const std::string_view type = http_.content_type();
    if (body[0] == '{' || body[0] == '[') {
      content_ = Content::kDocument;
      answer_.not_streamed = true;
      return true;
    }
    const bool event_like =
        std::strchr("dier:\xef", body[0]) != nullptr;  // data, id, event, error, retry, BOM
    if (IsType(type, "text/event-stream") || (event_like && !IsType(type, "text/html"))) {
      content_ = Content::kEvents;
      return true;
    }
    Fail(WireError::kContentType, "the answer is " +
                                      (type.empty() ? "of no stated type" : std::string(type)) +
                                      (streamed_ ? ", not an event stream: " : ", not JSON: ") + Quote(body));
    return false;
  }

  void OnEvents(std::string_view body, EventSink& sink) {
    SseEvent event;
    for (;;) {
      switch (sse_.Next(body, event)) {
        case SseParser::Step::kEvent:
          OnEvent(event, sink);
          if (answer_.error == WireError::kNone) continue;
          content_ = Content::kDropped;
          return;
        case SseParser::Step::kTooLarge:
          return Fail(WireError::kEventTooLarge,
                      "an event is larger than " + std::to_string(max_document_) + " bytes");
        case SseParser::Step::kNeedMore:
          return;
      }
    }
  }

  void OnEvent(const SseEvent& event, EventSink& sink) {
    had_event_ = true;
    if (event.error) {
      if (answer_.done) {
        answer_.done_order = true;
      } else {
        decoder_->DecodeError(event.payload, answer_);
      }
      return;
    }
    const StreamEvent output = decoder_->Decode(event.payload, answer_);
    if (output.kind == EventKind::kNone && output.tokens == 0) return;
    had_output_ = true;
    sink.OnOutput(output);
  }

  void OnComplete(EventSink& sink) {
    complete_ = true;
    switch (content_) {
      case Content::kUnknown:
        Fail(WireError::kEmptyStream, "status " + std::to_string(http_.status()) + " with an empty body");
        break;
      case Content::kEvents:
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
    if (answer_.error_text.empty()) answer_.error_text = OneLine(http_.error_trailer());
  }

  void FinishEvents(EventSink& sink) {
    SseEvent event;
    if (sse_.Finish(event) == SseParser::Step::kEvent && (event.error || decoder_->IsWhole(event.payload))) {
      answer_.unterminated = true;
      OnEvent(event, sink);
    }
    if (answer_.error != WireError::kNone) return;
    const bool finished = answer_.finish_reason[0] != '\0';
    if (!had_event_) {
      if (IsType(http_.content_type(), "text/event-stream")) {
        Fail(WireError::kEmptyStream, "the stream held no event");
      } else {
        Fail(WireError::kContentType,
             "the answer held no event and is of type " + std::string(http_.content_type()));
      }
    } else if (!answer_.done && !finished) {
      Fail(WireError::kTruncatedNoDone, "the stream ended with neither [DONE] nor a finish reason");
    } else if (!had_output_ && !finished && answer_.output_tokens < 0) {
      Fail(WireError::kEmptyStream, "the stream ended without output, finish reason or usage");
    }
  }

  void FailStatus() {
    std::string what;
    if (http_.content_encoding().empty()) {
      what = ServerErrorMessage(*scratch_, document_.view());
      if (what.empty()) what = document_.view();
    } else {
      what = "body encoded as " + std::string(http_.content_encoding());
    }
    Fail(WireError::kHttpStatus, what);
  }

  const std::shared_ptr<JsonScratch> scratch_;
  const std::unique_ptr<StreamDecoder> decoder_;
  HttpParser http_;
  SseParser sse_;
  const size_t max_document_;
  PaddedBuffer document_;  // one JSON document or the body of an error
  Answer answer_;
  Content content_ = Content::kUnknown;
  bool streamed_ = true;
  bool any_bytes_ = false;
  bool complete_ = false;
  bool extra_ = false;  // bytes or the connection's end came after the response
  bool had_event_ = false;
  bool had_output_ = false;
};

}  // namespace

std::unique_ptr<ResponseReader> MakeResponseReader(WireFormat format, std::shared_ptr<JsonScratch> scratch,
                                                   ReaderLimits limits) {
  return std::make_unique<Http1ResponseReader>(format, std::move(scratch), limits);
}

}  // namespace llmbench::wire
