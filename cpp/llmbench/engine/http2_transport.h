// HTTP/2 over connections of our own: many requests at once on each, as streams. Reads bring the kernel's
// receive time, which the events of all streams in a read share.
//
// Plain connections speak HTTP/2 from the first byte (prior knowledge); over TLS both sides agree on it
// (ALPN), or the connection fails and says so: it never falls back to HTTP/1.1. A connection counts as open
// when the server's first frame has come. A new one is opened when all others carry as many streams as the
// run or their server allows.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "llmbench/engine/connection.h"
#include "llmbench/engine/curl/connector.h"
#include "llmbench/engine/transport.h"
#include "llmbench/wire/http2_response_reader.h"
#include "llmbench/wire/http2_session.h"
#include "llmbench/wire/json_scratch.h"

namespace llmbench {

class Http2Transport final : public Transport {
 public:
  Http2Transport(WorkerContext* context, TransportClient* client);
  ~Http2Transport() override;

  void OpenWarm(int32_t endpoint) override;
  bool warming() const override { return warm_left_ > 0; }
  void Start(PlannedRequest request) override;
  void StopSending(int64_t now_ns) override;
  void CutRunning(int64_t now_ns) override;
  void CloseAll() override;
  void OnEvents(std::span<const epoll_event> events, size_t begin, size_t end) override;
  void OnTime(int64_t now_ns) override;
  int64_t deadline_ns() const override;

 private:
  struct Stream;
  struct Link;
  struct Pool;

  // Connections.
  int64_t Capacity(const Link& link) const;  // streams it can take now
  static bool IsFresh(const Link& link);
  Link* FindLink(Pool& pool, bool fresh);
  void OpenForWaiting(Pool& pool);
  void OnOpened(Pool& pool, curl::Opened opened);
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
  void SweepTimeouts(int64_t now_ns);

  const int64_t streams_per_connection_;
  std::shared_ptr<wire::JsonScratch> scratch_;
  std::vector<char> buffer_;
  std::vector<std::unique_ptr<Pool>> pools_;      // as the plan's targets
  std::vector<std::unique_ptr<Link>> links_;      // TLS connections end before the pool they live in
  std::vector<std::unique_ptr<Stream>> streams_;  // streams end before their link's session
  std::vector<uint32_t> free_links_;
  std::vector<Stream*> free_streams_;
  std::vector<Stream*> ended_;  // in a read, dealt with after it
  std::vector<curl::Opened> opened_;
  ReadStamp stamp_;  // of the read that is being taken
  int64_t warm_left_ = 0;
  int64_t next_sweep_ns_ = kNever;
  bool sending_ = true;
};

}  // namespace llmbench
