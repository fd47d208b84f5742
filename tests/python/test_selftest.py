"""The self-test: its plan and its arithmetic on made numbers, what it keeps, its tables, and one small real run."""

from __future__ import annotations

import io
import json
import os
import resource
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from llmbench import ceilings, selftest
from llmbench.ceilings import Ceiling
from llmbench.cli import main
from llmbench.cli import selftest as command
from llmbench.errors import ResultsError
from llmbench.selftest import Cores, Error, Level, SelfTest

CEILING = Ceiling(event_s=5e-6, request_s=40e-6)
MACHINE = {"cpu": "a processor", "cores": 2, "kernel": "6.1", "llmbench": "0.1.0"}
LATE = {"count": 1000, "p50": 0.02, "p99": 0.3, "max": 1.5}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache"


def error(within: float = 1.0) -> Error:
    return Error(2000, 5.0, -3000.0, 4.0, 12000.0, 30.0, 25000.0, within)


def level(streams: int, ttft: float = 1.0, itl: float = 1.0) -> Level:
    return Level(streams, 2000, 25_000.0, error(ttft), error(itl), 0.012, 0, LATE, 0.3, 0.01)


def found(*levels: Level, quick: bool = False, **changes: Any) -> SelfTest:
    made = SelfTest(
        machine=MACHINE,
        quick=quick,
        measured_unix_s=1_790_000_000,
        duration_s=25.0,
        cores=Cores((0,), (1,)),
        ceiling=CEILING,
        measured_at={"events_per_s": 60_000.0, "requests_per_s": 7000.0},
        read_lateness_ms=LATE,
        timer_lateness_ms=LATE,
        levels=levels or (level(1), level(5000)),
    )
    return replace(made, **changes)


# The plan


@pytest.mark.parametrize(
    ("usable", "server", "client"),
    [({3}, (3,), (3,)), ({0, 1}, (0,), (1,)), ({2, 5, 7, 9}, (2,), (5, 7, 9))],
)
def test_the_server_has_a_core_of_its_own(
    usable: set[int], server: tuple[int, ...], client: tuple[int, ...]
) -> None:
    cores = selftest.split_cores(usable)
    assert cores == Cores(server, client)
    assert cores.shared == (len(usable) == 1)


@pytest.mark.parametrize(
    ("limit", "streams", "told"),
    [
        (20_000, [1, 10, 100, 1000, 5000], ""),
        (resource.RLIM_INFINITY, [1, 10, 100, 1000, 5000], ""),
        (5200, [1, 10, 100, 1000, 5000], ""),
        (1024, [1, 10, 100, 824], "824 streams instead of 5000: this process may have 1024 open files"),
        (1200, [1, 10, 100, 1000], "1000 streams instead of 5000"),
        (64, [1], "ulimit -n 5200 allows all"),
    ],
)
def test_the_limit_of_open_files_bounds_the_streams(limit: int, streams: list[int], told: str) -> None:
    fitting, notes = selftest.fitting_streams(selftest.STREAMS, limit)
    assert fitting == streams
    assert len(notes) == bool(told)
    assert told in "".join(notes)


@pytest.mark.parametrize(
    ("streams", "quick"),
    [*((each, False) for each in selftest.STREAMS), *((each, True) for each in selftest.QUICK_STREAMS)],
)
@pytest.mark.parametrize("cost", [1, 10])
def test_a_level_loads_under_half_the_ceiling_and_ends_soon(streams: int, cost: int, quick: bool) -> None:
    ceiling = Ceiling(CEILING.event_s * cost, CEILING.request_s * cost)
    plan = selftest.plan_level(streams, ceiling, quick=quick)
    assert plan.events_per_s <= ceiling.events_per_s / 2
    assert plan.requests >= max(20, streams)
    assert plan.tokens >= 3
    seconds = plan.ramp_s + plan.requests / streams * (0.01 + plan.tokens * plan.gap_ms / 1000)
    assert seconds < 15
    if streams > 1:
        assert streams / plan.ramp_s <= ceiling.requests_per_s / 2
        # Whole gaps: the tokens of all streams are then spread over each of them.
        assert plan.ramp_s * 1000 / plan.gap_ms == pytest.approx(round(plan.ramp_s * 1000 / plan.gap_ms))


