"""How every figure looks: colours, type, grid, legend, caption and files, set without touching matplotlib's
state.

A figure is drawn inside `look()`, on Axes the caller gives or on those of `new_axes()`; `save()` writes it.
pyplot is used only where the user works with it already, in a notebook or in a script that has imported it.
"""

from __future__ import annotations

import contextlib
import itertools
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from matplotlib.transforms import ScaledTranslation

from llmbench.errors import ResultsError

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

# Okabe and Ito's colours, which stay apart under every common colour blindness; their yellow is too light on
# white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

INK = "#222222"
FAINT = "#6B6B6B"
GRID = "#E3E3E3"

DPI = 200

_CAPTION_LETTERS_PER_INCH = 16

_RC: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#9A9A9A",
    "axes.formatter.use_mathtext": True,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelpad": 6,
    "axes.labelsize": 11,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlesize": 13,
    "axes.titleweight": "bold",
    "figure.dpi": 100,
    "figure.facecolor": "white",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "legend.borderaxespad": 0.0,
    "legend.fontsize": 10,
    "legend.frameon": False,
    "legend.handlelength": 2.4,
    "lines.linewidth": 1.8,
    "lines.markersize": 6.5,
    "savefig.facecolor": "white",
    "svg.fonttype": "path",
    # Fixed, so that the same results give the same file.
    "svg.hashsalt": "llmbench",
    "text.color": INK,
    "xtick.color": "#9A9A9A",
    "xtick.labelcolor": INK,
    "ytick.color": "#9A9A9A",
    "ytick.labelcolor": INK,
}


@contextlib.contextmanager
def look() -> Iterator[None]:
    """The settings figures are made with; on leaving, the user's own are back."""
    # Whether figures are shown at once is no matter of style, and a notebook turns it on when its first figure is made.
    interactive = mpl.is_interactive()
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_RC)
        mpl.interactive(interactive)
        try:
            yield
        finally:
            interactive = mpl.is_interactive()
    mpl.interactive(interactive)


def new_axes(width: float = 8.0, height: float = 4.8, *, shown: bool = True) -> Axes:
    """Axes on a figure of their own, in inches.

    `shown`: a notebook, or a script that uses pyplot, shall show the figure as it would its own. Otherwise
    pyplot, which looks for a display, is left alone.
    """
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1)
    if shown and _uses_pyplot():
        import matplotlib.pyplot as plt

        figure = plt.figure(figsize=(width, height), layout=layout)
    else:
        figure = Figure(figsize=(width, height), layout=layout)
    return figure.add_subplot()


def _uses_pyplot() -> bool:
    if "matplotlib.pyplot" in sys.modules:
        return True
    ipython = sys.modules.get("IPython")
    return ipython is not None and ipython.get_ipython() is not None


def colors_and_markers() -> Iterator[tuple[str, str]]:
    """A colour and a marker per series: seven colours with circles, then the same with squares, and so on."""
    for marker in itertools.cycle(MARKERS):
        for color in PALETTE:
            yield color, marker


def title(axes: Axes, heading: str, detail: str = "") -> None:
    """What the figure is about, in bold, and below it the settings, a line or two, both at the left edge."""
    heading = _shortened(heading, 64)
    axes.set_title(heading, loc="left", pad=26 + 14 * detail.count("\n") if detail else 10)
    if detail:
        axes.annotate(
            detail,
            (0, 1),
            (0, 10),
            xycoords="axes fraction",
            textcoords="offset points",
            color=FAINT,
            fontsize=10,
        )


def joined(parts: Sequence[str | None], letters: int) -> str:
    """The parts that there are as a title's detail: in one line, or a line each when that would be longer than
    `letters` and reach what stands to its right."""
    there = [part for part in parts if part]
    line = " · ".join(there)
    return line if len(line) <= letters else "\n".join(there)


