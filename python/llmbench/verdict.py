"""Can the measurement be trusted: the evidence, the limits it is held against, and what follows.

A run ends with one of INVALID > CLIENT-LIMITED > UNSTABLE > VALID, the worst that applies, with every
reason in plain words. `LIMITS` is the whole table of numbers; each check is a function of `Facts` that
returns a `Finding`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from llmbench import server_metrics, steadiness
from llmbench.ceilings import Ceiling
from llmbench.request_rows import ABSENT_NS, HTTP10, TURN_STAMPED, USAGE, Rows, where

STATUSES = ("INVALID", "CLIENT-LIMITED", "UNSTABLE", "VALID")
"""Worst first."""

Times = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Limits:
    """Beyond these a run is not VALID."""

    client_lag_ms: float = 1.0
    client_lag_of_ttft: float = 0.05
    achieved: float = 0.98
    worker_busy: float = 0.85
    run_queue: float = 0.10
    processor_seconds: float = 0.01
    """A worker that lived for less has no shares of its time: the kernel gives processors out for milliseconds."""
    steal: float = 0.01
    lateness_of_itl: float = 0.05
    merged_width_ms: float = 0.2
    merged_width_of_icl: float = 0.05
    merged_share: float = 0.02
    ceiling: float = 0.70
    ceiling_seconds: float = 1.0
    """A run of less is not held against the ceiling: its rate is that of a burst."""
    consistency: float = 0.001
    growth_seconds: int = steadiness.LEAST_BINS
    """Bins of one second that a judgement of stationarity takes at least."""
    growth_significance: float = steadiness.SIGNIFICANCE
    """The slope of requests not answered yet, and of TTFT, in its standard deviations."""
    growth_share: float = steadiness.GROWTH_SHARE
    """And the growth over the run, as a share of their mean."""
    retried_share: float = 0.001
    cached_share: float = 0.01
    retokenized: float = 0.02
    """By how much a tokenizer and the server may differ on the same texts."""


LIMITS = Limits()


@dataclass(frozen=True)
class Finding:
    """One line of evidence."""

    name: str
    value: float | None
    """What was measured; None when it was not."""
    limit: float | None
    unit: str = ""
    status: str = "VALID"
    """What this line alone would make of the run."""
    text: str = ""
    """The reason with number and remedy; or, when nothing was measured, why not."""
    details: Mapping[str, float | None] = field(default_factory=dict)
    """What else was measured, or what the value was made of; units are in the names."""

    def to_dict(self) -> dict[str, Any]:
        return {
            "value": self.value,
            "limit": self.limit,
            "unit": self.unit,
            "status": self.status if self.value is not None else "not measured",
            "text": self.text,
            **({"details": dict(self.details)} if self.details else {}),
        }


@dataclass(frozen=True)
class Verdict:
    """How far the numbers of a run can be trusted."""

    status: str
    reasons: tuple[str, ...] = ()
    """Why it is not VALID."""
    warnings: tuple[str, ...] = ()
    """What a reader should know although it does not change the status."""
    evidence: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def valid(self) -> bool:
        return self.status == "VALID"

    def __str__(self) -> str:
        return self.status if not self.reasons else f"{self.status}: {'; '.join(self.reasons)}"

    def spoilt(self, reason: str) -> Verdict:
        """The same, and INVALID first of all for this."""
        return replace(self, status="INVALID", reasons=(reason, *self.reasons))

    def to_dict(self) -> dict[str, Any]:
        return {
            "status": self.status,
            "reasons": list(self.reasons),
            "warnings": list(self.warnings),
            "evidence": {name: dict(line) for name, line in self.evidence.items()},
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Verdict:
        return cls(
            status=str(stored.get("status", "not judged")),
            reasons=tuple(stored.get("reasons", ())),
            warnings=tuple(stored.get("warnings", ())),
            evidence=stored.get("evidence", {}),
        )


@dataclass(frozen=True)
class Facts:
    """All that a verdict is drawn from."""

    requests: Rows
    """The measured requests (warm-up left out), in schedule order."""
    all_requests: Rows
    summary: Mapping[str, Any]
    """What `_core.summarize` returned."""
    client: Mapping[str, Any]
    """What the engine reported about itself, and what the kernel counted meanwhile."""
    open_loop: bool
    rate: float | None
    max_concurrency: int | None
    max_error_rate: float = 0.01
    distinct_prompts: int | None = None
    prefix_asked: bool = False
    notes: tuple[str, ...] = ()
    """Warnings from elsewhere."""
    bins: steadiness.Bins | None = None
    """The run second by second; None: they are made from the rows."""

    def column_ms(self, later: str, earlier: str) -> Times:
        """later − earlier in ms over the measured requests that have both."""
        return _difference_ms(self.requests, later, earlier)

    @cached_property
    def client_lag_ms(self) -> Times:
        return _client_lag_ms(self.requests)

    def median_ms(self, metric: str) -> float | None:
        stored = self.summary.get("latency_ms", {}).get(metric)
        median: float | None = stored.get("median") if stored else None
        return median


def judge(facts: Facts) -> Verdict:
    """Holds the evidence against the limits."""
    findings = [check(facts) for check in CHECKS]
    bad = sorted(
        (each for each in findings if each.status != "VALID"), key=lambda each: STATUSES.index(each.status)
    )
    return Verdict(
        status=bad[0].status if bad else "VALID",
        reasons=tuple(each.text for each in bad),
        warnings=tuple(_warnings(facts)),
        evidence={each.name: each.to_dict() for each in findings},
    )


# The checks, one per line of evidence


def failures(facts: Facts) -> Finding:
    completed, failed = facts.summary["completed"], facts.summary["failed"]
    ended = completed + failed
    if ended == 0:
        cut = facts.summary.get("cut")
        text = "no request ended"
        if cut:
            text += f", {cut} were cut: send for longer, or give them time at the end (--drain)"
        return Finding("failures", None, facts.max_error_rate, "share", "INVALID", text)
    share = failed / ended
    if completed == 0:
        text = f"none of {ended} requests succeeded"
        return Finding("failures", share, facts.max_error_rate, "share", "INVALID", text)
    bad = share > facts.max_error_rate
    text = (
        f"{failed} of {ended} requests failed ({share:.1%}), more than {facts.max_error_rate:.1%}: "
        "percentiles of the rest flatter the server; see the errors, or allow it with --max-error-rate"
    )
    details = {"failed": failed, "ended": ended}
    return Finding("failures", share, facts.max_error_rate, "share", *_if(bad, "INVALID", text), details)


def consistency(facts: Facts) -> Finding:
    """Little's law: the mean in flight is the rate of requests times their mean time, or something was lost."""
    integrated = facts.client.get("in_flight_s")
    if integrated is None:
        return _absent("consistency", LIMITS.consistency, "the engine kept no count")
    total = float(_difference_ms(facts.all_requests, "end_ns", "sent_ns").sum()) / 1000
    error = abs(integrated - total) / total if total else 0.0
    text = (
        f"the engine's count of requests in flight and its rows differ by {error:.2%}: "
        "rows were lost, do not use this result"
    )
    bad = error > LIMITS.consistency
    details = {"in_flight_s": integrated, "rows_s": total}
    return Finding("consistency", error, LIMITS.consistency, "share", *_if(bad, "INVALID", text), details)


