"""The line through the points of a load curve.

Such a curve is not a function of its x: past the knee the throughput stands still, or falls, while the latency goes on
rising, and a polynomial in x answers a near-vertical stretch with wild swings, below zero too. What does order the
points is the load. So throughput and latency are each fitted against the number of clients, on logarithmic scales
throughout: log x and log y are polynomials of the asked degree in log clients, by least squares. The line can then
turn back on itself as the measurement does, and can never be negative. Where there is no queue, and where there is
nothing but queue, both are straight lines on those scales; the polynomial has only the bend between them to make.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def fitted_curve(
    clients: npt.ArrayLike, x: npt.ArrayLike, y: npt.ArrayLike, degree: int = 3, samples: int = 256
) -> tuple[Floats, Floats]:
    """Points of the line from the fewest to the most clients.

    The degree is lowered until it leaves one point over, so that chance is not drawn as a bend: 2 for four levels, and
    a straight line (on those scales) for three or two. One level has no line; degree 0 joins the points as they are.
    """
    levels, xs, ys = (np.asarray(values, dtype=np.float64) for values in (clients, x, y))
    order = np.argsort(levels, kind="stable")
    levels, xs, ys = levels[order], xs[order], ys[order]
    if degree == 0:
        return xs, ys
    different = len(np.unique(levels))
    if different < 2:
        return np.empty(0), np.empty(0)
    degree = max(1, min(degree, different - 2))
    load = np.log(levels)
    along = np.linspace(load[0], load[-1], samples)
    fit = np.polynomial.Polynomial.fit
    return np.exp(fit(load, np.log(xs), degree)(along)), np.exp(fit(load, np.log(ys), degree)(along))
