// HTTP/1.1 over connections of our own: one request at a time on each, kept alive and used again, newest
// first. Reads bring the kernel's receive time.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "llmbench/engine/connection.h"
#include "llmbench/engine/pooled_transport.h"
#include "llmbench/wire/json_scratch.h"

namespace llmbench {

struct Http1Pool final : EndpointPool {
  using EndpointPool::EndpointPool;
  // (index, generation) of idle connections, newest last; stale entries are skipped.
  std::vector<std::pair<uint32_t, uint32_t>> idle;
};

class Http1Transport final : public PooledTransport<Http1Pool> {
 public:
  Http1Transport(WorkerContext* context, TransportClient* client);
  ~Http1Transport() override;

  void OpenWarm(int32_t endpoint) override;
  void Start(PlannedRequest request) override;
  void CutRunning(int64_t now_ns) override;
  void CloseAll() override;
  void Prefetch(std::span<const epoll_event> events) const override;
  void OnEvents(std::span<const epoll_event> events, size_t begin, size_t end) override;

 private:
  using Pool = Http1Pool;
  struct Link;

  bool pooled() const { return context_->plan->config.connect != ConnectMode::kNew; }

  void SendOn(Link& link, PlannedRequest request, bool opened_for_it);
  void ContinueSend(Link& link);
  void OnEvent(Link& link, uint32_t events);
  void OnPeerClosed(Link& link, const ReadResult& read);
  void Complete(Link& link, bool reusable);

  void NoteDeadline(const Link& link);
  void SweepTimeouts(int64_t now_ns) override;

  void OnOpened(Pool& pool, curl::Opened opened) override;
  void OnConnectFailed(Pool& pool, const curl::Opened& opened);
  Link& NewLink(Pool& pool);
  Link* TakeIdle(Pool& pool);
  void MakeIdle(Link& link);
  void CloseLink(Link& link);

  void PrefetchPlace(EventLoop::Tag tag) const;

  std::shared_ptr<wire::JsonScratch> scratch_;
  std::vector<char> buffer_;
  std::vector<std::unique_ptr<Link>> links_;  // TLS connections end before the pool they live in
  std::vector<uint32_t> free_links_;
  // Of each link: where what an event touches lies. Close together, so that it can be fetched without waiting
  // for one pointer to lead to the next.
  struct Place {
    const void* link = nullptr;
    const void* connection = nullptr;
    const void* reader = nullptr;
  };
  std::vector<Place> places_;
};

}  // namespace llmbench
