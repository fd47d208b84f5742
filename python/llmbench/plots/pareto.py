"""What a GPU gives against what a user gets: throughput per GPU over speed per user, a series per tensor-parallel size.

    python -m llmbench.plots.pareto --log_dir ./results --backend vllm

Speed per user is 1 / mean TPOT, throughput per GPU is output tokens per second ÷ (TP × replicas). Few clients are at
the right, many at the top. The grey line is the frontier of a result directory: no point has more of both than one
on it, so a server is best run with a setting that lies there. A figure per setting of (model, ragged batch, prompt,
generation) goes into ./plots/pareto. Results without token times are left out.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.lines import Line2D

from llmbench.errors import ConfigError
from llmbench.plots import style
from llmbench.plots.result_sets import (
    ResultSet,
    Sources,
    file_name,
    is_sound,
    load_result_sets,
    result_set,
    streamed_only,
    verdict_note,
    warn_in_python,
    warn_on_stderr,
)
from llmbench.plots.tp_series import TpSeries, split_by_tp

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from llmbench.sweep_point import SweepPoint

FREE = ("tp_size", "num_replicas")
_FRONTIER: Any = {"color": "#D9D9D9", "linewidth": 7, "solid_joinstyle": "round"}


def pareto(results: Sources, ax: Axes | None = None, *, log: bool = False, **select: Any) -> Axes:
    """Draws one setting with all its TP sizes and replicas and returns the Axes.

    `results` and `select` are those of `throughput_latency`; `num_replicas=1` leaves the other replicas out. `log`
    makes both axes logarithmic.
    """
    found = result_set(results, select, free=FREE)
    streamed = streamed_only(found, warn_in_python)
    if streamed is None:
        raise ConfigError(f"{found.file_model} was measured without --stream: it has no token times")
    return _draw(streamed, ax, log=log)


def position(point: SweepPoint) -> tuple[float, float] | None:
    """(output tokens/s per user, output tokens/s per GPU); None where either is unknown."""
    tpot_s, per_s = point.mean_tpot_s, point.output_tokens_per_s
    if not tpot_s or per_s is None:
        return None
    setting = point.combination
    return 1 / tpot_s, per_s / (setting.tp_size * setting.num_replicas)


def frontier(positions: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Those that no other beats in both, from the slowest user to the fastest."""
    best: list[tuple[float, float]] = []
    for x, y in sorted(positions, reverse=True):
        if not best or y > best[-1][1]:
            best.append((x, y))
    return best[::-1]


def _draw(results: ResultSet, ax: Axes | None, *, log: bool, shown: bool = True) -> Axes:
    with style.look():
        axes = style.new_axes(shown=shown) if ax is None else ax
        if log:
            axes.set_xscale("log")
            axes.set_yscale("log")
            style.plain_log_labels(axes.xaxis)
            style.plain_log_labels(axes.yaxis)
        split = split_by_tp(results)
        handles: list[Artist] = [_draw_series(axes, series) for series in split]
        labels = [series.label for series in split]
        for of_directory in results.series:
            best = frontier([at for point in of_directory.points if (at := position(point)) is not None])
            axes.plot(*np.array(best).reshape(-1, 2).T, **_FRONTIER, zorder=1.6)
        handles.append(Line2D([], [], **_FRONTIER))
        labels.append("frontier")
        if not log:
            style.from_zero(axes)
        axes.set_xlabel("Speed per user (output tokens/s)")
        axes.set_ylabel("Throughput per GPU (output tokens/s)")
        style.title(axes, results.model, results.detail())
        style.legend(axes, handles, labels)
        if len(results.series) == 1:
            for series in split:
                _number(axes, series)
        style.caption(axes, _caption(results))
    return axes


def _draw_series(axes: Axes, series: TpSeries) -> Artist:
    linestyle: Any = series.linestyle
    for count in sorted({point.combination.num_replicas for point in series.points}):
        points = [point for point in series.points if point.combination.num_replicas == count]
        at = [position(point) for point in points]
        known = np.array([each for each in at if each is not None]).reshape(-1, 2)
        sound = [is_sound(point) for point, each in zip(points, at, strict=True) if each is not None]
        x, y = known.T
        axes.plot(x, y, linestyle=linestyle, color=series.color, linewidth=1.3, zorder=2.2)
        style.points(axes, x, y, sound, color=series.color, marker=series.marker)
    return Line2D([], [], color=series.color, marker=series.marker, linestyle=linestyle)


def _number(axes: Axes, series: TpSeries) -> None:
    """Writes the clients per replica at the points of the fewest replicas; the others lie close to them."""
    fewest = min(point.combination.num_replicas for point in series.points)
    at = {
        position(point): f"{point.combination.num_clients / fewest:g}"
        for point in series.points
        if point.combination.num_replicas == fewest and position(point) is not None
    }
    x, y = zip(*at, strict=True) if at else ((), ())
    style.number_points(axes, x, y, list(at.values()), above=True)


def _caption(results: ResultSet) -> str:
    replicas = sorted({point.combination.num_replicas for point in results.points})
    clients = "clients" if replicas == [1] else "clients per replica"
    levels = sorted(
        {point.combination.num_clients / point.combination.num_replicas for point in results.points}
    )
    if len(results.series) == 1:
        parts = [f"Numbers at points: {clients}"]
    else:
        parts = [f"Points: {', '.join(f'{level:g}' for level in levels)} {clients}"]
    if replicas != [1]:
        parts.append(f"{', '.join(map(str, replicas))} replicas")
    parts.append(verdict_note(results.points))
    return " · ".join(filter(None, parts))


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m llmbench.plots.pareto ARGV…`; returns the exit code, raises LlmbenchError."""
    from llmbench.plots.source_flags import directories, save_all, sweep_parser

    parser = sweep_parser("pareto", "Throughput per GPU against speed per user, a series per TP size.")
    parser.add_argument("--log", action="store_true", help="logarithmic axes")
    args = parser.parse_args(argv)
    sets = load_result_sets(directories(args), warn_on_stderr, free=FREE)
    streamed = [kept for results in sets if (kept := streamed_only(results, warn_on_stderr)) is not None]
    if not streamed:
        raise ConfigError("nothing here was measured with --stream: there are no token times")

    def figures() -> Iterator[tuple[Axes, str]]:
        for results in streamed:
            pattern = "pareto_{model}_p{prompt_length}g{gen_length}"
            yield _draw(results, None, log=args.log, shown=False), file_name(pattern, results, streamed)

    return save_all(figures(), args.out_dir)


if __name__ == "__main__":
    from llmbench.cli import execute

    sys.exit(execute("python -m llmbench.plots.pareto", main))
