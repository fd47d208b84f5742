// HTTP/1.1 over connections of our own: one request at a time on each, kept alive and used again, newest
// first. Reads bring the kernel's receive time.
//
// Every endpoint has its own connector, idle connections and queue, so that one that is down holds up nobody
// else's requests.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "llmbench/engine/connection.h"
#include "llmbench/engine/curl/connector.h"
#include "llmbench/engine/transport.h"
#include "llmbench/wire/json_scratch.h"

namespace llmbench {

class Http1Transport final : public Transport {
 public:
  Http1Transport(WorkerContext* context, TransportClient* client);
  ~Http1Transport() override;

  void OpenWarm(int32_t endpoint) override;
  bool warming() const override { return warm_left_ > 0; }
  void Start(PlannedRequest request) override;
  void StopSending(int64_t now_ns) override;
  void CutRunning(int64_t now_ns) override;
  void CloseAll() override;
  void Prefetch(std::span<const epoll_event> events) const override;
  void OnEvents(std::span<const epoll_event> events, size_t begin, size_t end) override;
  void OnTime(int64_t now_ns) override;
  int64_t deadline_ns() const override;

 private:
  struct Link;
  struct Pool;

  Pool& PoolOf(const Link& link);
  bool pooled() const { return context_->plan->config.connect != ConnectMode::kNew; }

  void SendOn(Link& link, PlannedRequest request, bool opened_for_it);
  void ContinueSend(Link& link);
  void OnEvent(Link& link, uint32_t events);
  void OnPeerClosed(Link& link, const ReadResult& read);
  void Complete(Link& link, bool reusable);

  void NoteDeadline(const Link& link);
  void SweepTimeouts(int64_t now_ns);

  void OnOpened(Pool& pool, curl::Opened opened);
  void OnConnectFailed(Pool& pool, const curl::Opened& opened);
  Link& NewLink(Pool& pool);
  Link* TakeIdle(Pool& pool);
  void MakeIdle(Link& link);
  void CloseLink(Link& link);

  void PrefetchLink(EventLoop::Tag tag) const;
  void PrefetchBehindLink(EventLoop::Tag tag) const;

  std::shared_ptr<wire::JsonScratch> scratch_;
  std::vector<char> buffer_;
  std::vector<std::unique_ptr<Pool>> pools_;  // as the plan's targets
  std::vector<std::unique_ptr<Link>> links_;  // TLS connections end before the pool they live in
  std::vector<uint32_t> free_links_;
  std::vector<curl::Opened> opened_;
  int64_t warm_left_ = 0;  // warm connections still to come
  int64_t next_sweep_ns_ = kNever;
  bool sending_ = true;
};

}  // namespace llmbench
