"""What a sweep shows: a line when something happens, one progress bar over all points, and the table of all points.

On a terminal and in a notebook the bar stands below the lines; elsewhere there are the lines only.
"""

from __future__ import annotations

import contextlib
import html
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from llmbench.sweep_worth import Worth, best_by_goodput

if TYPE_CHECKING:
    from llmbench.combination import Combination, SweepPoint
    from llmbench.sweep_plan import PlannedPoint, ServerSettings, SweepSpec
    from llmbench.sweep_result import PointOutcome, SweepResult

_VERDICT_STYLE = {"VALID": "green", "UNSTABLE": "yellow", "CLIENT-LIMITED": "yellow", "INVALID": "bold red"}
_STATE_STYLE = {"failed": "bold red", "interrupted": "yellow", "skipped": "dim", "not run": "dim"}


class SweepDisplay:
    """Tells the user what a sweep does, while it does it."""

    def __init__(self, *, quiet: bool = False, progress: bool = True, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False, quiet=quiet)
        self._errors = Console(highlight=False, stderr=True) if quiet else self.console
        """Errors are told in any case."""
        # In a notebook a bar that moves needs widgets; rich would warn of them at every output.
        can_move = (
            find_spec("ipywidgets") is not None if self.console.is_jupyter else self.console.is_terminal
        )
        self._live = progress and not quiet and can_move
        self._bar: Progress | None = None
        self._total = 0
        self._finished = 0
        self._current = ""
        self._noted: set[str] = set()
        """What the verdicts warned of so far: said once, where it is the same at every point."""

    @contextlib.contextmanager
    def running(self, spec: SweepSpec, total: int) -> Iterator[None]:
        """The time of the sweep; the bar is up during it."""
        self._total = total
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
        with Progress(
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
        if self._bar is None:
            return
        planned = snapshot.get("planned") or 0
        ended = (snapshot.get("completed") or 0) + (snapshot.get("failed") or 0)
        share = min(ended / planned, 1.0) if planned > 0 else 0.0
        self._bar.update(self._task, completed=self._finished + share)
        if snapshot.get("stopping"):
            self._describe(f"{self._current}: stopping")

    def point_finished(self, outcome: PointOutcome) -> None:
        self._finished += 1
        if self._bar is not None:
            self._bar.update(self._task, completed=self._finished)
        number = f"[{self._finished:>{len(str(self._total))}}/{self._total}]"
        indent = " " * (len(number) + 1)
        result = outcome.result
        if outcome.state == "existing" and result is not None:
            self._print(f"{number} {_described(outcome.combination)}: {outcome.path} exists, skipped")
            if outcome.reason:
                self._print(
                    f"{indent}{outcome.reason}; --overwrite_results measures it again", style="yellow"
                )
        elif result is not None:
            self.summary(result, number + " ")
        else:
            state = Text(outcome.state, _STATE_STYLE.get(outcome.state, ""))
            line = Text.assemble(
                f"{number} {_described(outcome.combination)}: ", state, f": {outcome.reason}"
            )
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
        if any(point.done for point in result.points):
            _print_tables(self.console, result)
            self.console.print()
        done = sum(point.done for point in result.points)
        left = len(result.points) - done
        if result.error is not None:
            self._print(f"stopped: {result.error}", style="bold red", console=self._errors)
        if result.interrupted:
            how = "interrupted" if result.signum is None else f"ended by {signal.Signals(result.signum).name}"
            self._print(
                f"{how} with {done} of {len(result.points)} points done; the same command goes on from there",
                style="yellow",
            )
        elif left:
            self._print(
                f"{left} of {len(result.points)} points have no result; the same command tries them again"
            )
        if done:
            self._print(f"figure: llmbench plot throughput_latency --data_dirs {result.result_dir}")

    def _print_verdict(self, result: SweepPoint, indent: str) -> None:
        verdict = result.llmbench.get("verdict")
        if not isinstance(verdict, Mapping):
            return
        status = str(verdict.get("status"))
        failed = sum(value for value in _counts(result.llmbench.get("errors")))
        tail = f", {failed} of {failed + result.completed} requests failed" if failed else ""
        self._print(Text.assemble(indent, (status, _VERDICT_STYLE.get(status, "")), tail))
        told = [str(reason) for reason in verdict.get("reasons") or []]
        notes = [f"note: {each}" for each in verdict.get("warnings") or [] if each not in self._noted]
        self._noted.update(verdict.get("warnings") or [])
        for text in (*told, *notes):
            for line in wrapped(text, self._width() - len(indent) - 2):
                self._print(f"{indent}  {line}")

    def _describe(self, what: str) -> None:
        if self._bar is not None:
            self._bar.update(self._task, description=escape(what))

    def _print(self, line: str | Text, *, style: str = "", console: Console | None = None) -> None:
        # Whole lines, for the bar moves below each; not wrapped: a log gets them as they are, a terminal folds them.
        (console or self.console).print(line, style=style, markup=False, soft_wrap=True)

    def _width(self) -> int:
        return self.console.width if self.console.is_terminal else 10_000


def summary_parts(result: SweepPoint) -> list[str]:
    """The console line of one combination in pieces; what was not measured is left out rather than given as 0."""
    combination = result.combination
    numbers = [
        ("Query throughput", result.queries_per_s, "queries/s"),
        ("Token throughput (total)", result.tokens_per_s, "tokens/s"),
        ("Query latency", result.mean_latency_s, "s"),
        ("Token generation latency", result.mean_tpot_s, "s/token"),
        ("First token received", result.mean_ttft_s, "s"),
    ]
    return [
        f"Deployment: {result.args.get('deployment_name') or result.backend or combination.model}",
        f"Clients: {combination.num_clients}",
        f"Prompt (mean): {combination.prompt_length} tokens",
        f"Generation (mean): {combination.gen_length} tokens",
        *(f"{name}: {figures(value)} {unit}" for name, value, unit in numbers if value is not None),
    ]


def replica_lines(result: SweepPoint) -> list[str]:
    """How the load met the replicas, where the client shared it out among several."""
    replicas = result.llmbench.get("replicas")
    found = replicas.get("endpoints") if isinstance(replicas, Mapping) else None
    if not found:
        return []
    parts = [
        " / ".join(str(each.get("requests")) for each in found) + " requests",
        " / ".join(figures(each.get("in_flight_mean")) for each in found) + " in flight",
    ]
    firsts = [((each.get("latency_ms") or {}).get("ttft") or {}).get("p50") for each in found]
    if all(isinstance(each, (int, float)) for each in firsts):
        parts.append(" / ".join(map(figures, firsts)) + " ms p50 TTFT")
    return [f"Replicas: {', '.join(parts)}"]


def worth_table(found: Sequence[Worth]) -> Table | None:
    """Throughput per GPU, goodput and cost of each combination, as far as they are known; None where none is."""
    points = [each.combination for each in found]
    shown: list[tuple[str, list[float | None], Callable[[float | None], str]]] = [
        ("queries/s\n/GPU", [each.queries_per_s / each.gpus for each in found], figures),
        ("output tokens\n/s/GPU", [each.output_per_gpu for each in found], figures),
        ("goodput\n/s", [each.goodput for each in found], figures),
        ("goodput\n%", [each.goodput_share for each in found], _percent),
        ("USD per 1M\noutput tokens", [each.cost for each in found], figures),
        ("repeats\n± %", [each.spread for each in found], _percent),
    ]
    known = [column for column in shown if any(value is not None for value in column[1])]
    settings = {name: [getattr(point, field) for point in points] for name, field in _SETTING_NAMES.items()}
    varied = {name: values for name, values in settings.items() if len(set(values)) > 1 or name == "clients"}
    if len(known) <= 1 or not found:
        return None
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for name in (*varied, *(heading for heading, _, _ in known)):
        table.add_column(name, justify="right", no_wrap=True)
    for row in range(len(found)):
        table.add_row(
            *(str(values[row]) for values in varied.values()),
            *(show(values[row]) for _, values, show in known),
        )
    return table


def choice_lines(result: SweepResult) -> list[str]:
    """The best combination under each limit, and by goodput."""
    lines = []
    for choice in result.choices:
        if choice.best is not None:
            lines.append(f"best for {choice.limit}: {_told(choice.best)}")
        else:
            near = "" if choice.closest is None else f"; the closest is {figures(choice.closest)}"
            lines.append(f"best for {choice.limit}: no point meets it{near}")
    best = best_by_goodput(result.worths)
    if best is not None:
        lines.append(
            f"most goodput per GPU: {_told(best)}, {figures((best.goodput or 0) / best.gpus)} requests/s/GPU"
        )
    return lines


def _told(worth: Worth) -> str:
    """ "TP 2, 1 repl., 16 clients (812 output tokens/s/GPU, 1.2 USD per 1M)"."""
    at = worth.combination
    parts = [
        f"prompt {at.prompt_length}",
        f"gen {at.gen_length}",
        f"TP {at.tp_size}",
        f"{at.num_replicas} repl.",
        _clients(at),
    ]
    numbers = [] if worth.output_per_gpu is None else [f"{figures(worth.output_per_gpu)} output tokens/s/GPU"]
    if worth.cost is not None:
        numbers.append(f"{figures(worth.cost)} USD per 1M output tokens")
    if not worth.trusted:
        numbers.append("not every verdict VALID")
    return ", ".join(parts) + (f" ({', '.join(numbers)})" if numbers else "")


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}".removesuffix("%")


