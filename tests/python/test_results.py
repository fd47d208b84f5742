"""Results: what the files hold, and that everything comes back from them."""

from __future__ import annotations

import json
import math
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import result_file

import llmbench as lb
from llmbench import evaluation, result_json, result_storage
from llmbench.errors import MissingExtraError, ResultsError
from llmbench.results import Result
from llmbench.summary import Distribution

GOLDEN = Path(__file__).parents[1] / "golden" / "result.json"
MS = 1_000_000
CONFIG: dict[str, Any] = {
    "endpoint": {"url": "http://127.0.0.1:8000", "backend": "vllm"},
    "model": "m",
    "workload": {
        "name": "random",
        "prompts": 4,
        "mean_prompt_tokens": 8.0,
        "mean_output_tokens": 3.0,
        "tokenizer": None,
    },
    "load": {
        "arrival": "poisson",
        "request_rate": 20.0,
        "burstiness": 1.0,
        "description": "Poisson, 20 requests/s",
    },
    "num_requests": 4,
    "percentiles": [50, 99.9],
    "percentile_metrics": ["ttft", "tpot", "itl", "e2el"],
    "goodput": {"ttft": 25.0},
    "max_error_rate": 0.5,
    "num_gpus": 2,
    "machine_cost": 3.6,
    "metadata": {"rack": "7", "date": "not mine to say"},
    "label": "golden",
}
CLIENT: dict[str, Any] = {
    "workers": [{"cpu_s": 0.1, "wall_s": 1.0, "run_queue_s": 0.0, "max_stall_ms": 0.0}],
    "connections": 2,
    "address": "127.0.0.1",
}


def request(i: int, **changes: Any) -> dict[str, Any]:
    at = i * 50 * MS
    return {
        "id": i,
        "phase": "warmup" if i < 0 else "measure",
        "scheduled_ns": at,
        "slot_ns": at,
        "connected_ns": at,
        "sent_ns": at + 1000,
        "send_done_ns": at + 2000,
        "first_byte_ns": at + 20 * MS,
        "first_token_ns": at + 20 * MS,
        "first_answer_ns": at + 20 * MS,
        "last_token_ns": at + 40 * MS,
        "end_ns": at + 41 * MS,
        "finish_reason": "length",
        "prompt_tokens": 8,
        "cached_tokens": 0,
        "asked_tokens": 3,
        "output_tokens": 3,
        "token_source": "usage",
        "events": 3,
        "bytes_in": 100,
        "bytes_out": 200,
    } | changes


ABSENT = (
    *("first_byte_ns", "first_token_ns", "first_answer_ns", "last_token_ns"),
    *("finish_reason", "prompt_tokens", "output_tokens", "token_source"),
)
FAILED: dict[str, Any] = {
    **dict.fromkeys(ABSENT),
    "outcome": "http_5xx",
    "status": 500,
    "error": "=it broke <b>",
    "events": 0,
}


def database(path: Path, run: dict[str, Any] | None = None) -> Path:
    """A warm-up request, three good ones and a failure, in a file as the core writes it."""
    rows = [request(-1), request(0), request(1), request(2, **FAILED), request(3)]
    blobs = {}
    for row in rows:
        if row["events"]:
            times = [row["first_token_ns"] + k * 10 * MS for k in range(3)]
            blobs[row["id"]] = result_file.blob(row["sent_ns"], [(t, 1, result_file.KERNEL) for t in times])
    stored = (
        {"status": "running", "schema_version": 1, "version": "0", "config": CONFIG} if run is None else run
    )
    return result_file.write(path, rows, blobs, run_json=json.dumps(stored))


@pytest.fixture
def result(tmp_path: Path) -> Result:
    path = database(tmp_path / "a.llmbench")
    table = result_storage.load_table(path)
    summary, verdict, messages = evaluation.evaluate(table, CONFIG, CLIENT)
    stored = {
        "status": "finished",
        "schema_version": 1,
        "version": "0",
        "config": CONFIG,
        "summary": summary,
        "verdict": verdict.to_dict(),
        "client": CLIENT,
        "environment": {"llmbench": "0"},
        "start_unix_ns": 1_700_000_000_123_456_789,
        "error_messages": messages,
    }
    result_storage.write_run(path, stored)
    return lb.load_result(path)


def test_the_numbers(result: Result) -> None:
    assert result.summary.completed == 3
    assert result.summary.failed == 1
    assert result.errors == {"http_5xx": 1}
    assert result.error_messages == {"http_5xx": "=it broke <b>"}
    ttft = result.summary["ttft"]
    assert ttft.n == 3
    assert ttft.mean == pytest.approx(19.999)
    assert ttft.p99_9 == ttft["p99.9"] == ttft.percentile(99.9) == pytest.approx(19.999)
    assert result.summary["itl"].median == pytest.approx(10.0)
    assert result.summary["ttft_from_schedule"].mean == pytest.approx(20.0)
    assert result.summary.with_failures["ttft"].p99_9 is None or math.isinf(
        result.summary.with_failures["ttft"].p99_9
    )
    assert result.summary.error_rate == 0.25
    assert result.verdict.status == "VALID"
    assert not result.interrupted


