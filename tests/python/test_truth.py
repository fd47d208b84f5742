"""Rows beside the truth log: made by hand, so that every error and every budget is known."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from llmbench.errors import ResultsError
from llmbench.request_rows import Events
from llmbench.truth import KERNEL, MERGED, TrueTimes, Uncertainty, compare, read_truth

ROW = np.dtype(
    [
        ("id", "i8"),
        *((f"{name}_ns", "i8") for name in ("sent", "send_done", "first_token")),
        ("outcome", "u1"),
    ]
)
US = 1000


def made(times: list[list[int]], flags: list[int] | None = None, **client: Any) -> Any:
    """A result with these event times in µs after each request's send, which took 10 µs."""
    rows = np.zeros(len(times), ROW)
    rows["id"] = np.arange(len(times))
    rows["sent_ns"] = rows["id"] * 1_000_000
    rows["send_done_ns"] = rows["sent_ns"] + 10 * US
    events = [
        sent + np.asarray(each, dtype=np.int64) * US
        for sent, each in zip(rows["sent_ns"], times, strict=True)
    ]
    rows["first_token_ns"] = [each[0] if len(each) else 0 for each in events]
    count = sum(map(len, events))
    return SimpleNamespace(
        requests=rows,
        client=client,
        events=Events(
            offsets=np.cumsum([0, *map(len, events)]),
            times_ns=np.concatenate(events),
            tokens=np.ones(count, np.uint32),
            flags=np.array(flags if flags is not None else [KERNEL] * count, np.uint8),
        ),
    )


def truth(*times: list[int], at: int = 5_000_000) -> dict[int, TrueTimes]:
    """The server's log: event times in µs after it received each request. Its clock may start anywhere."""
    return {i: TrueTimes(at, tuple(at + each * US for each in request)) for i, request in enumerate(times)}


def test_errors_are_reported_minus_true() -> None:
    compared = compare(made([[105, 210, 300], [98, 200]]), truth([100, 200, 300], [100, 200]))
    assert compared.ttft_errors_ms == pytest.approx([0.005, -0.002])
    assert compared.gap_errors_ms == pytest.approx([0.005, -0.010, 0.002])
    assert (compared.events, compared.merged, compared.turn_stamped) == (5, 0, 0)


@pytest.mark.parametrize(
    ("flags", "ttft_ms", "gaps_ms"),
    [
        # The send and the server's, 10 µs each, and the clock on both sides.
        ([KERNEL] * 3, 0.022, [0.012, 0.012]),
        # A merged event may have come 3 ms before its stamp; a gap has two ends.
        ([KERNEL | MERGED, KERNEL, KERNEL], 3.022, [3.012, 0.012]),
        ([KERNEL, KERNEL | MERGED, KERNEL], 0.022, [3.012, 3.012]),
        # Without a kernel time the turn's may be 1 ms late.
        ([KERNEL, KERNEL, 0], 0.022, [0.012, 1.012]),
        ([KERNEL, KERNEL | MERGED, MERGED], 0.022, [3.012, 7.012]),
    ],
)
def test_the_budget_follows_from_what_the_client_noted(
    flags: list[int], ttft_ms: float, gaps_ms: list[float]
) -> None:
    client = {
        "clock_uncertainty_ns": 1000,
        "merged_width_ms": {"p99": 3.0},
        "read_lateness_ms": {"p99": 1.0},
    }
    compared = compare(made([[100, 200, 300]], flags, **client), truth([100, 200, 300]))
    assert compared.ttft_budget_ms == pytest.approx([ttft_ms])
    assert compared.gap_budget_ms == pytest.approx(gaps_ms)


@pytest.mark.parametrize(
    ("client", "expected"),
    [
        ({}, Uncertainty(0, 0, 0)),
        ({"merged_width_ms": None, "read_lateness_ms": {"p99": None}}, Uncertainty(0, 0, 0)),
        ({"clock_uncertainty_ns": 500, "merged_width_ms": {"p99": 2}}, Uncertainty(0.0005, 2, 0)),
    ],
)
def test_what_was_not_noted_adds_nothing(client: dict[str, Any], expected: Uncertainty) -> None:
    assert Uncertainty.of(client) == expected


@pytest.mark.parametrize(
    ("result", "truths", "told"),
    [
        (made([[100, 200]]), {}, "request 0 is not in the truth log"),
        (made([[100, 200]]), truth([100]), "request 0: the server wrote 1 events, 2 were recorded"),
        (
            made([[100], [100]]),
            truth([100], [100, 200]),
            "request 1: the server wrote 2 events, 1 were recorded",
        ),
        (made([[]]), truth([]), "its first event is not its first token"),
    ],
)
def test_any_event_not_counted_is_an_error(result: Any, truths: dict[int, TrueTimes], told: str) -> None:
    with pytest.raises(ResultsError, match=told):
        compare(result, truths)


def test_a_failed_request_cannot_be_compared() -> None:
    result = made([[100]])
    result.requests["outcome"] = 5
    with pytest.raises(ResultsError, match="request 0 did not succeed"):
        compare(result, truth([100]))


def test_no_request_is_an_error() -> None:
    result = made([[100]])
    result.requests = result.requests[:0]
    with pytest.raises(ResultsError, match="no requests"):
        compare(result, {})


def test_the_log_is_read_by_request_number(tmp_path: Path) -> None:
    log = tmp_path / "truth.jsonl"
    lines = [
        {"request_id": "ab-c-1", "received_ns": 10, "event_ns": [20, 30, 40], "tokens": [1, 0, 2]},
        {"request_id": "ab-c-0", "received_ns": 11, "event_ns": [], "tokens": []},
    ]
    log.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert read_truth(log) == {1: TrueTimes(10, (20, 40)), 0: TrueTimes(11, ())}