def points_tables(points: Sequence[PointOutcome]) -> list[tuple[str, Table]]:
    """All points in one table, or, where eighty characters are not enough for it, in one per server setting; each with
    the settings that are the same in all of it."""
    groups = {(): list(points)} if len(_varied(points)) <= _MOST_COLUMNS else _by_server(points)
    return [(_fixed(group), points_table(group)) for group in groups.values()]


def points_table(points: Sequence[PointOutcome]) -> Table:
    """One row a point, with the settings that differ."""
    varied = _varied(points)
    streamed = any(point.result is not None and point.result.streamed for point in points)
    table = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 1 if len(varied) < _MOST_COLUMNS else 0, 0, 0),
        show_edge=False,
    )
    for name in varied:
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("queries\n/s", "tokens\n/s", "latency\ns", *(("TTFT\nms", "TPOT\nms") if streamed else ())):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for row, point in enumerate(points):
        status, style = point.state, _STATE_STYLE.get(point.state, "")
        if point.result is not None:
            status = point.result.verdict or "not judged"
            style = _VERDICT_STYLE.get(status, "")
        table.add_row(
            *(str(values[row]) for values in varied.values()),
            *_numbers(point.result, streamed),
            f"[{style}]{status}[/]" if style else status,
        )
    return table


def _by_server(points: Sequence[PointOutcome]) -> dict[tuple[int, ...], list[PointOutcome]]:
    groups: dict[tuple[int, ...], list[PointOutcome]] = {}
    for point in points:
        at = point.combination
        groups.setdefault((at.tp_size, at.max_ragged_batch_size, at.num_replicas), []).append(point)
    return groups


