"""How every figure looks: colours, type, grid, legend, caption and files, set without touching matplotlib's state.

A figure is drawn inside `look()`, on Axes the caller gives or on those of `new_axes()`; `save()` writes it. pyplot is
used only where the user works with it already, in a notebook or in a script that has imported it.
"""

from __future__ import annotations

import contextlib
import itertools
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure

from llmbench.errors import ResultsError

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

# Okabe and Ito's colours, which stay apart under every common colour blindness; their yellow is too light on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

INK = "#222222"
FAINT = "#6B6B6B"
GRID = "#E3E3E3"

DPI = 200

_RC: dict[str, Any] = {
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
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_RC)
        yield


def new_axes(width: float = 8.0, height: float = 4.8, *, shown: bool = True) -> Axes:
    """Axes on a figure of their own, in inches.

    `shown`: a notebook, or a script that uses pyplot, shall show the figure as it would its own. Otherwise pyplot,
    which looks for a display, is left alone.
    """
    if shown and _uses_pyplot():
        import matplotlib.pyplot as plt

        figure = plt.figure(figsize=(width, height), layout="constrained")
    else:
        figure = Figure(figsize=(width, height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.1)  # type: ignore[union-attr]
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
    """What the figure is about, in bold, and below it the settings, both at the left edge."""
    heading = _shortened(heading, 64)
    axes.set_title(heading, loc="left", pad=26 if detail else 10)
    if detail:
        axes.annotate(
            detail, (0, 1), (0, 10), xycoords="axes fraction", textcoords="offset points", color=FAINT, fontsize=10
        )


def legend(axes: Axes, handles: Sequence[Artist], labels: Sequence[str]) -> None:
    """The legend outside the data: to the right, or below when a name is too long to stand there."""
    if not handles:
        return
    labels = [_shortened(label, 96) for label in labels]
    if max(map(len, labels)) <= 22:
        axes.legend(handles, labels, loc="upper left", bbox_to_anchor=(1.02, 1.0))
    else:
        axes.legend(handles, labels, loc="upper left", bbox_to_anchor=(0.0, -0.16))


def caption(axes: Axes, text: str) -> None:
    """A line in small grey type at the foot of the figure; nothing on a figure that holds other Axes as well."""
    figure = axes.figure
    if isinstance(figure, Figure) and len(figure.axes) == 1 and text:
        figure.supxlabel(text, x=0.015, ha="left", fontsize=8, color=FAINT)


def _shortened(text: str, length: int) -> str:
    # The ends of a name say more than its middle.
    half = (length - 1) // 2
    return text if len(text) <= length else f"{text[:half]}…{text[-half:]}"


def save(figure: Figure, directory: Path, stem: str) -> list[Path]:
    """Writes `stem`.png and `stem`.svg; the same figure gives the same bytes. Raises ResultsError when it cannot."""
    paths = [directory / f"{stem}.png", directory / f"{stem}.svg"]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with mpl.rc_context({key: _RC[key] for key in ("svg.fonttype", "svg.hashsalt", "savefig.facecolor")}):
            figure.savefig(paths[0], dpi=DPI, metadata={"Software": "llmbench"})
            figure.savefig(paths[1], metadata={"Creator": "llmbench", "Date": None})
    except OSError as error:
        raise ResultsError(
            f"cannot write the figure {error.filename or paths[0]}: {error.strerror or error}; choose another --out_dir"
        ) from error
    return paths