# The arithmetic


def work(events: int, requests: int, event_s: float, request_s: float) -> Any:
    return selftest._Work(events, requests, events * event_s + requests * request_s, 1.0)


def test_costs_are_solved_from_two_runs() -> None:
    long, short = work(60_000, 200, 5e-6, 40e-6), work(7000, 7000, 5e-6, 40e-6)
    assert selftest.solve_costs(long, short) == pytest.approx((5e-6, 40e-6))


@pytest.mark.parametrize(
    ("long", "short", "costs"),
    [
        # Short answers came out cheaper than their events alone: what they cost counts as the requests'.
        (work(1000, 10, 10e-6, 0), work(100, 100, 2e-6, 0), (pytest.approx(10e-6, rel=0.1), 2e-6)),
        # Long answers came out cheaper than their requests alone.
        (work(1000, 10, 0, 1e-6), work(100, 100, 0, 2e-3), (1e-8, pytest.approx(2e-3, rel=0.1))),
        # The two runs are of one kind.
        (work(100, 100, 5e-6, 5e-6), work(100, 100, 5e-6, 5e-6), (1e-5, 1e-5)),
    ],
)
def test_noise_makes_no_cost_vanish(long: Any, short: Any, costs: tuple[float, float]) -> None:
    assert selftest.solve_costs(long, short) == pytest.approx(costs)
    assert min(selftest.solve_costs(long, short)) > 0


def test_an_error_is_judged_by_its_own_budget() -> None:
    errors = np.array([0.01, -0.02, 3.0, 0.04])
    budget = np.array([0.02, 0.02, 5.0, 0.03])
    described = Error.of(errors, budget)
    assert (described.n, described.within) == (4, 0.75)
    assert described.mean_us == pytest.approx(757.5)
    assert described.p50_us == pytest.approx(25.0)
    assert described.budget_us == pytest.approx(25.0)


@pytest.mark.parametrize(
    ("levels", "fine"),
    [
        ([level(1), level(10)], True),
        ([level(1, ttft=0.95, itl=0.95)], True),
        ([level(1), level(10, ttft=0.94)], False),
        ([level(1, itl=0.5), level(10)], False),
    ],
)
def test_one_level_over_budget_is_enough(levels: list[Level], fine: bool) -> None:
    assert found(*levels).within_budget == fine


# What is kept


def test_a_selftest_comes_back_from_its_json() -> None:
    made = found(notes=("a note",))
    stored = json.loads(json.dumps(made.to_dict(), allow_nan=False))
    assert SelfTest.from_dict(stored) == made
    assert stored["ceilings"]["per_worker"] == pytest.approx(
        {"events_per_s": 170_000, "requests_per_s": 21_250}
    )
    assert stored["ceilings"]["all_cores"]["events_per_s"] == pytest.approx(340_000)
    assert stored["within_budget"] is True


@pytest.mark.parametrize("missing", ["ceiling", "levels", "cores", "machine", "quick"])
def test_what_is_no_selftest_is_an_error(missing: str) -> None:
    stored = found().to_dict()
    del stored[missing]
    with pytest.raises(ResultsError, match="no self-test"):
        SelfTest.from_dict(stored)


def test_a_kept_selftest_is_the_ceiling_of_later_runs(cache: Path) -> None:
    path = selftest.keep(found())
    assert path.is_relative_to(cache)
    assert ceilings.cached(MACHINE) == CEILING
    assert ceilings.cached({**MACHINE, "kernel": "6.2"}) is None


