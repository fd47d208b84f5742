"""The line and the shade through the points of a load curve.

Such a curve is not a function of its x: past the knee the throughput stands still, or falls, while the latency goes on
rising, and a polynomial in x answers a near-vertical stretch with wild swings, below zero too. What does order the
points is the load, so both are fitted against the number of clients N, on logarithmic scales:

- Throughput: log x = log c − log(1 + exp(−P(log N))), a polynomial P of the asked degree below a ceiling c. A server
  has a capacity, and polynomials have none: alone they overshoot where the points level off. The ceiling is the one
  of a fixed list, from just above the highest point to none at all (then log x = P), that leaves the least squares
  and the fewest ups and downs.
- Latency: by Little's law, x · y is the number of requests in flight, nearly N. Its ratio to N is fitted by a
  polynomial of degree 2 at most, and the latency follows.

So the line can turn back on itself as the measurement does, is never negative, and stays close to what was measured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from matplotlib.path import Path
from numpy.polynomial import Polynomial
from numpy.polynomial.chebyshev import chebvander

Floats = npt.NDArray[np.float64]
Curve = Callable[[Floats], Floats]

_SAMPLES = 256
_SAMPLES_PER_SEGMENT = 16


class LoadCurve:
    """A fit through points (x, y), measured at different numbers of clients.

    Four levels of load or fewer leave nothing to fit: there the line goes through the points, by monotone cubics in
    log N. Above that the degree is lowered as far as it takes not to draw chance as a bend. Degree 0 joins the
    points by straight lines.
    """

    def __init__(self, clients: npt.ArrayLike, x: npt.ArrayLike, y: npt.ArrayLike, degree: int = 3) -> None:
        load, log_x, log_y = (np.log(np.asarray(values, dtype=np.float64)) for values in (clients, x, y))
        order = np.argsort(load, kind="stable")
        self._load, self._log_x, self._log_y = load[order], log_x[order], log_y[order]
        self._fit: Callable[[Floats], tuple[Floats, Floats]] | None = None
        levels = len(np.unique(load))
        if degree > 0 and levels > 4:
            throughput = _fit_throughput(self._load, self._log_x, min(degree, levels - 2))
            in_flight = Polynomial.fit(self._load, self._log_x + self._log_y - self._load, min(degree, 2))
            self._fit = lambda at: (throughput(at), at + in_flight(at) - throughput(at))
        elif degree > 0 and 1 < levels == len(load):
            through_x, through_y = _monotone(self._load, self._log_x), _monotone(self._load, self._log_y)
            self._fit = lambda at: (through_x(at), through_y(at))

    def line(self) -> tuple[Floats, Floats]:
        """The line's x and y, from the fewest to the most clients."""
        if self._fit is None:
            return np.exp(self._log_x), np.exp(self._log_y)
        log_x, log_y = self._fit(np.linspace(self._load[0], self._load[-1], _SAMPLES))
        return np.exp(log_x), np.exp(log_y)

    def band(self, clients: npt.ArrayLike, low: npt.ArrayLike, high: npt.ArrayLike) -> Path:
        """The area swept by a box that moves from point to point, bending as the line does, as one outline.

        `low` and `high`: the corners (x, y) of the box of intervals at each number of clients, in ascending
        order. A band over x could not show a line that rises steeply or turns back.
        """
        load = np.log(np.asarray(clients, dtype=np.float64))
        corners = [np.log(np.maximum(np.asarray(corner, dtype=np.float64), 1e-9)) for corner in (low, high)]
        if self._fit is not None:
            steps = [np.linspace(a, b, _SAMPLES_PER_SEGMENT)[:-1] for a, b in pairwise(load)]
            along = np.concatenate([*steps, load[-1:]])
            at_points, line = np.column_stack(self._fit(load)), np.column_stack(self._fit(along))
            offsets = [corner - at_points for corner in corners]
            corners = [
                line + np.column_stack([np.interp(along, load, offset[:, axis]) for axis in (0, 1)])
                for offset in offsets
            ]
        return _swept(np.exp(corners[0]), np.exp(corners[1]))


def fit_over_clients(clients: npt.ArrayLike, y: npt.ArrayLike, degree: int) -> tuple[Floats, Floats]:
    """A line (clients, y) through what rises with the load and may fall to nothing, such as effective throughput.

    It is a polynomial of at most the given degree in N or in log N, of a lower one where that goes up and down less
    without missing the points more, and never below zero. Where throughput falls off a cliff no polynomial follows:
    there, and through four levels of load or fewer, the line goes through the points by monotone cubics. Degree 0
    joins them by straight lines.
    """
    load, values = np.asarray(clients, dtype=np.float64), np.asarray(y, dtype=np.float64)
    order = np.argsort(load, kind="stable")
    load, values = load[order], values[order]
    levels = len(np.unique(load))
    if degree == 0 or levels == 1:
        return load, values
    along = np.geomspace(load[0], load[-1], _SAMPLES)
    ups_and_downs = np.abs(np.diff(values)).sum()

    def in_n(each: int) -> Curve:
        polynomial = Polynomial.fit(load, values, each)
        return lambda at: np.maximum(polynomial(at), 0.0)

    def in_log_n(each: int) -> Curve:
        polynomial = Polynomial.fit(np.log(load), values, each)
        return lambda at: np.maximum(polynomial(np.log(at)), 0.0)

    def badness(fit: Curve) -> float:
        excess = max(0.0, float(np.abs(np.diff(fit(along))).sum() - ups_and_downs))
        return float(np.sqrt(((fit(load) - values) ** 2).mean() + excess**2))

    degrees = range(1, min(degree, levels - 2) + 1) if levels > 4 else ()
    best = min((fit(each) for each in degrees for fit in (in_n, in_log_n)), key=badness, default=None)
    if best is None or badness(best) > _CLIFF * values.max():
        if levels < len(load):
            return load, values
        through = _monotone(np.log(load), values)
        return along, through(np.log(along))
    return along, best(along)


