"""Latency by percentile, stretched so that each nine more of the tail has the same room; one line per result.

    python -m llmbench.plots.percentiles results/a.llmbench results/b.llmbench --metric e2el

The line is dotted from the percentile on that so few requests cannot tell; bars are 95 % intervals.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from llmbench.plots import style
from llmbench.plots.latency_samples import (
    Floats,
    LatencySample,
    Measured,
    axis_label,
    caption,
    latency_samples,
)

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

TICKS = (0, 50, 75, 90, 95, 99, 99.5, 99.9, 99.99, 99.999)


def percentiles(
    results: Measured | Iterable[Measured] | Mapping[str, Measured],
    ax: Axes | None = None,
    *,
    metric: str = "ttft",
    log: bool = False,
    shown: bool = True,
) -> Axes:
    """Draws one metric against its percentiles and returns the Axes.

    `results`: a result, several, or a mapping of labels to them; a table of requests may stand for a result.
    `log` makes the time axis logarithmic. `shown`: see `style.new_axes`.
    """
    samples = latency_samples(results, metric)
    with style.look():
        axes = style.new_axes(shown=shown) if ax is None else ax
        axes.set_xscale("log")
        if log:
            axes.set_yscale("log")
            style.plain_log_labels(axes.yaxis)
        handles: list[Artist] = []
        for sample, (color, _) in zip(samples, style.colors_and_markers(), strict=False):
            handles.append(_draw_sample(axes, sample, metric, color))
        deepest = max(len(sample.values_ms) for sample in samples)
        ticks = [tick for tick in TICKS if _stretched(tick / 100) <= max(deepest, 100)]
        axes.set_xlim(1, max(deepest, float(_stretched(ticks[-1] / 100))))
        axes.xaxis.set_major_locator(FixedLocator([float(_stretched(tick / 100)) for tick in ticks]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 - 100 / value:.6g}"))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("Percentile")
        axes.set_ylabel(axis_label(metric))
        if not log:
            style.from_zero(axes, x=False)
        heading = axis_label(metric).removesuffix(" (ms)")
        if len(samples) == 1:
            style.title(axes, heading, f"{samples[0].label} · by percentile")
        else:
            style.title(axes, heading, "By percentile")
            style.legend(axes, handles, [sample.label for sample in samples])
        style.caption(axes, f"{caption(samples)} · dotted: too few requests to tell")
    return axes


def _stretched(share: npt.ArrayLike) -> Floats:
    return np.asarray(1 / (1 - np.asarray(share, dtype=np.float64)))


def _draw_sample(axes: Axes, sample: LatencySample, metric: str, color: str) -> Artist:
    values = sample.values_ms
    shares = 1 - np.geomspace(1, 1 / len(values), 400)
    at = np.quantile(values, shares)
    told = shares <= sample.supported_share(metric)
    axes.plot(_stretched(shares[told]), at[told], color=color, zorder=2.4)
    # From the last told point on, so that there is no gap.
    rest = max(int(told.sum()) - 1, 0)
    axes.plot(_stretched(shares[rest:]), at[rest:], color=color, linestyle=":", zorder=2.2)
    for percent in TICKS:
        interval = sample.interval_ms(f"p{percent:g}_{metric}_ms")
        if interval is not None:
            place = float(_stretched(percent / 100))
            axes.plot((place, place), interval, color=color, alpha=0.35, linewidth=6, solid_capstyle="butt")
    return Line2D([], [], color=color)


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m llmbench.plots.percentiles ARGV…`; returns the exit code, raises LlmbenchError."""
    from llmbench.plots.result_flags import draw_results, result_parser

    parser = result_parser("percentiles", "Latency by percentile, far into the tail.")
    parser.add_argument("--log", action="store_true", help="logarithmic time axis")
    args = parser.parse_args(argv)
    return draw_results(
        args, lambda results: percentiles(results, metric=args.metric, log=args.log, shown=False)
    )


if __name__ == "__main__":
    from llmbench.cli import execute

    sys.exit(execute("python -m llmbench.plots.percentiles", main))
