// HTTP/2 over connections of our own: many requests at once on each, as streams. Reads bring the kernel's
// receive time, which the events of all streams in a read share.
//
// Plain connections speak HTTP/2 from the first byte (prior knowledge); over TLS both sides agree on it
// (ALPN), or the connection fails and says so: it never falls back to HTTP/1.1. A connection counts as open
// when the server's first frame has come. A new one is opened when all others carry as many streams as the
// run or their server allows.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "llmbench/engine/connection.h"
#include "llmbench/engine/load_order.h"
#include "llmbench/engine/pooled_transport.h"
#include "llmbench/wire/http2_response_reader.h"
#include "llmbench/wire/http2_session.h"
#include "llmbench/wire/json_scratch.h"

namespace llmbench {

struct Http2Pool final : EndpointPool {
  Http2Pool(const Target& the_target, const RunConfig& config, EventLoop* loop, EventLoop::Tag tags);

  const wire::HeaderFields fields;
  int64_t opening = 0;  // connections that requests wait for
  int64_t warm_requests = 0;
  LoadOrder roomy;  // connections that take another stream, by how many they carry
};

class Http2Transport final : public PooledTransport<Http2Pool> {
 public:
  Http2Transport(WorkerContext* context, TransportClient* client);
  ~Http2Transport() override;

  void OpenWarm(int32_t endpoint) override;
  void Start(PlannedRequest request) override;
  void StopSending(int64_t now_ns) override;
  void CutRunning(int64_t now_ns) override;
  void CloseAll() override;
  void OnEvents(std::span<const epoll_event> events, size_t begin, size_t end) override;

 private:
  using Pool = Http2Pool;
  struct Stream;
  struct Link;

  // Connections.
  int64_t Capacity(const Link& link) const;  // streams it can take now
  static bool IsFresh(const Link& link);
  // After whatever changes its capacity.
  void NoteCapacity(const Link& link);
  Link* FindLink(Pool& pool, bool fresh);
  void OpenForWaiting(Pool& pool);
  void OnOpened(Pool& pool, curl::Opened opened) override;
  void OnEstablished(Link& link);
  void FailWaiting(Pool& pool, Outcome outcome, const std::string& error);
  void OnReady(Link& link, uint32_t events);
  void Flush(Link& link);
  // Ends a connection and what is on it.
  void Break(Link& link, wire::WireError error, const std::string& why);
  void CloseLink(Link& link);
  void FeedWaiting(Link& link);

  // Requests.
  Stream& TakeStream();
  void SendOn(Link& link, PlannedRequest request, bool opened_for_it);
  void OnPiece(Stream& stream, wire::Http2ResponseReader::Piece piece, std::string_view bytes);
  void OnBroken(Stream& stream, wire::WireError error, std::string_view why, bool unprocessed);
  void FinishEnded();
  void Complete(Stream& stream);
  void SweepTimeouts(int64_t now_ns) override;

  const int64_t streams_per_connection_;
  std::shared_ptr<wire::JsonScratch> scratch_;
  std::vector<char> buffer_;
  std::vector<std::unique_ptr<Link>> links_;      // TLS connections end before the pool they live in
  std::vector<std::unique_ptr<Stream>> streams_;  // streams end before their link's session
  std::vector<uint32_t> free_links_;
  std::vector<Stream*> free_streams_;
  std::vector<Stream*> ended_;  // in a read, dealt with after it
  ReadStamp stamp_;             // of the read that is being taken
};

}  // namespace llmbench
