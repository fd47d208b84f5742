"""What a sweep shows: a line when something happens, one progress bar over all points, and the table of all points.

On a terminal and in a notebook the bar stands below the lines; elsewhere there are the lines only.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.segment import Segment
from rich.text import Text

from llmbench.progress import ECHO_WIDTH, NotebookBar, in_notebook
from llmbench.sweep_tables import (
    STATE_STYLE,
    VERDICT_STYLE,
    clients_of,
    described,
    packed,
    print_tables,
    replica_lines,
    summary_parts,
    table_text,
    wrapped,
)

if TYPE_CHECKING:
    from llmbench.combination import Combination
    from llmbench.sweep_outcome import PointOutcome
    from llmbench.sweep_plan import PlannedPoint, ServerSettings, SweepSpec
    from llmbench.sweep_point import SweepPoint
    from llmbench.sweep_result import SweepResult


_NOTEBOOK_WIDTH = 100
"""Of a cell's output, in characters."""


class _Bar(Progress):
    def get_renderables(self) -> Iterator[RenderableType]:
        yield _Narrower(self.make_tasks_table(self.tasks))


class _Narrower:
    def __init__(self, table: RenderableType) -> None:
        self._table = table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for line in console.render_lines(
            self._table, options.update_width(options.max_width - ECHO_WIDTH), pad=False
        ):
            yield from line


