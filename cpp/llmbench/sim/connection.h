// One client connection of the simulated server: its socket, what came in, what must still go out, the answer
// in progress.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "llmbench/sim/answer.h"
#include "llmbench/sim/http2_bridge.h"
#include "llmbench/sim/http_request.h"
#include "llmbench/sim/tls.h"

namespace llmbench::sim {

struct Connection {
  int fd = -1;  // -1: the slot is free, or a stream's
  uint32_t generation = 0;
  uint32_t listener = 0;            // index in the loop
  std::unique_ptr<TlsSession> tls;  // null: plain
  // HTTP/2: a connection has a bridge and the slots of its streams by their numbers; a stream, which is
  // served like a connection without a socket, has its number and the connection's slot.
  std::unique_ptr<Http2Bridge> http2;
  std::map<int32_t, uint32_t> streams;
  int32_t stream = 0;
  uint32_t parent = 0;
  int64_t idle_close_ns = 0;
  int64_t ping_ns = 0;     // when the next comment is due
  int64_t written_ns = 0;  // newest write of the answer

  HttpRequestParser parser;
  std::string in;
  bool continue_sent = false;
  int64_t received_ns = 0;  // kernel receive time of the newest input byte
  int requests = 0;

  bool dispatching = false;  // the request at the front of the input is being looked at
  bool busy = false;         // an answer is in progress
  Answer answer;
  std::string held;     // formatted, not yet handed to Write
  int held_events = 0;  // of the answer, in `held`

  std::string out;  // written, not yet taken by the kernel
  size_t out_taken = 0;
  bool wants_write = false;  // EPOLLOUT is asked for
  bool closing = false;      // close when `out` is empty
  bool cut = false;          // `out` waits for its time
  size_t drip_left = 0;      // bytes that go out one at a time

  bool in_use() const { return fd >= 0 || stream != 0; }
};

}  // namespace llmbench::sim