def usage(facts: Facts) -> Finding:
    """The tokens that a request's events say they hold, against the usage at its end."""
    checked, apart = (facts.summary.get(f"usage_{name}") or 0 for name in ("checked", "apart"))
    if not checked:
        return _absent(
            "usage",
            LIMITS.consistency,
            "the server does not say both how many tokens each event holds and all",
        )
    text = (
        f"{apart} of {checked} answers hold another number of tokens in their events than the server's usage says: "
        "events were lost, or the server counts wrongly; do not use this result"
    )
    bad = apart / checked > LIMITS.consistency
    details = {"checked": checked, "apart": apart}
    return Finding("usage", apart / checked, LIMITS.consistency, "share", *_if(bad, "INVALID", text), details)


def server_counters(facts: Facts) -> Finding:
    """What the server counted, where it was asked, against the rows: a request, a prompt token and an output token are
    one each."""
    name, counted = "server_counters", facts.client.get("server_counters")
    if not counted:
        return _absent(name, 0, "the server's metrics were not read")
    if counted.get("absent") or counted.get("reset"):
        return _absent(name, 0, counted.get("absent") or "the server began to count anew during the run")
    kind = server_metrics.KINDS.get(counted.get("kind", ""))
    rows = facts.all_requests
    ok = rows["outcome"] == 0
    prompts = rows["prompt_tokens"].clip(min=0)
    if kind is not None and not kind.counts_cached:
        prompts = prompts - rows["cached_tokens"].clip(min=0)
    told = ok & (rows["token_source"] == USAGE)
    ours = {"requests": int(ok.sum())}
    if ours["requests"] and counted.get("requests", 1) % ours["requests"] == 0:
        del ours["requests"]  # equal; or so many answers to each, which servers count one by one
    agreed = not ours
    if told.sum() == ok.sum():
        ours["output_tokens"] = int(rows["output_tokens"][ok].sum())
        if bool((rows["prompt_tokens"][ok] >= 0).all()):
            ours["prompt_tokens"] = int(prompts[ok].sum())
    compared = [
        each for each in ("requests", "prompt_tokens", "output_tokens") if each in ours and each in counted
    ]
    if not compared and not agreed:
        return _absent(name, 0, "the server counts nothing that this client counts too")
    # What failed or was cut may have been counted or not.
    complete = bool(ok.all())
    apart = {
        each: counted[each] - ours[each]
        for each in compared
        if counted[each] < ours[each] or (complete and counted[each] != ours[each])
    }
    worst = max((abs(difference) / max(1, ours[each]) for each, difference in apart.items()), default=0.0)
    described = ", ".join(
        f"{counted[each]} {each.replace('_', ' ')} and this client {ours[each]}" for each in apart
    )
    text = (
        f"the server counted {described}: others used it during the run, or answers were lost; measure a server that "
        "nobody else uses"
    )
    details = {f"server_{each}": counted[each] for each in compared} | {each: ours[each] for each in compared}
    if apart and counted.get("shared") and (others := _others_used_it(counted, int(ok.sum()), apart)):
        return Finding(
            name, worst, None, "share", "VALID", f"{others}: the server counted {described}", details
        )
    if kind is None or not kind.exact:
        return Finding(name, worst, None, "share", "VALID", text if apart else "", details)
    return Finding(name, worst, 0, "share", *_if(bool(apart), "INVALID", text), details)