def test_per_gpu_and_cost(result: Result) -> None:
    summary = result.summary
    assert summary.output_throughput_per_gpu == pytest.approx(summary.output_throughput / 2)
    assert summary.output_throughput_per_user == pytest.approx(100.0)
    # 3.6 $/h is a tenth of a cent a second.
    assert summary.cost_per_million_tokens["output"] == pytest.approx(0.001 / summary.output_throughput * 1e6)


def test_rows_and_events(result: Result) -> None:
    assert result.requests["id"].tolist() == [-1, 0, 1, 2, 3]
    assert not result.requests.flags.writeable
    assert result.events.of(1).tolist() == [20 * MS, 30 * MS, 40 * MS]
    assert result.events.of(3).size == 0


def test_unknown_names_say_what_there_is(result: Result) -> None:
    with pytest.raises(KeyError, match="ttft, ttft_from_schedule"):
        result.summary["tttf"]
    with pytest.raises(AttributeError, match=r"no p95 in this summary: there are p50, p99.9"):
        _ = result.summary["ttft"].p95
    with pytest.raises(AttributeError, match="no 'nonsense'"):
        _ = result.summary.nonsense
    with pytest.raises(AttributeError, match="no 'q'"):
        _ = result.summary["ttft"].q
    with pytest.raises(AttributeError, match="throughput_latency"):
        _ = result.plot.nonsense


VARYING = (
    *("errors.", "error_messages.", "finish_reasons.", "config.", "client.", "environment."),
    *(
        "evidence.",
        "intervals.",
        "latency_ms.",
        "with_failures_ms.",
        "from_schedule.ttft.",
        "with_failures.ttft.",
    ),
)


def keys(value: Any, prefix: str = "") -> list[str]:
    """Every key path of the flat form; where names vary, only where they begin."""
    if not isinstance(value, dict) or not value or prefix.endswith(VARYING):
        return [prefix.rstrip(".")]
    return [path for name, each in value.items() for path in keys(each, f"{prefix}{name}.")]


def test_the_keys_of_the_json_are_golden(result: Result) -> None:
    """Set LLMBENCH_GOLDEN=1 to write them anew, and read the difference before committing it."""
    import os

    content = result.to_json(detailed=True)
    found = keys(content)
    if os.environ.get("LLMBENCH_GOLDEN"):
        GOLDEN.write_text(json.dumps(found, indent=1) + "\n")
    assert found == json.loads(GOLDEN.read_text())


def test_the_values_of_the_json(result: Result) -> None:
    content = result.to_json(detailed=True)
    assert content["backend"] == "vllm"
    assert content["model_id"] == "m"
    assert content["num_prompts"] == 4
    assert content["request_rate"] == 20.0
    assert content["completed"] == 3
    assert content["total_output_tokens"] == 9
    assert content["p99.9_ttft_ms"] == pytest.approx(19.999)
    assert content["rack"] == "7"
    assert content["date"].startswith("2023")
    assert content["input_lens"] == [8, 8, 0, 8]
    assert content["output_lens"] == [3, 3, 0, 3]
    assert content["ttfts"] == [
        pytest.approx(0.019999),
        pytest.approx(0.019999),
        None,
        pytest.approx(0.019999),
    ]
    assert content["itls"][0] == [pytest.approx(0.01)] * 2
    assert content["itls"][2] == []
    assert content["errors"] == ["", "", "=it broke <b>", ""]
    assert content["generated_texts"] == [""] * 4
    assert content["llmbench"]["verdict"]["status"] == "VALID"
    json.dumps(content, allow_nan=False)


def test_itl_may_be_between_chunks(result: Result) -> None:
    config = {**result.config, "itl": "chunk"}
    summary = result.summary.to_dict()
    summary["latency_ms"] = {
        **summary["latency_ms"],
        "icl": {"n": 6, "mean": 12.5, "percentiles": [12.0, 13.0]},
    }
    changed = Result(
        path=None,
        config=config,
        summary=summary,
        verdict=result.verdict,
        client={},
        environment={},
        start_unix_ns=1,
    )
    assert changed.to_json()["mean_itl_ms"] == 12.5


def test_json_and_back(result: Result) -> None:
    path = result.save_json(result.path.with_name("b.json"))  # type: ignore[union-attr]
    assert list(path.parent.glob(".*")) == []
    loaded = lb.load_result(path)
    assert loaded.path is None
    assert loaded.to_json() == result.to_json()
    assert loaded.verdict == result.verdict
    with pytest.raises(ResultsError, match="no rows"):
        _ = loaded.requests
    beside = lb.load_result(result.save_json(result.path.with_suffix(".json")))  # type: ignore[union-attr]
    assert len(beside.requests) == 5
    assert beside.json_path is not None


