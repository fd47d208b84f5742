#include "llmbench/wire/response_reader.h"

#include <utility>

#include "llmbench/wire/http_parser.h"

namespace llmbench::wire {
namespace {

class Http1ResponseReader final : public ResponseReader {
 public:
  Http1ResponseReader(const WireFormat& format, std::shared_ptr<JsonScratch> scratch, ReaderLimits limits)
      : http_(limits.max_header_bytes), body_(format, std::move(scratch), limits) {}

  void Start(bool streamed, std::string* text, std::string_view prompt) override {
    http_.Reset();
    body_.Start(streamed, text, prompt);
    any_bytes_ = extra_ = false;
  }

  void Prefetch() const override {
    http_.Prefetch();
    body_.Prefetch();
  }

  bool Feed(const char* data, size_t size, EventSink& sink) override {
    if (size == 0) return body_.good();
    any_bytes_ = true;
    if (body_.complete()) {
      extra_ = true;
      return body_.good();
    }
    std::string_view input(data, size), body;
    for (;;) {
      switch (http_.Advance(input, body)) {
        case HttpParser::Step::kHeader:
          body_.OnHead({.status = http_.status(),
                        .content_type = http_.content_type(),
                        .content_encoding = http_.content_encoding(),
                        .location = http_.location()});
          continue;
        case HttpParser::Step::kBody:
          body_.OnBody(body, sink);
          continue;
        case HttpParser::Step::kComplete:
          extra_ = !input.empty();
          body_.OnEnd({.error = http_.error_trailer()}, sink);
          break;
        case HttpParser::Step::kError:
          body_.Fail(http_.error(), http_.error_text());
          break;
        case HttpParser::Step::kNeedMore:
          break;
      }
      return body_.good();
    }
  }

  void Close(bool reset, EventSink& sink) override {
    if (body_.complete()) {
      extra_ = true;  // nothing can follow on this connection
      return;
    }
    const int code = http_.status();
    if (!any_bytes_) {
      body_.OnCut(reset ? WireError::kResetBeforeHeaders : WireError::kEmptyReply,
                  reset ? "the connection was reset before the response"
                        : "the connection was closed without a response");
      return;
    }
    if (reset) {
      body_.OnCut(code == 0 ? WireError::kResetBeforeHeaders : WireError::kResetMidStream,
                  code == 0 ? "the connection was reset within the response header"
                            : "the connection was reset within the response body");
      return;
    }
    extra_ = true;
    switch (http_.Close()) {
      case HttpParser::Step::kComplete:
        body_.OnEnd({.error = http_.error_trailer()}, sink);
        break;
      case HttpParser::Step::kError:
        body_.Fail(http_.error(), http_.error_text());
        break;
      default:
        body_.OnCut(WireError::kTruncated, code == 0 ? "the connection was closed within the response header"
                                                     : "the connection was closed within the response body");
    }
  }

  bool complete() const override { return body_.complete(); }
  bool event_begun() const override { return body_.event_begun(http_.begun()); }
  bool any_bytes() const override { return any_bytes_; }
  bool interim() const override { return http_.interim(); }
  int status() const override { return http_.status(); }
  bool keep_alive() const override { return body_.complete() && !extra_ && http_.keep_alive(); }
  bool http10() const override { return http_.http10(); }
  const Answer& answer() const override { return body_.answer(); }
  int64_t retry_after_s() const override { return http_.retry_after_s(); }

 private:
  HttpParser http_;
  BodyReader body_;
  bool any_bytes_ = false;
  bool extra_ = false;  // bytes or the connection's end came after the response
};

}  // namespace

std::unique_ptr<ResponseReader> MakeResponseReader(const WireFormat& format,
                                                   std::shared_ptr<JsonScratch> scratch,
                                                   ReaderLimits limits) {
  return std::make_unique<Http1ResponseReader>(format, std::move(scratch), limits);
}

}  // namespace llmbench::wire