def _others_used_it(counted: Mapping[str, Any], completed: int, apart: Mapping[Any, int]) -> str:
    """Why a server that others may use counts otherwise than we do; "" where they cannot be the reason: it ended
    exactly our requests, and nothing ran before or after."""
    if counted.get("requests") == completed and not counted.get("busy"):
        return ""
    if min(apart.values()) < 0:
        return "its metrics are not of all that answered, as behind a balancer, and tell nothing of this run"
    return "shared server, these numbers are under the load of others too"


def clock(facts: Facts) -> Finding:
    steps = facts.client.get("clock_steps")
    if steps is None:
        return _absent("clock_steps", 0, "the engine kept no count")
    text = f"the wall clock was set {steps} time{'s' * (steps != 1)} during the run: repeat it"
    return Finding("clock_steps", steps, 0, "", *_if(steps > 0, "INVALID", text))


def client_lag(facts: Facts) -> Finding:
    stored = facts.summary["latency_ms"].get("client_lag")
    if not stored or not stored["n"]:
        return _absent("client_lag_p99", LIMITS.client_lag_ms, "nothing was sent")
    lags = facts.client_lag_ms
    p50, lag = (float(each) for each in np.percentile(lags, (50, 99)))
    limit = max(LIMITS.client_lag_ms, LIMITS.client_lag_of_ttft * (facts.median_ms("ttft") or 0.0))
    text = (
        f"the client sent late: p99 client lag {lag:.2f} ms, limit {limit:.2f} ms: "
        "use more --workers, or a machine with idle cores"
    )
    details = {"p50_ms": p50, "p99_ms": lag, "max_ms": float(lags.max())}
    return Finding("client_lag_p99", lag, limit, "ms", *_if(lag > limit, "CLIENT-LIMITED", text), details)


