"""Intervals: where they come from, how they are kept, and what is said where there are none."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import result_file

import llmbench as lb
from llmbench import _core, evaluation, report, timing
from llmbench.results import Result
from llmbench.summary import Interval
from llmbench.verdict import Verdict

MS = 1_000_000
PERCENTS = [50.0, 90.0, 99.0]
ENTRY = {"low", "high", "n_eff", "supported", "needs_requests", "excursions", "reason"}


def run_of(
    path: Path,
    n: int,
    *,
    tokens: int = 20,
    outcome: str = "ok",
    tokens_per_event: int | None = 1,
    **changes: Any,
) -> Path:
    """`n` requests, one every 10 ms, each answered by events of one token (or several; None: nobody says how many);
    without randomness in `fixed`."""
    rng = np.random.default_rng(1)
    fixed = changes.pop("fixed", False)
    rows: list[dict[str, Any]] = []
    events: dict[int, bytes] = {}
    for i in range(n):
        sent = i * 10 * MS
        ttft = 50 * MS if fixed else int(rng.lognormal(math.log(50), 0.3) * MS)
        gaps = np.full(tokens - 1, 10 * MS) if fixed else rng.lognormal(math.log(10), 0.2, tokens - 1) * MS
        times = sent + ttft + np.concatenate(([0], np.cumsum(gaps.astype(np.int64))))
        row: dict[str, Any] = {
            "id": i,
            "outcome": outcome,
            "scheduled_ns": sent,
            "slot_ns": sent,
            "connected_ns": sent,
            "sent_ns": sent,
            "send_done_ns": sent + 20_000,
            "end_ns": int(times[-1]) + MS,
            "attempts": 1,
            "prompt_tokens": 10,
        }
        if outcome == "ok":
            row |= {
                "first_byte_ns": int(times[0]),
                "first_token_ns": int(times[0]),
                "first_answer_ns": int(times[0]),
                "last_token_ns": int(times[-1]),
                "output_tokens": tokens,
                "token_source": "usage",
                "events": tokens,
            }
            row["output_tokens"] = tokens * (tokens_per_event or 2)
            events[i] = result_file.blob(
                sent, [(int(t), tokens_per_event or 0, result_file.KERNEL) for t in times]
            )
        rows.append(row | changes)
    result_file.write(path, rows, events)
    return path


def summarize(path: Path) -> dict[str, Any]:
    return _core.summarize(_core.RecordTable.load(str(path)), percents=PERCENTS, goodput={"ttft": 60})


def test_every_number_of_the_server_has_an_interval(tmp_path: Path) -> None:
    summary = summarize(run_of(tmp_path / "a.llmbench", 1000))
    found = summary["intervals"]
    for metric in ("ttft", "tpot", "itl", "icl", "e2el", "ttft_from_schedule", "e2el_from_schedule"):
        latency = summary["latency_ms"][metric]
        assert found[f"median_{metric}_ms"] == found[f"p50_{metric}_ms"]
        values = {"mean": latency["mean"], "median": latency["median"]}
        values |= dict(zip(("p50", "p90", "p99"), latency["percentiles"], strict=True))
        for name, value in values.items():
            entry = found[f"{name}_{metric}_ms"]
            assert set(entry) == ENTRY
            assert entry["supported"]
            assert entry["low"] <= value <= entry["high"], name
            assert entry["reason"] is None
    for name in ("request_throughput", "output_throughput", "input_throughput"):
        assert found[name]["low"] <= summary[name] <= found[name]["high"]
    assert found["total_token_throughput"]["low"] < summary["total_throughput"]
    assert found["request_goodput"]["low"] < summary["goodput"] < found["request_goodput"]["high"]
    assert found["p99_ttft_ms"]["needs_requests"] >= 368
    assert not [key for key in found if "client_lag" in key or "connect" in key]


def test_a_file_says_the_same_as_its_table(tmp_path: Path) -> None:
    path = run_of(tmp_path / "a.llmbench", 300)
    options: dict[str, Any] = {"percents": PERCENTS, "goodput": {"ttft": 60.0}}
    table = _core.RecordTable.load(str(path))
    digest = _core.RunDigest(str(path))
    for window in (None, (10**9 + 7, 2 * 10**9)):
        for threads in (1, 2):
            summary = digest.summarize(**options, window_ns=window, threads=threads)
            assert summary == _core.summarize(table, **options, window_ns=window)
    assert (digest.rows.requests == table.requests).all()
    assert len(digest.rows.event_times_ns) == 0
    assert digest.rows.errors == table.errors


@pytest.mark.parametrize("tokens_per_event", [None, 1, 3])
def test_whole_seconds_are_cut_out_without_reading_again(
    tmp_path: Path, tokens_per_event: int | None
) -> None:
    path = run_of(tmp_path / "a.llmbench", 300, tokens_per_event=tokens_per_event)
    table = _core.RecordTable.load(str(path))
    digest = _core.RunDigest(str(path))
    path.unlink()
    origin = int(table.requests["sent_ns"][0])
    for first, last in ((0, 1), (1, 2), (0, 100)):
        window = (origin + first * 10**9, origin + last * 10**9)
        found = digest.summarize(PERCENTS, window_ns=window)
        expected = _core.summarize(table, PERCENTS, window_ns=window)
        assert found["events"] == expected["events"] > 0
        assert found["output_tokens"] == pytest.approx(expected["output_tokens"], abs=1)
        for name in (
            "requests",
            "completed",
            "latency_ms",
            "itl_share",
            "itl_absent_because",
            "concurrency_mean",
        ):
            assert found[name] == expected[name], name
        for name, interval in expected["intervals"].items():
            for part, wanted in interval.items():
                exact = not isinstance(wanted, float)
                assert found["intervals"][name][part] == (wanted if exact else pytest.approx(wanted)), (
                    name,
                    part,
                )


@pytest.mark.parametrize(
    ("tokens_per_event", "changes", "checked", "apart"),
    [
        (1, {}, 5, 0),
        (3, {}, 5, 0),
        (1, {"output_tokens": 21}, 5, 0),  # the end token, which comes without output
        (1, {"output_tokens": 22}, 5, 5),
        (3, {"output_tokens": 59}, 5, 5),
        (None, {"output_tokens": 22}, 0, 0),  # nobody says what an event holds
        (1, {"output_tokens": 22, "token_source": "token_ids"}, 0, 0),
        (1, {"output_tokens": 22, "outcome": "cut"}, 0, 0),
    ],
)
def test_usage_is_held_against_what_events_hold(
    tmp_path: Path, tokens_per_event: int | None, changes: dict[str, Any], checked: int, apart: int
) -> None:
    path = run_of(tmp_path / "a.llmbench", 5, tokens_per_event=tokens_per_event)
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        for name, value in changes.items():
            database.execute(f"UPDATE request SET {name} = ?", (value,))
    summary = summarize(path)
    assert (summary["usage_checked"], summary["usage_apart"]) == (checked, apart)
    assert _core.RunDigest(str(path)).summarize(PERCENTS)["usage_apart"] == apart


def test_a_missing_file_is_an_error_of_the_results(tmp_path: Path) -> None:
    with pytest.raises(_core.CoreError, match="no result file"):
        _core.RunDigest(str(tmp_path / "none"))
    with pytest.raises(lb.errors.ResultsError, match="no result file"):
        evaluation.evaluate(tmp_path / "none", {}, {})
    with pytest.raises(ValueError, match="lies in 0 to 100"):
        _core.RunDigest(str(run_of(tmp_path / "a.llmbench", 3))).summarize(percents=[101])


@pytest.mark.parametrize(
    ("name", "n", "changes"),
    [
        ("empty", 0, {}),
        ("one request", 1, {}),
        ("all failed", 50, {"outcome": "connect_refused", "error": "refused"}),
        ("all cut", 50, {"outcome": "cut"}),
        ("one token each", 50, {"tokens": 1}),
        ("identical", 50, {"fixed": True}),
        ("never sent", 5, {"outcome": "connect_refused", "sent_ns": None, "send_done_ns": None}),
    ],
)
def test_degenerate_runs_have_defined_intervals(
    name: str, n: int, changes: dict[str, Any], tmp_path: Path
) -> None:
    path = run_of(tmp_path / "a.llmbench", n, **changes)
    summary, verdict, _ = evaluation.evaluate(path, {"percentiles": PERCENTS, "goodput": {"ttft": 60}}, {})
    json.dumps(summary["intervals"], allow_nan=False)
    for key, entry in summary["intervals"].items():
        assert set(entry) == ENTRY
        unknown = entry["low"] is None or entry["high"] is None
        assert unknown == (not entry["supported"]), (name, key, entry)
        assert unknown == (entry["reason"] is not None), (name, key, entry)
    if n <= 1 or "outcome" in changes:
        assert not summary["intervals"]["mean_ttft_ms"]["supported"]
    if name == "one token each":
        assert summary["intervals"]["mean_itl_ms"]["reason"] == "no values"
        assert summary["intervals"]["mean_ttft_ms"]["supported"]
    if name == "identical":
        entry = summary["intervals"]["p50_ttft_ms"]
        assert (entry["low"], entry["high"], entry["n_eff"]) == (50, 50, 50)
        assert summary["intervals"]["p99_ttft_ms"]["needs_requests"] == 368
    shown = Result(path=None, config={}, summary=summary, verdict=verdict, client={}, environment={}).report()
    assert "nan" not in shown.lower().replace("finance", "")


@pytest.fixture
def result(tmp_path: Path) -> Result:
    path = run_of(tmp_path / "a.llmbench", 200)
    config = {"percentiles": [50.0, 99.0, 99.9], "load": {"arrival": "closed"}}
    client = {
        "clock_uncertainty_ns": 1000,
        "merged_width_ms": {"mean": None},
        "read_lateness_ms": {"p90": 0.5},
    }
    summary, _, _ = evaluation.evaluate(path, config, client)
    return Result(
        path=path, config=config, summary=summary, verdict=Verdict("VALID"), client=client, environment={}
    )


def test_a_distribution_knows_its_intervals(result: Result) -> None:
    ttft = result.summary["ttft"]
    median = ttft.interval("median")
    assert median is not None
    assert median.low is not None
    assert median.high is not None
    assert median == ttft.interval("p50")
    assert median.supported
    assert ttft.median is not None
    assert median.low < ttft.median < median.high
    assert median.half_width == pytest.approx((median.high - median.low) / 2)
    tail = ttft.interval("p99_9")
    assert tail is not None
    assert tail == ttft.interval("p99.9")
    assert not tail.supported
    assert tail.half_width is None
    assert tail.needs_requests is not None
    assert tail.needs_requests >= 3688
    assert ttft.interval("p12") is None
    assert isinstance(ttft.p99, float)
    assert result.summary.intervals["request_throughput"].supported
    assert dataclasses.replace(median, reason="x").reason == "x"


def test_the_json_has_them_once_and_they_come_back(result: Result, tmp_path: Path) -> None:
    content = result.to_json()
    entry = content["llmbench"]["intervals"]["p99_ttft_ms"]
    assert set(entry) == ENTRY
    assert content["p99_ttft_ms"] == result.summary["ttft"].p99
    assert "intervals" not in content["llmbench"]["summary"]
    result.save_json(tmp_path / "b.json")
    loaded = lb.load_result(tmp_path / "b.json")
    assert loaded.summary.intervals == result.summary.intervals
    assert loaded.summary["itl"].interval("mean") == result.summary["itl"].interval("mean")


def test_asked_for_chunks_the_keys_of_itl_hold_theirs(result: Result, tmp_path: Path) -> None:
    stored = result.summary.to_dict()
    stored["intervals"]["mean_icl_ms"]["low"] = 1.25
    chunks = Result(
        path=None,
        config={**result.config, "itl": "chunk"},
        summary=stored,
        verdict=result.verdict,
        client={},
        environment={},
    )
    chunks.save_json(tmp_path / "c.json")
    content = json.loads((tmp_path / "c.json").read_text())
    assert content["llmbench"]["intervals"]["mean_itl_ms"]["low"] == 1.25
    loaded = lb.load_result(tmp_path / "c.json")
    assert loaded.summary["icl"].interval("mean") == Interval.from_dict(stored["intervals"]["mean_icl_ms"])
    assert loaded.summary["itl"].interval("mean") is None


def test_the_report_says_how_sure_it_is(result: Result) -> None:
    text = result.report()
    assert max(len(line) for line in text.splitlines()) <= 80
    lines = text.splitlines()
    assert lines[0] == "VALID"
    at = next(i for i, line in enumerate(lines) if line.startswith("TTFT "))
    ttft = result.summary["ttft"]
    assert lines[at].count("≥") == 2, "p99 and p99.9 of 200 requests"
    assert lines[at + 1].startswith("  ±")
    median = ttft.interval("median")
    assert median is not None
    assert f"±{report.milliseconds(median.half_width)}" in lines[at + 1]
    assert "needs 368" in lines[at + 1]
    assert "needs 3688" in lines[at + 1]
    flat = " ".join(text.split())
    assert f"TTFT p50 {report.number(ttft.median)} ms (timing ± 0.0" in flat
    assert f"sampling ± {report._fine(median.half_width or 0)} ms)" in flat
    assert "note: ≥ marks a percentile that this run is too short to support" in flat
    assert " ± " in next(line for line in lines if line.startswith("throughput"))
    assert "needs 368" in result._repr_html_()


@pytest.mark.parametrize(("behind_s", "width"), [(10, 80), (100_000, 90)])
def test_many_unsupported_columns_still_fit(behind_s: int, width: int, tmp_path: Path) -> None:
    path = run_of(tmp_path / "a.llmbench", 3, scheduled_ns=-behind_s * 10**9)
    config = {"percentiles": [50, 90, 95, 99], "load": {"arrival": "poisson"}}
    summary, verdict, _ = evaluation.evaluate(path, config, {})
    text = Result(
        path=path, config=config, summary=summary, verdict=verdict, client={}, environment={}
    ).report()
    assert max(len(line) for line in text.splitlines()) <= width
    assert "needs 368" in text
    from_schedule = summary["latency_ms"]["ttft_from_schedule"]["percentiles"][-1]
    assert f"≥ {from_schedule:.0f} " in text  # whole, however long


@pytest.mark.parametrize(
    ("count", "shown"),
    [(6, "6"), (368, "368"), (9999, "9999"), (10000, "10k"), (12345, "12.4k"), (3 * 10**7, "30M")],
)
def test_needed_requests_are_never_rounded_down(count: int, shown: str) -> None:
    assert report._rounded(count) == shown


def test_the_timing_budget(result: Result) -> None:
    rows = result.requests
    client: dict[str, Any] = {
        "clock_uncertainty_ns": 2000,
        "merged_width_ms": {"mean": 1.0},
        "read_lateness_ms": {"p90": 0.5},
    }
    summary = {"events": 100, "merged_events": 10}
    budget = timing.budget_ms(rows, summary, client)
    assert budget is not None
    # 2 µs of clock, 20 µs to send, a tenth of the events 1 ms wide, 10 µs of path; the kernel stamped all of them.
    assert budget["ttft"] == pytest.approx(0.002 + 0.02 + 0.1 + 0.01)
    assert budget["itl"] == pytest.approx(0.002 + 2 * 0.1 + 0.01)
    turns = rows.copy()
    turns["flags"] = 1 << 1
    late = timing.budget_ms(turns, {}, client)
    assert late is not None
    assert late["ttft"] == pytest.approx(0.002 + 0.02 + 0.5 + 0.01)
    assert timing.budget_ms(rows, summary, {}) is None
    assert timing.budget_ms(rows[:0], summary, client) is None
