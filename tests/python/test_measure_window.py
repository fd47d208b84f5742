"""The measure window: what a cool-down leaves out, in a file and end to end."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import result_file

import llmbench as lb
from llmbench import evaluation, measure_window, result_storage
from llmbench.errors import ConfigError

MS = 1_000_000
S = 1_000_000_000


def table(*sent_ms: float | None) -> Any:
    """Requests sent at these times; None: never, but scheduled at 9 s."""
    made = np.zeros(len(sent_ms), [("phase", "u1"), ("sent_ns", "i8"), ("scheduled_ns", "i8")])
    made["phase"] = 1
    made["sent_ns"] = [-(2**63) if each is None else int(each * MS) for each in sent_ms]
    made["scheduled_ns"] = [9 * S if each is None else int(each * MS) for each in sent_ms]
    return made


@pytest.mark.parametrize(
    ("config", "stopped", "window"),
    [
        ({}, "duration", None),
        ({"cooldown_duration": 0, "duration": 10}, "duration", None),
        ({"cooldown_duration": 3, "duration": 10}, "duration", (0.5, 7.0)),
        ({"cooldown_duration": 3, "duration": 10, "warmup_duration": 2}, "duration", (2.0, 9.0)),
        ({"cooldown_duration": 3, "num_requests": 4}, "count", (0.5, 5.0)),
        ({"cooldown_duration": 3, "duration": 100}, "interrupted", (0.5, 5.0)),
        ({"cooldown_duration": 3, "duration": 100, "warmup_duration": 2}, "cancelled", (2.0, 5.0)),
        ({"cooldown_duration": 3, "duration": 100}, None, (0.5, 5.0)),  # killed: nobody said why
    ],
)
def test_it_ends_before_the_end_of_sending(
    config: Mapping[str, Any], stopped: str | None, window: tuple[float, float] | None
) -> None:
    found = measure_window.of_run(table(500, 3000, None, 8000), config, {"stopped_because": stopped})
    assert (found and (found.begin_ns / S, found.end_ns / S)) == window


def test_what_was_never_sent_belongs_where_it_was_due() -> None:
    rows = table(0, 4999, 5000, None, 8000)
    found = measure_window.of_run(rows, {"cooldown_duration": 3}, {})
    assert found is not None
    assert found.after(rows).tolist() == [False, False, True, True, True]
    rows["phase"][:] = 0
    assert not found.after(rows).any()
    assert measure_window.of_run(rows, {"cooldown_duration": 3}, {}) is None  # nothing but warm-up


def request(i: int, at_ms: int, phase: str = "measure") -> dict[str, Any]:
    """The first token after 200 ms, the second, and the end, after 500 ms."""
    at = at_ms * MS
    return {
        "id": i,
        "phase": phase,
        **dict.fromkeys(("scheduled_ns", "slot_ns", "connected_ns", "sent_ns", "send_done_ns"), at),
        **dict.fromkeys(("first_byte_ns", "first_token_ns", "first_answer_ns"), at + 200 * MS),
        **dict.fromkeys(("last_token_ns", "end_ns"), at + 500 * MS),
        "prompt_tokens": 8,
        "asked_tokens": 2,
        "output_tokens": 2,
        "token_source": "usage",
        "events": 2,
    }


CONFIG: dict[str, Any] = {
    "percentiles": [50],
    "duration": 4,
    "warmup_duration": 1,
    "cooldown_duration": 2,
    "load": {"arrival": "closed", "max_concurrency": 1},
}
CLIENT = {"stopped_because": "duration"}


def written(path: Path, config: Mapping[str, Any] = CONFIG) -> Path:
    """One request every 400 ms from 0 s to 4.8 s."""
    rows = [request(i, 400 * i, "warmup" if i < 3 else "measure") for i in range(13)]
    blobs = {
        row["id"]: result_file.blob(
            row["sent_ns"], [(row[name], 1, result_file.KERNEL) for name in ("first_token_ns", "end_ns")]
        )
        for row in rows
    }
    run = {"status": "running", "schema_version": 1, "version": "0", "config": dict(config)}
    return result_file.write(path, rows, blobs, run_json=json.dumps(run))


def test_requests_count_where_they_were_sent_and_tokens_where_they_came(tmp_path: Path) -> None:
    path = written(tmp_path / "a.llmbench")
    summary, verdict, _ = evaluation.evaluate(path, CONFIG, CLIENT)
    # Measured from 1 s to 3 s: sent at 1.2, 1.6, 2.0, 2.4 and 2.8 s; that at 0.8 s of the warm-up ends at 1.3 s.
    assert summary["measure_window"] == {"begin_s": 1.0, "end_s": 3.0, "cooldown_requests": 5}
    assert summary["requests"] == summary["completed"] == 5
    assert summary["duration_s"] == 2.0
    assert summary["latency_ms"]["ttft"]["n"] == 5
    assert summary["latency_ms"]["e2el"]["mean"] == 500.0  # also of the one that ends behind
    assert summary["output_tokens"] == 10  # at 1.0, 1.3, 1.4, 1.7, … 2.9, 3.0 excluded
    assert summary["request_throughput"] == 2.5  # ends at 1.3, 1.7, 2.1, 2.5, 2.9
    assert summary["concurrency_mean"] == pytest.approx((0.3 + 4 * 0.5 + 0.2) / 2)
    assert summary["usage_checked"] == 10  # whole answers of the whole load
    assert verdict.evidence["failures"]["details"]["ended"] == 5
    # And again from the file, whose rows have been given their phase.
    result_storage.mark_cooldown(path, summary["measure_window"]["end_s"])
    database = sqlite3.connect(path)
    phases = database.execute(
        "SELECT phase, count(*) FROM request GROUP BY phase ORDER BY min(id)"
    ).fetchall()
    database.close()
    assert phases == [("warmup", 3), ("measure", 5), ("cooldown", 5)]
    again, _, _ = evaluation.evaluate(path, CONFIG, CLIENT)
    assert again == summary
    from_table, _, _ = evaluation.evaluate(result_storage.load_table(path), CONFIG, CLIENT)
    assert from_table == summary
    stored = {"summary": summary, "verdict": verdict.to_dict(), "client": CLIENT}
    result_storage.write_run(path, result_storage.read_run(path) | stored)
    loaded = lb.load_result(path)
    assert len(loaded.to_json(detailed=True)["ttfts"]) == 5
    assert "cool-down   5 requests left out; measured from 1.0 s to 3.0 s" in loaded.report()


def test_a_load_that_is_all_cool_down_is_invalid_and_shown_whole(tmp_path: Path) -> None:
    config = CONFIG | {"cooldown_duration": 5, "duration": 60}
    summary, verdict, _ = evaluation.evaluate(
        written(tmp_path / "a.llmbench", config), config, {"stopped_because": "interrupted"}
    )
    assert verdict.status == "INVALID"
    assert verdict.reasons[0].startswith("the load lasted 3.8 s and its cool-down is 5 s: nothing is left")
    assert summary["completed"] == 10
    assert summary["measure_window"] is None


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with lb.sim.Server(ttft_ms=20, itl_ms=5) as started:
        yield started.url


@pytest.mark.parametrize("save", [True, False])
@pytest.mark.parametrize(
    "length", [{"duration": 1.0, "cooldown_duration": 0.4}, {"num_requests": 60, "cooldown_duration": 0.1}]
)
def test_end_to_end(server: str, tmp_path: Path, save: bool, length: Mapping[str, Any]) -> None:
    result = lb.run(
        lb.Endpoint(server),
        lb.workloads.random(input_tokens=6, output_tokens=3, n=60, seed=1),
        lb.load.closed(2),
        warmup_duration=0.1,
        result_dir=tmp_path,
        progress=False,
        save=save,
        **length,
    )
    rows, window = result.requests, result.summary.measure_window
    phases = {
        name: rows["sent_ns"][rows["phase"] == code] / S for code, name in ((1, "measure"), (3, "cool"))
    }
    assert phases["measure"].max() < window["end_s"] <= phases["cool"].min()
    assert result.summary.requests == len(phases["measure"])
    assert window["cooldown_requests"] == len(phases["cool"]) > 0
    load_end_s = 1.1 if "duration" in length else float(rows["sent_ns"].max()) / S
    assert window["end_s"] == pytest.approx(load_end_s - length["cooldown_duration"])
    assert result.summary.duration_s == pytest.approx(window["end_s"] - 0.1)
    assert result.config["cooldown_duration"] == length["cooldown_duration"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"duration": 10, "cooldown_duration": 10},
            "a cool-down of 10 s leaves nothing of a duration of 10 s",
        ),
        ({"cooldown_duration": -1}, "cooldown_duration must be 0 or more, not -1"),
        ({"cooldown_duration": float("nan")}, "cooldown_duration must be 0 or more, not nan"),
        ({"cooldown_duration": 1, "until_ci": "ttft_p99:3%"}, "leave --cooldown-duration out"),
        (
            {"cooldown_duration": 6, "num_requests": 50},
            "a cool-down of 6 s leaves nothing of 50 requests at 10",
        ),
    ],
)
def test_nonsense_is_refused(options: Mapping[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        lb.run(
            lb.Endpoint("http://127.0.0.1:1"),
            lb.workloads.random(input_tokens=6, output_tokens=3, n=60, seed=1),
            lb.load.constant(10),
            result_dir=tmp_path,
            **options,
        )
