"""The series of a figure over tensor-parallel sizes: one per result directory and TP size."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING

from llmbench.plots import style
from llmbench.plots.plot_config import PlotConfig
from llmbench.plots.result_sets import ResultSet

if TYPE_CHECKING:
    from llmbench.sweep_point import SweepPoint

_LINESTYLES = ("--", ":", "-.")


@dataclass(frozen=True)
class TpSeries:
    """The points of one TP size. The colour tells the TP size, marker and line tell the directory."""

    label: str
    tp_size: int
    points: tuple[SweepPoint, ...]
    color: str
    marker: str
    linestyle: str
    config: PlotConfig


def split_by_tp(results: ResultSet) -> list[TpSeries]:
    """By TP size within each directory, in the order of the legend."""
    sizes = tp_sizes_of(results)
    colors = dict(zip(sizes, cycle(style.PALETTE), strict=False))
    split = []
    looks = zip(results.series, cycle(style.MARKERS), cycle(_LINESTYLES), strict=False)
    for series, marker, linestyle in looks:
        of_series = {point.combination.tp_size for point in series.points}
        config = series.config
        for size in sizes:
            points = tuple(point for point in series.points if point.combination.tp_size == size)
            if not points:
                continue
            split.append(
                TpSeries(
                    label=f"TP {size}" if len(results.series) == 1 else f"{series.label} · TP {size}",
                    tp_size=size,
                    points=points,
                    # A directory's own colour would make its TP sizes look alike.
                    color=config.color if config.color and len(of_series) == 1 else colors[size],
                    marker=config.marker or marker,
                    linestyle=config.linestyle or linestyle,
                    config=config,
                )
            )
    return split


def tp_sizes_of(results: ResultSet) -> list[int]:
    return sorted({point.combination.tp_size for point in results.points})
