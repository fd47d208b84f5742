"""Every number of a summary against a plain NumPy computation from the same rows, written from the definitions."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import result_file

from llmbench import _core

PERCENTS = [50, 90, 95, 99, 99.9, 12.5]
MS = 1e6
Rows = list[dict[str, Any]]
Events = dict[int, list[result_file.Event]]


def random_run(
    seed: int, n: int = 300, *, counted: bool = False, usage: float = 1.0, failures: float = 0.1
) -> tuple[Rows, Events]:
    """Requests of every outcome, with overlapping lives; `usage` is the share whose server told its token count."""
    rng = np.random.default_rng(seed)
    rows: Rows = []
    events: Events = {}
    clock = -50_000_000
    for i in range(-20, n):
        clock += int(rng.exponential(3e6))
        row: dict[str, Any] = {
            "id": i,
            "phase": "warmup" if i < 0 else str(rng.choice(["measure", "measure", "drain"])),
            "scheduled_ns": clock,
            "attempts": int(rng.choice([1, 1, 1, 2])),
            "flags": int(rng.choice([0, result_file.REUSED_CONNECTION])),
            "asked_tokens": 30,
            "outcome": "ok",
        }
        rows.append(row)
        draw = rng.random()
        if draw < failures / 3:
            row |= {"outcome": "connect_refused", "error": "refused", "end_ns": clock + 1000}
            continue
        row["slot_ns"] = clock + int(rng.exponential(2e5))
        row["connected_ns"] = row["slot_ns"] + int(rng.exponential(1e5))
        row["sent_ns"] = row["connected_ns"] + int(rng.exponential(3e4))
        row["send_done_ns"] = row["sent_ns"] + 5000
        row["connect_ns"], row["dns_ns"], row["tls_ns"] = (int(x) for x in rng.integers(0, 10**6, 3))
        row["first_byte_ns"] = row["sent_ns"] + int(rng.lognormal(np.log(30e6), 0.5))
        count = int(rng.choice([0, 1, 2, 30, 31]))
        tokens = [int(t) for t in (rng.integers(1, 5, count) if counted else np.ones(count, int))]
        t = row["first_byte_ns"] + np.cumsum(rng.lognormal(np.log(8e6), 0.8, count)).astype(np.int64)
        if count and rng.random() < 0.02:
            t[-1] += 6_000_000_000  # a gap that takes more than 32 bits of nanoseconds
        flags = [result_file.KERNEL | (result_file.MERGED if rng.random() < 0.1 else 0) for _ in range(count)]
        told = rng.random() < usage
        events[i] = [(int(a), b if counted else 0, c) for a, b, c in zip(t, tokens, flags, strict=True)]
        row["events"] = count
        row["merged_events"] = sum(f & result_file.MERGED != 0 for f in flags)
        row["output_tokens"] = sum(tokens) if told else count
        row["token_source"] = "usage" if told else "events"
        row["prompt_tokens"] = int(rng.integers(1, 500)) if told else None
        row["cached_tokens"] = int(rng.integers(0, 100)) if told else None
        row["reasoning_tokens"] = int(rng.integers(0, 10)) if told else None
        if count:
            row |= {"first_token_ns": int(t[0]), "last_token_ns": int(t[-1])}
            row["first_answer_ns"] = int(t[min(1, count - 1)])
        last = int(t[-1]) if count else row["first_byte_ns"]
        row["end_ns"] = last + int(rng.exponential(1e5))
        row["finish_reason"] = str(rng.choice(["stop", "length"]))
        if draw < 2 * failures / 3:
            row |= {"outcome": str(rng.choice(["reset_mid_stream", "timeout_idle"])), "finish_reason": None}
        elif draw < failures:
            row |= {"outcome": "cut", "finish_reason": None}
        elif rng.random() < 0.05:
            row["flags"] |= result_file.NOT_STREAMED
    return rows, events


def load(tmp_path: Path, rows: Rows, events: Events) -> _core.RecordTable:
    by_id = {row["id"]: row for row in rows}
    blobs = {i: result_file.blob(by_id[i]["sent_ns"], e) for i, e in events.items()}
    path = result_file.write(tmp_path / "a.llmbench", rows, blobs)
    return _core.RecordTable.load(str(path))


class Plain:
    """The definitions, one line each, over rows as dictionaries."""

    def __init__(self, rows: Rows, events: Events, window: tuple[float, float] | None = None) -> None:
        self.events = events
        self.window = window or (-math.inf, math.inf)
        self.measured = [r for r in rows if r["phase"] != "warmup"]
        self.seen = rows if window else self.measured  # a window also takes what came of the warm-up
        self.belonging = [r for r in self.measured if self.inside(r.get("sent_ns", r["scheduled_ns"]))]
        self.ok = [r for r in self.belonging if r["outcome"] == "ok"]
        self.bad = [r for r in self.belonging if r["outcome"] != "ok"]
        sent = [r for r in self.measured if "sent_ns" in r]
        self.begin, self.end = window or (
            min(r["sent_ns"] for r in sent),
            max(r["end_ns"] for r in self.measured),
        )
        self.duration = (self.end - self.begin) / 1e9

    def inside(self, t: float) -> bool:
        return self.window[0] <= t < self.window[1]

    @staticmethod
    def first_token(r: dict[str, Any]) -> int | None:
        return None if r["flags"] & result_file.NOT_STREAMED else r.get("first_token_ns")

    def values(self, name: str) -> list[float]:
        found = [METRICS[name](r) for r in self.ok]
        return [v / MS for v in found if v is not None]

    def gaps(self, keep: Callable[[dict[str, Any]], bool] = lambda r: True) -> tuple[list[float], list[int]]:
        gaps, weights = [], []
        for r in self.seen:
            if r["outcome"] != "ok" or not keep(r):
                continue
            events = self.events.get(r["id"], [])
            for (a, _, _), (b, tokens, _) in pairwise(events):
                if self.inside(b):
                    gaps.append((b - a) / MS)
                    weights.append(tokens)
        return gaps, weights


def between(a: int | None, b: int | None) -> float | None:
    return None if a is None or b is None else float(b - a)


def tpot(r: dict[str, Any]) -> float | None:
    first = Plain.first_token(r)
    if first is None or r["output_tokens"] < 2:
        return None
    return (r["last_token_ns"] - first) / (r["output_tokens"] - 1)


METRICS: dict[str, Callable[[dict[str, Any]], float | None]] = {
    "ttft": lambda r: between(r["sent_ns"], Plain.first_token(r)),
    "ttft_from_schedule": lambda r: between(r["scheduled_ns"], Plain.first_token(r)),
    "e2el": lambda r: between(r["sent_ns"], r["end_ns"]),
    "e2el_from_schedule": lambda r: between(r["scheduled_ns"], r["end_ns"]),
    "tpot": tpot,
    "ttfb": lambda r: between(r["sent_ns"], r["first_byte_ns"]),
    "ttfat": lambda r: None if r["flags"] & 4 else between(r["sent_ns"], r.get("first_answer_ns")),
    "client_lag": lambda r: r["sent_ns"] - max(r["scheduled_ns"], r["slot_ns"], r["connected_ns"]),
    "slot_wait": lambda r: r["slot_ns"] - r["scheduled_ns"],
    "connect_wait": lambda r: r["connected_ns"] - r["slot_ns"],
    "normalized_latency": lambda r: (
        (r["end_ns"] - r["sent_ns"]) / r["output_tokens"] if r["output_tokens"] else None
    ),
    "connect": lambda r: r["connect_ns"],
    "dns": lambda r: r["dns_ns"],
    "tls": lambda r: r["tls_ns"],
}


def check_distribution(
    found: dict[str, Any], values: Sequence[float], weights: Sequence[int] | None = None
) -> None:
    repeated = np.repeat(values, weights) if weights is not None else np.asarray(values, dtype=float)
    assert found["n"] == len(repeated)
    if not len(repeated):
        assert found["mean"] is found["median"] is found["min"] is None
        assert found["percentiles"] == [None] * len(PERCENTS)
        return
    for key, function in {
        "mean": np.mean,
        "median": np.median,
        "std": np.std,
        "min": np.min,
        "max": np.max,
    }.items():
        assert found[key] == pytest.approx(function(repeated), rel=1e-9), key
    assert found["percentiles"] == pytest.approx(list(np.percentile(repeated, PERCENTS)), rel=1e-9)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("window", [None, (100_000_000, 700_000_000)], ids=["whole", "window"])
def test_latencies(tmp_path: Path, seed: int, window: tuple[int, int] | None) -> None:
    rows, events = random_run(seed)
    plain = Plain(rows, events, window)
    summary = _core.summarize(load(tmp_path, rows, events), PERCENTS, window_ns=window)
    assert set(summary["latency_ms"]) == {*METRICS, "icl", "itl"}
    for name in METRICS:
        check_distribution(summary["latency_ms"][name], plain.values(name))
    check_distribution(summary["latency_ms"]["icl"], plain.gaps()[0])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("window", [None, (100_000_000, 700_000_000)], ids=["whole", "window"])
def test_counts_rates_and_concurrency(tmp_path: Path, seed: int, window: tuple[int, int] | None) -> None:
    rows, events = random_run(seed, usage=0.8, failures=0.4)
    plain = Plain(rows, events, window)
    s = _core.summarize(load(tmp_path, rows, events), ignore_eos=True, window_ns=window)

    assert s["requests"] == len(plain.belonging) == s["completed"] + s["failed"] + s["cut"]
    assert s["completed"] == len(plain.ok)
    assert s["cut"] == sum(r["outcome"] == "cut" for r in plain.belonging)
    assert s["errors"] == Counter(r["outcome"] for r in plain.bad if r["outcome"] != "cut")
    assert s["finish_reasons"] == Counter(r["finish_reason"] for r in plain.ok)
    assert s["token_sources"] == Counter(r["token_source"] for r in plain.ok)
    assert s["retried"] == sum(r["attempts"] > 1 for r in plain.belonging)
    assert s["reused"] == sum(r["flags"] & 1 for r in plain.belonging)
    assert s["length_mismatched"] == sum(
        r["token_source"] == "usage" and r["output_tokens"] != r["asked_tokens"] for r in plain.ok
    )
    assert s["duration_s"] == pytest.approx(plain.duration)

    counted = [r for r in plain.seen if r["outcome"] in ("ok", "cut")]
    arrived = [e for r in counted for e in events[r["id"]] if plain.inside(e[0])]
    assert s["output_tokens"] == s["events"] == len(arrived)  # here an event is a token
    assert s["merged_events"] == sum(e[2] & result_file.MERGED != 0 for e in arrived)
    for key in ("input_tokens", "cached_tokens", "reasoning_tokens"):
        column = key.replace("input", "prompt")
        assert s[key] == sum(r[column] or 0 for r in plain.belonging if r["outcome"] in ("ok", "cut")), key
    completions = sum(r["outcome"] == "ok" and plain.inside(r["end_ns"]) for r in plain.seen)
    assert s["request_throughput"] == pytest.approx(completions / plain.duration)
    assert s["output_throughput"] == pytest.approx(s["output_tokens"] / plain.duration)
    assert s["input_throughput"] == pytest.approx(s["input_tokens"] / plain.duration)
    assert s["total_throughput"] == pytest.approx((s["input_tokens"] + s["output_tokens"]) / plain.duration)

    sends = sorted(r["sent_ns"] for r in plain.belonging if "sent_ns" in r)
    assert s["sent_rate"] == pytest.approx((len(sends) - 1) / (sends[-1] - sends[0]) * 1e9)

    lives = [
        (r["sent_ns"], Plain.first_token(r) or r["end_ns"], r["end_ns"]) for r in plain.seen if "sent_ns" in r
    ]

    def overlap(a: float, b: float) -> float:
        return max(0.0, min(b, plain.end) - max(a, plain.begin)) / (plain.end - plain.begin)

    assert s["concurrency_mean"] == pytest.approx(sum(overlap(a, c) for a, _, c in lives))
    assert s["waiting_mean"] == pytest.approx(sum(overlap(a, b) for a, b, _ in lives))
    assert s["decoding_mean"] == pytest.approx(sum(overlap(b, c) for _, b, c in lives))
    moments = [max(a, plain.begin) for a, _, _ in lives]
    peak = max(sum(a <= t < c for a, _, c in lives) for t in moments if plain.begin <= t < plain.end)
    assert s["concurrency_peak"] == peak


def test_with_failures_they_are_infinite(tmp_path: Path) -> None:
    rows, events = random_run(7, failures=0.4)
    plain = Plain(rows, events)
    found = _core.summarize(load(tmp_path, rows, events), PERCENTS)["with_failures_ms"]
    assert set(found) == {"ttft", "ttft_from_schedule", "e2el", "e2el_from_schedule"}
    for name, distribution in found.items():
        values = np.sort(plain.values(name) + [math.inf] * len(plain.bad))
        assert distribution["n"] == len(values)
        assert distribution["max"] == math.inf
        assert distribution["std"] is None
        for percent, value in zip(PERCENTS, distribution["percentiles"], strict=True):
            rank = (len(values) - 1) * (percent / 100)
            low, high = values[math.floor(rank)], values[math.ceil(rank)]
            expected = low + (high - low) * (rank % 1) if high < math.inf else high
            assert value == pytest.approx(expected), (name, percent)


def qualifies(r: dict[str, Any], events: Events) -> bool:
    mine = events.get(r["id"], [])
    one_each = r["token_source"] == "usage" and len(mine) > 0 and r["output_tokens"] == len(mine)
    return one_each or (len(mine) > 0 and all(tokens for _, tokens, _ in mine))


@pytest.mark.parametrize("counted", [False, True], ids=["one token each", "counted tokens"])
@pytest.mark.parametrize("usage", [1.0, 0.97, 0.5])
@pytest.mark.parametrize("window", [None, (100_000_000, 700_000_000)], ids=["whole", "window"])
def test_inter_token_latency(
    tmp_path: Path, counted: bool, usage: float, window: tuple[int, int] | None
) -> None:
    rows, events = random_run(3, n=400, counted=counted, usage=usage, failures=0.05)
    for row in rows:  # requests without output have nothing to qualify with
        if not events.get(row["id"]):
            row["outcome"] = "empty_stream"
    plain = Plain(rows, events, window)
    s = _core.summarize(load(tmp_path, rows, events), PERCENTS, window_ns=window)
    share = sum(qualifies(r, events) for r in plain.ok) / len(plain.ok)
    assert s["itl_share"] == pytest.approx(share)
    if share < 0.95:
        assert s["latency_ms"]["itl"]["n"] == 0
        assert f"of {len(plain.ok)} ok requests" in s["itl_absent_because"]
        return
    assert s["itl_absent_because"] == ""
    gaps, tokens = plain.gaps(lambda r: qualifies(r, events))
    if counted:
        check_distribution(s["latency_ms"]["itl"], [g / t for g, t in zip(gaps, tokens, strict=True)], tokens)
    else:
        check_distribution(s["latency_ms"]["itl"], gaps)


@pytest.mark.parametrize("from_schedule", [False, True])
@pytest.mark.parametrize(
    "limits", [{"ttft": 40.0}, {"tpot": 10.0}, {"e2el": 200.0}, {"ttft": 60, "tpot": 12, "e2el": 400}]
)
def test_goodput(tmp_path: Path, limits: dict[str, float], from_schedule: bool) -> None:
    rows, events = random_run(5)
    plain = Plain(rows, events)

    def meets(r: dict[str, Any]) -> bool:
        start = r["scheduled_ns"] if from_schedule else r["sent_ns"]
        first = Plain.first_token(r)
        values = {
            "ttft": math.inf if first is None else first - start,
            "e2el": r["end_ns"] - start,
            "tpot": 0 if r["output_tokens"] < 2 else tpot(r) or math.inf,
        }
        return all(values[name] / MS <= limit for name, limit in limits.items())

    good = sum(meets(r) for r in plain.ok)
    s = _core.summarize(load(tmp_path, rows, events), goodput=limits, goodput_from_schedule=from_schedule)
    assert 0 < good < len(plain.ok)
    assert s["goodput"] == pytest.approx(good / plain.duration)
    assert s["goodput_share"] == pytest.approx(good / len(plain.measured))
    assert _core.summarize(load_again(tmp_path))["goodput"] is None


def load_again(tmp_path: Path) -> _core.RecordTable:
    return _core.RecordTable.load(str(tmp_path / "a.llmbench"))


def test_a_run_without_requests(tmp_path: Path) -> None:
    s = _core.summarize(
        _core.RecordTable.load(str(result_file.write(tmp_path / "a.llmbench", []))), goodput={"ttft": 1}
    )
    assert (
        s["requests"] == s["duration_s"] == s["request_throughput"] == s["goodput"] == s["goodput_share"] == 0
    )
    assert s["itl_absent_because"] == "no request completed"
    assert all(d["n"] == 0 and d["mean"] is None for d in s["latency_ms"].values())


def test_a_run_that_never_sent(tmp_path: Path) -> None:
    rows = [{"id": i, "scheduled_ns": i, "end_ns": i + 5, "outcome": "connect_refused"} for i in range(3)]
    s = _core.summarize(load(tmp_path, rows, {}))
    assert (s["requests"], s["failed"], s["errors"]) == (3, 3, {"connect_refused": 3})
    assert s["duration_s"] == s["concurrency_mean"] == s["sent_rate"] == 0
    assert s["with_failures_ms"]["ttft"]["median"] == math.inf


def test_a_closed_loop_never_exceeds_its_cap(tmp_path: Path) -> None:
    """The next request is sent the moment the one before it ends."""
    rows = [
        {"id": i, "sent_ns": i // 2 * 10, "end_ns": i // 2 * 10 + 10, "output_tokens": 0} for i in range(10)
    ]
    s = _core.summarize(load(tmp_path, rows, {}))
    assert s["concurrency_peak"] == s["concurrency_mean"] == s["waiting_mean"] == 2


def test_what_is_asked_wrongly_is_named(tmp_path: Path) -> None:
    table = _core.RecordTable.load(str(result_file.write(tmp_path / "a.llmbench", [])))
    with pytest.raises(ValueError, match="'itl'; it takes ttft, tpot and e2el"):
        _core.summarize(table, goodput={"itl": 5})
    with pytest.raises(ValueError, match="above 0"):
        _core.summarize(table, goodput={"ttft": 0})
    with pytest.raises(ValueError, match=r"101.*0 to 100"):
        _core.summarize(table, percents=[101])
