"""Evidence of the run as a whole: whether its rows are complete and true, and whether the load was one that the server
could hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from llmbench import server_metrics, steadiness
from llmbench.evidence import LIMITS, Facts, Finding, difference_ms, judged, not_measured
from llmbench.request_rows import USAGE


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
    return Finding("failures", share, facts.max_error_rate, "share", *judged(bad, "INVALID", text), details)


def consistency(facts: Facts) -> Finding:
    """Little's law: the mean in flight is the rate of requests times their mean time, or something was lost."""
    integrated = facts.client.get("in_flight_s")
    if integrated is None:
        return not_measured("consistency", LIMITS.consistency, "the engine kept no count")
    total = float(difference_ms(facts.all_requests, "end_ns", "sent_ns").sum()) / 1000
    error = abs(integrated - total) / total if total else 0.0
    text = (
        f"the engine's count of requests in flight and its rows differ by {error:.2%}: "
        "rows were lost, do not use this result"
    )
    bad = error > LIMITS.consistency
    details = {"in_flight_s": integrated, "rows_s": total}
    return Finding("consistency", error, LIMITS.consistency, "share", *judged(bad, "INVALID", text), details)


def usage(facts: Facts) -> Finding:
    """The tokens that a request's events say they hold, against the usage at its end."""
    checked, apart = (facts.summary.get(f"usage_{name}") or 0 for name in ("checked", "apart"))
    if not checked:
        return not_measured(
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
    return Finding(
        "usage", apart / checked, LIMITS.consistency, "share", *judged(bad, "INVALID", text), details
    )


def server_counters(facts: Facts) -> Finding:
    """What the server counted, where it was asked, against the rows: a request, a prompt token and an output token are
    one each."""
    name, counted = "server_counters", facts.client.get("server_counters")
    if not counted:
        return not_measured(name, 0, "the server's metrics were not read")
    if counted.get("absent") or counted.get("reset"):
        return not_measured(name, 0, counted.get("absent") or "the server began to count anew during the run")
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
        return not_measured(name, 0, "the server counts nothing that this client counts too")
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
    return Finding(name, worst, 0, "share", *judged(bool(apart), "INVALID", text), details)


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
        return not_measured("clock_steps", 0, "the engine kept no count")
    text = f"the wall clock was set {steps} time{'s' * (steps != 1)} during the run: repeat it"
    return Finding("clock_steps", steps, 0, "", *judged(steps > 0, "INVALID", text))


def stationarity(facts: Facts) -> Finding:
    """Open loop: whether requests that were due kept piling up while more came."""

    def text(growth: steadiness.Growth) -> str:
        return (
            f"requests in flight, or due and not sent, grew by {growth.growth:.0f} during the run "
            f"(mean {growth.mean:.0f}): the server cannot keep up with this rate, and a longer run "
            "would give other numbers; lower --request-rate"
        )

    return _growing("in_flight_growth", facts, "a closed loop holds it constant", steadiness.growth, text)


def ttft_stationarity(facts: Facts) -> Finding:
    """Open loop: whether the time to the first token kept growing. The queue of a server whose requests decode for
    long is a small part of those in flight, and shows here first."""

    def text(growth: steadiness.Growth) -> str:
        return (
            f"TTFT from schedule grew by {growth.growth * 1000:.0f} ms during the run (mean {growth.mean * 1000:.0f} "
            "ms): the server's queue was still growing, and a longer run would give other numbers; "
            "lower --request-rate"
        )

    closed = "a closed loop slows down with the server"
    return _growing("ttft_growth", facts, closed, steadiness.ttft_growth, text)


def _growing(
    name: str,
    facts: Facts,
    closed: str,
    growth_of: Callable[[steadiness.Bins], steadiness.Growth | None],
    text: Callable[[steadiness.Growth], str],
) -> Finding:
    """`closed`: why a closed loop has no such line."""
    if not facts.open_loop:
        return not_measured(name, None, closed)
    bins = facts.bins or steadiness.bins(facts.all_requests)
    if bins is None:
        return not_measured(name, None, steadiness.NO_BINS)
    growth = growth_of(bins)
    if growth is None:
        return not_measured(name, None, _too_short(bins))
    details = {"growth": growth.growth, "mean": growth.mean, "certainty": growth.certainty}
    found = judged(growth.growing, "UNSTABLE", text(growth))
    return Finding(name, growth.share, LIMITS.growth_share, "share", *found, details)


def _too_short(bins: steadiness.Bins) -> str:
    if bins.sending < LIMITS.growth_seconds:
        return f"not judged in under {LIMITS.growth_seconds} s"
    return f"not judged: for {bins.filling} of {bins.sending} s the server was filling up"


SOUNDNESS: tuple[Callable[[Facts], Finding], ...] = (failures, consistency, usage, server_counters, clock)
STATIONARITY: tuple[Callable[[Facts], Finding], ...] = (stationarity, ttft_stationarity)
