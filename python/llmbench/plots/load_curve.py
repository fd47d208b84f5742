"""The line and the shade through the points of a load curve.

Such a curve is not a function of its x: past the knee the throughput stands still, or falls, while the
latency goes on rising, and a polynomial in x answers a near-vertical stretch with wild swings, below zero
too. What does order the points is the load. So throughput and latency are each fitted against the number of
clients, on logarithmic scales throughout: log x and log y are polynomials of the asked degree in log clients,
by least squares. The line can then turn back on itself as the measurement does, and can never be negative.
Where there is no queue, and where there is nothing but queue, both are straight lines on those scales; the
polynomial has only the bend between them to make.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from matplotlib.path import Path
from numpy.polynomial import Polynomial

Floats = npt.NDArray[np.float64]

_SAMPLES = 256
_SAMPLES_PER_SEGMENT = 16


class LoadCurve:
    """A fit through points (x, y), measured at different numbers of clients.

    The degree is lowered where there are few levels of load, so that chance is not drawn as a bend: 2 for
    three or four of them, 1 (a straight line on those scales) for two. Degree 0 joins the points as they are.
    """

    def __init__(self, clients: npt.ArrayLike, x: npt.ArrayLike, y: npt.ArrayLike, degree: int = 3) -> None:
        load, xs, ys = (np.log(np.asarray(values, dtype=np.float64)) for values in (clients, x, y))
        order = np.argsort(load, kind="stable")
        self._load, self._x, self._y = load[order], xs[order], ys[order]
        self._fits: tuple[Polynomial, Polynomial] | None = None
        levels = len(np.unique(load))
        if degree > 0 and levels > 1:
            degree = min(degree, {2: 1, 3: 2}.get(levels, levels - 2))
            self._fits = (
                Polynomial.fit(self._load, self._x, degree),
                Polynomial.fit(self._load, self._y, degree),
            )

    def line(self) -> tuple[Floats, Floats]:
        """The line's x and y, from the fewest to the most clients."""
        if self._fits is None:
            return np.exp(self._x), np.exp(self._y)
        along = np.linspace(self._load[0], self._load[-1], _SAMPLES)
        return np.exp(self._fits[0](along)), np.exp(self._fits[1](along))

    def band(self, clients: npt.ArrayLike, low: npt.ArrayLike, high: npt.ArrayLike) -> Path:
        """The area swept by a box that moves from point to point, bending as the line does, as one outline.

        `low` and `high`: the corners (x, y) of the box of intervals at each number of clients, in ascending
        order. A band over x could not show a line that rises steeply or turns back.
        """
        load = np.log(np.asarray(clients, dtype=np.float64))
        corners = [np.log(np.maximum(np.asarray(corner, dtype=np.float64), 1e-9)) for corner in (low, high)]
        if self._fits is not None:
            steps = [np.linspace(a, b, _SAMPLES_PER_SEGMENT)[:-1] for a, b in pairwise(load)]
            along = np.concatenate([*steps, load[-1:]])
            corners = [
                np.column_stack(
                    [
                        fit(along) + np.interp(along, load, corner[:, axis] - fit(load))
                        for axis, fit in enumerate(self._fits)
                    ]
                )
                for corner in corners
            ]
        return _swept(np.exp(corners[0]), np.exp(corners[1]))


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
