"""Latency against throughput, one point per number of clients: what a server gives, and at what price in waiting.

    python -m llmbench.plots.throughput_latency --log_dir ./results --backend vllm fastgen

draws a figure for every setting of (model, TP, ragged batch, replicas, prompt, generation) found, with a series per
result directory, into ./plots/throughput_latency. A `plot_config.yaml` in a result directory changes how its series
looks. Throughput is completed requests over wall time and stays with the latency it was measured with. Both are
drawn as measured; the dashed line is a fit along the number of clients (see `curve`). The shade is the 95 % interval
of the mean latency where the results have one, and hollow points are measurements whose verdict is not VALID.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llmbench.plots import style
from llmbench.plots.curve import fitted_curve
from llmbench.plots.result_sets import (
    ResultSet,
    Series,
    Source,
    load_result_sets,
    result_set,
    warn_on_stderr,
)

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from llmbench.combination import SweepPoint

DEFAULT_DEGREE = 3


def throughput_latency(
    results: Source | Iterable[Source] | Mapping[str, Source | Iterable[Source]],
    ax: Axes | None = None,
    *,
    model_name: str | None = None,
    **select: Any,
) -> Axes:
    """Draws one setting and returns the Axes.

    `results`: result directories, result files, or points that are already read (`combination.read_json`); a mapping
    gives each series its label. Where they hold several settings, `select` chooses one:
    `throughput_latency("results_sim", tp_size=4)`. `model_name` changes the title only.
    """
    return _draw(result_set(results, select), ax, model_name)


def _draw(results: ResultSet, ax: Axes | None, model_name: str | None, *, shown: bool = True) -> Axes:
    with style.look():
        axes = style.new_axes(shown=shown) if ax is None else ax
        handles: list[Artist] = []
        for series, (color, marker) in zip(results.series, style.colors_and_markers(), strict=False):
            handles.append(_draw_series(axes, series, series.config.color or color, series.config.marker or marker))
        axes.set_xlabel("Throughput (queries/s)")
        axes.set_ylabel("Mean latency (s)")
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        setting = results.combination
        replicas = f" · {setting.num_replicas} replicas" if setting.num_replicas > 1 else ""
        style.title(
            axes,
            model_name or results.model,
            f"Prompt: {setting.prompt_length} tokens · Generation: {setting.gen_length} tokens · "
            f"TP: {setting.tp_size}{replicas}",
        )
        style.legend(axes, handles, [series.label for series in results.series])
        style.caption(axes, _caption(results))
    return axes


def _draw_series(axes: Axes, series: Series, color: str, marker: str) -> Artist:
    config = series.config
    clients = np.array([point.combination.num_clients for point in series.points], dtype=np.float64)
    x = np.array([point.queries_per_s for point in series.points])
    y = np.array([point.mean_latency_s for point in series.points])
    x_max = np.inf if config.x_max is None else config.x_max
    y_max = np.inf if config.y_max is None else config.y_max
    shown = (x <= x_max) & (y <= y_max)

    degree = DEFAULT_DEGREE if config.polyfit_degree is None else config.polyfit_degree
    line_x, line_y = fitted_curve(clients, x, y, degree)
    inside = (line_x <= x_max) & (line_y <= y_max)
    linestyle = config.linestyle or "--"
    axes.plot(
        np.where(inside, line_x, np.nan), np.where(inside, line_y, np.nan), linestyle=linestyle, color=color, zorder=2.2
    )

    intervals = [point.interval("mean_e2el_ms") for point in series.points]
    known = np.array([interval is not None for interval in intervals]) & shown
    if known.sum() > 1:
        low = np.array([interval[0] / 1e3 for interval in intervals if interval is not None])
        high = np.array([interval[1] / 1e3 for interval in intervals if interval is not None])
        keep = known[np.array([interval is not None for interval in intervals])]
        low, high = low[keep], np.minimum(high[keep], y_max)
        # A polygon rather than a band over x: past its peak the throughput may fall again.
        axes.fill(
            np.concatenate((x[known], x[known][::-1])),
            np.concatenate((low, high[::-1])),
            color=color,
            alpha=0.16,
            linewidth=0,
            zorder=1.5,
        )

    valid = np.array([point.verdict in (None, "VALID") for point in series.points])
    for chosen, face in ((shown & valid, color), (shown & ~valid, "white")):
        axes.plot(
            x[chosen], y[chosen], linestyle="none", marker=marker, color=color, markerfacecolor=face, zorder=3
        )
    from matplotlib.lines import Line2D

    return Line2D([], [], color=color, marker=marker, linestyle=linestyle)


def _caption(results: ResultSet) -> str:
    points = [point for series in results.series for point in series.points]
    clients = sorted({point.combination.num_clients for point in points})
    parts = [f"Points: {', '.join(map(str, clients))} clients"]
    parts.append(_verdicts(points))
    return " · ".join(part for part in parts if part)


def _verdicts(points: Sequence[SweepPoint]) -> str:
    verdicts = [point.verdict for point in points if point.verdict is not None]
    if not verdicts:
        return ""
    bad = [verdict for verdict in verdicts if verdict != "VALID"]
    if not bad:
        return "all VALID"
    names = ", ".join(f"{bad.count(name)} {name}" for name in dict.fromkeys(bad))
    return f"{len(verdicts) - len(bad)} VALID, {names} (hollow)"


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m llmbench.plots.throughput_latency ARGV…`; returns the exit code."""
    from llmbench.plots.source_flags import directories, sweep_parser

    parser = sweep_parser("throughput_latency", "Latency against throughput, one figure per server and request setting.")
    parser.add_argument("--model_name", metavar="NAME", help="model in the title, instead of the results' own")
    args = parser.parse_args(argv)
    for results in load_result_sets(directories(args), warn_on_stderr):
        axes = _draw(results, None, args.model_name, shown=False)
        figure = axes.get_figure(root=True)
        assert figure is not None
        png, svg = style.save(figure, Path(args.out_dir), results.stem)
        print(f"saved {png} and {svg.name}")
    return 0


if __name__ == "__main__":
    from llmbench.cli import execute

    sys.exit(execute("python -m llmbench.plots.throughput_latency", main))
