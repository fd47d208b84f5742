// Carries one worker's requests over connections. A transport owns the connections, the time-outs and the
// bytes on the wire; the worker (its client) owns the plan, the slots and the rows.
//
// A request goes in by Start and comes out by exactly one OnEnded or OnUnsent per try, followed by one
// OnFreed when it is not tried again. All of it happens on the worker's thread, in calls of the worker's: a
// transport has no thread of its own and blocks nowhere. Callbacks may call Start; a transport holds no
// reference into its own containers across one.
//
// What all transports do alike (rows, counters, deadlines) is here, not virtual, and inlined where it is done
// per read. What a transport with callbacks and without kernel times needs is the same: it hands its bytes to
// Feed with a stamp of the loop's turn.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "llmbench/engine/event_loop.h"
#include "llmbench/engine/planned_request.h"
#include "llmbench/engine/transfer.h"
#include "llmbench/engine/worker_context.h"
#include "llmbench/record/outcome.h"
#include "llmbench/record/request_record.h"

namespace llmbench {

// What comes back from a transport.
class TransportClient {
 public:
  virtual ~TransportClient() = default;

  // A try of a request was sent and is over; `transfer` has its row (times absolute), events, error and text,
  // good until this returns. True: it is to be tried again, which the transport does, on the same endpoint.
  virtual bool OnEnded(const Transfer& transfer) = 0;
  // It was not sent: there was no connection, or no more time. Likewise.
  virtual bool OnUnsent(const PlannedRequest& request, Outcome outcome, std::string_view error,
                        int64_t now_ns) = 0;
  // It will not be tried again and what it occupied is free: the next one may start. ended_ns: its row's end.
  virtual void OnFreed(const PlannedRequest& request, int64_t ended_ns) = 0;
};

class Transport {
 public:
  static constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

  // Both outlive the transport; plan, targets and loop are ready.
  Transport(WorkerContext* context, TransportClient* client) : context_(context), client_(client) {}
  virtual ~Transport() = default;
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;

  // Opens a connection to this endpoint before the load. One that fails is forgotten: requests will say so.
  virtual void OpenWarm(int32_t endpoint) = 0;
  // Some of these are neither open nor failed yet.
  virtual bool warming() const = 0;

  // Sends this request to request.endpoint now, or as soon as there is a connection. The body is the item
  // request.workload of the plan's workload, the head that of plan->targets[endpoint]. Each try counts
  // request.attempts up.
  virtual void Start(PlannedRequest request) = 0;
  // Nothing more is sent: what waits for a connection ends with OnUnsent (kCut), nothing is tried again on
  // the transport's own account. What was sent goes on.
  virtual void StopSending(int64_t now_ns) = 0;
  // Ends what was sent and runs on, with Outcome::kCut. After StopSending.
  virtual void CutRunning(int64_t now_ns) = 0;
  // Closes every connection and gives up those that are being opened. After the last request.
  virtual void CloseAll() = 0;

  // The loop's turn: `events` are all of it. First Prefetch once: asks for the memory the first events will
  // touch. Then OnEvents for [begin, end), in pieces, so that due requests are sent between them; events that
  // are not of this transport's descriptors are skipped. Then OnTime once.
  virtual void Prefetch(std::span<const epoll_event> /*events*/) const {}
  virtual void OnEvents(std::span<const epoll_event> events, size_t begin, size_t end) = 0;
  virtual void OnTime(int64_t now_ns) = 0;
  // When OnTime wants to be called at the latest, kNever when it does not matter.
  virtual int64_t deadline_ns() const = 0;

 protected:
  // A try begins: the row's facts that do not depend on bytes. Counts the try.
  void BeginTry(Transfer& transfer, PlannedRequest& request, int32_t connection, bool reused) const;
  // A connection is open. Its number within the worker.
  int32_t CountOpened(int64_t connect_ns, int64_t tls_ns);
  // Just before the first byte goes out: the row's times, and the counters.
  void CountSent(Transfer& transfer);
  // Bytes came. The counters; over() of the transfer says whether the answer is whole.
  void Feed(Transfer& transfer, const char* data, size_t size, const ReadStamp& stamp) {
    const bool had_output = transfer.has_output();
    const int32_t events_before = transfer.record().events;
    const int32_t merged_before = transfer.record().merged_events;
    transfer.OnBytes(data, size, stamp, *context_->recorder);
    context_->merged_events += transfer.record().merged_events - merged_before;
    context_->unstamped_reads += stamp.kernel ? 0 : 1;
    LiveCounters& live = context_->live;
    Bump<int64_t>(live.bytes_in, static_cast<int64_t>(size));
    if (const int32_t more = transfer.record().events - events_before; more > 0) {
      Bump<int64_t>(live.output_events, more);
    }
    if (!had_output && transfer.has_output()) Bump<int64_t>(live.waiting, -1);
  }
  // A try that was sent is over (transfer.over()): the counters, and the client is told. True: try again.
  bool EndTry(const Transfer& transfer);
  // A try was sent into a connection that was closing already: as if it had not been, no row. Before any byte
  // of an answer.
  void TakeBack(const Transfer& transfer);

  // When this request is to be given up, and as what; kNever without time-outs. `all_sent`: the whole request
  // has left.
  int64_t DeadlineOf(const Transfer& transfer, bool all_sent, Outcome* outcome) const;
  // Ends it as given up. The caller goes on as with any ended transfer.
  static void GiveUp(Transfer& transfer, Outcome outcome, int64_t now_ns);

  WorkerContext* const context_;
  TransportClient* const client_;
};

}  // namespace llmbench
