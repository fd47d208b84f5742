"""until_ci: what may be asked, when it is met, and that a run ends then and says so."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.scripted_server import ScriptedServer, healthy, models

import llmbench as lb
from llmbench.cli import run as run_command
from llmbench.errors import ConfigError
from llmbench.options import RunOptions
from llmbench.precision import Target, Watch


@pytest.mark.parametrize(
    ("text", "key", "percent", "relative"),
    [
        ("ttft_p99:3%", "p99_ttft_ms", 99, 0.03),
        ("itl_p99.9:0.5%", "p99.9_itl_ms", 99.9, 0.005),
        ("e2el_mean:10%", "mean_e2el_ms", None, 0.1),
        ("tpot_median:.5%", "median_tpot_ms", None, 0.005),
        ("ttft_from_schedule_p50:5%", "p50_ttft_from_schedule_ms", 50, 0.05),
        ("output_throughput:2%", "output_throughput", None, 0.02),
        ("total_token_throughput:2%", "total_token_throughput", None, 0.02),
    ],
)
def test_targets(text: str, key: str, percent: float | None, relative: float) -> None:
    target = Target.parse(text)
    assert (target.key, target.percent) == (key, percent)
    assert target.relative == pytest.approx(relative)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "NUMBER:PERCENT%"),
        ("ttft_p99", "NUMBER:PERCENT%"),
        ("ttft_p99:3", "NUMBER:PERCENT%"),
        ("ttft_p99:0%", "NUMBER:PERCENT%"),
        ("ttft_p99:100%", "NUMBER:PERCENT%"),
        ("ttft_p99:nan%", "NUMBER:PERCENT%"),
        ("ttft_p100:3%", "unknown number 'ttft_p100'"),
        ("ttft:3%", "unknown number 'ttft'"),
        ("speed_mean:3%", "unknown number 'speed_mean'"),
    ],
)
def test_what_is_no_target(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match="until_ci") as caught:
        Target.parse(text)
    assert told in str(caught.value)
    with pytest.raises(ConfigError):
        RunOptions(until_ci=text)


def summary(low: float | None, high: float | None, supported: bool = True) -> dict[str, Any]:
    entry = {"low": low, "high": high, "supported": supported, "needs_requests": 368}
    return {
        "percents": [50.0, 99.0],
        "latency_ms": {"ttft": {"mean": 100.0, "median": 90.0, "percentiles": [90.0, 200.0]}},
        "total_throughput": 50.0,
        "intervals": {"p99_ttft_ms": entry, "mean_ttft_ms": entry, "total_token_throughput": entry},
    }


def test_the_width_is_relative_to_the_number() -> None:
    tail = Target.parse("ttft_p99:3%")
    assert tail.width(summary(190, 210)) == pytest.approx(0.05)
    assert Target.parse("ttft_mean:3%").width(summary(90, 110)) == pytest.approx(0.1)
    assert Target.parse("total_token_throughput:3%").width(summary(45, 55)) == pytest.approx(0.1)
    assert tail.width(summary(190, None)) is None
    assert tail.width(summary(199, 201, supported=False)) is None, "flagged"
    assert tail.width({}) is None


def test_what_came_of_it() -> None:
    target = Target.parse("ttft_p99:3%")
    assert target.outcome(summary(199, 201), stopped=False)["reached"]
    wide = target.outcome(summary(190, 210), stopped=False)
    assert not wide["reached"]
    assert wide["relative_half_width"] == pytest.approx(0.05)
    assert target.outcome(summary(190, 210), stopped=True)["reached"], "the last requests widened it a little"
    unsupported = target.outcome(summary(190, None, supported=False), stopped=False)
    assert unsupported == {
        "target": "ttft_p99:3%",
        "reached": False,
        "relative_half_width": None,
        "needs_requests": 368,
    }


def test_a_watch_wants_two_looks_that_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter([True, False, True, True, True])
    seen = []
    monkeypatch.setattr(Watch, "_is_met", lambda self: seen.append(next(looks)) or seen[-1])
    reached = threading.Event()
    with Watch(Path("none"), Target.parse("ttft_p99:3%"), reached.set, look_s=0.001):
        assert reached.wait(10)
    assert seen == [True, False, True, True]


def test_a_watch_ends_with_the_run(tmp_path: Path) -> None:
    reached = threading.Event()
    with Watch(tmp_path / "none", Target.parse("ttft_p99:3%"), reached.set, look_s=0.001) as watch:
        assert not watch._is_met(), "a file that is not there yet meets nothing"
    assert not watch._thread.is_alive()
    assert not reached.is_set()


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(healthy, get=models("m")) as started:
        yield started


def measure(server: ScriptedServer, tmp_path: Path, until_ci: str, **changes: Any) -> lb.Result:
    endpoint = lb.Endpoint(server.url, model="m")
    prompts = lb.workloads.random(input_tokens=6, output_tokens=4, n=50, seed=1)
    return lb.run(
        endpoint,
        prompts,
        lb.load.closed(2),
        **{"result_dir": tmp_path, "progress": False, "until_ci": until_ci, **changes},
    )


def test_a_run_ends_when_it_is_precise_enough(server: ScriptedServer, tmp_path: Path) -> None:
    result = measure(server, tmp_path, "ttft_mean:95%", duration=60, save_result=True)
    assert result.client["stopped_because"] == "until-ci"
    assert result.status == "finished"
    assert not result.interrupted
    assert not result.client["interrupted"]
    assert (result.summary.duration_s or 99) < 50
    assert result.summary.until_ci["reached"]
    assert result.config["until_ci"] == "ttft_mean:95%"
    assert "ttft_mean:95% reached" in result.report()
    assert result.path is not None
    assert lb.load_result(result.path).summary.until_ci == result.summary.until_ci


def test_a_run_whose_budget_is_spent_says_so(server: ScriptedServer, tmp_path: Path) -> None:
    result = measure(server, tmp_path, "ttft_p98.5:1%", num_requests=20, save=False)
    assert result.summary["ttft"].p98_5 is not None, "what is asked for is among the percentiles"
    assert result.client["stopped_because"] == "count"
    assert result.summary.completed == 20
    assert not result.summary.until_ci["reached"]
    shown = " ".join(result.report().split())
    assert "ttft_p98.5:1% not reached when the budget was spent: needs" in shown


def test_on_the_command_line(
    server: ScriptedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        *("--base-url", server.url, "--model", "m", "--num-prompts", "30", "--max-concurrency", "2"),
        *("--random-input-len", "6", "--random-output-len", "4"),
        *("--until-ci", "output_throughput:1%", "--result-dir", str(tmp_path), "--no-progress"),
    ]
    assert run_command.main(arguments) == 0
    assert "output_throughput:1% not reached when the budget was spent" in " ".join(
        capsys.readouterr().out.split()
    )