@pytest.mark.parametrize(
    ("first", "second", "kept"), [(False, True, 1), (True, False, 2), (True, True, 2), (False, False, 2)]
)
def test_a_quick_one_does_not_replace_a_thorough_one(first: bool, second: bool, kept: int) -> None:
    selftest.keep(found(quick=first, duration_s=1.0))
    path = selftest.keep(found(quick=second, duration_s=2.0))
    assert json.loads(path.read_text())["duration_s"] == kept


# The command


def run_command(monkeypatch: pytest.MonkeyPatch, made: SelfTest, *flags: str) -> int:
    monkeypatch.setattr(selftest, "measure", lambda **_: made)
    return main(["selftest", *flags])


@pytest.mark.parametrize(("within", "code"), [(1.0, 0), (0.94, 3)])
def test_the_exit_code_tells_whether_the_budget_was_met(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    within: float,
    code: int,
) -> None:
    assert run_command(monkeypatch, found(level(1), level(10, ttft=within))) == code
    said = capsys.readouterr().out
    assert ("over budget with 10 streams" in said) == (code == 3)
    assert "kept in " in said
    assert ceilings.cached(MACHINE) == CEILING
    assert {path.name for path in (tmp_path / "plots" / "selftest").iterdir()} == {
        "selftest.png",
        "selftest.svg",
    }


def test_json_and_nothing_else(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(monkeypatch, found(), "--json", "--out-dir", "figures") == 0
    assert SelfTest.from_dict(json.loads(capsys.readouterr().out)) == found()
    assert Path("figures/selftest.svg").exists()


def test_a_cache_that_cannot_be_written_costs_no_result(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], cache: Path
) -> None:
    cache.write_text("a file where a directory should be")
    assert run_command(monkeypatch, found()) == 0
    said = capsys.readouterr()
    assert "not kept for later runs" in said.err
    assert "XDG_CACHE_HOME" in said.err
    assert "events/s" in said.out


def test_a_figure_that_cannot_be_written_costs_neither_tables_nor_ceiling(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "taken").write_text("a file where a directory should be")
    assert run_command(monkeypatch, found(), "--out-dir", str(tmp_path / "taken")) == 74
    said = capsys.readouterr()
    assert "choose another --out_dir" in said.err
    assert "events/s" in said.out
    assert ceilings.cached(MACHINE) == CEILING


def test_the_tables_fit_eighty_columns() -> None:
    out = io.StringIO()
    slow = Error(75_000, 54_288.0, -39_420.0, -9100.0, 411_439.0, 973_884.0, 2_539_000.0, 0.999)
    levels = [
        *(level(streams) for streams in selftest.STREAMS),
        replace(level(7), ttft=slow, itl=slow, merged=1.0),
    ]
    wide = found(*levels, notes=("a note",))
    command.show(wide, Console(file=out, width=80, no_color=True, highlight=False))
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    for told in (
        "170 000",
        "340 000",
        "21 2",
        "5000",
        "+12000",
        "25000",
        "100%",
        "+0.41 s",
        "2.54 s",
        "merged",
        "note: a note",
    ):
        assert any(told in line for line in lines), told


# The real thing: that it works, not how fast this machine is today


@pytest.mark.integration
def test_a_small_selftest_against_the_simulator() -> None:
    cores = os.sched_getaffinity(0)
    steps: list[str] = []
    small = selftest.measure(quick=True, streams=(1, 4), on_step=steps.append)
    assert os.sched_getaffinity(0) == cores
    assert steps[-2:] == ["timing with 1 stream", "timing with 4 streams"]
    assert [each.streams for each in small.levels] == [1, 4]
    assert all(each.ttft.n == each.requests and each.itl.n > each.requests for each in small.levels)
    assert 0 < small.ceiling.event_s < 1e-2
    assert 0 < small.ceiling.request_s < 1e-1
    assert small.timer_lateness_ms["count"]
    assert SelfTest.from_dict(json.loads(json.dumps(small.to_dict()))) == small
    selftest.keep(small)
    assert selftest.kept() == small
