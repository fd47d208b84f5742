"""Loads: what they plan, what they say of themselves, what they refuse."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from llmbench import _core, load
from llmbench.errors import ConfigError
from llmbench.load import Load


def offsets_s(planned: Load, n: int, seed: int = 1) -> np.ndarray:
    config = _core.RunConfig()
    config.seed = seed
    planned.apply(config, n)
    return _core.plan_offsets(config, n) / 1e9


def test_constant() -> None:
    assert offsets_s(load.constant(4), 5) == pytest.approx(np.arange(5) / 4)


@pytest.mark.parametrize(
    ("planned", "variation"),
    [(load.poisson(50), 1.0), (load.gamma(50, 4.0), 0.5), (load.gamma(50, 0.25), 2.0)],
)
def test_random_gaps_have_the_asked_rate_and_variation(planned: Load, variation: float) -> None:
    gaps = np.diff(offsets_s(planned, 20_000))
    assert gaps.mean() == pytest.approx(1 / 50, rel=0.06)
    assert gaps.std() / gaps.mean() == pytest.approx(variation, rel=0.1)


def test_a_ramp_ends_at_the_rate() -> None:
    times = offsets_s(load.constant(10, ramp="linear", ramp_start_rate=1), 100)
    gaps = np.diff(times)
    assert gaps[0] > 3 * gaps[-1]
    assert gaps[-1] == pytest.approx(0.1, rel=0.05)


def test_a_trace(tmp_path: Path) -> None:
    file = tmp_path / "times"
    file.write_text("# seconds\n0\n0.5\n\n2.25\n")
    planned = load.trace(file, max_concurrency=3)
    assert planned.num_requests == 3
    assert planned.max_concurrency == 3
    assert offsets_s(planned, 3) == pytest.approx([0, 0.5, 2.25])


def test_a_trace_of_json_lines_and_of_wall_clock_times(tmp_path: Path) -> None:
    file = tmp_path / "times.jsonl"
    file.write_text('{"timestamp": 0, "x": 1}\n{"timestamp": 1500}\n')
    assert load.trace(file).trace_ns == (0, 1_500_000_000)
    file.write_text("1700000000.5\n1700000002.5\n")
    assert load.trace(file).trace_ns == pytest.approx((0, 2_000_000_000), abs=1000)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "no times"),
        ("1\n0.5\n", "line 2: the time 0.5 is earlier"),
        ("1\nx\n", "line 2"),
        ("-1\n", "line 1"),
        ("nan\n", "line 1"),
        ('{"time": 1}\n', "line 1"),
    ],
)
def test_bad_traces(tmp_path: Path, content: str, told: str) -> None:
    file = tmp_path / "times"
    file.write_text(content)
    with pytest.raises(ConfigError, match=told):
        load.trace(file)
    with pytest.raises(ConfigError, match="cannot read"):
        load.trace(tmp_path / "absent")


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: load.closed(0), "concurrency must be a whole number of at least 1, not 0"),
        (lambda: load.closed(-3), "-3"),
        (lambda: load.closed(2.5), "2.5"),
        (lambda: load.closed(2, ramp_s=-1), "ramp"),
        (lambda: load.closed("8"), "concurrency must be a whole number of at least 1, not '8'"),
        (lambda: load.poisson("5"), "request rate must be more than 0, not '5'"),
        (lambda: load.poisson(0), "request rate must be more than 0, not 0"),
        (lambda: load.poisson(-1), "-1"),
        (lambda: load.poisson(math.nan), "nan"),
        (lambda: load.poisson(math.inf), "inf means no pacing"),
        (lambda: load.poisson(1, 0), "concurrency"),
        (lambda: load.gamma(1, 0), "burstiness"),
        (lambda: load.burst(0), "number of requests"),
        (lambda: load.constant(1, ramp="linear"), "start rate"),
        (lambda: load.constant(1, ramp="steep", ramp_start_rate=1), "unknown ramp"),
        (lambda: load.constant(1, ramp="exponential", ramp_start_rate=0), "cannot start at 0"),
        (lambda: Load("closed"), "needs a concurrency"),
        (lambda: Load("poisson"), "needs? a request rate"),
        (lambda: Load("uniform"), "unknown arrival"),
    ],
)
def test_what_cannot_be(make: Callable[[], Load], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        make()


def test_numbers_of_arrays_can_be_stored() -> None:
    for rate, limit in zip(np.array([1, 2]), np.array([3, 4]), strict=True):
        stored = load.poisson(rate, limit).to_dict()
        assert json.loads(json.dumps(stored))["max_concurrency"] == limit
        assert stored["request_rate"] == rate


def test_a_ramp_by_duration_needs_its_length() -> None:
    ramp = load.constant(5, ramp="linear", ramp_start_rate=1)
    with pytest.raises(ConfigError, match="needs its length"):
        ramp.apply(_core.RunConfig(), 0)


@pytest.mark.parametrize(
    ("planned", "words", "open_loop"),
    [
        (load.closed(64), "closed loop, 64 in flight", False),
        (load.burst(), "burst", True),
        (load.poisson(20), "Poisson, 20 requests/s", True),
        (load.poisson(20, 64), "Poisson, 20 requests/s, at most 64 in flight", True),
        (load.gamma(20, 0.5), "gamma (burstiness 0.5), 20 requests/s", True),
        (
            load.constant(20, ramp="linear", ramp_start_rate=2),
            "constant, 2 to 20 requests/s, linear ramp",
            True,
        ),
    ],
)
def test_words(planned: Load, words: str, open_loop: bool) -> None:
    assert planned.describe() == words
    assert planned.open_loop is open_loop
    assert planned.to_dict()["description"] == words


@pytest.mark.parametrize(
    ("planned", "said"),
    [
        (load.closed(8), "Load('closed', max_concurrency=8)"),
        (load.burst(), "Load('burst')"),
        (load.poisson(20), "Load('poisson', rate=20.0)"),
        (
            load.gamma(5, 0.5, 3, ramp="linear", ramp_start_rate=1),
            "Load('gamma', rate=5.0, burstiness=0.5, max_concurrency=3, ramp='linear', ramp_start_rate=1)",
        ),
    ],
)
def test_it_shows_what_differs_from_the_defaults(planned: Load, said: str) -> None:
    assert repr(planned) == said
    assert eval(said, {"Load": Load}) == planned


def test_a_trace_is_shown_by_its_length(tmp_path: Path) -> None:
    file = tmp_path / "times"
    file.write_text("0\n0.5\n1\n")
    assert repr(load.trace(file)) == "Load('trace', num_requests=3, trace_ns=<3 times>)"
