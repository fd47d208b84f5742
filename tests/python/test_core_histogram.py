"""The histogram against exact quantiles and another implementation of the same idea; percentiles against NumPy."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
from hdrh.histogram import HdrHistogram

from llmbench import _core

MAX_NS = 2**43 - 1
PERCENTS = [0, 0.1, 1, 10, 25, 50, 75, 90, 95, 99, 99.9, 99.99, 100]


def samples(name: str, n: int = 50_000) -> npt.NDArray[np.int64]:
    rng = np.random.default_rng(seed=11)
    values = {
        "lognormal": lambda: rng.lognormal(np.log(20e6), 1.0, n),
        "exponential": lambda: rng.exponential(5e6, n),
        "uniform": lambda: rng.uniform(0, 3e9, n),
        "bimodal": lambda: np.concatenate([rng.normal(10e6, 1e5, n // 2), rng.normal(3e9, 1e7, n // 2)]),
        "nanoseconds": lambda: rng.integers(0, 3000, n),
        "constant": lambda: np.full(n, 12_345_678),
        "powers": lambda: 2.0 ** rng.integers(0, 43, n),
    }[name]()
    return np.maximum(values, 0).astype(np.int64)


NAMES = ["lognormal", "exponential", "uniform", "bimodal", "nanoseconds", "constant", "powers"]


def exact(values: npt.NDArray[np.int64], percent: float) -> int:
    """The smallest value such that at least percent of all values lie at or below it."""
    rank = math.ceil(Fraction(str(percent)) / 100 * len(values))
    return int(np.sort(values)[max(rank, 1) - 1])


@pytest.mark.parametrize("name", NAMES)
def test_quantiles_within_a_thousandth(name: str) -> None:
    values = samples(name)
    histogram = _core.Histogram()
    histogram.record(values)
    reference = HdrHistogram(1, MAX_NS, 4)
    for value, count in zip(*np.unique(values, return_counts=True), strict=True):
        reference.record_value(int(value), int(count))

    assert histogram.count == len(values)
    assert histogram.min == values.min()
    assert histogram.max == values.max()
    assert histogram.mean == pytest.approx(values.mean(), rel=1e-12)
    for percent in PERCENTS:
        found = histogram.percentile(percent)
        assert found == pytest.approx(exact(values, percent), rel=1e-3), percent
        assert found == pytest.approx(reference.get_value_at_percentile(percent), rel=1.1e-3, abs=1), percent


def test_merging_is_recording_together() -> None:
    a, b, together = (_core.Histogram() for _ in range(3))
    a.record(samples("lognormal"))
    b.record(samples("bimodal"))
    together.record(np.concatenate([samples("lognormal"), samples("bimodal")]))
    a.merge(b)
    a.merge(_core.Histogram())
    assert (a.count, a.min, a.max) == (together.count, together.min, together.max)
    assert a.mean == pytest.approx(together.mean, rel=1e-12)
    assert [a.percentile(p) for p in PERCENTS] == [together.percentile(p) for p in PERCENTS]


def test_the_edges() -> None:
    histogram = _core.Histogram()
    assert (histogram.count, histogram.min, histogram.max, histogram.mean, histogram.percentile(50)) == (
        0,
        0,
        0,
        0,
        0,
    )
    histogram.record([-5, 2**62])
    assert histogram.min == 0
    assert histogram.max == 2**62  # exact, although the buckets end at 2.4 hours
    assert histogram.percentile(100) == 2**62
    with pytest.raises(ValueError, match="0 to 100"):
        histogram.percentile(101)


SHAPES = {
    "one": np.array([3.5]),
    "two": np.array([7.0, -1.0]),
    "ties": np.repeat([1.0, 2.0, 2.0, 3.0], 50),
    "constant": np.full(1000, 0.1),
    "sorted": np.arange(1001, dtype=float),
    "reversed": np.arange(1000, dtype=float)[::-1],
    "lognormal": np.random.default_rng(1).lognormal(size=9999),
    "tiny_and_huge": 10.0 ** np.random.default_rng(2).uniform(-300, 300, 5000),
    "cauchy": np.random.default_rng(3).standard_cauchy(10_000),
}


@pytest.mark.parametrize("name", SHAPES)
def test_percentiles_are_numpys(name: str) -> None:
    values = SHAPES[name]
    percents = [*np.linspace(0, 100, 41), 99.9, 99.99, 0.01, 100 / 3, 50, 50]
    before = values.copy()
    found = _core.percentiles(values, percents)
    np.testing.assert_allclose(found, np.percentile(values, percents), rtol=1e-12)
    np.testing.assert_array_equal(values, before)


def test_percentiles_of_every_small_size() -> None:
    rng = np.random.default_rng(5)
    percents = [99, 1, 50, 0, 100, 90, 95, 37.5]
    for n in range(1, 200):
        values = rng.exponential(size=n)
        np.testing.assert_allclose(
            _core.percentiles(values, percents), np.percentile(values, percents), rtol=1e-12
        )


def test_failures_as_infinity() -> None:
    values = np.array([1.0, 2.0, np.inf, np.inf])
    # Where NumPy has inf − inf, a rank between a finite value and +∞ is +∞; a rank on a finite value is that value.
    assert _core.percentiles(values, [0, 100 / 3, 50, 99, 100]).tolist() == [1, 2, np.inf, np.inf, np.inf]
    assert _core.percentiles(np.full(3, np.inf), [0, 50]).tolist() == [np.inf, np.inf]


def test_percentiles_without_an_answer() -> None:
    assert np.isnan(_core.percentiles([], [50, 99])).all()
    assert np.isnan(_core.percentiles([1.0, np.nan], [50])).all()
    assert _core.percentiles([1.0], []).tolist() == []
    with pytest.raises(ValueError, match="-1"):
        _core.percentiles([1.0], [-1])
