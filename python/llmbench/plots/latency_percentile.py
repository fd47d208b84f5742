"""How long the gaps between tokens are: P50, P90 and P95 as bars, backend beside backend.

    python -m llmbench.plots.latency_percentile --log_dir ./results --backend vllm fastgen

A figure per setting of (model, TP, ragged batch, replicas, prompt, generation) and number of clients that all backends
have goes into ./plots/latency_percentile. The first token's time is no gap and is left out with the other
`--skip_head_token_num` times at the head of an answer; the first and the last `--skip_request_num` requests are left
out while the load comes and goes. Thin lines are 95 % intervals where the results have them, hollow bars are
measurements whose verdict is not VALID. Results without token times are left out.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from matplotlib.patches import Patch

from llmbench.errors import ConfigError
from llmbench.plots import style
from llmbench.plots.result_sets import (
    ResultSet,
    Sources,
    Warn,
    file_name,
    is_sound,
    load_result_sets,
    result_set,
    streamed_only,
    verdict_note,
    warn_in_python,
    warn_on_stderr,
)

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from llmbench.sweep_point import SweepPoint

Floats = npt.NDArray[np.float64]

PERCENTS = (50, 90, 95)


def latency_percentile(
    results: Sources,
    ax: Axes | None = None,
    *,
    num_clients: int | None = None,
    skip_head_token_num: int = 1,
    skip_request_num: int = 1,
    **select: Any,
) -> Axes:
    """Draws one setting at one number of clients and returns the Axes.

    `results` and `select` are those of `throughput_latency`. `num_clients` may be left out where all series have only
    one number of clients in common.
    """
    if skip_head_token_num < 0 or skip_request_num < 0:
        raise ConfigError("skip_head_token_num and skip_request_num must be at least 0")
    found = result_set(results, select)
    streamed = streamed_only(found, warn_in_python)
    if streamed is None:
        raise ConfigError(f"{found.stem} was measured without --stream: it has no token times")
    by_clients = _by_clients(streamed, warn_in_python, num_clients)
    if num_clients is not None:
        by_clients = {count: each for count, each in by_clients.items() if count == num_clients}
    if len(by_clients) != 1:
        common = ", ".join(map(str, _common_clients(streamed))) or "none"
        raise ConfigError(f"a figure shows one number of clients: give num_clients; all series have {common}")
    (at_clients,) = by_clients.values()
    with_gaps = _with_gaps(at_clients, skip_head_token_num, skip_request_num, warn_in_python)
    if with_gaps is None:
        raise ConfigError(f"no gap is left behind {skip_head_token_num} tokens: lower skip_head_token_num")
    return _draw(with_gaps, ax, skip_head_token_num, skip_request_num)


def token_gaps(point: SweepPoint, skip_tokens: int, skip_requests: int) -> Floats:
    """The times between tokens of one measurement, in seconds; with `skip_tokens` 0 the first tokens' times too.

    The requests that were sent first and last are left out as long as others remain.
    """
    order = np.argsort(point.start_s, kind="stable")
    if skip_requests and len(order) > 2 * skip_requests:
        order = order[skip_requests:-skip_requests]
    starts, ends = point.token_offsets[:-1][order], point.token_offsets[1:][order]
    parts = [point.token_times_s[start + skip_tokens : end] for start, end in zip(starts, ends, strict=True)]
    return np.concatenate(parts) if parts else np.empty(0)


def _common_clients(results: ResultSet) -> list[int]:
    counts = [{point.combination.num_clients for point in series.points} for series in results.series]
    return sorted(set.intersection(*counts))


def _by_clients(results: ResultSet, warn: Warn, only: int | None = None) -> dict[int, ResultSet]:
    """A set of one point a series for each number of clients that all series have; others are warned of."""
    common = _common_clients(results)
    for series in results.series:
        alone = [
            point.combination.num_clients
            for point in series.points
            if point.combination.num_clients not in common and only in (None, point.combination.num_clients)
        ]
        if alone:
            warn(f"{results.stem}: not all have {', '.join(map(str, alone))} clients, as {series.label} has")
    return {
        count: ResultSet(
            replace(results.combination, num_clients=count),
            tuple(
                replace(series, points=tuple(p for p in series.points if p.combination.num_clients == count))
                for series in results.series
            ),
        )
        for count in common
    }


def _with_gaps(results: ResultSet, skip_tokens: int, skip_requests: int, warn: Warn) -> ResultSet | None:
    """The series that have a gap to count, of those with one point each; None where there are none."""
    kept = tuple(
        series for series in results.series if len(token_gaps(series.points[0], skip_tokens, skip_requests))
    )
    for series in results.series:
        if series not in kept:
            warn(f"{series.label}: left out, its answers have no gap behind {skip_tokens} tokens")
    return replace(results, series=kept) if kept else None


def _draw(
    results: ResultSet, ax: Axes | None, skip_tokens: int, skip_requests: int, *, shown: bool = True
) -> Axes:
    with style.look():
        axes = style.new_axes(shown=shown) if ax is None else ax
        axes.grid(visible=False, axis="x")
        handles: list[Artist] = []
        count = len(results.series)
        width = 0.8 / max(count, 2)
        for i, (series, (color, _)) in enumerate(
            zip(results.series, style.colors_and_markers(), strict=False)
        ):
            color = series.config.color or color
            at: Floats = np.arange(len(PERCENTS), dtype=np.float64) + (i - (count - 1) / 2) * width
            _draw_bars(axes, at, width, series.points[0], color, skip_tokens, skip_requests)
            handles.append(Patch(facecolor=color))
        axes.set_xticks(range(len(PERCENTS)), [f"P{percent}" for percent in PERCENTS])
        axes.tick_params(axis="x", length=0, labelsize=11)
        axes.set_xlim(-0.6, len(PERCENTS) - 0.4)
        style.from_zero(axes, x=False)
        per_token = all(_one_token_an_event(point) for point in results.points)
        axes.set_ylabel("Inter-token latency (ms)" if per_token else "Inter-chunk latency (ms)")
        clients = results.combination.num_clients
        style.title(axes, results.model, results.detail(f"{clients} client{'s' if clients > 1 else ''}"))
        style.legend(axes, handles, [series.label for series in results.series])
        style.caption(
            axes, _caption(results, per_token, skip_requests, [text.get_text() for text in axes.texts])
        )
    return axes


def _draw_bars(
    axes: Axes, at: Floats, width: float, point: SweepPoint, color: str, skip_tokens: int, skip_requests: int
) -> None:
    heights = np.percentile(token_gaps(point, skip_tokens, skip_requests), PERCENTS) * 1e3
    sound = is_sound(point)
    axes.bar(
        at,
        heights,
        width * 0.92,
        facecolor=color if sound else "white",
        edgecolor=color,
        linewidth=1.4,
        zorder=2,
    )
    metric = "itl" if _one_token_an_event(point) else "icl"
    for x, height, percent in zip(at, heights, PERCENTS, strict=True):
        key = f"p{percent}_{metric}_ms"
        interval = point.interval(key)
        if interval is not None and interval[0] <= height <= interval[1]:
            axes.plot((x, x), interval, color=style.INK, linewidth=1, solid_capstyle="butt", zorder=3)
        top = max(height, interval[1]) if interval is not None else height
        text = f"{height:#.3g}".rstrip(".") if height < 1000 else f"{height:.0f}"
        axes.annotate(
            text if point.is_supported(key) else f"≥ {text}",
            (x, top),
            (0, 3),
            textcoords="offset points",
            ha="center",
            va="bottom",
            color=style.FAINT,
            fontsize=8.5,
        )
        axes.update_datalim([(x, top)])


def _one_token_an_event(point: SweepPoint) -> bool:
    """Whether the gaps between events are those between tokens: as many of each in 95 % of the requests."""
    events = np.diff(point.token_offsets)
    return bool(np.mean((point.output_tokens == events) | (point.output_tokens < 0)) >= 0.95)


def _caption(results: ResultSet, per_token: bool, skip_requests: int, marked: Sequence[str]) -> str:
    parts = []
    if not per_token:
        several = [series.label for series in results.series if not _one_token_an_event(series.points[0])]
        parts.append(f"Events of several tokens: {', '.join(several)}")
    if skip_requests:
        parts.append(f"without the first and last {skip_requests if skip_requests > 1 else 'request'}")
    if any("≥" in text for text in marked):
        parts.append("≥: too few requests to tell")
    parts.append(verdict_note(results.points))
    text = " · ".join(filter(None, parts))
    return text[:1].upper() + text[1:]


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m llmbench.plots.latency_percentile ARGV…`; returns the exit code, raises LlmbenchError."""
    from llmbench.cli import flags
    from llmbench.plots.source_flags import directories, save_all, sweep_parser

    parser = sweep_parser("latency_percentile", "P50, P90 and P95 of the gaps between tokens, per backend.")
    group = parser.add_argument_group("tokens")
    group.add_argument(
        "--skip_head_token_num",
        type=flags.whole,
        default=1,
        metavar="N",
        help="times left out at the head of an answer; 0 counts the first token's too (default 1)",
    )
    group.add_argument(
        "--skip_request_num",
        type=flags.whole,
        default=1,
        metavar="N",
        help="requests left out at the start and at the end (default 1)",
    )
    args = parser.parse_args(argv)
    sets = load_result_sets(directories(args), warn_on_stderr)
    streamed = [kept for results in sets if (kept := streamed_only(results, warn_on_stderr)) is not None]
    skipped = args.skip_head_token_num, args.skip_request_num
    drawn = [
        kept
        for results in streamed
        for each in _by_clients(results, warn_on_stderr).values()
        if (kept := _with_gaps(each, *skipped, warn_on_stderr)) is not None
    ]
    if not drawn:
        raise ConfigError(
            "there is no setting and number of clients that all directories have, measured with --stream: choose the "
            "directories with --backend or --data_dirs"
        )

    def figures() -> Iterator[tuple[Axes, str]]:
        pattern = "p95_token_latency_{model}_c{num_clients}_tp{tp_size}_p{prompt_length}g{gen_length}"
        for results in drawn:
            axes = _draw(results, None, *skipped, shown=False)
            yield axes, file_name(pattern, results, drawn)

    return save_all(figures(), args.out_dir)


if __name__ == "__main__":
    from llmbench.cli import execute

    sys.exit(execute("python -m llmbench.plots.latency_percentile", main))
