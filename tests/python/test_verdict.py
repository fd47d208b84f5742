"""The verdict: each line of evidence on its own, on rows made for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from llmbench import client_checks, run_checks
from llmbench.evidence import STATUSES, Facts
from llmbench.request_rows import ABSENT_NS, HTTP10, TURN_STAMPED
from llmbench.verdict import Verdict, judge

ROW = np.dtype(
    [
        ("id", "i8"),
        *((f"{name}_ns", "i8") for name in ("scheduled", "slot", "connected", "sent", "end")),
        ("attempts", "i4"),
        ("flags", "u4"),
    ]
)
MS = 1_000_000


def rows(n: int = 1000, *, gap_ms: float = 10, life_ms: float = 50, lag_ms: float = 0.0) -> np.ndarray:
    """Requests at even gaps, each sent `lag_ms` late."""
    made = np.zeros(n, ROW)
    made["id"] = np.arange(n)
    made["scheduled_ns"] = (np.arange(n) * gap_ms * MS).astype(np.int64)
    made["slot_ns"] = made["connected_ns"] = made["scheduled_ns"]
    made["sent_ns"] = made["scheduled_ns"] + int(lag_ms * MS)
    made["end_ns"] = made["sent_ns"] + int(life_ms * MS)
    made["attempts"] = 1
    return made


def facts(made: np.ndarray | None = None, **changes: Any) -> Facts:
    """A flawless run, but for what is changed."""
    made = rows() if made is None else made
    both = made[(made["sent_ns"] != ABSENT_NS) & (made["end_ns"] != ABSENT_NS)]
    summary: dict[str, Any] = {
        "completed": len(made),
        "failed": 0,
        "cut": 0,
        "events": 10_000,
        "merged_events": 0,
        "input_tokens": 1000,
        "cached_tokens": 0,
        "token_sources": {"usage": len(made)},
        "latency_ms": {
            "client_lag": {"n": len(made)},
            "ttft": {"median": 50.0},
            "itl": {"median": 10.0},
            "icl": {"median": 10.0},
            "e2el": {"median": 200.0},
        },
    }
    client: dict[str, Any] = {
        "in_flight_s": float((both["end_ns"] - both["sent_ns"]).sum()) / 1e9,
        "clock_steps": 0,
        "stalls": 0,
        "throttled_periods": 0,
        "steal_share": 0.0,
        "workers": [{"cpu_s": 1.0, "wall_s": 10.0, "run_queue_s": 0.1, "max_stall_ms": 0.0}],
        "read_lateness_ms": {"count": 100, "p50": 0.01, "p90": 0.02, "p99": 0.05, "max": 0.1},
        "merged_width_ms": {"count": 0, "p50": 0.0, "p90": 0.0, "p99": 0.0, "max": 0.0},
    }
    summary |= changes.pop("summary", {})
    client |= changes.pop("client", {})
    options: dict[str, Any] = {"open_loop": True, "rate": 100.0, "max_concurrency": None} | changes
    return Facts(requests=made, all_requests=made, summary=summary, client=client, **options)


def worker(**changes: float) -> dict[str, Any]:
    return {"workers": [{"cpu_s": 1.0, "wall_s": 10.0, "run_queue_s": 0.1, "max_stall_ms": 0.0} | changes]}


def test_a_flawless_run_is_valid() -> None:
    found = judge(facts())
    assert found.status == "VALID"
    assert found.valid
    assert found.reasons == ()
    assert found.warnings == ()
    assert found.evidence["ceiling"]["status"] == "not measured"
    assert str(found) == "VALID"


@pytest.mark.parametrize(
    ("case", "status", "told"),
    [
        (facts(summary={"failed": 11, "completed": 989}), "INVALID", "11 of 1000 requests failed"),
        (facts(summary={"failed": 10, "completed": 990}), "VALID", ""),
        (facts(summary={"failed": 200, "completed": 800}, max_error_rate=0.2), "VALID", ""),
        (facts(summary={"failed": 5, "completed": 0}), "INVALID", "none of 5 requests succeeded"),
        (facts(summary={"failed": 0, "completed": 0}), "INVALID", "no request ended"),
        (facts(client={"in_flight_s": 50.2}), "INVALID", "differ by 0.40%"),
        (facts(client={"clock_steps": 1}), "INVALID", "set 1 time during"),
        (
            facts(summary={"usage_checked": 1000, "usage_apart": 2}),
            "INVALID",
            "2 of 1000 answers hold another number of tokens in their events than the server's usage says",
        ),
        (facts(summary={"usage_checked": 1000, "usage_apart": 1}), "VALID", ""),
        (facts(rows(lag_ms=3)), "CLIENT-LIMITED", "p99 client lag 3.00 ms, limit 2.50 ms"),
        (facts(rows(lag_ms=2)), "VALID", ""),
        (facts(client=worker(cpu_s=8.6)), "CLIENT-LIMITED", "86% busy"),
        (facts(client=worker(run_queue_s=1.2)), "CLIENT-LIMITED", "12% of the time for a processor"),
        (facts(client={"throttled_periods": 3}), "CLIENT-LIMITED", "3 times"),
        (facts(client={"steal_share": 0.05}), "CLIENT-LIMITED", "5.0%"),
        (
            facts(client={"stalls": 2} | worker(max_stall_ms=81)),
            "CLIENT-LIMITED",
            "2 times for over 50 ms (longest 81 ms)",
        ),
    ],
)
def test_evidence(case: Facts, status: str, told: str) -> None:
    found = judge(case)
    assert found.status == status
    assert told in " ".join(found.reasons)
    assert (status == "VALID") == (found.reasons == ())


CEILING = {"event_s": 8.5e-6, "request_s": 85e-6, "scaling": None, "cores": 4}
"""100 000 events/s or 10 000 requests/s, of one worker."""


@pytest.mark.parametrize(
    ("summary", "client", "share", "status", "told"),
    [
        # rows() are 1000 requests, here in 10 s.
        ({"events": 50_000}, {"ceiling": CEILING}, 0.06, "VALID", ""),
        ({"events": 680_000}, {"ceiling": CEILING}, 0.69, "VALID", ""),
        (
            {"events": 720_000},
            {"ceiling": CEILING},
            0.73,
            "CLIENT-LIMITED",
            (
                "72000 events/s and 100 requests/s are 73% of what this client can take, limit 70%: "
                "its ceiling is 100000 events/s"
            ),
        ),
        (
            {"events": 720_000},
            {"ceiling": CEILING | {"cores": 1}},
            0.73,
            "CLIENT-LIMITED",
            "requests/s: lower",
        ),
        ({"events": 720_000, "duration_s": 0.5}, {"ceiling": CEILING}, None, "VALID", "in under 1 s"),
        ({}, {"ceiling": None}, None, "VALID", "llmbench selftest"),
        ({}, {}, None, "VALID", "llmbench selftest"),
        ({}, {"ceiling": {"absent": "TLS costs more"}}, None, "VALID", "TLS costs more"),
        ({}, {"ceiling": {"event_s": -1}}, None, "VALID", "llmbench selftest"),
    ],
)
def test_the_load_is_held_against_the_ceiling(
    summary: dict[str, Any], client: dict[str, Any], share: float | None, status: str, told: str
) -> None:
    line = client_checks.ceiling(facts(summary={"duration_s": 10.0} | summary, client=client))
    assert line.status == status
    assert told in line.text
    assert line.value == (None if share is None else pytest.approx(share))
    assert line.limit == 0.7


def test_workers_share_the_load_as_far_as_there_are_cores() -> None:
    workers = [{"cpu_s": 1.0, "wall_s": 10.0, "run_queue_s": 0.0}] * 8
    summary = {"duration_s": 10.0, "events": 1_000_000}
    line = client_checks.ceiling(facts(summary=summary, client={"ceiling": CEILING, "workers": workers}))
    assert line.value == pytest.approx(1.01 / 4)


def test_the_worst_comes_first_and_all_are_listed() -> None:
    found = judge(facts(rows(lag_ms=3), client={"clock_steps": 1, "throttled_periods": 1}))
    assert found.status == "INVALID"
    assert len(found.reasons) == 3
    assert "wall clock" in found.reasons[0]
    assert STATUSES[0] == "INVALID"
    assert str(found).startswith("INVALID: the wall clock")


def test_an_open_loop_that_falls_behind_is_the_clients_doing() -> None:
    made = rows()
    made["sent_ns"] = made["scheduled_ns"] + (np.arange(1000) * 2 * MS)
    made["end_ns"] = made["sent_ns"] + MS
    line = client_checks.achieved(facts(made))
    assert line.status == "CLIENT-LIMITED"
    assert line.value == pytest.approx(10 / 12, rel=0.01)


def test_an_open_loop_that_its_limit_holds_back_is_not() -> None:
    made = rows()
    made["slot_ns"] = made["connected_ns"] = made["sent_ns"] = made["scheduled_ns"] + (
        np.arange(1000) * 2 * MS
    )
    made["end_ns"] = made["sent_ns"] + MS
    assert judge(facts(made, max_concurrency=4)).status == "VALID"


def test_a_closed_loop_is_judged_by_its_idle_slots() -> None:
    made = rows(lag_ms=0.5, gap_ms=10)
    line = client_checks.achieved(facts(made, open_loop=False, rate=None, max_concurrency=1))
    assert line.value == pytest.approx(0.95, abs=0.001)
    assert line.status == "CLIENT-LIMITED"
    line = client_checks.achieved(facts(made, open_loop=False, rate=None, max_concurrency=10))
    assert line.status == "VALID"


def started(slots: int, *, lag_ms: float, n: int = 1000, later_lag_ms: float = 0.0, first: int = 0) -> Facts:
    """A closed loop whose slots' first requests go one after the other, the last of them `lag_ms` late. `first`: the
    number of the first request that is measured."""
    made = rows(n)
    made["id"] += first
    late = np.where(
        made["id"] < slots, (made["id"] + 1) / slots * lag_ms, np.where(made["id"] % 20 == 0, later_lag_ms, 0)
    )
    made["sent_ns"] += (late * MS).astype(np.int64)
    made["end_ns"] = made["sent_ns"] + 200 * MS
    return facts(made, open_loop=False, rate=None, max_concurrency=slots)


@pytest.mark.parametrize(
    ("case", "start", "lag", "reasons"),
    [
        # The limits: 10 ms of 200 ms for the start, 2.5 ms of 50 ms for each request after it.
        (started(500, lag_ms=9), 9.0, 0.0, ()),
        (
            started(500, lag_ms=11),
            11.0,
            0.0,
            ("the client took 11.00 ms to send the first requests of 500 slots",),
        ),
        (started(500, lag_ms=9, later_lag_ms=3), 9.0, 3.0, ("p99 client lag 3.00 ms, limit 2.50 ms",)),
        (started(500, lag_ms=0, later_lag_ms=2), 0.0, 2.0, ()),
        # All that was sent is the start.
        (started(1000, lag_ms=9), 9.0, None, ()),
        (started(1000, lag_ms=11), 11.0, None, ("first requests of 1000 slots",)),
        # Too few to spoil a p99.
        (started(10, lag_ms=11), 11.0, 0.0, ()),
        (started(11, lag_ms=11), 11.0, 0.0, ("first requests of 11 slots, limit 10.00 ms",)),
        # The start was warm-up.
        (started(500, lag_ms=900, first=500), None, 0.0, ()),
        (started(500, lag_ms=0, later_lag_ms=3, first=500), None, 3.0, ("p99 client lag 3.00 ms",)),
    ],
)
def test_the_start_of_a_closed_loop_is_judged_by_itself(
    case: Facts, start: float | None, lag: float | None, reasons: tuple[str, ...]
) -> None:
    found = judge(case)
    assert found.evidence["client_start"]["value"] == (None if start is None else pytest.approx(start))
    assert found.evidence["client_lag_p99"]["value"] == (
        None if lag is None else pytest.approx(lag, abs=1e-6)
    )
    assert len(found.reasons) == len(reasons)
    assert all(told in reason for told, reason in zip(reasons, found.reasons, strict=True))


def test_an_open_loop_has_no_start_of_its_own() -> None:
    found = judge(facts(rows(lag_ms=3)))
    assert found.evidence["client_start"]["text"] == "an open loop has no slots to fill"
    assert found.evidence["client_lag_p99"]["value"] == pytest.approx(3)


def test_a_run_of_which_nothing_was_sent_has_no_lag() -> None:
    made = rows(3)
    made["sent_ns"] = ABSENT_NS
    for loop in ({"open_loop": True}, {"open_loop": False, "max_concurrency": 2}):
        evidence = judge(facts(made, summary={"completed": 0, "failed": 3}, **loop)).evidence
        assert evidence["client_lag_p99"]["text"] == "nothing was sent"
        assert evidence["client_start"]["value"] is None


def test_late_reads_matter_where_the_kernel_gave_no_times() -> None:
    late = {"read_lateness_ms": {"count": 9, "p50": 0.1, "p99": 0.9, "max": 2.0}}
    assert judge(facts(client=late)).status == "VALID"
    made = rows()
    made["flags"][:50] = TURN_STAMPED
    found = judge(facts(made, client=late))
    assert found.status == "CLIENT-LIMITED"
    assert "p99 0.90 ms, limit 0.50 ms" in found.reasons[0]


def widths(**changes: Any) -> dict[str, Any]:
    """Of merged events; the limit is 0.5 ms."""
    made: dict[str, Any] = {"count": 900, "p50": 0.1, "p90": 0.2, "p99": 0.4, "max": 9.0}
    return {"merged_width_ms": made | {"shares_from": [(0.1, 1.0), (0.4, 0.5), (0.6, 0.1)]} | changes}


@pytest.mark.parametrize(
    ("merged", "client", "share"),
    [
        (0, widths(count=0), 0.0),
        (900, widths(max=0.5), 0.0),
        (900, widths(), 0.09 * 0.5),
        (300, widths(), 0.03 * 0.5),
        (900, widths(shares_from=[(0.1, 1.0), (0.5, 0.01)]), 0.09 * 0.01),
        (900, widths(shares_from=[(0.6, 0.1)]), 0.09),
        (900, widths(shares_from=[]), 0.09),
    ],
)
def test_merged_events_matter_when_they_are_many_and_wide(
    merged: int, client: dict[str, Any], share: float
) -> None:
    found = judge(facts(summary={"merged_events": merged}, client=client))
    assert found.evidence["merged_share"]["value"] == pytest.approx(share)
    assert found.status == ("CLIENT-LIMITED" if share > 0.02 else "VALID")


def test_a_growing_queue_is_unstable() -> None:
    made = rows(6000)
    made["end_ns"] = made["sent_ns"] + (np.arange(6000) * 2 * MS) + 50 * MS
    found = judge(facts(made))
    assert found.status == "UNSTABLE"
    assert "cannot keep up" in found.reasons[0]


@pytest.mark.parametrize("seed", range(5))
def test_a_steady_queue_is_not(seed: int) -> None:
    """Poisson arrivals with exponential lives, 20 in flight on average."""
    chance = np.random.default_rng(seed)
    made = rows(6000)
    made["scheduled_ns"] = made["sent_ns"] = np.cumsum(chance.exponential(10 * MS, 6000)).astype(np.int64)
    made["slot_ns"] = made["connected_ns"] = made["sent_ns"]
    made["end_ns"] = made["sent_ns"] + chance.exponential(200 * MS, 6000).astype(np.int64)
    assert judge(facts(made)).status == "VALID"


def test_short_runs_and_closed_loops_are_not_judged_for_growth() -> None:
    assert run_checks.stationarity(facts()).value is None
    assert run_checks.stationarity(facts(rows(6000), open_loop=False, max_concurrency=9)).value is None


def test_without_evidence_nothing_is_claimed() -> None:
    case = replace(facts(), client={})
    evidence = judge(case).evidence
    for name in (
        "consistency",
        "clock_steps",
        "worker_busy",
        "run_queue",
        "throttled_periods",
        "steal",
        "stalls",
    ):
        assert evidence[name]["value"] is None
        assert evidence[name]["status"] == "not measured"


@pytest.mark.parametrize(
    ("case", "told"),
    [
        (facts(summary={"cached_tokens": 500}), "50% of prompt tokens from its prefix cache"),
        (facts(distinct_prompts=300), "300 prompts were sent 1000 times"),
        (facts(summary={"token_sources": {"events": 4}}), "tokens of 4 requests"),
        (facts(summary={"length_mismatched": 3}), "3 answers did not have the asked length"),
        (facts(summary={"cut": 2}), "2 requests were still running"),
        (
            facts(client={"retokenized": {"requests": 10, "server": 1000, "tokenizer": 1021}}),
            "the tokenizer counts 1021 tokens in 10 answers and the server 1000 (+2.1%)",
        ),
        (
            facts(client={"retokenized": {"requests": 10, "server": 1000, "tokenizer": 979}}),
            "and the server 1000 (-2.1%)",
        ),
        (facts(notes=("something else",)), "something else"),
    ],
)
def test_warnings(case: Facts, told: str) -> None:
    found = judge(case)
    assert found.status == "VALID"
    assert told in " ".join(found.warnings)


@pytest.mark.parametrize(
    "retokenized",
    [None, {"requests": 10, "server": 1000, "tokenizer": 1020}, {"requests": 1, "server": 0, "tokenizer": 3}],
)
def test_a_tokenizer_that_agrees_is_no_news(retokenized: dict[str, int] | None) -> None:
    assert judge(facts(client={"retokenized": retokenized})).warnings == ()


@pytest.mark.parametrize(
    ("name", "details"),
    [
        ("failures", {"failed": 0, "ended": 1000}),
        ("consistency", {"in_flight_s": 50.0, "rows_s": 50.0}),
        ("usage", {"checked": 1000, "apart": 0}),
        ("client_lag_p99", {"p50_ms": 1.0, "p99_ms": 1.0, "max_ms": 1.0}),
        ("achieved", {"planned_per_s": 100.0, "sent_per_s": 100.0}),
        ("worker_busy", {"mean": 0.1, "workers": 1}),
        ("run_queue", {"mean": 0.01, "involuntary_switches": 7}),
        ("stalls", {"longest_ms": 0.0}),
        (
            "read_lateness_p99",
            {"p50_ms": 0.01, "p99_ms": 0.05, "max_ms": 0.1, "without_kernel_times_share": 0.0},
        ),
        (
            "merged_share",
            {
                "events": 10_000,
                "merged": 0,
                "width_limit_ms": 0.5,
                "width_p50_ms": 0.0,
                "width_p99_ms": 0.0,
                "width_max_ms": 0.0,
            },
        ),
        (
            "ceiling",
            {
                "events_per_s": 1000.0,
                "requests_per_s": 100.0,
                "most_events_per_s": pytest.approx(100_000),
                "most_requests_per_s": pytest.approx(10_000),
            },
        ),
    ],
)
def test_evidence_is_stored_with_its_numbers(name: str, details: dict[str, Any]) -> None:
    found = judge(
        facts(
            rows(lag_ms=1),
            summary={"duration_s": 10.0, "usage_checked": 1000},
            client={"ceiling": CEILING} | worker(involuntary_switches=7),
        )
    )
    assert found.status == "VALID"
    assert found.evidence[name]["details"] == details


def test_retried_requests_are_named() -> None:
    made = rows()
    made["attempts"][:2] = 2
    made["flags"][0] = HTTP10
    words = " ".join(judge(facts(made)).warnings)
    assert "2 requests (0.2%) were written again" in words
    assert "HTTP/1.0" in words


def test_a_cache_that_was_asked_for_is_no_surprise() -> None:
    assert judge(facts(summary={"cached_tokens": 500}, prefix_asked=True)).warnings == ()


def test_the_start_is_stored_with_its_numbers() -> None:
    details = judge(started(100, lag_ms=10)).evidence["client_start"]["details"]
    assert details == {"p50_ms": pytest.approx(5.05), "requests": 100, "share_of_requests": 0.1}


def test_it_goes_through_json() -> None:
    found = judge(facts(rows(lag_ms=3)))
    assert Verdict.from_dict(found.to_dict()) == found


def test_a_load_that_never_came_about_is_not_the_clients_fault() -> None:
    """Nothing was answered; or every slot was full from the beginning on, and Ctrl-C cut what ran."""
    late = rows(lag_ms=3)
    none = judge(facts(late, summary={"completed": 0, "failed": 1000}, open_loop=False, max_concurrency=2))
    assert none.evidence["achieved"]["text"] == "no request succeeded"
    full = judge(facts(late, open_loop=False, max_concurrency=1000))
    assert full.evidence["achieved"]["text"] == "no slot was used twice"
    again = judge(facts(late, open_loop=False, max_concurrency=1))
    assert again.evidence["achieved"]["value"] is not None


def test_counters_that_were_asked_for_and_not_read_are_a_warning() -> None:
    (told,) = judge(facts(client={"server_counters": {"absent": "http://h/metrics: refused"}})).warnings
    assert told == "the server's counters were not held against the rows: http://h/metrics: refused"
    assert judge(facts(client={"server_counters": {}})).warnings == ()


def test_a_run_in_which_everything_was_cut_says_what_to_do() -> None:
    assert judge(facts(summary={"completed": 0, "failed": 0, "cut": 8})).reasons == (
        "no request ended, 8 were cut: send for longer, or give them time at the end (--drain)",
    )


def test_of_a_moment_there_are_no_shares_of_a_processor() -> None:
    found = judge(facts(client=worker(wall_s=0.003, cpu_s=0.003, run_queue_s=0.002)))
    assert found.status == "VALID"
    for name in ("worker_busy", "run_queue"):
        assert found.evidence[name]["text"] == "not judged in under 10 ms"
    nobody = judge(facts(client={"workers": []}))
    assert nobody.evidence["worker_busy"]["text"] == "the engine kept no account"
