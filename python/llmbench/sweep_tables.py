"""The numbers of a sweep as text: the line of one point, the tables of all, and the best of them."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Mapping, Sequence

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from llmbench.combination import Combination
from llmbench.sweep_outcome import PointOutcome
from llmbench.sweep_point import SweepPoint
from llmbench.sweep_worth import Choice, Worth, best_by_goodput

VERDICT_STYLE = {"VALID": "green", "UNSTABLE": "yellow", "CLIENT-LIMITED": "yellow", "INVALID": "bold red"}
STATE_STYLE = {"failed": "bold red", "interrupted": "yellow", "skipped": "dim", "not run": "dim"}
_MOST_COLUMNS = 4
_SETTING_NAMES = {
    "TP": "tp_size",
    "batch": "max_ragged_batch_size",
    "repl.": "num_replicas",
    "prompt": "prompt_length",
    "gen": "gen_length",
    "clients": "num_clients",
}


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


def points_tables(points: Sequence[PointOutcome]) -> list[tuple[str, Table]]:
    """All points in one table, or, where eighty characters are not enough for it, in one per server setting; each with
    the settings that are the same in all of it."""
    first = {point.combination: at for at, point in reversed(list(enumerate(points)))}
    points = sorted(points, key=lambda point: first[point.combination])  # the repeats of one side by side
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
    for name in (
        "queries\n/s",
        "total\ntok/s",
        "latency\ns",
        *(("TTFT\nms", "TPOT\nms") if streamed else ()),
    ):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for row, point in enumerate(points):
        status, style = point.state, STATE_STYLE.get(point.state, "")
        if point.result is not None:
            status = point.result.verdict or "not judged"
            style = VERDICT_STYLE.get(status, "")
        table.add_row(
            *(str(values[row]) for values in varied.values()),
            *_numbers(point.result, streamed),
            f"[{style}]{status}[/]" if style else status,
        )
    return table


def worth_tables(found: Sequence[Worth], width: int) -> list[tuple[str, Table]]:
    """Throughput per GPU, goodput and cost of each combination, as far as they are known, in one table; or, where
    `width` is not enough for it, in one per prompt and generation length, each with its lengths."""
    for spaced in (True, False):
        table = worth_table(found, spaced)
        if table is None or _width_of(table) <= width:
            return [("", table)] if table is not None else []
    groups: dict[str, list[Worth]] = {}
    for each in found:
        at = each.combination
        groups.setdefault(f"prompt {at.prompt_length}, gen {at.gen_length}", []).append(each)
    tables = ((title, worth_table(group, spaced=False)) for title, group in groups.items())
    return [(title, table) for title, table in tables if table is not None]


def _width_of(table: Table) -> int:
    console = Console(width=1000, force_terminal=False, force_jupyter=False)
    return Measurement.get(console, console.options, table).maximum


def worth_table(found: Sequence[Worth], spaced: bool = True) -> Table | None:
    """One row a combination; None where nothing but queries/s is known of them."""
    points = [each.combination for each in found]
    shown: list[tuple[str, list[float | None], Callable[[float | None], str]]] = [
        ("queries\n/s/GPU", [each.queries_per_s / each.gpus for each in found], figures),
        ("output\ntok/s/GPU", [each.output_per_gpu for each in found], figures),
        ("goodput\n/s", [each.goodput for each in found], figures),
        ("goodput\n%", [each.goodput_share for each in found], _percent),
        ("USD/1M\noutput tok", [each.cost for each in found], figures),
        ("repeats\n± %", [each.spread for each in found], _percent),
    ]
    known = [column for column in shown if any(value is not None for value in column[1])]
    settings = {name: [getattr(point, field) for point in points] for name, field in _SETTING_NAMES.items()}
    varied = {name: values for name, values in settings.items() if len(set(values)) > 1 or name == "clients"}
    if len(known) <= 1 or not found:
        return None
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1 if spaced else 0, 0, 0), show_edge=False)
    for name in (*varied, *(heading for heading, _, _ in known)):
        table.add_column(name, justify="right", no_wrap=True)
    for row in range(len(found)):
        table.add_row(
            *(str(values[row]) for values in varied.values()),
            *(show(values[row]) for _, values, show in known),
        )
    return table


def choice_lines(worths: Sequence[Worth], choices: Sequence[Choice]) -> list[str]:
    """The best combination under each limit, and by goodput."""
    lines = []
    for choice in choices:
        if choice.best is not None:
            lines.append(f"best for {choice.limit}: {_told(choice.best)}")
        else:
            near = "" if choice.closest is None else f"; the closest is {figures(choice.closest)}"
            lines.append(f"best for {choice.limit}: no point meets it{near}")
    best = best_by_goodput(worths)
    if best is not None:
        lines.append(
            f"most goodput per GPU: {_told(best)}, {figures((best.goodput or 0) / best.gpus)} requests/s/GPU"
        )
    return lines


def print_tables(
    console: Console, points: Sequence[PointOutcome], worths: Sequence[Worth], choices: Sequence[Choice]
) -> None:
    """All points, what they are worth, and the best of them."""
    for title, table in points_tables(points):
        console.print()
        console.print(title, style="bold", markup=False, soft_wrap=True)
        console.print(table)
    priced = any(each.cost is not None for each in worths)
    for title, table in worth_tables(worths, console.width):
        what = "per GPU, and what it costs" if priced else "per GPU"
        console.print()
        console.print(f"{what}: {title}" if title else what, style="bold")
        console.print(table)
    lines = choice_lines(worths, choices)
    if lines:
        console.print()
    for line in lines:
        for at, part in enumerate(wrapped(line, console.width - 2)):
            console.print(("  " if at else "") + part, markup=False, soft_wrap=True)


def table_text(
    points: Sequence[PointOutcome], worths: Sequence[Worth], choices: Sequence[Choice], width: int
) -> str:
    console = Console(width=width, no_color=True, highlight=False, force_terminal=False, force_jupyter=False)
    with console.capture() as capture:
        print_tables(console, points, worths, choices)
    return "\n".join(line.rstrip() for line in capture.get().strip("\n").splitlines())


def table_html(points: Sequence[PointOutcome], lines: Sequence[str]) -> str:
    """The table for a notebook, which has room for every column, and what is to be said below it."""
    table = points_table(points)
    heads = "".join(f"<th>{html.escape(str(column.header))}</th>" for column in table.columns)
    cells = [list(column.cells) for column in table.columns]
    rows = "".join(
        "<tr>" + "".join(f"<td>{_cell_html(str(column[row]))}</td>" for column in cells) + "</tr>"
        for row in range(len(points))
    )
    below = "".join(f"<p>{html.escape(line)}</p>" for line in lines)
    return f"<table><caption>{html.escape(_fixed(points))}</caption><tr>{heads}</tr>{rows}</table>{below}"


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


def _numbers(result: SweepPoint | None, streamed: bool) -> list[str]:
    if result is None:
        return [""] * (5 if streamed else 3)
    values = [result.queries_per_s, result.tokens_per_s, result.mean_latency_s]
    if streamed:
        values += [_milli(result.mean_ttft_s), _milli(result.mean_tpot_s)]
    return [figures(value) for value in values]


def _told(worth: Worth) -> str:
    """ "TP 2, 1 repl., 16 clients (812 output tokens/s/GPU, 1.2 USD per 1M)"."""
    at = worth.combination
    parts = [
        f"prompt {at.prompt_length}",
        f"gen {at.gen_length}",
        f"TP {at.tp_size}",
        f"{at.num_replicas} repl.",
        clients_of(at),
    ]
    numbers = [] if worth.output_per_gpu is None else [f"{figures(worth.output_per_gpu)} output tokens/s/GPU"]
    if worth.cost is not None:
        numbers.append(f"{figures(worth.cost)} USD per 1M output tokens")
    if not worth.trusted:
        numbers.append("not every verdict VALID")
    return ", ".join(parts) + (f" ({', '.join(numbers)})" if numbers else "")


def described(combination: Combination) -> str:
    return (
        f"TP {combination.tp_size}, batch {combination.max_ragged_batch_size}, {combination.num_replicas} repl., "
        f"prompt {combination.prompt_length}, gen {combination.gen_length}, {clients_of(combination)}"
    )


def clients_of(combination: Combination) -> str:
    return f"{combination.num_clients} client{'s' if combination.num_clients > 1 else ''}"


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


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}".removesuffix("%")


def _milli(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000


def _cell_html(cell: str) -> str:
    """A table cell without rich's markup."""
    return html.escape(Text.from_markup(cell).plain)


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
