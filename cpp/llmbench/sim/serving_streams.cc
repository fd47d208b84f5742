// Streams of HTTP/2: each has a slot of its own and is served like a connection; what it writes goes through
// its connection's bridge.
#include <utility>
#include <vector>

#include "llmbench/sim/serving_loop.h"

namespace llmbench::sim {

// A client that knows the server to speak it begins so, and one that agreed on it over TLS.
bool ServingLoop::SpeaksHttp2(Connection& connection) {
  if (connection.http2 != nullptr) return true;
  if (connection.requests > 0 ||
      connection.in.compare(0, Http2Bridge::kPreface.size(), Http2Bridge::kPreface) != 0) {
    return false;
  }
  connection.http2 = std::make_unique<Http2Bridge>();
  return true;
}

void ServingLoop::ServeStreams(uint32_t slot) {
  Connection& connection = *connections_[slot];
  const uint32_t generation = connection.generation;
  std::vector<Http2Bridge::Request> requests;
  std::vector<int32_t> given_up;
  const std::string in = std::exchange(connection.in, {});
  const bool open = connection.http2->Receive(in, &requests, &given_up);
  for (const int32_t stream : given_up) {
    const auto at = connection.streams.find(stream);
    if (at != connection.streams.end()) Close(at->second);
  }
  if (!FlushStreams(slot)) return;
  for (const Http2Bridge::Request& request : requests) {
    OpenStream(slot, request);
    if (Find(slot, generation) == nullptr) return;
  }
  if (!open) CloseWhenSent(slot);
}

void ServingLoop::OpenStream(uint32_t slot, const Http2Bridge::Request& request) {
  Connection& connection = *connections_[slot];
  const uint32_t own = TakeSlot();
  Connection& stream = *connections_[own];
  stream.stream = request.stream;
  stream.parent = slot;
  stream.listener = connection.listener;
  stream.received_ns = connection.received_ns;
  stream.in = request.bytes;
  connection.streams[request.stream] = own;
  ++connection.requests;
  const bool last = options_.close_after_reply ||
                    (options_.keep_alive_requests > 0 && connection.requests >= options_.keep_alive_requests);
  if (last) connection.http2->GoAway();
  ServeInput(own);
}

// Its slot is about to be free. An answer that is whole is still sent by the bridge; another one is reset.
void ServingLoop::ForgetStream(uint32_t slot) {
  const Connection& stream = *connections_[slot];
  Connection& connection = *connections_[stream.parent];
  connection.streams.erase(stream.stream);
  if (connection.http2 != nullptr) connection.http2->Abandon(stream.stream);
}

bool ServingLoop::WriteStream(uint32_t slot, std::string_view bytes) {
  const Connection& stream = *connections_[slot];
  connections_[stream.parent]->http2->Answer(stream.stream, bytes);
  return FlushStreams(stream.parent);
}

bool ServingLoop::FlushStreams(uint32_t slot) {
  if (connections_[slot]->http2 == nullptr) return false;  // was closed meanwhile
  std::string out;
  connections_[slot]->http2->TakeOutput(&out);
  return out.empty() || Write(slot, out);
}

}  // namespace llmbench::sim