def achieved(facts: Facts) -> Finding:
    """The asked load against the load that came about, as far as the client is the cause."""
    rows = facts.requests
    sent = rows["sent_ns"][rows["sent_ns"] != ABSENT_NS]
    span_s = float(sent.max() - sent.min()) / 1e9 if sent.size > 1 else 0.0
    if span_s <= 0:
        return _absent("achieved", LIMITS.achieved, "too few requests were sent")
    if not facts.summary["completed"] and facts.summary["failed"]:
        # Slots rest where nothing can be sent, and connections are opened again and again.
        return _absent("achieved", LIMITS.achieved, "no request succeeded")
    lag_s = float(facts.client_lag_ms.sum()) / 1000
    if not facts.open_loop:
        slots = facts.max_concurrency or 1
        if len(sent) <= slots:
            # The time from the first send to the last is the start's alone: the slots were full ever after.
            return _absent("achieved", LIMITS.achieved, "no slot was used twice")
        share = 1 - lag_s / (slots * span_s)
        what = f"of {slots} slots, {1 - share:.1%} of the time was the client's"
        details = {"slots": slots, "in_use_share": facts.summary.get("achieved_concurrency")}
    else:
        planned = rows["scheduled_ns"][rows["sent_ns"] != ABSENT_NS]
        planned_s = float(planned.max() - planned.min()) / 1e9
        if planned_s <= 0:
            return _absent("achieved", LIMITS.achieved, "requests were not paced")
        behind_s = span_s - planned_s
        held_s = float(_last_wait_ms(rows)) / 1000
        # What slots and connections held back is the limit's or the server's doing.
        share = min(1.0, planned_s / (planned_s + max(0.0, behind_s - held_s)))
        what = f"{len(sent) / span_s:.4g} requests/s sent, {share:.1%} of the plan"
        details = {"planned_per_s": (len(sent) - 1) / planned_s, "sent_per_s": (len(sent) - 1) / span_s}
    text = f"the load fell short, {what}: use more --workers, or a machine with idle cores"
    bad = share < LIMITS.achieved
    return Finding("achieved", share, LIMITS.achieved, "share", *_if(bad, "CLIENT-LIMITED", text), details)


def worker_busy(facts: Facts) -> Finding:
    workers = facts.client.get("workers") or []
    shares = [worker["cpu_s"] / worker["wall_s"] for worker in workers if _long_enough(worker)]
    if not shares:
        return _absent("worker_busy", LIMITS.worker_busy, _no_shares(workers))
    text = f"a worker was {max(shares):.0%} busy, limit {LIMITS.worker_busy:.0%}: use more --workers"
    bad = max(shares) > LIMITS.worker_busy
    details = {"mean": sum(shares) / len(shares), "workers": len(shares)}
    return Finding(
        "worker_busy", max(shares), LIMITS.worker_busy, "share", *_if(bad, "CLIENT-LIMITED", text), details
    )


def run_queue(facts: Facts) -> Finding:
    workers = facts.client.get("workers") or []
    shares = [worker["run_queue_s"] / worker["wall_s"] for worker in workers if _long_enough(worker)]
    if not shares:
        return _absent("run_queue", LIMITS.run_queue, _no_shares(workers))
    text = (
        f"a worker waited {max(shares):.0%} of the time for a processor, limit {LIMITS.run_queue:.0%}: "
        "stop what else runs here, pin the server to other cores, or use fewer --workers"
    )
    bad = max(shares) > LIMITS.run_queue
    switches = sum(worker.get("involuntary_switches") or 0 for worker in workers)
    details = {"mean": sum(shares) / len(shares), "involuntary_switches": switches}
    return Finding(
        "run_queue", max(shares), LIMITS.run_queue, "share", *_if(bad, "CLIENT-LIMITED", text), details
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
        return _absent("throttled_periods", 0, "this system does not tell")
    text = f"the cgroup's processor limit stopped the client {periods} times: raise the limit"
    return Finding("throttled_periods", periods, 0, "", *_if(periods > 0, "CLIENT-LIMITED", text))


def steal(facts: Facts) -> Finding:
    share = facts.client.get("steal_share")
    if share is None:
        return _absent("steal", LIMITS.steal, "this system does not tell")
    text = f"the hypervisor took {share:.1%} of this machine's time, limit {LIMITS.steal:.0%}: use another machine"
    return Finding("steal", share, LIMITS.steal, "share", *_if(share > LIMITS.steal, "CLIENT-LIMITED", text))


def stalls(facts: Facts) -> Finding:
    count = facts.client.get("stalls")
    if count is None:
        return _absent("stalls", 0, "the engine kept no count")
    longest = max(
        (worker.get("max_stall_ms", 0.0) for worker in facts.client.get("workers") or []), default=0.0
    )
    text = (
        f"the client stood still {count} time{'s' * (count != 1)} for over 50 ms (longest {longest:.0f} ms): "
        "stop what else runs here, and do not suspend the machine"
    )
    return Finding("stalls", count, 0, "", *_if(count > 0, "CLIENT-LIMITED", text), {"longest_ms": longest})


def read_lateness(facts: Facts) -> Finding:
    lateness = facts.client.get("read_lateness_ms") or {}
    gap = facts.median_ms("itl") or facts.median_ms("icl")
    if not lateness.get("count") or gap is None:
        return _absent("read_lateness_p99", None, "no kernel receive times, or no gaps between tokens")
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
        "read_lateness_p99", lateness["p99"], limit, "ms", *_if(bad, "CLIENT-LIMITED", text), details
    )


