"""A run second by second: requests in flight, arrivals, token rate and time to first token.

    python -m llmbench.plots.timeline results/a.llmbench

The steady part is shaded, and the verdict is in the caption.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llmbench import steadiness
from llmbench.errors import ResultsError
from llmbench.plots import style
from llmbench.request_rows import ABSENT_NS, OK, WARMUP
from llmbench.request_times import streamed_ns

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from llmbench.request_rows import Rows
    from llmbench.steadiness import Bins, Series, SteadyState

_DECODING, _WAITING, _TOKENS, _FAILED = (style.PALETTE[i] for i in (0, 4, 2, 1))
_SENT = "#C9C9C9"
_STEADY, _STEADY_EDGE = "#E9EEF5", "#7A8CA5"
_HEIGHTS = (3.0, 2.0, 2.0, 3.0)
"""Of the panels, in shares."""
_GAP = 0.32
_DOTS = 4000
"""Requests drawn one by one."""
_PER_POINT = 20
"""Requests that a percentile of the last panel takes on average, where the run has as many."""


def timeline(result: Any, ax: Axes | None = None, *, shown: bool = True) -> Axes:
    """Draws the run over time in four panels and returns the Axes that hold them, as its `child_axes`.

    `result`: a result, or the table of its requests, whose tokens are then spread evenly from a request's first to its
    last. `shown`: see `style.new_axes`.
    """
    rows: Rows = result if isinstance(result, np.ndarray) else result.requests
    found = steadiness.bins(rows, getattr(result, "events", None))
    if found is None:
        raise ResultsError(f"{_label(result)}: {steadiness.NO_BINS}, so there is nothing to draw")
    load = (getattr(result, "config", None) or {}).get("load") or {}
    steady = steadiness.steady_state(found, open_loop=load.get("arrival") != "closed")
    with style.look():
        axes = style.new_axes(9.0, 8.4, shown=shown) if ax is None else ax
        panels = _panels(axes)
        _draw_in_flight(panels[0], found)
        _draw_requests(panels[1], found)
        _draw_tokens(panels[2], found)
        _draw_ttft(panels[3], rows, found)
        for panel in panels:
            _finish(panel, found, steady)
        panels[-1].set_xlabel("Time since the run's start (s)")
        style.title(axes, "The run over time", style.joined((_label(result), load.get("description")), 60))
        style.caption(axes, _caption(result, rows, found, steady))
    return axes


def _panels(axes: Axes) -> list[Axes]:
    """The Axes' area, cut into panels one above the other with one time axis."""
    axes.set_axis_off()
    total = sum(_HEIGHTS) + _GAP * (len(_HEIGHTS) - 1)
    panels: list[Axes] = []
    top = total
    for height in _HEIGHTS:
        panel = axes.inset_axes(
            (0, (top - height) / total, 1, height / total), sharex=panels[0] if panels else None
        )
        panel.tick_params(labelbottom=len(panels) == len(_HEIGHTS) - 1)
        panels.append(panel)
        top -= height + _GAP
    return panels


def _draw_in_flight(panel: Axes, found: Bins) -> None:
    decoding = np.maximum(found.in_flight - found.waiting, 0)
    panel.stackplot(
        _edges(found),
        _stepped(decoding),
        _stepped(found.waiting),
        labels=("decoding", "waiting for the first token"),
        colors=(_DECODING, _WAITING),
        alpha=0.85,
        linewidth=0,
    )
    panel.set_ylabel("Requests\nin flight")


def _draw_requests(panel: Axes, found: Bins) -> None:
    sent = _stepped(found.arrivals)
    panel.fill_between(_edges(found), sent, color=_SENT, linewidth=0, label="sent")
    panel.plot(_edges(found), _stepped(found.completions), color=_DECODING, linewidth=1.2, label="completed")
    if found.failures.any():
        panel.plot(_edges(found), _stepped(found.failures), color=_FAILED, linewidth=1.2, label="failed")
    panel.set_ylabel("Requests/s")


def _draw_tokens(panel: Axes, found: Bins) -> None:
    panel.fill_between(_edges(found), _stepped(found.tokens), color=_TOKENS, alpha=0.25, linewidth=0)
    panel.plot(_edges(found), _stepped(found.tokens), color=_TOKENS, linewidth=1.4)
    panel.set_ylabel("Output\ntokens/s")


