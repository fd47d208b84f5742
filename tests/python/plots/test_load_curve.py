"""The line through the points of a load curve."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from llmbench.plots.load_curve import LoadCurve, fit_over_clients

CLIENTS = np.array([1, 2, 4, 6, 8, 12, 16, 20, 24, 28, 32], dtype=float)


@pytest.mark.parametrize(
    "clients", [CLIENTS, 2.0 ** np.arange(9), np.array([1.0, 8, 32]), np.array([1.0, 4, 16, 64])]
)
@pytest.mark.parametrize("knee", [4, 12, 16])
def test_saturation_gives_neither_swings_nor_overshoot(clients: npt.NDArray[np.float64], knee: float) -> None:
    # Below the knee nobody waits, above it nothing is gained: the hardest corner there is.
    latency = 0.8 * np.maximum(1.0, clients / knee)
    throughput = clients / latency
    x, y = LoadCurve(clients, throughput, latency).line()
    assert (x > 0).all()
    assert x.max() < 1.06 * throughput.max()
    assert (x[np.argmax(x) :] > 0.96 * throughput.max()).all()
    assert (np.diff(x[: np.argmax(x)]) > -0.01).all()
    assert y.min() > 0.8 * latency.min()
    assert y.max() < 1.15 * latency.max()


@pytest.mark.parametrize("clients", [CLIENTS, 2.0 ** np.arange(7)])
def test_batching_is_met(clients: npt.NDArray[np.float64]) -> None:
    latency = 0.7 + 0.06 * clients
    curve = LoadCurve(clients, clients / latency, latency)
    x, y = curve.line()
    np.testing.assert_allclose(y, 0.7 + 0.06 * x * y, rtol=0.005)


def test_concurrency_short_of_the_clients() -> None:
    # The tail of each run leaves slots empty, so x · y is not N.
    latency = 0.7 + 0.06 * CLIENTS
    x, y = LoadCurve(CLIENTS, 0.8 * CLIENTS / latency, latency).line()
    np.testing.assert_allclose((x[0], y[0]), (0.8 / 0.76, 0.76), rtol=0.01)
    np.testing.assert_allclose((x[-1], y[-1]), (0.8 * 32 / 2.62, 2.62), rtol=0.01)


def test_turns_back_where_throughput_falls() -> None:
    clients = np.array([1, 2, 4, 8, 16, 32, 64], dtype=float)
    throughput = np.array([1.0, 1.9, 3.4, 5.0, 5.2, 4.4, 3.2])
    x, y = LoadCurve(clients, throughput, clients / throughput).line()
    assert 0 < int(x.argmax()) < len(x) - 1
    assert x[-1] == pytest.approx(3.2, rel=0.1)
    assert y[-1] == pytest.approx(20, rel=0.1)


@pytest.mark.parametrize("degree", [1, 2, 3, 7])
def test_power_laws_are_met_exactly(degree: int) -> None:
    x, y = LoadCurve(CLIENTS, 2 * CLIENTS**0.5, 3 * CLIENTS**0.5, degree).line()
    np.testing.assert_allclose(y, 1.5 * x)


@pytest.mark.parametrize("levels", [2, 3, 4])
def test_few_levels_are_met_exactly(levels: int) -> None:
    clients = np.array([1.0, 4.0, 32.0, 40.0])[:levels]
    throughput, latency = np.array([1.1, 3.0, 3.9, 3.5])[:levels], np.array([0.9, 1.2, 8.0, 11])[:levels]
    x, y = LoadCurve(clients[::-1], throughput[::-1], latency[::-1]).line()
    at = np.linspace(0, np.log(clients[-1]), len(x))
    np.testing.assert_allclose(np.interp(np.log(clients), at, x), throughput, rtol=5e-3)
    np.testing.assert_allclose(np.interp(np.log(clients), at, y), latency, rtol=5e-3)
    assert (np.diff(y) > 0).all()
    assert x.max() < throughput.max() * (1 + 1e-9)


def test_chance_is_not_drawn_as_bends() -> None:
    clients = np.arange(1, 6) ** 2.0
    noise = np.exp(np.random.default_rng(1).normal(0, 0.05, 5))
    x, _ = LoadCurve(clients, clients * noise, 1 / noise, degree=7).line()
    assert (np.diff(x) > 0).all()


def test_one_level_is_a_point() -> None:
    x, y = LoadCurve([8], [2.0], [4.0]).line()
    np.testing.assert_allclose((x, y), ([2], [4]))


def test_degree_zero_joins_the_points_in_order_of_load() -> None:
    x, y = LoadCurve([4, 1, 2], [3.0, 1.0, 2.0], [30.0, 10.0, 20.0], degree=0).line()
    np.testing.assert_allclose(x, [1, 2, 3])
    np.testing.assert_allclose(y, [10, 20, 30])


@pytest.mark.parametrize("degree", [0, 3])
def test_band_holds_every_box(degree: int) -> None:
    latency = 0.8 * np.maximum(1.0, CLIENTS / 12)
    x = CLIENTS / latency
    low, high = np.column_stack((0.97 * x, 0.9 * latency)), np.column_stack((1.03 * x, 1.1 * latency))
    band = LoadCurve(CLIENTS, x, latency, degree).band(CLIENTS, low, high)
    inside = band.contains_points(np.column_stack((x, latency)))
    assert inside.all()
    np.testing.assert_allclose(band.vertices[:, 1].max(), high[-1, 1])
    np.testing.assert_allclose(band.vertices[:, 0].min(), low[0, 0])


def test_interval_that_reaches_below_zero() -> None:
    band = LoadCurve([1, 2], [1.0, 2.0], [1.0, 1.0]).band([1, 2], [(1, -0.5), (2, 0.5)], [(1, 2), (2, 2)])
    assert np.isfinite(band.vertices).all()
    assert band.vertices.min() >= 0


class TestFitOverClients:
    @pytest.mark.parametrize(
        "values",
        [
            pytest.param(CLIENTS * 0.5, id="rising"),
            pytest.param(8 * CLIENTS / (4 + CLIENTS), id="levelling off"),
            pytest.param(CLIENTS * np.clip(1.5 - CLIENTS / 20, 0, 1), id="rising and falling to nothing"),
            pytest.param(np.where(CLIENTS <= 12, CLIENTS, 0), id="a cliff"),
            pytest.param(np.zeros(11), id="nothing"),
            pytest.param(np.where(CLIENTS == 8, 3.0, 0), id="a single peak"),
        ],
    )
    def test_stays_close_and_within(self, values: npt.NDArray[np.float64]) -> None:
        x, y = fit_over_clients(CLIENTS, values, 4)
        assert (x[0], x[-1]) == (pytest.approx(1), pytest.approx(32))
        assert y.min() >= 0
        assert y.max() <= 1.15 * values.max() + 1e-12
        assert np.interp(CLIENTS, x, y) == pytest.approx(values, abs=0.15 * values.max() + 1e-12)

    @pytest.mark.parametrize("count", [1, 2, 3, 4])
    def test_few_levels_are_met(self, count: int) -> None:
        values = np.array([1.0, 3.0, 2.0, 0.0])[:count]
        x, y = fit_over_clients(CLIENTS[:count], values, 4)
        assert np.interp(CLIENTS[:count], x, y) == pytest.approx(values, abs=0.05)

    def test_degree_0_joins_the_points_in_order(self) -> None:
        x, y = fit_over_clients([4, 1, 2], [0, 1, 5], 0)
        assert (list(x), list(y)) == ([1, 2, 4], [1, 5, 0])

    @pytest.mark.parametrize("clients", [[4, 4, 4], [1, 1, 2, 2], [1, 1, 2, 4, 8, 16, 16, 32]])
    def test_levels_measured_twice(self, clients: list[int]) -> None:
        _, y = fit_over_clients(clients, np.sqrt(clients) + np.arange(len(clients)) % 2, 4)
        assert np.isfinite(y).all()