class SweepDisplay:
    """Tells the user what a sweep does, while it does it."""

    def __init__(self, *, quiet: bool = False, progress: bool = True, console: Console | None = None) -> None:
        self._notebook = in_notebook()
        # A notebook would frame each line that rich prints as an output of its own; plain text makes one.
        self.console = console or Console(highlight=False, quiet=quiet, force_jupyter=False)
        self._errors = Console(highlight=False, stderr=True) if quiet else self.console
        """Errors are told in any case."""
        self._live = progress and not quiet and (self._notebook or self.console.is_terminal)
        self._bar: Progress | None = None
        self._cell = NotebookBar()
        self._total = 0
        self._finished = 0
        self._current = ""
        self._doing = ""
        self._noted: set[str] = set()
        """What the verdicts warned of so far: said once, where it is the same at every point."""

    @contextlib.contextmanager
    def running(self, spec: SweepSpec, total: int) -> Iterator[None]:
        """The time of the sweep; the bar is up during it."""
        self._total, self._finished = total, 0
        self._print(
            f"{total} point{'s' if total != 1 else ''} of {spec.model} on {spec.backend}, results in {spec.result_dir}/"
        )
        if not spec.stream:
            self._print(
                "Without --stream there are no token times: no first token, no token generation latency."
            )
        if not self._live:
            yield
            return
        if self._notebook:
            try:
                yield
            finally:
                self._cell.clear()
            return
        with _Bar(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(compact=True),
            console=self.console,
            transient=True,
            expand=True,
        ) as self._bar:
            self._task = self._bar.add_task("", total=total)
            yield

    def note(self, line: str) -> None:
        self._print(line)

    def server_starting(self, settings: ServerSettings) -> None:
        self._describe(f"TP {settings.tp_size}, {settings.num_replicas} repl.: starting")
        self._print(f"starting the server: {settings.describe()}", style="bold")

    def point_starting(self, point: PlannedPoint) -> None:
        self._current = _short(point.combination)
        self._describe(self._current)

    def progress(self, snapshot: Mapping[str, Any]) -> None:
        """About four times a second, with the engine's live numbers."""
        if not self._live:
            return
        planned = snapshot.get("planned") or 0
        ended = (snapshot.get("completed") or 0) + (snapshot.get("failed") or 0)
        share = min(ended / planned, 1.0) if planned > 0 else 0.0
        self._move(self._finished + share)
        if snapshot.get("stopping"):
            self._describe(f"{self._current}: stopping")

    def point_finished(self, outcome: PointOutcome) -> None:
        self._finished += 1
        self._move(self._finished)
        number = f"[{self._finished:>{len(str(self._total))}}/{self._total}]"
        indent = " " * (len(number) + 1)
        where = described(outcome.combination) + (f", repeat {outcome.repeat}" if outcome.repeat > 1 else "")
        result = outcome.result
        if outcome.state == "existing" and result is not None:
            self._print(f"{number} {where}: exists, skipped")
            if outcome.reason:
                self._print(
                    f"{indent}{outcome.reason}; --overwrite_results measures it again", style="yellow"
                )
        elif result is not None:
            self.summary(result, number + " ")
        else:
            state = Text(outcome.state, STATE_STYLE.get(outcome.state, ""))
            line = Text.assemble(f"{number} {where}: ", state, f": {outcome.reason}")
            self._print(line, console=self._errors)

    def summary(self, result: SweepPoint, number: str = "") -> None:
        """The numbers of one point and its verdict."""
        indent = " " * len(number)
        for at, line in enumerate(packed(summary_parts(result), self._width() - len(indent))):
            self._print((indent if at else number) + line)
        cut = result.args.get("prompts_at_limit")
        if isinstance(cut, int) and cut > 0:
            limit = result.args.get("max_prompt_length")
            self._print(f"{indent}{cut} prompt{'s' if cut > 1 else ''} cut to --max_prompt_length {limit}")
        for line in replica_lines(result):
            self._print(indent + line)
        self._print_verdict(result, indent)

    def finished(self, result: SweepResult) -> None:
        """The table of all points, and where things stand."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        # A notebook shows them as the result's own table.
        if any(point.done for point in result.points) and not self._notebook:
            self._print_tables(result)
        done = sum(point.done for point in result.points)
        impossible = sum(point.state == "skipped" for point in result.points)
        left = len(result.points) - done - impossible
        if result.error is not None:
            self._print(f"stopped: {result.error}", style="bold red", console=self._errors)
        if result.interrupted:
            how = "interrupted" if result.signum is None else f"ended by {signal.Signals(result.signum).name}"
            self._print(
                f"{how} with {done} of {len(result.points)} points done; the same command goes on from there",
                style="yellow",
            )
        else:
            if impossible:
                self._print(f"{impossible} of {len(result.points)} points are impossible on this machine")
            if left:
                self._print(
                    f"{left} of {len(result.points)} points have no result; the same command tries them again"
                )
        if done:
            self._print(f"figure: llmbench plot throughput_latency --data_dirs {result.result_dir}")

    def _print_tables(self, result: SweepResult) -> None:
        if self.console.is_terminal:
            print_tables(self.console, result.points, result.worths, result.choices)
        else:
            self._print("\n" + table_text(result.points, result.worths, result.choices, self.console.width))
        self._print("")

    def _print_verdict(self, result: SweepPoint, indent: str) -> None:
        verdict = result.llmbench.get("verdict")
        if not isinstance(verdict, Mapping):
            return
        status = str(verdict.get("status"))
        failed = sum(value for value in _counts(result.llmbench.get("errors")))
        tail = f", {failed} of {failed + result.completed} requests failed" if failed else ""
        self._print(Text.assemble(indent, (status, VERDICT_STYLE.get(status, "")), tail))
        told = [str(reason) for reason in verdict.get("reasons") or []]
        notes = [f"note: {each}" for each in verdict.get("warnings") or [] if each not in self._noted]
        self._noted.update(verdict.get("warnings") or [])
        for text in (*told, *notes):
            for line in wrapped(text, self._width() - len(indent) - 2):
                self._print(f"{indent}  {line}")

    def _describe(self, what: str) -> None:
        self._doing = what
        if self._bar is not None:
            self._bar.update(self._task, description=escape(what))

    def _move(self, finished: float) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=finished)
        elif self._live and self._notebook and self._total:
            done = f"{self._finished}/{self._total}"
            self._cell.show(
                finished / self._total, f"{done} {self._doing if self._finished < self._total else ''}"
            )

    def _print(self, line: str | Text, *, style: str = "", console: Console | None = None) -> None:
        # Whole lines, for the bar moves below each; not wrapped: a log gets them as they are, a terminal folds them.
        (console or self.console).print(line, style=style, markup=False, soft_wrap=True)

    def _width(self) -> int:
        if self._notebook:
            return _NOTEBOOK_WIDTH
        return self.console.width if self.console.is_terminal else 10_000


def _short(combination: Combination) -> str:
    """What is being measured, for the bar."""
    return f"TP {combination.tp_size}, {combination.num_replicas} repl., {clients_of(combination)}"


def _counts(errors: Any) -> list[int]:
    return (
        [value for value in errors.values() if isinstance(value, int)] if isinstance(errors, Mapping) else []
    )
