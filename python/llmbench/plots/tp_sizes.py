"""Latency against TFLOPs per GPU, a series per tensor-parallel size: what splitting a model over more GPUs gains in
latency, and what it costs in their use.

    python -m llmbench.plots.tp_sizes --log_dir ./results --backend vllm

A query takes 2 × parameters × (prompt + generated tokens) floating-point operations; parameters are those a token
passes, so of a mixture of experts the active ones, from a table, the model's name or `--parameters`. They are divided
by TP × replicas GPUs. A figure per setting of (model, ragged batch, replicas, prompt, generation) goes into
./plots/tp_sizes. The line is a fit along the number of clients (see `load_curve`).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.lines import Line2D

from llmbench.errors import ConfigError
from llmbench.plots import style
from llmbench.plots.load_curve import LoadCurve
from llmbench.plots.model_parameters import parameters_of, parse_parameters, shown
from llmbench.plots.result_sets import (
    ResultSet,
    Sources,
    file_name,
    is_sound,
    load_result_sets,
    result_set,
    verdict_note,
    warn_on_stderr,
)
from llmbench.plots.tp_series import TpSeries, split_by_tp, tp_sizes_of

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from llmbench.sweep_point import SweepPoint

FREE = ("tp_size",)
DEFAULT_DEGREE = 3


def tp_sizes(
    results: Sources, ax: Axes | None = None, *, parameters: float | None = None, **select: Any
) -> Axes:
    """Draws one setting and returns the Axes.

    `results` and `select` are those of `throughput_latency`. `parameters`: how many a token passes, where the model's
    name does not tell.
    """
    found = result_set(results, select, free=FREE)
    return _draw(found, parameters or parameters_of(found.model), ax)


def tflops_per_gpu(point: SweepPoint, parameters: float) -> float:
    """Useful arithmetic, in 10¹² operations per second and GPU."""
    setting = point.combination
    tokens_per_s = point.tokens_per_s
    if tokens_per_s is None:
        tokens_per_s = point.queries_per_s * (setting.prompt_length + setting.gen_length)
    return 2 * parameters * tokens_per_s / (setting.tp_size * setting.num_replicas) / 1e12


def _draw(results: ResultSet, parameters: float, ax: Axes | None, *, shown_now: bool = True) -> Axes:
    with style.look():
        axes = style.new_axes(shown=shown_now) if ax is None else ax
        handles: list[Artist] = []
        split = split_by_tp(results)
        for series in split:
            handles.append(_draw_series(axes, series, parameters))
        style.from_zero(axes)
        axes.set_xlabel("Throughput per GPU (TFLOP/s)")
        axes.set_ylabel("Mean latency (s)")
        style.title(axes, results.model, results.detail())
        style.legend(axes, handles, [series.label for series in split])
        levels = sorted({point.combination.num_clients for point in results.points})
        parts = [
            f"2 × {shown(parameters)} parameters × tokens/s ÷ GPUs",
            f"points: {', '.join(map(str, levels))} clients",
            verdict_note(results.points),
        ]
        style.caption(axes, " · ".join(filter(None, parts)))
    return axes


def _draw_series(axes: Axes, series: TpSeries, parameters: float) -> Artist:
    config = series.config
    color, marker = series.color, series.marker
    linestyle: Any = series.linestyle
    degree = DEFAULT_DEGREE if config.polyfit_degree is None else config.polyfit_degree
    clients = [point.combination.num_clients for point in series.points]
    x = np.array([tflops_per_gpu(point, parameters) for point in series.points])
    y = np.array([point.mean_latency_s for point in series.points])
    x_max = np.inf if config.x_max is None else config.x_max
    y_max = np.inf if config.y_max is None else config.y_max
    visible = (x <= x_max) & (y <= y_max)

    line_x, line_y = LoadCurve(clients, x, y, degree).line()
    outside = (line_x > x_max) | (line_y > y_max)
    axes.plot(np.where(outside, np.nan, line_x), line_y, linestyle=linestyle, color=color, zorder=2.2)
    sound = np.array([is_sound(point) for point in series.points])
    style.points(axes, x[visible], y[visible], sound[visible], color=color, marker=marker)
    return Line2D([], [], color=color, marker=marker, linestyle=linestyle)


def _parameters(text: str) -> float:
    try:
        return parse_parameters(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number of parameters, such as 7B or 350M"
        ) from None


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m llmbench.plots.tp_sizes ARGV…`; returns the exit code, raises LlmbenchError."""
    from llmbench.plots.source_flags import directories, save_all, sweep_parser

    parser = sweep_parser("tp_sizes", "Latency against TFLOPs per GPU, a series per TP size.")
    parser.add_argument(
        "--parameters",
        type=_parameters,
        metavar="N",
        help="parameters that a token passes, such as 7B or 350M (default: by the model's name)",
    )
    args = parser.parse_args(argv)
    counted = []
    last_error = None
    for results in load_result_sets(directories(args), warn_on_stderr, free=FREE):
        try:
            counted.append((results, args.parameters or parameters_of(results.model)))
        except ConfigError as error:
            warn_on_stderr(f"left out: {error}")
            last_error = error
    if not counted and last_error is not None:
        raise last_error

    def figures() -> Iterator[tuple[Axes, str]]:
        among = [results for results, _ in counted]
        for results, parameters in counted:
            sizes = "_".join(map(str, tp_sizes_of(results)))
            pattern = f"tp_sizes_{{model}}_tp{sizes}_p{{prompt_length}}g{{gen_length}}r{{num_replicas}}"
            yield _draw(results, parameters, None, shown_now=False), file_name(pattern, results, among)

    return save_all(figures(), args.out_dir)


if __name__ == "__main__":
    from llmbench.cli import execute

    sys.exit(execute("python -m llmbench.plots.tp_sizes", main))
