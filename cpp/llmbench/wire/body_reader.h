// What a response's body means, whatever carried it: recognising the content, framing, decoding, and how it
// ended. The readers of HTTP/1.1 and HTTP/2 stand on it.
//
// Any slicing of the same bytes gives the same events and the same answer; only which bytes the text of an
// error quotes may depend on it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "llmbench/wire/framing.h"
#include "llmbench/wire/padded_buffer.h"
#include "llmbench/wire/sse_parser.h"
#include "llmbench/wire/stream_decoder.h"
#include "llmbench/wire/wire_format.h"

namespace llmbench::wire {

// Receives the output-carrying events of one Feed, in order. A document that was not streamed has none: it
// says when the answer was complete, not when its tokens were made.
class EventSink {
 public:
  virtual ~EventSink() = default;
  virtual void OnOutput(const StreamEvent& event) = 0;
};

struct ReaderLimits {
  size_t max_header_bytes = 256 * 1024;
  size_t max_event_bytes = 16 * 1024 * 1024;
};

// What of a response's header tells what its body is; "" for a field that is absent.
struct ResponseHead {
  int status = 0;
  std::string_view content_type;
  std::string_view content_encoding;  // of a body that is not as it was written
  std::string_view location;
};

// What may follow a body.
struct ResponseTrailers {
  std::string_view error;  // "Name: value" of a trailer that tells of an error
};

class BodyReader {
 public:
  BodyReader(const WireFormat& format, std::shared_ptr<JsonScratch> scratch, ReaderLimits limits);

  // Gets ready for the next answer; keeps its memory. `streamed`: whether a stream was asked for. `text`, if
  // any, takes the answer's text, and `prompt` is the prompt as the server saw it, for formats that repeat
  // it; both stay valid until the answer is over.
  void Start(bool streamed, std::string* text, std::string_view prompt);

  // Asks for the memory OnBody will touch beyond this object, ahead of time.
  void Prefetch() const { __builtin_prefetch(decoder_.get()); }

  // The header of the final response. A status that is no success makes the body an error's, whose text is
  // known when it is whole.
  void OnHead(const ResponseHead& head);

  // The next piece of the body, with kPadding readable bytes after it.
  void OnBody(std::string_view bytes, EventSink& sink);

  // The body is whole.
  void OnEnd(const ResponseTrailers& trailers, EventSink& sink);

  // The body will not become whole: the connection was closed or reset, or its framing is broken.
  void OnCut(WireError error, std::string_view what);

  // The answer fails for a reason that lies below the body.
  void Fail(WireError error, std::string_view what);

  bool complete() const { return complete_; }
  bool good() const { return answer_.error == WireError::kNone; }
  // An output event may be half here. `more`: bytes of a next piece are announced or begun.
  bool event_begun(bool more) const {
    if (complete_ || !good()) return false;
    return content_ <= Content::kOtherEvents && (more || framing_->begun());
  }
  const Answer& answer() const { return answer_; }

 private:
  enum class Content : uint8_t {
    kUnknown,  // no byte of the body has come that would tell
    kEvents,
    kOtherEvents,  // server-sent events, none of them read yet, though the format frames its own otherwise
    kDocument,     // one JSON document
    kErrorBody,    // of an answer whose status is no success
    kDropped,      // the answer has failed: only the end of the body matters
  };

  bool grpc() const { return format_.rules().framing == StreamFraming::kGrpc; }
  bool Recognise(std::string_view& body);
  void OnEvents(std::string_view body, EventSink& sink);
  void OnOtherEvents(std::string_view body, EventSink& sink);
  bool JudgeOtherEvents(const Frame& event);
  void OnEvent(const Frame& event, EventSink& sink);
  void FinishEvents(EventSink& sink);
  void FailStatus();
  void FailTooLarge();

  const std::shared_ptr<JsonScratch> scratch_;
  const WireFormat format_;
  const std::unique_ptr<StreamDecoder> decoder_;
  const size_t max_document_;
  SseParser sse_;
  const std::unique_ptr<Framing> own_framing_;  // the format's, where that is not SSE; null otherwise
  Framing* framing_;                            // of this body
  PaddedBuffer document_;                       // one JSON document or the body of an error
  Answer answer_;
  int status_ = 0;
  std::string content_type_, content_encoding_;
  Content content_ = Content::kUnknown;
  size_t mark_ = 0;  // bytes of a byte order mark that the body began with
  bool streamed_ = true;
  bool complete_ = false;
  bool had_output_ = false;
  int64_t events_ = 0;
};

}  // namespace llmbench::wire