def test_vllms_own_json_loads(tmp_path: Path) -> None:
    path = tmp_path / "vllm.json"
    content = {
        "date": "20250101-000000",
        "endpoint_type": "openai",
        "model_id": "x",
        "num_prompts": 10,
        "request_rate": "inf",
        "max_concurrency": None,
        "duration": 2.0,
        "completed": 9,
        "total_input_tokens": 90,
        "total_output_tokens": 45,
        "request_throughput": 4.5,
        "mean_ttft_ms": 50.0,
        "median_ttft_ms": 49.0,
        "p99_ttft_ms": 60.0,
        "p99.9_ttft_ms": 61.0,
    }
    path.write_text(json.dumps(content))
    loaded = lb.load_result(path)
    assert loaded.summary["ttft"].p99 == 60.0
    assert loaded.summary["ttft"].p99_9 == 61.0
    assert loaded.summary.failed == 1
    assert loaded.verdict.status == "not judged"
    assert "49.00" in loaded.report()
    assert loaded.to_json()["median_ttft_ms"] == 49.0


def test_a_killed_run_is_evaluated_from_its_rows(tmp_path: Path) -> None:
    loaded = lb.load_result(database(tmp_path / "torn.llmbench"))
    assert loaded.status == "unfinished"
    assert loaded.verdict.status == "INVALID"
    assert "killed" in loaded.verdict.reasons[0]
    assert loaded.summary.completed == 3
    assert "INVALID, unfinished" in loaded.report()


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.llmbench", b"not a database, but long enough to be taken for one" * 20, "not a result file"),
        ("a.llmbench", b"", "not a result file"),
        ("a.json", b"{", "cannot read"),
        ("a.json", b"{}", "not a result"),
        ("a.json", b'{"completed": 1, "llmbench": {"schema_version": 99, "summary": {}}}', "newer llmbench"),
    ],
)
def test_what_is_no_result(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ResultsError, match=told):
        lb.load_result(path)


def test_absent_and_newer_files(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match=r"is a directory: name a \.llmbench or \.json file"):
        lb.load_result(tmp_path)
    with pytest.raises(ResultsError, match="no result at"):
        lb.load_result(tmp_path / "absent.llmbench")
    path = database(tmp_path / "new.llmbench", {"schema_version": 99, "version": "9.9", "summary": {}})
    with pytest.raises(ResultsError, match=r"newer llmbench \(9.9\)"):
        lb.load_result(path)


def test_to_pandas(result: Result) -> None:
    pytest.importorskip("pandas")
    frame = result.to_pandas()
    assert frame.index.tolist() == [-1, 0, 1, 2, 3]
    assert frame.loc[2, "outcome"] == "http_5xx"
    assert frame.loc[2, "error"] == "=it broke <b>"
    assert np.isnan(frame.loc[2, "first_token_ns"])
    assert np.isnan(frame.loc[2, "output_tokens"])
    assert frame.loc[0, "finish_reason"] == "length"
    assert frame.loc[-1, "phase"] == "warmup"
    assert frame.loc[0, "token_source"] == "usage"


def test_without_pandas_the_extra_is_named(result: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'llmbench\[pandas\]'"):
        result.to_pandas()


def test_secrets_leave_no_bytes_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.llmbench"
    rows = [request(i, **(FAILED | {"error": f"you sent sk-hidden-{'x' * 300}"})) for i in range(50)]
    result_file.write(path, rows)
    assert b"sk-hidden" in path.read_bytes()
    assert result_storage.blank_secrets(path, ("sk-hidden",))
    assert not result_storage.blank_secrets(path, ("sk-hidden",))
    assert b"sk-hidden" not in path.read_bytes()
    assert "you sent **********" in result_storage.load_table(path).errors[0]


def test_writing_where_nothing_can_be_written(result: Result, tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="cannot write"):
        result.save_json(tmp_path / "absent" / "a.json")
    with pytest.raises(ResultsError, match="cannot write"):
        result_storage.write_run(tmp_path / "absent" / "a.llmbench", {})


def test_a_run_row_is_replaced_not_added(result: Result) -> None:
    assert result.path is not None
    result_storage.write_run(result.path, {"a": math.nan, "b": np.float64(2), "c": np.arange(2)})
    with sqlite3.connect(result.path) as opened:
        rows = opened.execute("SELECT json FROM run").fetchall()
    opened.close()
    assert [json.loads(row[0]) for row in rows] == [{"a": None, "b": 2.0, "c": [0, 1]}]


def test_repr(result: Result) -> None:
    assert repr(result).startswith("<Result VALID, 3 completed, 1 failed, TTFT p50 20.0 ms, ")
    assert repr(result.summary) == "Summary(3 completed, 1 failed)"


def test_a_distribution_without_values() -> None:
    empty = Distribution(0)
    assert empty.mean is None
    with pytest.raises(AttributeError, match="there are none"):
        _ = empty.p99


def test_flat_is_what_to_json_returns(result: Result) -> None:
    assert result_json.flat(result) == result.to_json()
