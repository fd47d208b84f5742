// What the transports have in common that open connections of their own: for each endpoint a connector and
// the requests that wait for a connection, so that one that is down holds up nobody else's; and which event
// of the loop belongs to whom.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "llmbench/engine/curl/connector.h"
#include "llmbench/engine/transport.h"

namespace llmbench {

// What one endpoint has.
struct EndpointPool {
  EndpointPool(const Target& the_target, const RunConfig& config, EventLoop* loop, EventLoop::Tag tags)
      : target(the_target),
        connector(target.endpoint, target.addresses, config.timeouts.connect_ns, loop, tags, config.http2) {}

  const Target& target;
  curl::Connector connector;
  std::deque<PlannedRequest> unconnected;  // wait for a connection
};

// `Pool` is an EndpointPool and constructed like one.
template <typename Pool>
class PooledTransport : public Transport {
 public:
  PooledTransport(WorkerContext* context, TransportClient* client) : Transport(context, client) {
    for (const Target& target : context->plan->targets) {
      const auto endpoint = static_cast<EventLoop::Tag>(pools_.size());
      pools_.push_back(std::make_unique<Pool>(target, context->plan->config, &context->loop,
                                              kConnectorBit | endpoint << 32));
    }
  }

  bool warming() const final { return warm_left_ > 0; }

  void OnTime(int64_t now_ns) final {
    for (const auto& pool : pools_) {
      pool->connector.OnTime(now_ns);
      while (pool->connector.has_opened()) {
        pool->connector.TakeOpened(opened_);
        for (curl::Opened& opened : opened_) OnOpened(*pool, std::move(opened));
      }
    }
    if (now_ns >= next_sweep_ns_) SweepTimeouts(now_ns);
  }

  int64_t deadline_ns() const final {
    int64_t deadline = next_sweep_ns_;
    for (const auto& pool : pools_) deadline = std::min(deadline, pool->connector.deadline_ns());
    return deadline;
  }

  void StopSending(int64_t now_ns) override {
    sending_ = false;
    warm_left_ = 0;
    for (const auto& pool : pools_) {
      pool->connector.CancelAll();
      for (const PlannedRequest& request : std::exchange(pool->unconnected, {})) {
        client_->OnUnsent(request, Outcome::kCut, "", now_ns);
        client_->OnFreed(request, now_ns);
      }
    }
  }

 protected:
  // Tickets of connections.
  static constexpr uint64_t kForRequest = 0;
  static constexpr uint64_t kWarm = 1;

  // Tags of the transport's own connections are their index and how often its place was used. Bit 63 marks
  // those that are not: libcurl's connecting sockets (then the endpoint, in the low 32 bits the descriptor),
  // the timer's and the wake-up's.
  static EventLoop::Tag LinkTag(uint32_t index, uint32_t generation) {
    return EventLoop::Tag{generation & 0x7fffffffu} << 32 | index;
  }
  static bool IsLink(EventLoop::Tag tag) { return (tag & kConnectorBit) == 0; }
  static size_t LinkIndex(EventLoop::Tag tag) { return tag & 0xffffffffu; }

  // An event that is not of a connection.
  void OnOtherEvent(const epoll_event& event) {
    const EventLoop::Tag tag = event.data.u64;
    if (tag >= EventLoop::kTimerTag) return;  // the timer, or a wake-up
    pools_[(tag & ~kConnectorBit) >> 32]->connector.OnSocket(static_cast<int>(tag & 0xffffffffu),
                                                             event.events);
  }

  // A connection is open, or will not be.
  virtual void OnOpened(Pool& pool, curl::Opened opened) = 0;
  // Gives up what has waited too long, and says in next_sweep_ns_ when the next one will have.
  virtual void SweepTimeouts(int64_t now_ns) = 0;

  Pool& PoolOf(int32_t endpoint) const { return *pools_[static_cast<size_t>(endpoint)]; }

  std::vector<std::unique_ptr<Pool>> pools_;  // as the plan's targets
  int64_t warm_left_ = 0;                     // warm connections still to come
  int64_t next_sweep_ns_ = kNever;
  bool sending_ = true;

 private:
  static constexpr EventLoop::Tag kConnectorBit = EventLoop::Tag{1} << 63;

  std::vector<curl::Opened> opened_;
};

}  // namespace llmbench
