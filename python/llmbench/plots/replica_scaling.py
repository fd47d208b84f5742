"""Throughput against the number of replicas, at the same load on each.

    python -m llmbench.plots.replica_scaling --log_dir ./results --backend vllm --clients_per_replica 16

Points with the same clients per replica are compared: 16 clients on one replica, 32 on two. Without
`--clients_per_replica` there is a figure for each value that was measured at every number of replicas. A figure per
setting of (model, TP, ragged batch, prompt, generation) goes into ./plots/replica_scaling, a series per result
directory. The dashed line is a linear fit; the dotted one is the ideal, as many times the throughput of the fewest
replicas as there are replicas. The number at the last point is its share of the ideal.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator

from llmbench.errors import ConfigError
from llmbench.plots import style
from llmbench.plots.result_sets import (
    ResultSet,
    Series,
    Sources,
    Warn,
    file_name,
    is_sound,
    load_result_sets,
    result_set,
    verdict_note,
    warn_in_python,
    warn_on_stderr,
)

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from llmbench.sweep_point import SweepPoint

FREE = ("num_replicas",)


def replica_scaling(
    results: Sources, ax: Axes | None = None, *, clients_per_replica: int | None = None, **select: Any
) -> Axes:
    """Draws one setting at one load per replica and returns the Axes.

    `results` and `select` are those of `throughput_latency`. `clients_per_replica` may be left out where only one value
    was measured at every number of replicas.
    """
    found = result_set(results, select, free=FREE)
    loads = _complete_loads(found) if clients_per_replica is None else [clients_per_replica]
    if len(loads) != 1:
        there = ", ".join(map(str, loads)) or "none"
        raise ConfigError(
            "a figure shows one load: give clients_per_replica; measured at every number of replicas: "
            + there
        )
    at_load = _at_load(found, loads[0], warn_in_python)
    if at_load is None:
        raise ConfigError(
            f"nothing was measured at {loads[0]} clients per replica and two numbers of replicas"
        )
    return _draw(at_load, loads[0], ax)


def _load_of(point: SweepPoint) -> int | None:
    """Its clients per replica; None where they cannot be spread evenly."""
    load, rest = divmod(point.combination.num_clients, point.combination.num_replicas)
    return load if rest == 0 else None


def _replicas(series: Series) -> set[int]:
    return {point.combination.num_replicas for point in series.points}


def _complete_loads(results: ResultSet) -> list[int]:
    """The clients per replica that a series has at each of its numbers of replicas, two or more."""
    loads: set[int] = set()
    for series in results.series:
        replicas = _replicas(series)
        if len(replicas) < 2:
            continue
        of_replicas = [
            {_load_of(point) for point in series.points if point.combination.num_replicas == count}
            for count in replicas
        ]
        loads |= {load for load in set.intersection(*of_replicas) if load is not None}
    return sorted(loads)


def _at_load(results: ResultSet, load: int, warn: Warn) -> ResultSet | None:
    """The points at this load; None where fewer than two numbers of replicas are left of every series."""
    kept = []
    for series in results.series:
        points = tuple(point for point in series.points if _load_of(point) == load)
        chosen = replace(series, points=points)
        missing = sorted(_replicas(series) - _replicas(chosen))
        if len(_replicas(chosen)) < 2:
            warn(f"{series.label}: left out, it has no two numbers of replicas at {load} clients per replica")
            continue
        if missing:
            counts = ", ".join(map(str, missing))
            warn(f"{series.label} has nothing at {load} clients per replica with {counts} replicas")
        kept.append(chosen)
    return ResultSet(results.combination, tuple(kept)) if kept else None


def _draw(results: ResultSet, load: int, ax: Axes | None, *, shown: bool = True) -> Axes:
    with style.look():
        axes = style.new_axes(shown=shown) if ax is None else ax
        handles: list[Artist] = []
        for series, (color, marker) in zip(results.series, style.colors_and_markers(), strict=False):
            handles.append(_draw_series(axes, series, color, marker))
        labels = [series.label for series in results.series]
        handles.append(Line2D([], [], color=style.FAINT, linestyle=":", linewidth=1.4))
        counts = sorted({point.combination.num_replicas for point in results.points})
        axes.xaxis.set_major_locator(FixedLocator(counts))
        style.from_zero(axes)
        axes.set_xlim(0, max(counts) * 1.1)
        axes.set_xlabel("Replicas")
        axes.set_ylabel("Throughput (queries/s)")
        per = "client per replica" if load == 1 else "clients per replica"
        style.title(axes, results.model, results.detail(f"{load} {per}"))
        style.legend(axes, handles, [*labels, "ideal"])
        bars = any(point.interval("request_throughput") for point in results.points)
        parts = [
            "Dashed: linear fit",
            "dotted: ideal, linear from the first point",
            "%: share of the ideal",
            "bars: 95 % interval" if bars else "",
            verdict_note(results.points),
        ]
        style.caption(axes, " · ".join(filter(None, parts)))
    return axes


def _draw_series(axes: Axes, series: Series, color: str, marker: str) -> Artist:
    config = series.config
    color, marker = config.color or color, config.marker or marker
    linestyle: Any = config.linestyle or "--"
    replicas = np.array([point.combination.num_replicas for point in series.points])
    throughput = np.array([point.queries_per_s for point in series.points])
    first, last = int(np.argmin(replicas)), int(np.argmax(replicas))
    ends = np.array([replicas[first], replicas[last]])

    ideal = throughput[first] / replicas[first]
    axes.plot(ends, ideal * ends, linestyle=":", color=color, linewidth=1.4, zorder=2)
    slope, intercept = np.polyfit(replicas, throughput, 1)
    axes.plot(ends, slope * ends + intercept, linestyle=linestyle, color=color, zorder=2.2)
    for point in series.points:
        interval = point.interval("request_throughput")
        if interval is not None:
            at = point.combination.num_replicas
            axes.plot((at, at), interval, color=color, alpha=0.35, linewidth=5, solid_capstyle="butt")
    sound = [is_sound(point) for point in series.points]
    style.points(axes, replicas, throughput, sound, color=color, marker=marker)
    share = throughput[last] / (ideal * replicas[last])
    style.number_points(axes, [replicas[last]], [throughput[last]], [f"{share:.0%}"])
    return Line2D([], [], color=color, marker=marker, linestyle=linestyle)


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m llmbench.plots.replica_scaling ARGV…`; returns the exit code, raises LlmbenchError."""
    from llmbench.cli import flags
    from llmbench.plots.source_flags import directories, save_all, sweep_parser

    parser = sweep_parser("replica_scaling", "Throughput against the number of replicas, beside the ideal.")
    parser.add_argument(
        "--clients_per_replica",
        type=flags.count,
        nargs="+",
        metavar="N",
        help="loads to compare at (default: each one measured at every number of replicas)",
    )
    args = parser.parse_args(argv)
    sets = load_result_sets(directories(args), warn_on_stderr, free=FREE)
    drawn = [
        (load, at_load)
        for results in sets
        for load in args.clients_per_replica or _complete_loads(results)
        if (at_load := _at_load(results, load, warn_on_stderr)) is not None
    ]
    if not drawn:
        asked = " ".join(map(str, args.clients_per_replica or ()))
        raise ConfigError(
            "no setting was measured at two numbers of replicas with "
            + (f"{asked} clients per replica" if asked else "the same clients per replica at each of them")
        )

    def figures() -> Iterator[tuple[Axes, str]]:
        for load, results in drawn:
            pattern = f"repl_scale_{{model}}_tp{{tp_size}}_p{{prompt_length}}g{{gen_length}}_c_per_r{load}"
            among = [each for at, each in drawn if at == load]
            yield _draw(results, load, None, shown=False), file_name(pattern, results, among)

    return save_all(figures(), args.out_dir)


if __name__ == "__main__":
    from llmbench.cli import execute

    sys.exit(execute("python -m llmbench.plots.replica_scaling", main))