def _draw_ttft(panel: Axes, rows: Rows, found: Bins) -> None:
    known = rows[(rows["phase"] != WARMUP) & (rows["outcome"] == OK)]
    streamed = streamed_ns(known, "first_token_ns") != ABSENT_NS
    known = known[streamed & (known["sent_ns"] != ABSENT_NS)]
    panel.set_ylabel("TTFT (ms)")
    if not len(known):
        return
    at, ttft = known["sent_ns"] / 1e9, (known["first_token_ns"] - known["sent_ns"]) / 1e6
    some = slice(None, None, -(-len(at) // _DOTS))
    panel.plot(
        at[some], ttft[some], linestyle="none", marker=".", markersize=3.5, color="#A8A8A8", zorder=2,
        markeredgewidth=0, rasterized=len(at) > 1000,
    )  # fmt: skip
    width = _point_seconds(len(at), len(found))
    for percent, color in ((50, _DECODING), (99, _WAITING)):
        when, value = _percentile_over_time(at, ttft, found, width, percent)
        label = f"p{percent} of {width} s" if width > 1 else f"p{percent} of each second"
        panel.plot(when, value, color=color, linewidth=1.6, label=label, marker="o", markersize=2.5, zorder=3)
    if ttft.min() > 0 and ttft.max() / ttft.min() > 20:
        panel.set_yscale("log")
        panel.set_ylim(ttft.min() / 1.3, ttft.max() * 1.3)
        style.plain_log_labels(panel.yaxis)


def _point_seconds(requests: int, seconds: int) -> int:
    """Whole seconds that hold enough requests for a percentile to mean something, and few enough to see time pass."""
    for width in (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600):
        if requests * width / seconds >= _PER_POINT or seconds / width < 16:
            return width
    return 3600


def _percentile_over_time(
    at: Series, values: Series, found: Bins, width: int, percent: float
) -> tuple[Series, Series]:
    first = found.origin_ns / 1e9
    index = ((at - first) // width).astype(np.int64)
    chosen = np.unique(index)
    when = np.minimum(first + (chosen + 0.5) * width, first + len(found))
    return when, np.array([np.percentile(values[index == each], percent) for each in chosen])


def _finish(panel: Axes, found: Bins, steady: SteadyState) -> None:
    begin = found.origin_ns / 1e9
    panel.set_xlim(0 if begin < 1 else begin, begin + len(found))
    panel.yaxis.set_label_coords(-0.075, 0.5)
    if panel.get_yscale() == "linear":
        most = float(panel.dataLim.ymax)
        panel.set_ylim(0, most * 1.12 if np.isfinite(most) and most > 0 else 1)
    if steady.found:
        panel.axvspan(begin + steady.begin, begin + steady.end, color=_STEADY, linewidth=0, zorder=0.5)
        for edge in {steady.begin, steady.end} - {0}:
            panel.axvline(begin + edge, color=_STEADY_EDGE, linewidth=0.8, linestyle=(0, (4, 3)), zorder=2.5)
    handles, labels = panel.get_legend_handles_labels()
    if handles:
        # Above the panel at the right, where no data are.
        panel.legend(
            handles, labels, loc="lower right", bbox_to_anchor=(1, 0.99), ncols=len(labels), fontsize=8.5,
            handlelength=1.4, columnspacing=1.4, borderpad=0.1,
        )  # fmt: skip


def _edges(found: Bins) -> Series:
    """Each bin's begin and end, one after the other."""
    begin = found.origin_ns / 1e9
    edges: Series = begin + np.repeat(np.arange(len(found) + 1), 2)[1:-1].astype(np.float64)
    return edges


def _stepped(values: Series) -> Series:
    return np.repeat(values, 2)


def _label(result: Any) -> str:
    path = getattr(result, "path", None)
    return Path(path).stem if path else ""


def _caption(result: Any, rows: Rows, found: Bins, steady: SteadyState) -> str:
    measured = int((rows["phase"] != WARMUP).sum())
    verdict = getattr(result, "verdict", None)
    begin = found.origin_ns / 1e9
    parts = [f"{measured} requests"]
    if steady.found:
        parts.append(f"shaded: steady from {begin + steady.begin:.0f} s to {begin + steady.end:.0f} s")
    else:
        parts.append(f"no steady state: {steady.absent_because}")
    if verdict is not None:
        parts.insert(1, str(verdict))
    return "\n".join(textwrap.wrap(" · ".join(parts), 125))


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m llmbench.plots.timeline ARGV…`; returns the exit code, raises LlmbenchError."""
    from llmbench.plots.result_flags import draw_each, result_parser

    args = result_parser("timeline", "A run second by second.", metric=False).parse_args(argv)
    return draw_each(args, "timeline", lambda result: timeline(result, shown=False))


if __name__ == "__main__":
    from llmbench.cli import execute

    sys.exit(execute("python -m llmbench.plots.timeline", main))