def _fixed(points: Sequence[PointOutcome]) -> str:
    """The model, and the settings that are the same at all points."""
    varied = _varied(points)
    shared = [f"{name} {values[0]}" for name, values in _setting_columns(points) if name not in varied]
    return ", ".join([points[0].combination.model, *shared])


_MOST_COLUMNS = 4


def _numbers(result: SweepPoint | None, streamed: bool) -> list[str]:
    if result is None:
        return [""] * (5 if streamed else 3)
    values = [result.queries_per_s, result.tokens_per_s, result.mean_latency_s]
    if streamed:
        values += [_milli(result.mean_ttft_s), _milli(result.mean_tpot_s)]
    return [figures(value) for value in values]


def table_text(result: SweepResult, width: int) -> str:
    console = Console(width=width, no_color=True, highlight=False, force_terminal=False, force_jupyter=False)
    with console.capture() as capture:
        _print_tables(console, result)
    return "\n".join(line.rstrip() for line in capture.get().strip("\n").splitlines())


def _print_tables(console: Console, result: SweepResult) -> None:
    for title, table in points_tables(result.points):
        console.print()
        console.print(title, style="bold", markup=False, soft_wrap=True)
        console.print(table)
    worth = worth_table(result.worths)
    if worth is not None:
        priced = any(each.cost is not None for each in result.worths)
        console.print()
        console.print("per GPU, and what it costs" if priced else "per GPU", style="bold")
        console.print(worth)
    lines = choice_lines(result)
    if lines:
        console.print()
    for line in lines:
        for at, part in enumerate(wrapped(line, console.width - 2)):
            console.print(("  " if at else "") + part, markup=False, soft_wrap=True)


