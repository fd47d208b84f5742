"""How far reported times are from the truth, by the number of streams: what `llmbench selftest` found.

    python -m llmbench.plots.selftest              # the self-test that was kept for this machine

A point is the median error, its line goes from P1 to P99, and the grey band is the budget: how far off a time may be
by the client's own account (its median, and lighter its P99). The axis is linear within ±10 µs and logarithmic beyond.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, NullLocator

from llmbench.errors import ConfigError, ResultsError
from llmbench.plots import style

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from llmbench.selftest import SelfTest

_LINEAR_US = 10.0
_SERIES = (("ttft", "TTFT", -0.12), ("itl", "ITL", 0.12))


def selftest(found: SelfTest, ax: Axes | None = None, *, shown: bool = True) -> Axes:
    """Draws the timing error of every level beside its budget and returns the Axes. `shown`: see
    `style.new_axes`."""
    with style.look():
        axes = style.new_axes(shown=shown) if ax is None else ax
        handles: list[Artist] = []
        places = np.arange(len(found.levels))
        colors = style.colors_and_markers()
        for name, label, aside in _SERIES:
            color, _ = next(colors)
            errors = [getattr(level, name) for level in found.levels]
            for place, error in zip(places + aside, errors, strict=True):
                _band(axes, place, error.budget_us, 0.4)
                _band(axes, place, error.budget_p99_us, 0.2)
            axes.vlines(
                places + aside,
                [error.p1_us for error in errors],
                [error.p99_us for error in errors],
                color=color,
                linewidth=2.2,
                zorder=2.4,
            )
            axes.plot(
                places + aside,
                [error.p50_us for error in errors],
                linestyle="none",
                marker="o",
                color=color,
                zorder=3,
            )
            handles.append(Line2D([], [], color=color, marker="o", label=label))
        handles.append(Patch(color=style.FAINT, alpha=0.4))
        axes.axhline(0, color=style.INK, linewidth=0.8)
        _scale(axes, found)
        axes.set_xticks(places, [str(level.streams) for level in found.levels])
        axes.set_xlim(-0.5, len(places) - 0.5)
        axes.set_xlabel("Streams")
        axes.set_ylabel("Reported − true (µs)")
        style.title(axes, "Timing error", _detail(found))
        style.legend(axes, handles, [*(label for _, label, _ in _SERIES), "Budget (±)"])
        style.caption(
            axes,
            "Points: median, lines: P1 to P99. Budget: median, lighter P99.",
        )
    return axes


def _band(axes: Axes, place: float, half_us: float, alpha: float) -> None:
    axes.fill_between(
        (place - 0.1, place + 0.1), -half_us, half_us, color=style.FAINT, alpha=alpha, linewidth=0, zorder=1.5
    )


def _scale(axes: Axes, found: SelfTest) -> None:
    """Linear about zero, logarithmic beyond, the same both ways."""
    farthest = max(
        max(abs(error.p1_us), abs(error.p99_us), error.budget_p99_us)
        for level in found.levels
        for error in (level.ttft, level.itl)
    )
    limit = max(farthest * 1.5, 2 * _LINEAR_US)
    axes.set_yscale("symlog", linthresh=_LINEAR_US, linscale=1)
    axes.set_ylim(-limit, limit)
    decades = [_LINEAR_US * 10**power for power in range(12) if _LINEAR_US * 10**power <= limit]
    axes.set_yticks([*(-each for each in reversed(decades)), 0, *decades])
    axes.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value:+,.0f}".replace(",", " ").replace("-", "−") if value else "0")
    )
    axes.yaxis.set_minor_locator(NullLocator())


def _detail(found: SelfTest) -> str:
    machine = found.machine
    events, requests = found.ceiling.of_cores(1)
    return (
        f"llmbench {machine.get('llmbench')} on {machine.get('cpu')}, Linux {machine.get('kernel')}\n"
        f"One worker's ceiling: {events / 1000:.3g} k events/s or {requests / 1000:.3g} k requests/s"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m llmbench.plots.selftest ARGV…`; returns the exit code, raises LlmbenchError."""
    from llmbench.cli.flags import Parser

    parser = Parser(
        prog="python -m llmbench.plots.selftest", description="How far reported times are from the truth."
    )
    parser.add_argument(
        "file",
        nargs="?",
        metavar="FILE",
        help="what llmbench selftest --json printed (default: the one it kept)",
    )
    parser.add_argument(
        "--out_dir", default="./plots/selftest", metavar="DIR", help="where the PNG and SVG files go"
    )
    args = parser.parse_args(argv)
    png, svg = style.save(selftest(_found(args.file), shown=False), Path(args.out_dir), "selftest")
    print(f"saved {png} and {svg.name}")
    return 0


def _found(file: str | None) -> SelfTest:
    from llmbench.selftest import SelfTest, kept

    if file is None:
        found = kept()
        if found is None:
            raise ConfigError("no self-test of this machine and version was kept: run llmbench selftest")
        return found
    try:
        return SelfTest.from_dict(json.loads(Path(file).read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise ResultsError(f"cannot read {file}: {error}") from None


if __name__ == "__main__":
    from llmbench.cli import execute

    sys.exit(execute("python -m llmbench.plots.selftest", main))