def merging(facts: Facts) -> Finding:
    """Events that shared a read over a time that matters. The share of wide ones is that of the nearest width below the
    limit which the engine counts from: at most a fifth narrower."""
    events, merged = facts.summary.get("events") or 0, facts.summary.get("merged_events") or 0
    if not events:
        return _absent("merged_share", LIMITS.merged_share, "no events")
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
        *_if(share > LIMITS.merged_share, "CLIENT-LIMITED", text),
        details,
    )


def ceiling(facts: Facts) -> Finding:
    """The load as a share of what this client can take, where `llmbench selftest` has measured that."""
    stored = facts.client.get("ceiling") or {}
    known = Ceiling.from_dict(stored)
    if known is None:
        return _absent("ceiling", LIMITS.ceiling, stored.get("absent") or "llmbench selftest")
    seconds = facts.summary.get("duration_s") or 0.0
    if seconds < LIMITS.ceiling_seconds:
        return _absent("ceiling", LIMITS.ceiling, f"not judged in under {LIMITS.ceiling_seconds:g} s")
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
        *_if(share > LIMITS.ceiling, "CLIENT-LIMITED", text),
        details,
    )


def stationarity(facts: Facts) -> Finding:
    """Open loop: whether requests that were due kept piling up while more came."""
    name = "in_flight_growth"
    if not facts.open_loop:
        return _absent(name, None, "a closed loop holds it constant")
    bins = facts.bins or steadiness.bins(facts.all_requests)
    if bins is None:
        return _absent(name, None, steadiness.NO_BINS)
    growth = steadiness.growth(bins)
    if growth is None:
        return _absent(name, None, _too_short(bins))
    text = (
        f"requests in flight, or due and not sent, grew by {growth.growth:.0f} during the run "
        f"(mean {growth.mean:.0f}): the server cannot keep up with this rate, and a longer run "
        "would give other numbers; lower --request-rate"
    )
    details = {"growth": growth.growth, "mean": growth.mean, "certainty": growth.certainty}
    return Finding(
        name, growth.share, LIMITS.growth_share, "share", *_if(growth.growing, "UNSTABLE", text), details
    )


def ttft_stationarity(facts: Facts) -> Finding:
    """Open loop: whether the time to the first token kept growing. The queue of a server whose requests decode for
    long is a small part of those in flight, and shows here first."""
    name = "ttft_growth"
    if not facts.open_loop:
        return _absent(name, None, "a closed loop slows down with the server")
    bins = facts.bins or steadiness.bins(facts.all_requests)
    if bins is None:
        return _absent(name, None, steadiness.NO_BINS)
    growth = steadiness.ttft_growth(bins)
    if growth is None:
        return _absent(name, None, _too_short(bins))
    text = (
        f"TTFT from schedule grew by {growth.growth * 1000:.0f} ms during the run (mean {growth.mean * 1000:.0f} ms): "
        "the server's queue was still growing, and a longer run would give other numbers; lower --request-rate"
    )
    details = {"growth": growth.growth, "mean": growth.mean, "certainty": growth.certainty}
    return Finding(
        name, growth.share, LIMITS.growth_share, "share", *_if(growth.growing, "UNSTABLE", text), details
    )


def _too_short(bins: steadiness.Bins) -> str:
    if bins.sending < LIMITS.growth_seconds:
        return f"not judged in under {LIMITS.growth_seconds} s"
    return f"not judged: for {bins.filling} of {bins.sending} s the server was filling up"


CHECKS: tuple[Callable[[Facts], Finding], ...] = (
    failures,
    consistency,
    usage,
    server_counters,
    clock,
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
    stationarity,
    ttft_stationarity,
)