def table_html(result: SweepResult) -> str:
    """The table for a notebook, which has room for every column."""
    table = points_table(result.points)
    heads = "".join(f"<th>{html.escape(str(column.header))}</th>" for column in table.columns)
    cells = [list(column.cells) for column in table.columns]
    rows = "".join(
        "<tr>" + "".join(f"<td>{_cell_html(str(column[row]))}</td>" for column in cells) + "</tr>"
        for row in range(len(result.points))
    )
    note = ""
    if result.error is not None:
        note = f"<p>stopped: {html.escape(str(result.error))}</p>"
    elif result.interrupted:
        note = "<p>interrupted; the same call goes on from there</p>"
    note += "".join(f"<p>{html.escape(line)}</p>" for line in choice_lines(result))
    return (
        f"<table><caption>{html.escape(_fixed(result.points))}</caption><tr>{heads}</tr>{rows}</table>{note}"
    )


def packed(parts: Iterable[str], width: int) -> list[str]:
    """The parts, joined by commas, in lines of at most `width`; no part is broken."""
    lines: list[str] = []
    for part in parts:
        if lines and len(lines[-1]) + 2 + len(part) < width:
            lines[-1] += f", {part}"
        else:
            if lines:
                lines[-1] += ","
            lines.append(part)
    return lines


def wrapped(text: str, width: int) -> list[str]:
    import textwrap

    return textwrap.wrap(text, max(width, 20)) or [""]


def figures(value: float | None) -> str:
    """Three significant figures and more where the number is large: 0.0123, 4.56, 1234. Empty for what is absent."""
    if value is None:
        return ""
    if value == 0:
        return "0"
    if _exponent(value) >= 2:
        return f"{value:.0f}"
    return f"{value:.{max(0, 2 - _exponent(value))}f}"


def _exponent(value: float) -> int:
    return int(f"{value:.2e}".partition("e")[2])  # after rounding: 9.996 is 10.0


def _milli(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000


def _cell_html(cell: str) -> str:
    """A table cell without rich's markup."""
    return html.escape(Text.from_markup(cell).plain)


_SETTING_NAMES = {
    "TP": "tp_size",
    "batch": "max_ragged_batch_size",
    "repl.": "num_replicas",
    "prompt": "prompt_length",
    "gen": "gen_length",
    "clients": "num_clients",
}


def _setting_columns(points: Sequence[PointOutcome]) -> list[tuple[str, list[int]]]:
    columns = [
        (shown, [getattr(point.combination, name) for point in points])
        for shown, name in _SETTING_NAMES.items()
    ]
    if any(point.repeat > 1 for point in points):
        columns.append(("rep.", [point.repeat for point in points]))
    return columns


def _varied(points: Sequence[PointOutcome]) -> dict[str, list[int]]:
    """The settings that differ between points, and the clients in any case."""
    return {
        name: values for name, values in _setting_columns(points) if len(set(values)) > 1 or name == "clients"
    }


def _short(combination: Combination) -> str:
    """What is being measured, for the bar."""
    return f"TP {combination.tp_size}, {combination.num_replicas} repl., {_clients(combination)}"


def _described(combination: Combination) -> str:
    return (
        f"TP {combination.tp_size}, batch {combination.max_ragged_batch_size}, {combination.num_replicas} repl., "
        f"prompt {combination.prompt_length}, gen {combination.gen_length}, {_clients(combination)}"
    )


def _clients(combination: Combination) -> str:
    return f"{combination.num_clients} client{'s' if combination.num_clients > 1 else ''}"


def _counts(errors: Any) -> list[int]:
    return (
        [value for value in errors.values() if isinstance(value, int)] if isinstance(errors, Mapping) else []
    )
