// One response that came over a stream of HTTP/2: what its fields and its body mean, and where the format is
// gRPC's, what its status says.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "llmbench/wire/body_reader.h"
#include "llmbench/wire/response_reader.h"
#include "llmbench/wire/retry_after.h"
#include "llmbench/wire/wire_format.h"

namespace llmbench::wire {

// Feed takes the pieces that Http2Session hands out, one each; Expect says beforehand what the next is. The
// end of the response is a piece without bytes.
class Http2ResponseReader final : public ResponseReader {
 public:
  enum class Piece : uint8_t {
    kHeaders,  // Http2Stream::OnFields: a head, interim ones included, or trailers
    kBody,
    kEnd,
  };

  Http2ResponseReader(const WireFormat& format, std::shared_ptr<JsonScratch> scratch,
                      ReaderLimits limits = {});

  void Expect(Piece piece) { piece_ = piece; }
  // The response will not become whole.
  void Break(WireError error, std::string_view why);

  void Start(bool streamed, std::string* text, std::string_view prompt = {}) override;
  void Prefetch() const override {}
  bool Feed(const char* data, size_t size, EventSink& sink) override;
  // The connection ended under the stream.
  void Close(bool reset, EventSink& sink) override;

  bool complete() const override { return body_.complete(); }
  bool event_begun() const override { return body_.event_begun(false); }
  bool any_bytes() const override { return any_bytes_; }
  bool interim() const override { return interim_; }
  int status() const override { return status_; }
  bool keep_alive() const override { return true; }  // the session knows
  bool http10() const override { return false; }
  const Answer& answer() const override { return body_.answer(); }
  int64_t retry_after_s() const override { return retry_.seconds(); }

 private:
  void OnFields(std::string_view lines);
  void OnHead();
  void OnField(std::string_view name, std::string_view value);
  void OnEnd(EventSink& sink);

  BodyReader body_;
  const bool grpc_;
  Piece piece_ = Piece::kHeaders;
  bool any_bytes_ = false;
  bool interim_ = false;
  int status_ = 0;
  std::string content_type_, content_encoding_, location_, error_trailer_;
  std::string grpc_status_, grpc_message_;
  RetryAfter retry_;
};

// The name of a gRPC status, "RESOURCE_EXHAUSTED" of 8; "" of a number that has none.
std::string_view GrpcStatusName(int status);

// A grpc-message as its author wrote it: %-encoded bytes decoded, as far as they are well-formed.
std::string DecodeGrpcMessage(std::string_view encoded);

}  // namespace llmbench::wire