def legend(axes: Axes, handles: Sequence[Artist], labels: Sequence[str]) -> None:
    """The legend outside the data: to the right, or below when a name is too long to stand there."""
    if not handles:
        return
    labels = [_shortened(label, 96) for label in labels]
    # Offsets in points: as shares of the Axes they would move when the layout makes room for the legend itself.
    columns = 1
    if max(map(len, labels)) <= 22:
        corner, right, up = (1, 1), 14, 0
    else:
        corner, right, up = (0, 0), 0, -44
        if len(labels) > 3 and max(map(len, labels)) <= 36:
            columns = 2
    anchor = axes.transAxes + ScaledTranslation(right / 72, up / 72, axes.figure.dpi_scale_trans)
    axes.legend(
        handles, labels, loc="upper left", bbox_to_anchor=corner, bbox_transform=anchor, ncols=columns
    )


def caption(axes: Axes, text: str) -> None:
    """Small grey type at the foot of the figure, in as many lines as its width needs; nothing on a figure that holds
    other Axes as well."""
    figure = axes.figure
    if isinstance(figure, Figure) and len(figure.axes) == 1 and text:
        width = int(_CAPTION_LETTERS_PER_INCH * figure.get_figwidth())
        lines = [
            line for part in text.splitlines() for line in textwrap.wrap(part, width, break_on_hyphens=False)
        ]
        figure.supxlabel("\n".join(lines), x=0.015, ha="left", fontsize=8, color=FAINT)


def _shortened(text: str, length: int) -> str:
    # The ends of a name say more than its middle.
    half = (length - 1) // 2
    return text if len(text) <= length else f"{text[:half]}…{text[-half:]}"


def short(value: float) -> str:
    """A number in three digits, or in as many as it has before its point: 0.0512, 51.2, 2081."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def from_zero(axes: Axes, *, x: bool = True, y: bool = True) -> None:
    """Axes that begin at zero, with room beyond the data, so that flat data lie below the frame and not on it.
    Where data are nowhere above zero, the limits stay."""
    if x and axes.dataLim.xmax > 0:
        axes.set_xlim(0, axes.dataLim.xmax * 1.06)
    if y and axes.dataLim.ymax > 0:
        axes.set_ylim(0, axes.dataLim.ymax * 1.08)


def points(
    axes: Axes,
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    filled: npt.ArrayLike,
    *,
    color: str,
    marker: str,
) -> None:
    """Markers at the points, hollow where `filled` is false."""
    x, y, filled = np.asarray(x), np.asarray(y), np.asarray(filled, dtype=bool)
    for chosen, face in ((filled, color), (~filled, "white")):
        axes.plot(
            x[chosen], y[chosen], linestyle="none", marker=marker, color=color, markerfacecolor=face, zorder=3
        )


def number_points(
    axes: Axes, x: Sequence[float], y: Sequence[float], texts: Sequence[str], *, above: bool = False
) -> None:
    """A small text to the lower right of each point, or `above` it to the right; left out where it would stand on the
    one before.

    The limits of the axes must stand already.
    """
    last: tuple[float, float] | None = None
    for at_x, at_y, text in zip(x, y, texts, strict=True):
        right, up = axes.transData.transform((at_x, at_y)) * 72 / axes.figure.dpi
        if last is None or abs(right - last[0]) > 14 or abs(up - last[1]) > 10:
            label = axes.annotate(
                text,
                (at_x, at_y),
                (6, 3) if above else (6, -4),
                textcoords="offset points",
                va="bottom" if above else "top",
                color=FAINT,
                fontsize=8.5,
                zorder=4,
            )
            # The line may run through it.
            label.set_path_effects([withStroke(linewidth=2.5, foreground="white", alpha=0.85)])
            last = right, up


def plain_log_labels(axis: Axis) -> None:
    """0.5, 1, 2, 5, 10 on a logarithmic axis instead of powers of ten."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def save(axes: Axes, directory: Path, stem: str) -> tuple[Path, Path]:
    """Writes the figure as `stem`.png and `stem`.svg, the same bytes for the same figure. Raises
    ResultsError.
    """
    # A SubFigure's own figure is the one that holds it, and a Figure's is itself.
    figure = axes.figure.figure
    png, svg = directory / f"{stem}.png", directory / f"{stem}.svg"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with look():
            figure.savefig(png, dpi=DPI, metadata={"Software": "llmbench"})
            figure.savefig(svg, metadata={"Creator": "llmbench", "Date": None})
    except OSError as error:
        raise ResultsError(
            f"cannot write the figure {error.filename or png}: {error.strerror or error}; "
            "choose another --out_dir"
        ) from error
    return png, svg
