// A transport without a worker: the loop's turns are made here, and what it says to its client is kept.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "llmbench/engine/load_plan.h"
#include "llmbench/engine/transport.h"
#include "llmbench/engine/worker.h"

namespace llmbench::testing {

class NoRecorder final : public Recorder {
 public:
  void Append(const RequestRecord&, std::span<const uint8_t>, std::string_view, std::string_view) override {}
  void AppendSample(ClientSample, int64_t) override {}
  void HandOver(int64_t, bool) override {}
};

template <typename T>
class Driven final : private TransportClient {
 public:
  struct End {
    int64_t id;
    Outcome outcome;
    bool sent;  // OnEnded, not OnUnsent
    RequestRecord record;
    std::string error;
  };

  // One endpoint on each port. The workload's only item is an empty object.
  explicit Driven(const std::vector<uint16_t>& ports, RunConfig config = {})
      : plan_(Complete(std::move(config), ports), SlotLimiter::kUnlimited) {
    for (const Endpoint& endpoint : plan_.config.endpoints) {
      plan_.targets.push_back({endpoint, MakeRequestHead(endpoint, true), {"127.0.0.1"}});
    }
    context_ = std::make_unique<WorkerContext>(&plan_, 0, &recorder_);
    EXPECT_TRUE(context_->loop.Open().ok());
    transport_ = std::make_unique<T>(context_.get(), static_cast<TransportClient*>(this));
    context_->turn_ns = context_->previous_turn_ns = MonotonicNs();
  }

  Transport& transport() { return *transport_; }
  const LiveCounters& live() const { return context_->live; }

  void Start(int64_t id, int32_t endpoint = 0) {
    PlannedRequest request;
    request.id = id;
    request.endpoint = endpoint;
    request.scheduled_ns = request.slot_ns = MonotonicNs();
    transport_->Start(request);
  }

  // Turns the loop until `done`; false when that takes longer than anybody waits.
  bool TurnUntil(const std::function<bool()>& done) {
    const int64_t give_up_ns = MonotonicNs() + 60 * kNsPerSecond;
    while (!done()) {
      const int64_t now_ns = MonotonicNs();
      if (now_ns > give_up_ns) return false;
      const auto events =
          context_->loop.Wait(now_ns, std::min(transport_->deadline_ns(), now_ns + 20 * kNsPerMs));
      context_->previous_turn_ns = std::exchange(context_->turn_ns, MonotonicNs());
      transport_->Prefetch(events);
      transport_->OnEvents(events, 0, events.size());
      transport_->OnTime(context_->turn_ns);
    }
    return true;
  }
  bool TurnUntilFreed(size_t requests) {
    return TurnUntil([&] { return freed.size() >= requests; });
  }

  // What the client was told, in order.
  std::vector<End> ended;
  std::vector<int64_t> freed;
  int retries = 0;  // so many times it says: again

 private:
  static RunConfig Complete(RunConfig config, const std::vector<uint16_t>& ports) {
    for (const uint16_t port : ports) {
      Endpoint endpoint;
      endpoint.host = "127.0.0.1";
      endpoint.port = port;
      endpoint.path = "/v1/completions";
      config.endpoints.push_back(endpoint);
    }
    auto workload = std::make_shared<Workload>();
    workload->Add("{}", 1, 2);
    config.workload = workload;
    config.request_id_prefix = "r";
    return config;
  }

  bool OnEnded(const Transfer& transfer) override {
    const RequestRecord record = transfer.Finished();
    ended.push_back({record.id, record.outcome, true, record, transfer.error()});
    return retries-- > 0;
  }
  bool OnUnsent(const PlannedRequest& request, Outcome outcome, std::string_view error, int64_t) override {
    ended.push_back({request.id, outcome, false, {}, std::string(error)});
    return retries-- > 0;
  }
  void OnFreed(const PlannedRequest& request, int64_t) override { freed.push_back(request.id); }

  LoadPlan plan_;
  NoRecorder recorder_;
  std::unique_ptr<WorkerContext> context_;
  std::unique_ptr<T> transport_;
};

}  // namespace llmbench::testing
