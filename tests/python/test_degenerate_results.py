"""Results with little or nothing in them, or with nonsense, over every public way in: numbers that exist, null with a
reason for those that do not, and one message where a file cannot be read at all."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from support import result_file

import llmbench as lb
from llmbench import evaluation, result_storage, steadiness
from llmbench.errors import ResultsError
from llmbench.plots import RESULT_FIGURES
from llmbench.request_rows import ABSENT_NS
from llmbench.results import Result
from llmbench.verdict import Verdict

MS = 1_000_000
CONFIG: dict[str, Any] = {
    "load": {"arrival": "poisson", "request_rate": 100.0, "description": "Poisson, 100 requests/s"},
    "goodput": {"ttft": 60.0},
    "num_gpus": 2,
    "machine_cost": 3.6,
    "until_ci": "ttft_p99:3%",
    "steady_state": True,
    "ignore_eos": True,
}
CLIENT: dict[str, Any] = {
    "clock_uncertainty_ns": 1000,
    "clock_steps": 0,
    "stalls": 0,
    "workers": [{"cpu_s": 0.1, "wall_s": 1.0, "run_queue_s": 0.0, "max_stall_ms": 0.0}],
    "read_lateness_ms": {"count": 3, "mean": 0.01, "p50": 0.01, "p90": 0.01, "p99": 0.02, "max": 0.02},
    "merged_width_ms": {"count": 0, "mean": 0.0, "p50": 0.0, "p90": 0.0, "p99": 0.0, "max": 0.0},
    "connections": 0,
}
FAILED: dict[str, Any] = {
    **dict.fromkeys(
        (
            "first_byte_ns",
            "first_token_ns",
            "first_answer_ns",
            "last_token_ns",
            "output_tokens",
            "token_source",
        )
    ),
    "outcome": "http_5xx",
    "status": 500,
    "error": "it broke",
    "events": 0,
}
TIMES = tuple(name for name in result_file.COLUMNS if name.endswith("_ns"))
UNSENT: dict[str, Any] = FAILED | {
    "outcome": "connect_refused",
    "status": 0,
    "error": None,
    **dict.fromkeys(("slot_ns", "connected_ns", "sent_ns", "send_done_ns", "end_ns")),
}


def request(i: int, *, tokens: int = 3, gap_ms: int = 10, **changes: Any) -> dict[str, Any]:
    """One every 10 ms; the first token after 20 ms."""
    at = i * 10 * MS
    last = at + (20 + (tokens - 1) * gap_ms) * MS
    return {
        "id": i,
        **dict.fromkeys(("scheduled_ns", "slot_ns", "connected_ns", "sent_ns", "send_done_ns"), at),
        **dict.fromkeys(("first_byte_ns", "first_token_ns", "first_answer_ns"), at + 20 * MS),
        "last_token_ns": last,
        "end_ns": last + MS,
        "prompt_tokens": 8,
        "asked_tokens": tokens,
        "output_tokens": tokens,
        "token_source": "usage",
        "events": tokens,
    } | changes


Rows = list[dict[str, Any]]
RUNS: dict[str, tuple[Rows, dict[str, Any]]] = {
    "no request": ([], {}),
    "one request": ([request(0)], {}),
    "one failure": ([request(0, **FAILED)], {}),
    "warm-up only": ([request(-1, phase="warmup")], {}),
    "all failed": ([request(i, **FAILED) for i in range(40)], {}),
    "all cut": ([request(i, outcome="cut", end_ns=None) for i in range(40)], {}),
    "none sent": ([request(i, **UNSENT) for i in range(3)], {}),
    "one token each": ([request(i, tokens=1) for i in range(40)], {}),
    "no tokens": ([request(i, **{**FAILED, "outcome": "ok", "output_tokens": 0}) for i in range(40)], {}),
    "no counts": (
        [request(i, output_tokens=None, token_source=None, prompt_tokens=None) for i in range(40)],
        {},
    ),
    "identical": ([request(i) for i in range(40)], {}),
    "all at once": ([request(0) | {"id": i} for i in range(40)], {}),
    "no time at all": ([request(0, tokens=1) | dict.fromkeys(TIMES, 0)], {}),
    "not streamed": ([request(i, flags=result_file.NOT_STREAMED, events=1) for i in range(40)], {}),
    "a clock step": ([request(i) for i in range(40)], {"clock_steps": 1}),
    "times backwards": (
        [request(i, end_ns=i * 10 * MS - 500 * MS, last_token_ns=i * 10 * MS - 600 * MS) for i in range(40)],
        {},
    ),
    "times far apart": ([request(0), request(1, end_ns=2**62, last_token_ns=2**61)], {}),
}


def written(path: Path, rows: Rows) -> Path:
    """As the engine writes it while the run goes on."""
    blobs = {}
    for row in rows:
        if row["events"] and row["first_token_ns"] is not None:
            times = [row["first_token_ns"] + k * 10 * MS for k in range(row["events"])]
            blobs[row["id"]] = result_file.blob(row["sent_ns"], [(t, 1, result_file.KERNEL) for t in times])
    stored = {"status": "running", "schema_version": 1, "version": "0", "config": CONFIG}
    return result_file.write(path, rows, blobs, run_json=json.dumps(stored))


def finished(path: Path, client: Mapping[str, Any], source: Callable[[Path], Any]) -> Path:
    """As the end of a run leaves it."""
    summary, verdict, messages = evaluation.evaluate(source(path), CONFIG, CLIENT | dict(client))
    result_storage.write_run(
        path,
        {
            **result_storage.read_run(path),
            "status": "finished",
            "summary": summary,
            "verdict": verdict.to_dict(),
            "client": CLIENT | dict(client),
            "environment": {},
            "error_messages": messages,
        },
    )
    return path


def check(result: Result) -> None:
    """Everything that a result can be asked for."""
    assert result.verdict.status in ("INVALID", "CLIENT-LIMITED", "UNSTABLE", "VALID", "not judged")
    said = json.dumps(result.to_json(), allow_nan=False)
    assert json.loads(said)["completed"] == result.summary.completed
    for shown in (result.report(), result._repr_html_(), repr(result)):
        assert not re.search(r"\b(nan|None)\b", shown), shown
        assert result.verdict.status in shown
    for latency in (*result.summary.latencies.values(), *result.summary.with_failures.values()):
        numbers = (latency.mean, latency.median, latency.std, *latency.percentiles.values())
        assert all(each is None or not math.isnan(each) for each in numbers)
        if not latency.n:
            assert set(numbers) <= {None}
    for key, interval in result.summary.intervals.items():
        assert (interval.half_width is None) == (interval.reason is not None), key


def check_rows(result: Result) -> None:
    """What needs the rows behind it."""
    json.dumps(result.to_json(detailed=True, texts=True), allow_nan=False)
    assert len(result.requests) == len(result.events.offsets) - 1
    result.to_pandas()


@pytest.mark.parametrize("name", RUNS)
def test_ways_into_a_run(name: str, tmp_path: Path) -> None:
    rows, client = RUNS[name]
    path = written(tmp_path / "a.llmbench", rows)
    torn = lb.load_result(path)
    assert torn.verdict.status == "INVALID"
    check(torn)
    check_rows(torn)
    stored = None
    for source in (result_storage.load_table, lambda path: path):
        whole = lb.load_result(finished(path, client, source))
        check(whole)
        check_rows(whole)
        assert stored in (None, whole.summary.to_dict())
        stored = whole.summary.to_dict()
    json_path = whole.save_json(tmp_path / "a.json", detailed=True)
    loaded = lb.load_result(json_path)
    check(loaded)
    check_rows(loaded)
    assert loaded.to_json() == whole.to_json()
    path.unlink()
    alone = lb.load_result(json_path)
    check(alone)
    with pytest.raises(ResultsError, match="no rows"):
        _ = alone.requests


@pytest.mark.parametrize("figure", RESULT_FIGURES)
@pytest.mark.parametrize("name", RUNS)
def test_figures_of_a_run(name: str, figure: str, tmp_path: Path) -> None:
    rows, client = RUNS[name]
    path = written(tmp_path / "a.llmbench", rows)
    result = lb.load_result(finished(path, client, lambda path: path))
    drawable = {
        "timeline": steadiness.bins(result.requests) is not None,
        "token_timeline": any(row["phase"] != 0 and row["end_ns"] != ABSENT_NS for row in result.requests),
    }
    if not drawable.get(figure, bool(result.summary["ttft"].n)):
        with pytest.raises(ResultsError):
            getattr(result.plot, figure)(shown=False)
        return
    axes = getattr(result.plot, figure)(shown=False)
    axes.figure.canvas.draw()
    captions = [axes.figure.get_supxlabel(), *(text.get_text() for text in axes.figure.texts)]
    assert result.verdict.status in " ".join(captions)


VLLM: dict[str, Any] = {
    "date": "20260101-000000",
    "backend": "vllm",
    "model_id": "m",
    "num_prompts": 10,
    "request_rate": "inf",
    "burstiness": 1.0,
    "max_concurrency": None,
    "duration": 2.0,
    "completed": 10,
    "total_input_tokens": 80,
    "total_output_tokens": 30,
    "request_throughput": 5.0,
    "output_throughput": 15.0,
    "total_token_throughput": 55.0,
    **{f"{name}_ttft_ms": 20.0 for name in ("mean", "median", "std", "p99")},
}
NAN, INFINITY = math.nan, math.inf


@pytest.mark.parametrize(
    ("changes", "ttft"),
    [
        ({}, (10, 20.0, 20.0)),
        ({"mean_ttft_ms": NAN}, (10, None, 20.0)),
        ({"mean_ttft_ms": INFINITY, "p99_ttft_ms": -INFINITY}, (10, None, None)),
        ({"mean_ttft_ms": None}, (10, None, 20.0)),
        ({"duration": NAN, "request_throughput": NAN, "output_throughput": NAN}, (10, 20.0, 20.0)),
        ({"completed": 0, "mean_ttft_ms": 0.0, "p99_ttft_ms": 0.0}, (0, None, None)),
        ({"completed": 1, "std_ttft_ms": NAN}, (1, 20.0, 20.0)),
        ({"num_prompts": None, "burstiness": NAN, "request_rate": 3}, (10, 20.0, 20.0)),
        ({"completed": 12}, (12, 20.0, 20.0)),
    ],
)
def test_files_of_other_tools(changes: dict[str, Any], ttft: tuple[Any, ...], tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text(json.dumps(VLLM | changes))  # as other tools do: NaN as NaN
    result = lb.load_result(path)
    check(result)
    assert result.verdict == Verdict("not judged")
    found = result.summary["ttft"]
    assert (found.n, found.mean, found.p99) == ttft
    assert result.summary.failed == (0 if result.summary.completed > 1 else 10 - result.summary.completed)
    check(lb.load_result(result.save_json(tmp_path / "ours.json")))


def ours(**changes: Any) -> str:
    return json.dumps(
        {"completed": 1, "llmbench": {"schema_version": 1, "summary": {"completed": 1}} | changes}
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "cannot read"),
        ("{", "cannot read"),
        ("[" * 100_000, "cannot read"),
        ("[1, 2]", 'no key "completed"'),
        ("{}", 'no key "completed"'),
        ('{"completed": NaN}', "how many requests"),
        ('{"completed": null}', "how many requests"),
        ('{"completed": "10"}', "completed is '10' and no number"),
        ('{"completed": -1}', "completed is -1 and no count"),
        ('{"completed": 1e999}', "how many requests"),
        ('{"completed": 1.5}', "no count"),
        ('{"completed": 1, "mean_ttft_ms": "fast"}', "mean_ttft_ms is 'fast' and no number"),
        ('{"completed": 1, "mean_ttft_ms": [1]}', "no number"),
        ('{"completed": 1, "request_rate": "fast"}', "request_rate is 'fast' and no number"),
        (ours(schema_version=99), "newer llmbench"),
        (ours(schema_version="two"), "damaged"),
        (ours(intervals=[1]), "damaged"),
        (ours(start_time="yesterday"), "damaged"),
        (ours(verdict=[]), "damaged"),
        (ours(summary={"latency_ms": {"ttft": 3}}), "damaged"),
        (ours(summary={"percents": ["x"]}), "damaged"),
    ],
)
def test_files_that_are_no_results(text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(ResultsError) as caught:
        lb.load_result(path)
    assert told in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "stored",
    [
        '{"summary": {"completed": 1, "failed": NaN, "duration_s": Infinity}, "verdict": {"status": "VALID"}}',
        '{"summary": {"percents": [50], "latency_ms": {"ttft": {"n": 1, "mean": NaN, "percentiles": [NaN]}}}}',
        '{"summary": {"completed": null, "intervals": {"p50_ttft_ms": {"low": NaN, "high": 3}}}}',
        '{"summary": {}}',
    ],
)
def test_run_rows_with_nonsense(stored: str, tmp_path: Path) -> None:
    path = result_file.write(tmp_path / "a.llmbench", [request(0, events=0)], run_json=stored)
    result = lb.load_result(path)
    json.dumps(result.to_json(detailed=True), allow_nan=False)
    assert "nan" not in (result.report() + result._repr_html_() + repr(result)).lower()


@pytest.mark.parametrize(
    ("stored", "told"),
    [
        ('{"summary": 3}', "damaged"),
        ('{"summary": {"latency_ms": []}}', "damaged"),
        ('{"schema_version": "x", "summary": {}}', "damaged"),
        ('{"schema_version": 2, "summary": {}}', "newer llmbench"),
        ("{", "damaged"),
        ("[]", "not a result file"),
    ],
)
def test_run_rows_that_are_none(stored: str, told: str, tmp_path: Path) -> None:
    path = result_file.write(tmp_path / "a.llmbench", [request(0, events=0)], run_json=stored)
    with pytest.raises(ResultsError) as caught:
        lb.load_result(path)
    assert told in str(caught.value)
    assert str(path) in str(caught.value)