def _warnings(facts: Facts) -> list[str]:
    found = list(facts.notes)
    counters = server_counters(facts)
    if counters.value and counters.status == "VALID":
        found.append(counters.text)
    elif counters.value is None and facts.client.get("server_counters"):
        found.append(f"the server's counters were not held against the rows: {counters.text}")
    rows, summary = facts.requests, facts.summary
    sent = int((rows["attempts"] > 0).sum())
    retried = int((rows["attempts"] > 1).sum())
    if sent and retried / sent > LIMITS.retried_share:
        found.append(
            f"{retried} requests ({retried / sent:.1%}) were written again because the server had closed "
            "an idle connection: its keep-alive time is short"
        )
    cached, prompt = summary.get("cached_tokens") or 0, summary.get("input_tokens") or 0
    if prompt and cached / prompt > LIMITS.cached_share and not facts.prefix_asked:
        found.append(
            f"the server took {cached / prompt:.0%} of prompt tokens from its prefix cache: "
            "times to first token are those of a warm cache"
        )
    if facts.distinct_prompts is not None and sent > facts.distinct_prompts:
        found.append(
            f"{facts.distinct_prompts} prompts were sent {sent} times in all: a prefix cache may have helped "
            "(--num-prompts makes more)"
        )
    sources = summary.get("token_sources") or {}
    if sources.get("events"):
        found.append(
            f"the server did not count the tokens of {sources['events']} requests: their output tokens are events"
        )
    retokenized = facts.client.get("retokenized") or {}
    if retokenized.get("server"):
        difference, counted = retokenized["tokenizer"] - retokenized["server"], retokenized["server"]
        if abs(difference) > LIMITS.retokenized * counted:
            found.append(
                f"the tokenizer counts {retokenized['tokenizer']} tokens in {retokenized['requests']} answers and the "
                f"server {retokenized['server']} ({difference / counted:+.1%}): it is another tokenizer, or end tokens "
                "and markup count; numbers per token are by the server's count"
            )
    if summary.get("length_mismatched"):
        found.append(
            f"{summary['length_mismatched']} answers did not have the asked length although ignore_eos was asked for"
        )
    if summary.get("ended_early"):
        found.append(
            f"{summary['ended_early']} of {summary['completed']} answers ended before the asked length: to compare "
            "servers or models, --ignore-eos makes answers equally long where the backend can ask for that"
        )
    if int(((rows["flags"] & HTTP10) != 0).sum()):
        found.append("the server speaks HTTP/1.0: every request opened a connection")
    if summary.get("cut"):
        found.append(
            f"{summary['cut']} requests were still running at the end and were cut; they are in no percentile"
        )
    return found


def _if(bad: bool, status: str, text: str) -> tuple[str, str]:
    return (status, text) if bad else ("VALID", "")


def _absent(name: str, limit: float | None, why: str) -> Finding:
    return Finding(name, None, limit, text=why)


def _difference_ms(rows: Rows, later: str, earlier: str) -> Times:
    both = where(rows, (rows[later] != ABSENT_NS) & (rows[earlier] != ABSENT_NS))
    return np.asarray((both[later] - both[earlier]) / 1e6, dtype=np.float64)


def _client_lag_ms(rows: Rows) -> Times:
    """sent − max(scheduled, slot, connected); an absent time is the most negative number and never the maximum."""
    sent = where(rows, rows["sent_ns"] != ABSENT_NS)
    ready = np.maximum(np.maximum(sent["scheduled_ns"], sent["slot_ns"]), sent["connected_ns"])
    return np.asarray((sent["sent_ns"] - ready) / 1e6, dtype=np.float64)


def _last_wait_ms(rows: Rows) -> float:
    """How long the request sent last was held back by the limit and by connecting."""
    sent = where(rows, rows["sent_ns"] != ABSENT_NS)
    last = sent[int(sent["sent_ns"].argmax())]
    ready = max(int(last["slot_ns"]), int(last["connected_ns"]))
    return max(0.0, (ready - int(last["scheduled_ns"])) / 1e6)


def _share_above(widths: Mapping[str, Any], limit: float) -> float:
    """The largest share of values above `limit` that what is kept of them allows."""
    if not widths.get("count") or widths["max"] <= limit:
        return 0.0
    # Shares fall with the width: of those below the limit, the last is the nearest.
    for width, share in reversed(widths.get("shares_from") or ()):
        if width <= limit:
            return float(share)
    return 1.0
