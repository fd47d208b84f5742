"""Latency against throughput, one point per number of clients: what a server gives, and at what price in
waiting.

    python -m llmbench.plots.throughput_latency --log_dir ./results --backend vllm fastgen

draws a figure for every setting of (model, TP, ragged batch, replicas, prompt, generation) found, with a
series per result directory, into ./plots/throughput_latency. A `plot_config.yaml` in a result directory
changes how its series looks. Throughput is completed requests over wall time and stays with the latency it
was measured with. Both are drawn as measured; the dashed line is a fit along the number of clients (see
`load_curve`). The shade is the 95 % interval of throughput and mean latency where the results have one, and
hollow points are measurements whose verdict is not VALID.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch

from llmbench.plots import style
from llmbench.plots.load_curve import LoadCurve
from llmbench.plots.result_sets import (
    ResultSet,
    Series,
    Sources,
    is_sound,
    load_result_sets,
    result_set,
    verdict_note,
    warn_on_stderr,
)

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from llmbench.sweep_point import SweepPoint

DEFAULT_DEGREE = 3
_SHADE_ROOM = 1.25
"""How far the axes reach, of the curve's greatest value, where the intervals go further."""


def throughput_latency(
    results: Sources,
    ax: Axes | None = None,
    *,
    model_name: str | None = None,
    log: bool = False,
    **select: Any,
) -> Axes:
    """Draws one setting and returns the Axes.

    `results`: result directories, result files, or points that are already read (`combination.read_json`); a
    mapping gives each series its label. Where they hold several settings, `select` chooses one:
    `throughput_latency("results_sim", tp_size=4)`. `model_name` changes the title only; `log` makes the
    latency's axis logarithmic.
    """
    return _draw(result_set(results, select), ax, model_name=model_name, log=log)


def _draw(
    results: ResultSet, ax: Axes | None, *, model_name: str | None, log: bool, shown: bool = True
) -> Axes:
    with style.look():
        axes = style.new_axes(shown=shown) if ax is None else ax
        if log:
            axes.set_yscale("log")
            style.plain_log_labels(axes.yaxis)
        handles: list[Artist] = []
        for series, (color, marker) in zip(results.series, style.colors_and_markers(), strict=False):
            handles.append(_draw_series(axes, series, color, marker))
        style.from_zero(axes, y=not log)
        _bound_shade(axes, y=not log)
        if len(results.series) == 1:
            _number(axes, results.series[0])
        axes.set_xlabel("Throughput (queries/s)")
        axes.set_ylabel("Mean latency (s)")
        style.title(axes, model_name or results.model, results.detail())
        style.legend(axes, handles, [series.label for series in results.series])
        style.caption(axes, _caption(results))
    return axes


def _bound_shade(axes: Axes, *, y: bool) -> None:
    """Lets the intervals of short runs, which may be many times as wide as the curve, run out of the frame."""
    for values, limits, move in (
        (np.concatenate([np.ravel(line.get_xdata()) for line in axes.lines]), axes.get_xlim(), axes.set_xlim),
        (np.concatenate([np.ravel(line.get_ydata()) for line in axes.lines]), axes.get_ylim(), axes.set_ylim),
    )[: 1 + y]:
        known = values[np.isfinite(values.astype(float))]
        if len(known) and known.max() > 0:
            move(limits[0], min(limits[1], _SHADE_ROOM * float(known.max())))


def _draw_series(axes: Axes, series: Series, color: str, marker: str) -> Artist:
    config = series.config
    color, marker = config.color or color, config.marker or marker
    linestyle: Any = config.linestyle or "--"
    degree = DEFAULT_DEGREE if config.polyfit_degree is None else config.polyfit_degree
    clients = np.array([point.combination.num_clients for point in series.points])
    x = np.array([point.queries_per_s for point in series.points])
    y = np.array([point.mean_latency_s for point in series.points])
    x_max, y_max = _limits(series)
    shown = (x <= x_max) & (y <= y_max)

    # Points that are not shown still belong to the line: it leaves the figure where they would have been.
    curve = LoadCurve(clients, x, y, degree)
    line_x, line_y = curve.line()
    outside = (line_x > x_max) | (line_y > y_max)
    axes.plot(np.where(outside, np.nan, line_x), line_y, linestyle=linestyle, color=color, zorder=2.2)

    sure = [i for i, point in enumerate(series.points) if shown[i] and point.interval("mean_e2el_ms")]
    if len(sure) > 1:
        boxes = [_box(series.points[i], x_max, y_max) for i in sure]
        band = curve.band(clients[sure], [low for low, _ in boxes], [high for _, high in boxes])
        axes.add_patch(PathPatch(band, facecolor=color, alpha=0.16, linewidth=0, zorder=1.5))

    sound = np.array([is_sound(point) for point in series.points])
    style.points(axes, x[shown], y[shown], sound[shown], color=color, marker=marker)
    return Line2D([], [], color=color, marker=marker, linestyle=linestyle)


def _limits(series: Series) -> tuple[float, float]:
    """The greatest throughput and latency that are shown."""
    config = series.config
    return (np.inf if config.x_max is None else config.x_max), (
        np.inf if config.y_max is None else config.y_max
    )


def _number(axes: Axes, series: Series) -> None:
    """Writes the clients at the points."""
    x_max, y_max = _limits(series)
    shown = [
        point for point in series.points if point.queries_per_s <= x_max and point.mean_latency_s <= y_max
    ]
    style.number_points(
        axes,
        [point.queries_per_s for point in shown],
        [point.mean_latency_s for point in shown],
        [str(point.combination.num_clients) for point in shown],
    )


def _box(point: SweepPoint, x_max: float, y_max: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """The intervals of throughput and latency as the corners of a box, flat where one is not known."""
    left, right = point.interval("request_throughput") or (point.queries_per_s, point.queries_per_s)
    low, high = point.interval("mean_e2el_ms") or (point.mean_latency_s * 1e3, point.mean_latency_s * 1e3)
    return (left, low / 1e3), (min(right, x_max), min(high / 1e3, y_max))


def _caption(results: ResultSet) -> str:
    points = results.points
    levels = sorted({point.combination.num_clients for point in points})
    if len(results.series) == 1:
        parts = ["Numbers at points: clients"]
    else:
        parts = [f"Points: {', '.join(map(str, levels))} clients"]
    if any(point.interval("mean_e2el_ms") for point in points):
        parts.append("shade: 95 % interval")
    parts.append(verdict_note(points))
    return " · ".join(filter(None, parts))


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m llmbench.plots.throughput_latency ARGV…`; returns the exit code, raises LlmbenchError."""
    from llmbench.plots.source_flags import directories, save_all, sweep_parser

    parser = sweep_parser(
        "throughput_latency", "Latency against throughput, a figure per server and request setting."
    )
    parser.add_argument(
        "--model_name", metavar="NAME", help="model in the title, instead of the results' own"
    )
    parser.add_argument("--log", action="store_true", help="logarithmic latency axis")
    args = parser.parse_args(argv)
    figures = (
        (_draw(results, None, model_name=args.model_name, log=args.log, shown=False), results.stem)
        for results in load_result_sets(directories(args), warn_on_stderr)
    )
    return save_all(figures, args.out_dir)


if __name__ == "__main__":
    from llmbench.cli import execute

    sys.exit(execute("python -m llmbench.plots.throughput_latency", main))