# How far, of the highest point, a fit may be off (root mean square) before it is no fit.
_CLIFF = 0.05


# Ceilings, as shares above the highest point.
_CEILINGS = (3.2, 1.6, 0.8, 0.4, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005)


def _fit_throughput(load: Floats, log_x: Floats, degree: int) -> Curve:
    """log x as a function of log N: the best of a polynomial alone and one below each ceiling."""
    # A ceiling is one coefficient more.
    under = min(degree, len(np.unique(load)) - 3)
    fits: list[Curve] = [Polynomial.fit(load, log_x, degree)]
    fits += [_fit_below(load, log_x, under, log_x.max() + np.log1p(share)) for share in _CEILINGS]
    along = np.linspace(load[0], load[-1], _SAMPLES)
    ups_and_downs = np.abs(np.diff(log_x)).sum()

    def badness(fit: Curve) -> float:
        # Of two that miss the points alike, the one that goes up and down more than they do is worse. Rounding lets
        # the simplest win a draw.
        excess = max(0.0, np.abs(np.diff(fit(along))).sum() - ups_and_downs)
        return round(float(((fit(load) - log_x) ** 2).mean() + excess**2), 6)

    return min(fits, key=badness)


def _fit_below(load: Floats, log_x: Floats, degree: int, ceiling: float) -> Curve:
    """The least squares of log x below a ceiling, by Levenberg and Marquardt's method."""
    middle, half = (load[0] + load[-1]) / 2, (load[-1] - load[0]) / 2

    def basis(at: Floats) -> Floats:
        return chebvander((at - middle) / half, degree)

    def below(polynomial: Floats) -> Floats:
        return ceiling - np.logaddexp(0.0, -polynomial)

    terms = basis(load)
    # The start is linear: P at the points, each weighted by what a change of P does to log x there.
    weights = -np.expm1(log_x - ceiling)
    wanted = -np.log(np.expm1(ceiling - log_x))
    coefficients = np.linalg.lstsq(terms * weights[:, None], wanted * weights, rcond=None)[0]
    rest = below(terms @ coefficients) - log_x
    damping = 1e-3
    while damping < 1e9:
        slopes = terms * (-np.expm1(-np.logaddexp(0.0, -(terms @ coefficients))))[:, None]
        square = slopes.T @ slopes
        step = np.linalg.solve(square + damping * np.diag(np.diag(square) + 1e-9), slopes.T @ rest)
        tried = below(terms @ (coefficients - step)) - log_x
        gain = rest @ rest - tried @ tried
        if gain > 0:
            coefficients, rest, damping = coefficients - step, tried, max(damping / 5, 1e-9)
        else:
            damping *= 5
        if 0 <= gain < 1e-12:
            break
    return lambda at: below(basis(at) @ coefficients)


def _monotone(x: Floats, y: Floats) -> Curve:
    """Cubics through the points that go up and down only where the points do, by Fritsch and Butland's slopes."""
    widths, secants = np.diff(x), np.diff(y) / np.diff(x)
    slopes = np.empty(len(x))
    slopes[0], slopes[-1] = secants[0], secants[-1]
    for i in range(1, len(x) - 1):
        left, right = secants[i - 1], secants[i]
        a, b = 2 * widths[i] + widths[i - 1], widths[i] + 2 * widths[i - 1]
        slopes[i] = (a + b) / (a / left + b / right) if left * right > 0 else 0.0

    def at(where: Floats) -> Floats:
        i = np.clip(np.searchsorted(x, where, side="right") - 1, 0, len(x) - 2)
        t, h = (where - x[i]) / widths[i], widths[i]
        rise = y[i + 1] - y[i]
        bend = t * (1 - t) * ((1 - t) * (h * slopes[i] - rise) - t * (h * slopes[i + 1] - rise))
        return np.asarray(y[i] + t * rise + bend)

    return at


def _swept(low: Floats, high: Floats) -> Path:
    lower_right, upper_left = (
        np.column_stack((high[:, 0], low[:, 1])),
        np.column_stack((low[:, 0], high[:, 1])),
    )
    boxes = np.stack([low, lower_right, high, upper_left], axis=1)
    hulls = [_hull(np.concatenate(pair)) for pair in pairwise(boxes)]
    # All hulls run anticlockwise: under the non-zero rule of PNG and SVG alike they fill as a whole.
    return Path.make_compound_path(*(Path(np.concatenate((hull, hull[:1])), closed=True) for hull in hulls))


def _hull(points: Floats) -> Floats:
    """The convex hull, anticlockwise, by Andrew's monotone chain."""
    ordered = points[np.lexsort((points[:, 1], points[:, 0]))].tolist()

    def chain(corners: list[list[float]]) -> list[list[float]]:
        kept: list[list[float]] = []
        for corner in corners:
            while len(kept) > 1 and _turn(kept[-2], kept[-1], corner) <= 0:
                kept.pop()
            kept.append(corner)
        return kept[:-1]

    return np.array(chain(ordered) + chain(ordered[::-1]))


def _turn(a: Sequence[float], b: Sequence[float], c: Sequence[float]) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
