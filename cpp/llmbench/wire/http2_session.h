// The client's end of one HTTP/2 connection, from bytes to bytes: frames, header compression, flow control.
// Knows nothing of sockets or clocks. Nghttp2 does the work.
//
// The windows are so large that flow control never holds a server up; what is received is taken at once.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"

struct nghttp2_session;

namespace llmbench::wire {

// Why a response does not become whole.
enum class Http2Break : uint8_t {
  kReset,        // the server ended the stream
  kUnprocessed,  // the server says that it did nothing with the request
  kProtocol,     // what the server sent is no HTTP/2
  kHeaderTooLarge,
};

// One request and what comes back for it. The calls come out of Receive and TakeOutput and may not go back
// into the session.
class Http2Stream {
 public:
  virtual ~Http2Stream() = default;

  // A block of fields is whole, "name: value\n" each and names in lower case: a response's head, `:status`
  // in front, or its trailers.
  virtual void OnFields(std::string_view lines) = 0;
  // A piece of the body: a view into what Receive was given.
  virtual void OnData(std::string_view bytes) = 0;
  // The response is whole.
  virtual void OnEnd() = 0;
  // It will not become whole.
  virtual void OnBroken(Http2Break kind, std::string_view why) = 0;
  // Bytes of the request went into the output. `all`: they were the last.
  virtual void OnFramed(size_t bytes, bool all) = 0;

 private:
  friend class Http2Session;
  std::string_view unsent_;  // of the body
  std::string fields_;       // of the block that is being received
  bool fields_too_large_ = false;
  bool reset_by_peer_ = false;
};

// Calls fn(name, value) for each field of a block that OnFields was given, in order. What is no field is
// passed over.
template <typename Fn>
void ForEachField(std::string_view lines, Fn&& fn) {
  while (!lines.empty()) {
    const std::string_view line = lines.substr(0, lines.find('\n'));
    lines.remove_prefix(std::min(lines.size(), line.size() + 1));
    const size_t colon = line.find(": ", 1);  // a pseudo field begins with one
    if (colon != std::string_view::npos) fn(line.substr(0, colon), line.substr(colon + 2));
  }
}

using HeaderFields = std::vector<std::pair<std::string, std::string>>;

class Http2Session {
 public:
  explicit Http2Session(size_t max_header_bytes);
  ~Http2Session();
  Http2Session(const Http2Session&) = delete;
  Http2Session& operator=(const Http2Session&) = delete;

  // A request: pseudo-header fields (":method") first, names in lower case, then `extra`. `body` stays where
  // it is until OnFramed has told of its end, `stream` until OnEnd, OnBroken or Cancel. Gives the stream's
  // number, -1 when the session takes no more requests.
  int32_t Submit(const HeaderFields& fields, const HeaderFields& extra, std::string_view body,
                 Http2Stream* stream);
  // Nobody waits for this stream any more: no further call comes for it, and the server is told.
  void Cancel(int32_t id);
  // No more requests; the peer is told.
  void GoAway();

  // Takes bytes from the connection. An error is the end of the session: the peer does not speak HTTP/2, or
  // breaks its rules.
  absl::Status Receive(std::string_view bytes);
  // Appends what is to be sent.
  void TakeOutput(std::string* out);

  // The server's first frame has come: it does speak HTTP/2.
  bool established() const { return established_; }
  // Nothing more can be submitted: the server ends the connection, or the numbers of streams have run out.
  bool closing() const;
  // Requests the server lets run at once.
  int64_t max_streams() const;

 private:
  struct Callbacks;

  void Drain();

  nghttp2_session* session_ = nullptr;
  const size_t max_header_bytes_;
  bool established_ = false;
  bool goaway_received_ = false;
  std::string out_;
  std::string error_;  // what nghttp2 last found wrong
};

}  // namespace llmbench::wire
