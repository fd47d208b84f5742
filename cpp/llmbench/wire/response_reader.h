// One HTTP response from its bytes: status, body framing, stream framing, decoding. Knows nothing of sockets
// or clocks.
//
// Any slicing of the same bytes gives the same events and the same answer; only which bytes the text of an
// error quotes may depend on it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "llmbench/wire/body_reader.h"
#include "llmbench/wire/stream_decoder.h"
#include "llmbench/wire/wire_format.h"

namespace llmbench::wire {

class ResponseReader : public InLargePages {
 public:
  virtual ~ResponseReader() = default;

  // Gets ready for the answer to a new request on the same connection. `streamed`: whether a stream was asked
  // for. `text`, if any, takes the answer's text; `prompt` is the prompt as the server saw it, for formats
  // that repeat it. Both stay valid until the answer is over.
  virtual void Start(bool streamed, std::string* text, std::string_view prompt = {}) = 0;

  // Asks for the memory Feed will touch, ahead of time: with many streams it is in no near cache.
  virtual void Prefetch() const = 0;

  // Takes all of [data, data + size); the buffer has kPadding readable bytes after it and may be overwritten
  // afterwards. Bytes that come after a complete response are an error of the server's (nothing is
  // pipelined): they are dropped and the connection is not to be used again. Returns false once the answer
  // has failed. What is fed after that is only framed, so that complete() and keep_alive() still come true
  // where the rest of the body is read. An answer with an HTTP error status fails when its body is complete,
  // not before.
  virtual bool Feed(const char* data, size_t size, EventSink& sink) = 0;

  // The peer closed (reset = false) or reset the connection. Completes a read-to-close body; otherwise sets
  // the error.
  virtual void Close(bool reset, EventSink& sink) = 0;

  // The response is whole: its HTTP body ended. answer().error tells whether it is any good. A whole good
  // answer may lack the terminal event (answer().done false): then a finish reason came.
  virtual bool complete() const = 0;
  // An output event may be half here: bytes of a next event were read but do not complete it yet.
  virtual bool event_begun() const = 0;
  virtual bool any_bytes() const = 0;
  virtual bool interim() const = 0;  // a 1xx response came before the final one
  virtual int status() const = 0;    // 0 before the final (not 1xx) status line
  virtual bool keep_alive()
      const = 0;  // the connection may carry another request: complete() and both sides agree
  virtual bool http10() const = 0;
  virtual const Answer& answer() const = 0;
  // Seconds of a Retry-After header, -1 when there was none.
  virtual int64_t retry_after_s() const = 0;
};

std::unique_ptr<ResponseReader> MakeResponseReader(const WireFormat& format,
                                                   std::shared_ptr<JsonScratch> scratch,
                                                   ReaderLimits limits = {});

}  // namespace llmbench::wire
