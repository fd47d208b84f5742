// The server's end of an HTTP/2 connection, as a bridge: every stream becomes a request in HTTP/1.1 and its
// answer in HTTP/1.1 goes back as frames, so that a stream is served like a connection of its own. Bytes to
// bytes; no sockets. Nghttp2 does the work.
//
// Calls of gRPC cross it too: their message comes out as JSON, and an answer of type application/grpc that is
// whole ends with `grpc-status: 0` unless its head has a status.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

struct nghttp2_session;

namespace llmbench::sim {

class Http2Bridge {
 public:
  // What a client that speaks HTTP/2 sends first.
  static constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

  Http2Bridge();
  ~Http2Bridge();
  Http2Bridge(const Http2Bridge&) = delete;
  Http2Bridge& operator=(const Http2Bridge&) = delete;

  struct Request {
    int32_t stream;
    std::string bytes;  // HTTP/1.1, with Connection: close
  };
  // Takes bytes of the client's; appends the requests that are whole, and the streams that the client has
  // given up. False when the connection is to be closed.
  bool Receive(std::string_view bytes, std::vector<Request>* requests, std::vector<int32_t>* given_up);

  // Bytes of the answer in HTTP/1.1, in any pieces. What is none resets the stream.
  void Answer(int32_t stream, std::string_view bytes);
  // The answer's connection would be closed: an answer that is not whole ends here, without a status.
  void Close(int32_t stream);
  // It would be reset.
  void Reset(int32_t stream);
  // Nobody answers any more: likewise, unless the answer is whole.
  void Abandon(int32_t stream);
  // No more requests.
  void GoAway();

  void TakeOutput(std::string* out);

 private:
  struct Stream;
  struct Callbacks;

  Stream* Find(int32_t id);
  void OnHead(Stream* stream, std::string_view head);
  void OnBody(Stream* stream);
  void End(Stream* stream, bool whole);
  void Resume(Stream* stream);

  nghttp2_session* session_ = nullptr;
  std::map<int32_t, std::unique_ptr<Stream>> streams_;
  std::vector<Request>* requests_ = nullptr;  // during Receive
  std::vector<int32_t>* given_up_ = nullptr;
};

}  // namespace llmbench::sim
