// HTTP/1.x response framing: where the header ends, which bytes are body, where the message ends.
//
// Boost.Beast does the parsing; this class feeds it so that any slicing of the bytes gives the same result
// and so that body bytes are never copied.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "llmbench/wire/stream_decoder.h"

namespace llmbench::wire {

class HttpParser {
 public:
  enum class Step : uint8_t {
    kNeedMore,  // the input is used up
    kHeader,    // the header of the final (not 1xx) response is complete
    kBody,      // `body` is the next piece of the body
    kComplete,  // the message ended; what is left of the input is not part of it
    kError,     // error() and error_text() say why; the parser stays in this state
  };

  explicit HttpParser(size_t max_header_bytes);
  ~HttpParser();
  HttpParser(const HttpParser&) = delete;
  HttpParser& operator=(const HttpParser&) = delete;

  // Gets ready for the next response; keeps its memory.
  void Reset();

  // Asks for the memory Advance will touch, ahead of time.
  void Prefetch() const;

  // Takes bytes from the front of `input` until there is something to tell. `body` is a view into `input`, so
  // whatever may be read after the input may be read after it. Call again until kNeedMore, kComplete or
  // kError.
  Step Advance(std::string_view& input, std::string_view& body);

  // The peer closed. kComplete: the body was to be read until this; kNeedMore: the message was cut short.
  Step Close();

  // Bytes of a next piece of body are announced or begun but none of it has come: a chunk's header, say.
  bool begun() const;

  int status() const;       // 0 before kHeader
  bool interim() const;     // a 1xx response came before the final one
  bool http10() const;      // false before kHeader
  bool keep_alive() const;  // what version and headers say; false before kHeader and after kError

  // Header fields as sent, "" when absent. Valid from kHeader to Reset.
  std::string_view content_type() const;
  std::string_view content_encoding() const;  // also a transfer coding other than chunked
  std::string_view location() const;
  // Seconds of Retry-After (a date counts from the response's own Date) or Retry-After-Ms, rounded up; -1:
  // absent or not understood.
  int64_t retry_after_s() const;
  // "Name: value" of a trailer whose name ends in "-error"; "" when there was none.
  std::string_view error_trailer() const;

  WireError error() const;  // kProtocol or kHeaderTooLarge
  std::string_view error_text() const;

 private:
  class Message;
  std::unique_ptr<Message> message_;
};

}  // namespace llmbench::wire
