"""What a sweep leaves behind: an outcome per point, and what all of them say together."""

from __future__ import annotations

import importlib
import signal
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmbench.errors import LlmbenchError
from llmbench.interrupts import EXIT_CODES
from llmbench.sweep_outcome import PointOutcome
from llmbench.sweep_plan import SweepSpec
from llmbench.sweep_worth import Choice, Worth, choices, worths

if TYPE_CHECKING:
    from llmbench.gates import Gate


_EXIT_ORDER = (130, 143, 129, 74, 2, 1, 4, 3, 0)


def worst_exit_code(codes: Collection[int]) -> int:
    """The first that applies."""
    return next((code for code in _EXIT_ORDER if code in codes), 0)


@dataclass(frozen=True)
class SweepResult:
    """All points of a sweep in the order of its plan, those measured earlier among them."""

    spec: SweepSpec
    points: tuple[PointOutcome, ...]
    error: LlmbenchError | None = None
    """What ended the sweep before its last point, other than the user."""
    interrupted: bool = False
    signum: int | None = None
    gates: tuple[Gate, ...] = ()
    """The limits under which the best point was asked for."""
    plot: SweepPlots = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "plot", SweepPlots(self))

    @property
    def result_dir(self) -> Path:
        return self.spec.result_dir

    @property
    def exit_code(self) -> int:
        codes = {point.exit_code for point in self.points}
        if self.error is not None:
            codes.add(self.error.exit_code)
        if self.interrupted:
            codes.add(EXIT_CODES.get(signal.Signals(self.signum or signal.SIGINT), 130))
        return worst_exit_code(codes)

    def rows(self) -> list[dict[str, Any]]:
        """One dict per point, for `pandas.DataFrame(result.rows())`."""
        return [
            point.combination.to_args()
            | {"repeat": point.repeat, "state": point.state}
            | point.summary
            | {"verdict": point.verdict}
            for point in self.points
        ]

    @property
    def worths(self) -> list[Worth]:
        """Per combination, over its repeats: throughput per GPU, goodput, cost."""
        return worths(point.result for point in self.points if point.result is not None)

    @property
    def choices(self) -> list[Choice]:
        """The best combination under each limit."""
        return choices(self.worths, self.gates)

    def table(self, width: int = 80) -> str:
        """All points as text."""
        from llmbench.sweep_tables import table_text

        return table_text(self.points, self.worths, self.choices, width)

    def __repr__(self) -> str:
        done = f"{sum(point.done for point in self.points)} of {len(self.points)} points done"
        return f"<SweepResult {self.spec.model} on {self.spec.backend}: {done}, {self.result_dir}/>"

    def __str__(self) -> str:
        return self.table()

    def _repr_html_(self) -> str:
        from llmbench.sweep_tables import choice_lines, table_html

        stopped = [f"stopped: {self.error}"] if self.error is not None else []
        if self.interrupted and not stopped:
            stopped = ["interrupted; the same call goes on from there"]
        return table_html(self.points, stopped + choice_lines(self.worths, self.choices))


class SweepPlots:
    """The figures of a sweep: `result.plot.NAME(...)` is `llmbench.plots.NAME`, given the sweep's results.

    Where the sweep has several server settings or lengths, choose: `throughput_latency(tp_size=2)`.
    """

    def __init__(self, result: SweepResult) -> None:
        self._result = result

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name not in self.__dir__():
            raise AttributeError(f"there is no figure {name!r} of a sweep, but {', '.join(self.__dir__())}")
        figure = getattr(importlib.import_module(f"llmbench.plots.{name}"), name)
        results = [point.result for point in self._result.points if point.result and point.repeat == 1]
        return lambda *args, **options: figure(results, *args, **options)

    def __dir__(self) -> list[str]:
        from llmbench.plots import SWEEP_FIGURES

        return sorted(SWEEP_FIGURES)
