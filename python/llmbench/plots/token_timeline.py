"""When each token came: a request to a row, a tick to an output event, stalls in colour.

    python -m llmbench.plots.token_timeline results/a.llmbench --rows 60 --from 20 --to 30

Where stalls stand above one another the server, or the network, stood still for all; where they are scattered a few
requests were held up.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from llmbench.errors import ConfigError, ResultsError
from llmbench.plots import style
from llmbench.request_rows import ABSENT_NS, WARMUP

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from llmbench.request_rows import Rows

_TOKEN, _WAIT, _STALL, _FAILED = style.PALETTE[0], "#B5B5B5", style.PALETTE[1], "#B00020"
_TICK_PT = 0.5
_STALL_GAPS = 5
"""A gap of so many median gaps is a stall, unless the caller says what is one."""
_WIDTH_PT = 540
"""About what the time axis has."""
_LABELLED = 10
"""Rows that are each numbered."""
_SOLID = 20_000
"""So many ticks become pixels in the SVG file."""

Segments = list[tuple[tuple[float, float], tuple[float, float]]]


def token_timeline(
    result: Any,
    ax: Axes | None = None,
    *,
    rows: int = 50,
    begin_s: float | None = None,
    end_s: float | None = None,
    stall_ms: float | None = None,
    shown: bool = True,
) -> Axes:
    """Draws the output events of at most `rows` requests, chosen evenly in the order of the schedule, and returns the
    Axes.

    Only requests that were in flight between `begin_s` and `end_s` count. `stall_ms` is the gap from which on it is a
    stall, by default five times the median gap. `shown`: see `style.new_axes`.
    """
    if rows < 1:
        raise ConfigError(f"rows must be at least 1, not {rows}")
    if begin_s is not None and end_s is not None and begin_s >= end_s:
        raise ConfigError(f"the time from {begin_s:g} s to {end_s:g} s is empty")
    table: Rows = result.requests
    there = _in_flight(table, begin_s, end_s)
    if not len(there):
        raise ResultsError(f"{_label(result)}: no request was in flight in that time")
    chosen = there[np.unique(np.linspace(0, len(there) - 1, min(rows, len(there))).round().astype(int))]
    times = [result.events.of(int(i)) / 1e9 for i in chosen]
    limit_s = stall_ms / 1000 if stall_ms is not None else _usual_stall_s(times)
    with style.look():
        axes = style.new_axes(9.0, 2.2 + 0.11 * max(len(chosen), 12), shown=shown) if ax is None else ax
        begin, end = _span(table[chosen], begin_s, end_s)
        stalled = _draw(axes, table[chosen], times, limit_s, (begin, end))
        axes.set_xlim(begin, end)
        axes.set_ylim(len(chosen) - 0.4, -0.6)
        _number_rows(axes, table["id"][chosen])
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("Time since the run's start (s)")
        axes.set_ylabel("Request, by its number in the schedule")
        load = (getattr(result, "config", None) or {}).get("load") or {}
        style.title(axes, "Every token", style.joined((_label(result), load.get("description")), 42))
        _legend(axes, limit_s, failed=bool((table["outcome"][chosen] > 1).any()))
        style.caption(axes, _caption(result, len(chosen), len(there), stalled))
    return axes


def _number_rows(axes: Axes, ids: npt.NDArray[np.int64]) -> None:
    """Labels every row where they are few; else round numbers, which stand between two rows where the request of that
    number is not drawn."""
    labels = [int(each) for each in ids]
    if len(labels) > _LABELLED:
        ticks = MaxNLocator(_LABELLED, integer=True, steps=[1, 2, 5, 10]).tick_values(labels[0], labels[-1])
        labels = [int(each) for each in ticks if labels[0] <= each <= labels[-1]]
    axes.set_yticks(np.interp(labels, ids, np.arange(len(ids))), [str(each) for each in labels])


def _in_flight(table: Rows, begin_s: float | None, end_s: float | None) -> npt.NDArray[np.intp]:
    known = (table["phase"] != WARMUP) & (table["sent_ns"] != ABSENT_NS) & (table["end_ns"] != ABSENT_NS)
    if begin_s is not None:
        known &= table["end_ns"] >= begin_s * 1e9
    if end_s is not None:
        known &= table["sent_ns"] <= end_s * 1e9
    return np.flatnonzero(known)


def _usual_stall_s(times: list[npt.NDArray[np.float64]]) -> float:
    gaps = np.concatenate([np.empty(0), *(np.diff(each) for each in times)])
    # Events of one write come at once: a gap of 0 is none to compare with.
    gaps = gaps[gaps > 0]
    return _STALL_GAPS * float(np.median(gaps)) if len(gaps) else float("inf")


def _draw(
    axes: Axes, rows: Rows, times: list[npt.NDArray[np.float64]], limit_s: float, span: tuple[float, float]
) -> int:
    """Returns how many of the rows have a stall within the span."""
    stalled = 0
    waits: Segments = []
    stalls: Segments = []
    failed: list[tuple[float, int]] = []
    x: list[npt.NDArray[np.float64]] = []
    y: list[npt.NDArray[np.float64]] = []
    for i, (row, came) in enumerate(zip(rows, times, strict=True)):
        first = float(came[0]) if len(came) else float(row["end_ns"]) / 1e9
        waits.append(((float(row["sent_ns"]) / 1e9, i), (first, i)))
        long = np.flatnonzero((np.diff(came) > limit_s) & (came[:-1] < span[1]) & (came[1:] > span[0]))
        stalled += len(long) > 0
        stalls += [((float(came[j]), i), (float(came[j + 1]), i)) for j in long]
        x.append(came)
        y.append(np.full(len(came), float(i)))
        if row["outcome"] > 1:
            failed.append((float(row["end_ns"]) / 1e9, i))
    at, row_of = np.concatenate(x), np.concatenate(y)
    ticks = np.stack([np.stack([at, row_of - 0.36], 1), np.stack([at, row_of + 0.36], 1)], 1)
    axes.add_collection(LineCollection(waits, colors=_WAIT, linewidths=1.2, zorder=1.5))
    axes.add_collection(
        LineCollection(
            list(ticks),
            colors=_TOKEN,
            linewidths=_TICK_PT,
            alpha=_opacity(times, span),
            zorder=2,
            rasterized=len(at) > _SOLID,
        )
    )
    axes.add_collection(LineCollection(stalls, colors=_STALL, linewidths=3.2, capstyle="butt", zorder=3))
    if failed:
        axes.plot(
            *zip(*failed, strict=True), linestyle="none", marker="x", color=_FAILED, markersize=5, zorder=4
        )
    return stalled


def _opacity(times: list[npt.NDArray[np.float64]], span: tuple[float, float]) -> float:
    """Where ticks overlap they must let those below through: then a row is as dark as its tokens came fast."""
    gaps = np.concatenate([np.empty(0), *(np.diff(each) for each in times)])
    if not len(gaps):
        return 0.75
    ticks_apart = float(np.median(gaps)) / (span[1] - span[0]) * _WIDTH_PT / _TICK_PT
    return float(np.clip(0.6 * ticks_apart, 0.12, 0.75))


def _span(rows: Rows, begin_s: float | None, end_s: float | None) -> tuple[float, float]:
    first, last = float(rows["sent_ns"].min()) / 1e9, float(rows["end_ns"].max()) / 1e9
    room = 0.01 * max(last - first, 1e-3)
    return (first - room if begin_s is None else begin_s), (last + room if end_s is None else end_s)


def _legend(axes: Axes, limit_s: float, *, failed: bool) -> None:
    handles = [
        Line2D([], [], color=_WAIT, linewidth=2),
        Line2D([], [], color=_TOKEN, linestyle="none", marker="|", markersize=8),
        Line2D([], [], color=_STALL, linewidth=3.2),
    ]
    labels = ["until the first token", "tokens", f"stall, over {style.short(limit_s * 1000)} ms"]
    if failed:
        handles.append(Line2D([], [], color=_FAILED, linestyle="none", marker="x", markersize=5))
        labels.append("failed")
    axes.legend(
        handles,
        labels,
        loc="lower right",
        bbox_to_anchor=(1, 1.0),
        ncols=len(handles),
        fontsize=9,
        handlelength=1.6,
    )


def _label(result: Any) -> str:
    path = getattr(result, "path", None)
    return Path(path).stem if path else ""


def _caption(result: Any, drawn: int, there: int, stalled: int) -> str:
    parts = [f"{drawn} of {there} requests, chosen evenly" if drawn < there else f"{there} requests"]
    parts.append(f"{stalled} of them with a stall" if stalled else "no stalls")
    verdict = getattr(getattr(result, "verdict", None), "status", None)
    if verdict:
        parts.append(str(verdict))
    return " · ".join(parts)


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m llmbench.plots.token_timeline ARGV…`; returns the exit code, raises LlmbenchError."""
    from llmbench.plots.result_flags import draw_each, result_parser

    parser = result_parser("token_timeline", "When each token of each request came.", metric=False)
    parser.add_argument(
        "--rows", type=int, default=50, metavar="N", help="requests drawn at most (default 50)"
    )
    parser.add_argument("--from", dest="begin_s", type=float, metavar="S", help="draw from this second on")
    parser.add_argument("--to", dest="end_s", type=float, metavar="S", help="draw up to this second")
    parser.add_argument(
        "--stall-ms", type=float, metavar="MS", help="a gap of more is a stall (default 5 × the median gap)"
    )
    args = parser.parse_args(argv)
    return draw_each(
        args,
        "token_timeline",
        lambda result: token_timeline(
            result,
            rows=args.rows,
            begin_s=args.begin_s,
            end_s=args.end_s,
            stall_ms=args.stall_ms,
            shown=False,
        ),
    )


if __name__ == "__main__":
    from llmbench.cli import execute

    sys.exit(execute("python -m llmbench.plots.token_timeline", main))
