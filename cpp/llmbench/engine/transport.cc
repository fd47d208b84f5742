#include "llmbench/engine/transport.h"

#include <algorithm>
#include <cstdio>

namespace llmbench {

void Transport::BeginTry(Transfer& transfer, PlannedRequest& request, int32_t connection, bool reused) const {
  const RunConfig& config = context_->plan->config;
  const Workload::Item item = (*config.workload)[static_cast<size_t>(request.workload)];
  ++request.attempts;
  transfer.Begin(request, item, config.streamed, config.save_text);
  RequestRecord& record = transfer.record();
  record.worker = context_->index;
  record.connection = connection;
  if (reused) record.flags |= kReusedConnection;
}

int32_t Transport::CountOpened(int64_t connect_ns, int64_t tls_ns) {
  WorkerReport& report = context_->report;
  report.connect_ns += connect_ns;
  report.tls_ns += tls_ns;
  report.max_connect_ns = std::max(report.max_connect_ns, connect_ns);
  report.max_tls_ns = std::max(report.max_tls_ns, tls_ns);
  return static_cast<int32_t>(report.connections_opened++);
}

void Transport::CountSent(Transfer& transfer) {
  LiveCounters& live = context_->live;
  Bump<int64_t>(live.sent, 1);
  Bump<int64_t>(live.in_flight, 1);
  Bump<int64_t>(live.waiting, 1);
  const PlannedRequest& request = transfer.plan();
  RequestRecord& record = transfer.record();
  record.sent_ns = MonotonicNs();
  record.connected_ns = request.connection_waited ? record.sent_ns : request.slot_ns;
  context_->report.in_flight_s -= static_cast<double>(record.sent_ns) / kNsPerSecond;
}

bool Transport::EndTry(const Transfer& transfer) {
  LiveCounters& live = context_->live;
  context_->report.in_flight_s += static_cast<double>(transfer.record().end_ns) / kNsPerSecond;
  Bump<int64_t>(live.in_flight, -1);
  if (!transfer.has_output()) Bump<int64_t>(live.waiting, -1);
  return client_->OnEnded(transfer);
}

void Transport::TakeBack(const Transfer& transfer) {
  LiveCounters& live = context_->live;
  context_->report.in_flight_s += static_cast<double>(transfer.record().sent_ns) / kNsPerSecond;
  Bump<int64_t>(live.in_flight, -1);
  Bump<int64_t>(live.waiting, -1);
  Bump<int64_t>(live.sent, -1);
}

int64_t Transport::DeadlineOf(const Transfer& transfer, bool all_sent, Outcome* outcome) const {
  const Timeouts& timeouts = context_->plan->config.timeouts;
  const int64_t sent_ns = transfer.record().sent_ns;
  int64_t deadline = kNever;
  auto consider = [&](int64_t from_ns, int64_t timeout_ns, Outcome what) {
    if (timeout_ns > 0 && from_ns + timeout_ns < deadline) {
      deadline = from_ns + timeout_ns;
      *outcome = what;
    }
  };
  consider(sent_ns, timeouts.total_ns, Outcome::kTimeoutTotal);
  if (!transfer.has_output()) consider(sent_ns, timeouts.first_token_ns, Outcome::kTimeoutFirstByte);
  const Outcome idle = !all_sent               ? Outcome::kTimeoutSend
                       : !transfer.any_bytes() ? Outcome::kTimeoutFirstByte
                                               : Outcome::kTimeoutIdle;
  consider(std::max(sent_ns, transfer.last_activity_ns()), timeouts.idle_ns, idle);
  return deadline;
}

void Transport::GiveUp(Transfer& transfer, Outcome outcome, int64_t now_ns) {
  char what[128];
  const RequestRecord& record = transfer.record();
  std::snprintf(what, sizeof what, "given up after %.3f s: %lld bytes and %d events received",
                static_cast<double>(now_ns - record.sent_ns) / kNsPerSecond,
                static_cast<long long>(record.bytes_in), record.events);
  transfer.End(outcome, now_ns, what);
}

}  // namespace llmbench
