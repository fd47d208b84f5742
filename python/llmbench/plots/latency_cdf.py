"""The share of requests that were served within a time, one line per result.

    python -m llmbench.plots.latency_cdf results/a.llmbench results/b.llmbench --metric ttft

The points are P50, P90 and P99, with their 95 % intervals where the result has them; a hollow point is a
percentile that so few requests cannot tell.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from llmbench.plots import style
from llmbench.plots.latency_samples import GAPS, LatencySample, Measured, axis_label, caption, latency_samples

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

MARKED = (50, 90, 99)


def latency_cdf(
    results: Measured | Iterable[Measured] | Mapping[str, Measured],
    ax: Axes | None = None,
    *,
    metric: str = "ttft",
    log: bool = False,
    shown: bool = True,
) -> Axes:
    """Draws the cumulative distribution of one metric and returns the Axes.

    `results`: a result, several, or a mapping of labels to them; a table of requests may stand for a result.
    `log` makes the time axis logarithmic. `shown`: see `style.new_axes`.
    """
    samples = latency_samples(results, metric)
    with style.look():
        axes = style.new_axes(shown=shown) if ax is None else ax
        if log:
            axes.set_xscale("log")
            style.plain_log_labels(axes.xaxis)
        handles: list[Artist] = []
        for sample, (color, marker) in zip(samples, style.colors_and_markers(), strict=False):
            handles.append(_draw_sample(axes, sample, metric, color, marker))
        axes.set_xlabel(axis_label(metric))
        axes.set_ylabel("Share of gaps (%)" if metric in GAPS else "Share of requests (%)")
        axes.set_ylim(0, 102)
        if not log:
            style.from_zero(axes, y=False)
        heading = axis_label(metric).removesuffix(" (ms)")
        if len(samples) == 1:
            _label_points(axes, samples[0], metric)
            style.title(axes, heading, f"{samples[0].label} · cumulative distribution")
        else:
            style.title(axes, heading, "Cumulative distribution")
            style.legend(axes, handles, [sample.label for sample in samples])
        style.caption(axes, caption(samples))
    return axes


def _draw_sample(axes: Axes, sample: LatencySample, metric: str, color: str, marker: str) -> Artist:
    values = sample.values_ms
    share = np.arange(len(values) + 1) / len(values) * 100
    axes.plot(np.concatenate((values[:1], values)), share, color=color, drawstyle="steps-post", zorder=2.2)
    for percent in MARKED:
        at = float(np.percentile(values, percent))
        interval = sample.interval_ms(f"p{percent}_{metric}_ms")
        if interval is not None:
            axes.plot(
                interval, (percent, percent), color=color, alpha=0.35, linewidth=6, solid_capstyle="butt"
            )
        face = color if sample.tells(metric, percent) else "white"
        axes.plot(at, percent, linestyle="none", marker=marker, color=color, markerfacecolor=face, zorder=3)
    return Line2D([], [], color=color, marker=marker)


def _label_points(axes: Axes, sample: LatencySample, metric: str) -> None:
    """What each marked percentile is, on the side of it that has more room. The limits must stand already."""
    for percent in MARKED:
        at = float(np.percentile(sample.values_ms, percent))
        right = axes.transAxes.inverted().transform(axes.transData.transform((at, percent)))[0] < 0.5
        label = axes.annotate(
            sample.shown(metric, percent, at),
            (at, percent),
            (9, -5) if right else (-9, 0),
            textcoords="offset points",
            ha="left" if right else "right",
            va="top" if right else "center",
            fontsize=9,
            color=style.FAINT,
            zorder=4,
        )
        # The line may run through it.
        label.set_path_effects([withStroke(linewidth=2.5, foreground="white", alpha=0.85)])


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m llmbench.plots.latency_cdf ARGV…`; returns the exit code, raises LlmbenchError."""
    from llmbench.plots.result_flags import draw_results, result_parser

    parser = result_parser("latency_cdf", "The share of requests that were served within a time.")
    parser.add_argument("--log", action="store_true", help="logarithmic time axis")
    args = parser.parse_args(argv)
    return draw_results(
        args, lambda results: latency_cdf(results, metric=args.metric, log=args.log, shown=False)
    )


if __name__ == "__main__":
    from llmbench.cli import execute

    sys.exit(execute("python -m llmbench.plots.latency_cdf", main))
