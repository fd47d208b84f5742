"""Evidence of the client: whether it sent, read and kept up in time, or measured itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from llmbench.ceilings import Ceiling
from llmbench.evidence import LIMITS, Facts, Finding, judged, lag_ms, not_measured
from llmbench.request_rows import ABSENT_NS, TURN_STAMPED, Rows, where


def client_start(facts: Facts) -> Finding:
    """How late a closed loop's first requests were, each of them due with its slot: one after the other they take a
    client some time, in which the server has less to do than was asked."""
    name = "client_start"
    if facts.open_loop:
        return not_measured(name, None, "an open loop has no slots to fill")
    lags = lag_ms(facts.requests[facts.first_of_slots])
    if not lags.size:
        return not_measured(name, None, "no slot's first request was measured")
    took, share = float(lags.max()), lags.size / facts.client_lag_ms.size
    limit = max(LIMITS.client_lag_ms, LIMITS.start_of_e2el * (facts.median_ms("e2el") or 0.0))
    text = (
        f"the client took {took:.2f} ms to send the first requests of {lags.size} slots, limit {limit:.2f} ms: "
        "use more --workers, a machine with idle cores, or --warmup-duration"
    )
    details = {"p50_ms": float(np.median(lags)), "requests": lags.size, "share_of_requests": share}
    bad = took > limit and share > LIMITS.start_share
    return Finding(name, took, limit, "ms", *judged(bad, "CLIENT-LIMITED", text), details)


def client_lag(facts: Facts) -> Finding:
    """Of all requests but those with which a closed loop started: they have a line of their own."""
    name = "client_lag_p99"
    if not facts.client_lag_ms.size:
        return not_measured(name, LIMITS.client_lag_ms, "nothing was sent")
    lags = lag_ms(where(facts.requests, ~facts.first_of_slots))
    if not lags.size:
        return not_measured(name, LIMITS.client_lag_ms, "no slot was used twice")
    p50, lag = (float(each) for each in np.percentile(lags, (50, 99)))
    limit = max(LIMITS.client_lag_ms, LIMITS.client_lag_of_ttft * (facts.median_ms("ttft") or 0.0))
    text = (
        f"the client sent late: p99 client lag {lag:.2f} ms, limit {limit:.2f} ms: "
        "use more --workers, or a machine with idle cores"
    )
    details = {"p50_ms": p50, "p99_ms": lag, "max_ms": float(lags.max())}
    return Finding(name, lag, limit, "ms", *judged(lag > limit, "CLIENT-LIMITED", text), details)


def achieved(facts: Facts) -> Finding:
    """The asked load against the load that came about, as far as the client is the cause."""
    rows = facts.requests
    sent = rows["sent_ns"][rows["sent_ns"] != ABSENT_NS]
    span_s = float(sent.max() - sent.min()) / 1e9 if sent.size > 1 else 0.0
    if span_s <= 0:
        return not_measured("achieved", LIMITS.achieved, "too few requests were sent")
    if not facts.summary["completed"] and facts.summary["failed"]:
        # Slots rest where nothing can be sent, and connections are opened again and again.
        return not_measured("achieved", LIMITS.achieved, "no request succeeded")
    lag_s = float(facts.client_lag_ms.sum()) / 1000
    if not facts.open_loop:
        slots = facts.max_concurrency or 1
        if len(sent) <= slots:
            # The time from the first send to the last is the start's alone: the slots were full ever after.
            return not_measured("achieved", LIMITS.achieved, "no slot was used twice")
        share = 1 - lag_s / (slots * span_s)
        what = f"of {slots} slots, {1 - share:.1%} of the time was the client's"
        details = {"slots": slots, "in_use_share": facts.summary.get("achieved_concurrency")}
    else:
        planned = rows["scheduled_ns"][rows["sent_ns"] != ABSENT_NS]
        planned_s = float(planned.max() - planned.min()) / 1e9
        if planned_s <= 0:
            return not_measured("achieved", LIMITS.achieved, "requests were not paced")
        behind_s = span_s - planned_s
        held_s = float(_last_wait_ms(rows)) / 1000
        # What slots and connections held back is the limit's or the server's doing.
        share = min(1.0, planned_s / (planned_s + max(0.0, behind_s - held_s)))
        what = f"{len(sent) / span_s:.4g} requests/s sent, {share:.1%} of the plan"
        details = {"planned_per_s": (len(sent) - 1) / planned_s, "sent_per_s": (len(sent) - 1) / span_s}
    text = f"the load fell short, {what}: use more --workers, or a machine with idle cores"
    bad = share < LIMITS.achieved
    return Finding("achieved", share, LIMITS.achieved, "share", *judged(bad, "CLIENT-LIMITED", text), details)


def _last_wait_ms(rows: Rows) -> float:
    """How long the request sent last was held back by the limit and by connecting."""
    sent = where(rows, rows["sent_ns"] != ABSENT_NS)
    last = sent[int(sent["sent_ns"].argmax())]
    ready = max(int(last["slot_ns"]), int(last["connected_ns"]))
    return max(0.0, (ready - int(last["scheduled_ns"])) / 1e6)


def worker_busy(facts: Facts) -> Finding:
    workers = facts.client.get("workers") or []
    shares = [worker["cpu_s"] / worker["wall_s"] for worker in workers if _long_enough(worker)]
    if not shares:
        return not_measured("worker_busy", LIMITS.worker_busy, _no_shares(workers))
    text = f"a worker was {max(shares):.0%} busy, limit {LIMITS.worker_busy:.0%}: use more --workers"
    bad = max(shares) > LIMITS.worker_busy
    details = {"mean": sum(shares) / len(shares), "workers": len(shares)}
    return Finding(
        "worker_busy", max(shares), LIMITS.worker_busy, "share", *judged(bad, "CLIENT-LIMITED", text), details
    )


def run_queue(facts: Facts) -> Finding:
    workers = facts.client.get("workers") or []
    shares = [worker["run_queue_s"] / worker["wall_s"] for worker in workers if _long_enough(worker)]
    if not shares:
        return not_measured("run_queue", LIMITS.run_queue, _no_shares(workers))
    text = (
        f"a worker waited {max(shares):.0%} of the time for a processor, limit {LIMITS.run_queue:.0%}: "
        "stop what else runs here, pin the server to other cores, or use fewer --workers"
    )
    bad = max(shares) > LIMITS.run_queue
    switches = sum(worker.get("involuntary_switches") or 0 for worker in workers)
    details = {"mean": sum(shares) / len(shares), "involuntary_switches": switches}
    return Finding(
        "run_queue", max(shares), LIMITS.run_queue, "share", *judged(bad, "CLIENT-LIMITED", text), details
    )


def _long_enough(worker: Mapping[str, Any]) -> bool:
    return bool(worker["wall_s"] >= LIMITS.processor_seconds)


def _no_shares(workers: Sequence[Any]) -> str:
    if not workers:
        return "the engine kept no account"
    return f"not judged in under {LIMITS.processor_seconds * 1000:g} ms"


def throttling(facts: Facts) -> Finding:
    periods = facts.client.get("throttled_periods")
    if periods is None:
        return not_measured("throttled_periods", 0, "this system does not tell")
    text = f"the cgroup's processor limit stopped the client {periods} times: raise the limit"
    return Finding("throttled_periods", periods, 0, "", *judged(periods > 0, "CLIENT-LIMITED", text))


def steal(facts: Facts) -> Finding:
    share = facts.client.get("steal_share")
    if share is None:
        return not_measured("steal", LIMITS.steal, "this system does not tell")
    text = f"the hypervisor took {share:.1%} of this machine's time, limit {LIMITS.steal:.0%}: use another machine"
    return Finding(
        "steal", share, LIMITS.steal, "share", *judged(share > LIMITS.steal, "CLIENT-LIMITED", text)
    )


def stalls(facts: Facts) -> Finding:
    count = facts.client.get("stalls")
    if count is None:
        return not_measured("stalls", 0, "the engine kept no count")
    longest = max(
        (worker.get("max_stall_ms", 0.0) for worker in facts.client.get("workers") or []), default=0.0
    )
    text = (
        f"the client stood still {count} time{'s' * (count != 1)} for over 50 ms (longest {longest:.0f} ms): "
        "stop what else runs here, and do not suspend the machine"
    )
    return Finding(
        "stalls", count, 0, "", *judged(count > 0, "CLIENT-LIMITED", text), {"longest_ms": longest}
    )


def read_lateness(facts: Facts) -> Finding:
    lateness = facts.client.get("read_lateness_ms") or {}
    gap = facts.median_ms("itl") or facts.median_ms("icl")
    if not lateness.get("count") or gap is None:
        return not_measured("read_lateness_p99", None, "no kernel receive times, or no gaps between tokens")
    limit = LIMITS.lateness_of_itl * gap
    rows = facts.requests
    turn_stamped = float(np.mean((rows["flags"] & TURN_STAMPED) != 0)) if len(rows) else 0.0
    text = (
        f"{turn_stamped:.1%} of requests have no kernel receive times and the client read late: "
        f"p99 {lateness['p99']:.2f} ms, limit {limit:.2f} ms: use more --workers"
    )
    # The kernel's times are right however late they are read; only turn stamps suffer.
    bad = lateness["p99"] > limit and turn_stamped > 0.01
    details = {f"{name}_ms": lateness.get(name) for name in ("p50", "p99", "max")}
    details["without_kernel_times_share"] = turn_stamped
    return Finding(
        "read_lateness_p99", lateness["p99"], limit, "ms", *judged(bad, "CLIENT-LIMITED", text), details
    )


def merging(facts: Facts) -> Finding:
    """Events that shared a read over a time that matters. The share of wide ones is that of the nearest width below the
    limit which the engine counts from: at most a fifth narrower."""
    events, merged = facts.summary.get("events") or 0, facts.summary.get("merged_events") or 0
    if not events:
        return not_measured("merged_share", LIMITS.merged_share, "no events")
    width = max(LIMITS.merged_width_ms, LIMITS.merged_width_of_icl * (facts.median_ms("icl") or 0.0))
    widths = facts.client.get("merged_width_ms") or {}
    share = merged / events * _share_above(widths, width) if merged else 0.0
    text = (
        f"up to {share:.1%} of tokens were read together with others over more than {width:.2f} ms, "
        f"limit {LIMITS.merged_share:.0%}: use more --workers"
    )
    details = {"events": events, "merged": merged, "width_limit_ms": width}
    details |= {f"width_{name}_ms": widths.get(name) for name in ("p50", "p99", "max")}
    return Finding(
        "merged_share",
        share,
        LIMITS.merged_share,
        "share",
        *judged(share > LIMITS.merged_share, "CLIENT-LIMITED", text),
        details,
    )


def _share_above(widths: Mapping[str, Any], limit: float) -> float:
    """The largest share of values above `limit` that what is kept of them allows."""
    if not widths.get("count") or widths["max"] <= limit:
        return 0.0
    # Shares fall with the width: of those below the limit, the last is the nearest.
    for width, share in reversed(widths.get("shares_from") or ()):
        if width <= limit:
            return float(share)
    return 1.0


def ceiling(facts: Facts) -> Finding:
    """The load as a share of what this client can take, where `llmbench selftest` has measured that."""
    stored = facts.client.get("ceiling") or {}
    known = Ceiling.from_dict(stored)
    if known is None:
        return not_measured("ceiling", LIMITS.ceiling, stored.get("absent") or "llmbench selftest")
    seconds = facts.summary.get("duration_s") or 0.0
    if seconds < LIMITS.ceiling_seconds:
        return not_measured("ceiling", LIMITS.ceiling, f"not judged in under {LIMITS.ceiling_seconds:g} s")
    workers, cores = len(facts.client.get("workers") or ()), int(stored.get("cores") or 1)
    events = (facts.summary.get("events") or 0) / seconds
    requests = int((facts.requests["sent_ns"] != ABSENT_NS).sum()) / seconds
    share = known.share(events, requests, workers, cores)
    most_events, most_requests = known.of_cores(max(1, min(workers, cores)))
    text = (
        f"{events:.0f} events/s and {requests:.0f} requests/s are {share:.0%} of what this client can take, limit "
        f"{LIMITS.ceiling:.0%}: its ceiling is {most_events:.0f} events/s, or {most_requests:.0f} requests/s: "
        f"{'use more --workers, or ' if workers < cores else ''}lower the load"
    )
    details = {
        "events_per_s": events,
        "requests_per_s": requests,
        "most_events_per_s": most_events,
        "most_requests_per_s": most_requests,
    }
    return Finding(
        "ceiling",
        share,
        LIMITS.ceiling,
        "share",
        *judged(share > LIMITS.ceiling, "CLIENT-LIMITED", text),
        details,
    )


CHECKS: tuple[Callable[[Facts], Finding], ...] = (
    client_start,
    client_lag,
    achieved,
    worker_busy,
    run_queue,
    throttling,
    steal,
    stalls,
    read_lateness,
    merging,
    ceiling,
)
