"""A result as tables: for the terminal (80 columns), and for a notebook's cell."""

from __future__ import annotations

import copy
import html as markup
import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmbench.options import METRICS
from llmbench.steadiness import LEAST_BINS
from llmbench.summary import percent_name

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from llmbench.results import Result
    from llmbench.summary import Distribution, Interval

_STYLES = {
    "VALID": "bold green",
    "UNSTABLE": "bold yellow",
    "CLIENT-LIMITED": "bold yellow",
    "INVALID": "bold red",
}
_COLOURS = {"VALID": "#1a7f37", "UNSTABLE": "#9a6700", "CLIENT-LIMITED": "#9a6700", "INVALID": "#cf222e"}

_LATENCY_ROWS = (
    ("ttft", "TTFT"),
    ("ttft_from_schedule", "TTFT from schedule"),
    ("ttfat", "first answer token"),
    ("tpot", "TPOT"),
    ("itl", "ITL"),
    ("icl", "ICL (between chunks)"),
    ("e2el", "E2E latency"),
    ("e2el_from_schedule", "E2E from schedule"),
    ("client_lag", "client lag"),
)
_ERROR_WIDTH = 160
_REPLICA_COLUMNS = ("replica", "share", "failed", "tok/s", "in flight", "TTFT p50", "p99", "E2E p50", "p99")
_URL_WIDTH = 15
_STEADY = "steady, ms"
"""The corner of the second table."""


@dataclass(frozen=True)
class Report:
    """What there is to say about a result, in words and numbers, in the order it is said."""

    status: str
    reasons: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    columns: tuple[str, ...]
    latencies: tuple[tuple[str, ...], ...]
    steady: tuple[tuple[str, ...], ...]
    """The latencies of the steady part, where they were asked for."""
    replicas: tuple[tuple[str, ...], ...]
    """A row for each endpoint, where there were several, and how uneven they were."""
    notes: tuple[str, ...]
    errors: tuple[tuple[str, str, str], ...]
    """Class, count, most frequent message."""


def of(result: Result) -> Report:
    percents = [float(each) for each in result.summary.get("percents") or ()]
    facts = tuple(_facts(result))
    latencies = tuple(_latency_rows(result, percents))
    steady, replicas = tuple(_steady_rows(result, percents)), tuple(_replica_rows(result))
    bounded = any("≥ " in cell for row in (*facts, *latencies, *steady, *replicas) for cell in row)
    headline = result.verdict.status
    if result.interrupted:
        headline += ", interrupted"
    elif result.status == "unfinished":
        headline += ", unfinished"
    return Report(
        status=headline,
        reasons=result.verdict.reasons,
        facts=facts,
        columns=("ms", "mean", *(percent_name(each) for each in percents), "max"),
        latencies=latencies,
        steady=steady,
        replicas=replicas,
        notes=tuple(_notes(result, bounded)),
        errors=tuple(
            (name, str(count), result.error_messages.get(name, ""))
            for name, count in sorted(result.errors.items(), key=lambda each: -each[1])
        ),
    )


def show(result: Result, console: Console | None = None) -> None:
    """Prints the report; plain text where the output is no terminal."""
    from rich.console import Console as RichConsole
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    if console is None:
        console = RichConsole(highlight=False)
        if not console.is_terminal:
            print(text(result), end="")
            return
    report = of(result)
    console.print(Text(report.status, style=_STYLES.get(result.verdict.status, "bold")))
    for reason in report.reasons:
        console.print(Padding(Text(reason), (0, 0, 0, 2)))
    console.print()
    facts = Table.grid(padding=(0, 2))
    for name, value in report.facts:
        facts.add_row(Text(name, style="dim"), Text(value, overflow="fold"))
    console.print(facts)
    console.print()
    for corner, rows in ((report.columns[0], report.latencies), (_STEADY, report.steady)):
        if not rows:
            continue
        table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="dim")
        table.add_column(corner, no_wrap=True)
        for name in report.columns[1:]:
            table.add_column(name, justify="right", no_wrap=True)
        for row in rows:
            table.add_row(*row)
        _print_whole(console, table)
        console.print()
    if report.replicas:
        table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
        table.add_column(_REPLICA_COLUMNS[0], overflow="ellipsis", no_wrap=True, max_width=_URL_WIDTH)
        for name in _REPLICA_COLUMNS[1:]:
            table.add_column(name, justify="right", no_wrap=True)
        for row in report.replicas:
            table.add_row(*row)
        console.print(table)
        console.print()
    if report.errors:
        table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="dim")
        table.add_column("errors", no_wrap=True)
        table.add_column("n", justify="right", no_wrap=True)
        table.add_column("most frequent message", overflow="fold")
        for name, count, message in report.errors:
            table.add_row(name, count, Text(_cut(message)))
        console.print(table)
        console.print()
    for note in report.notes:
        console.print(Text(f"note: {note}"))
    if report.notes:
        console.print()


def _print_whole(console: Console, table: Table) -> None:
    """Prints a table of numbers: closer together where it is too wide, and beyond the edge rather than with a number
    cut short."""
    from rich.measure import Measurement

    unlimited = console.options.update(max_width=1000)
    if Measurement.get(console, unlimited, table).maximum > console.width:
        table.padding = (0, 1, 0, 0)
    table.width = max(Measurement.get(console, unlimited, table).maximum, 1)
    console.print(table, crop=False)


def text(result: Result, width: int = 80) -> str:
    """The report as plain text."""
    from rich.console import Console as RichConsole

    out = io.StringIO()
    show(result, RichConsole(file=out, width=width, force_terminal=False, no_color=True, highlight=False))
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def html(result: Result) -> str:
    """The report as HTML for a notebook: verdict on top, everything escaped."""
    report = of(result)
    colour = _COLOURS.get(result.verdict.status, "inherit")
    parts = [f'<div><p style="color:{colour};font-weight:bold;margin:0">{_escaped(report.status)}</p>']
    if report.reasons:
        parts.append("<ul>" + "".join(f"<li>{_escaped(reason)}</li>" for reason in report.reasons) + "</ul>")
    parts.append(_html_table((), report.facts, left=2))
    if report.latencies:
        parts.append(_html_table(report.columns, report.latencies, left=1))
    if report.steady:
        parts.append(_html_table((_STEADY, *report.columns[1:]), report.steady, left=1))
    if report.replicas:
        parts.append(_html_table(_REPLICA_COLUMNS, report.replicas, left=1))
    if report.errors:
        rows = [(name, count, _cut(message)) for name, count, message in report.errors]
        parts.append(_html_table(("errors", "n", "most frequent message"), rows, left=3))
    parts += [f"<p style='margin:0'>note: {_escaped(note)}</p>" for note in report.notes]
    return "".join([*parts, "</div>"])


def _facts(result: Result) -> Iterator[tuple[str, str]]:
    summary, config = result.summary, result.config
    endpoint, workload, load = (config.get(name) or {} for name in ("endpoint", "workload", "load"))
    if endpoint.get("url"):
        model = f", model {config['model']}" if config.get("model") else ""
        yield "server", f"{endpoint['url']} ({endpoint.get('backend')}){model}"
    if load.get("description"):
        yield "load", load["description"]
    if workload.get("name"):
        lengths = [_tokens(workload.get(f"mean_{side}_tokens")) for side in ("prompt", "output")]
        yield "workload", f"{workload['name']}, {lengths[0]} tokens in, {lengths[1]} asked"
    cut = f", {summary.get('cut')} cut" if summary.get("cut") else ""
    counts = f"{summary.get('completed')} completed, {summary.get('failed')} failed{cut}"
    yield "requests", f"{counts} in {number(summary.get('duration_s'))} s"
    window = summary.get("measure_window")
    if window:
        when = f"measured from {window['begin_s']:.1f} s to {window['end_s']:.1f} s"
        yield "cool-down", f"{window['cooldown_requests']} requests left out; {when}"
    rates = (("request", "requests/s"), ("output", "output tokens/s"), ("total", "total tokens/s"))
    yield (
        "throughput",
        ", ".join(
            f"{_rate(summary, f'{name}_throughput', 'total_token_throughput' if name == 'total' else None)} {unit}"
            for name, unit in rates
        ),
    )
    yield from _steady_facts(result)
    if summary.get("output_throughput_per_gpu") is not None:
        yield (
            "per GPU",
            ", ".join(f"{number(summary.get(f'{name}_throughput_per_gpu'))} {unit}" for name, unit in rates),
        )
    if summary.get("output_throughput_per_user") is not None:
        yield "per user", f"{number(summary.output_throughput_per_user)} output tokens/s (1 / mean TPOT)"
    if summary.get("goodput") is not None:
        limits = ", ".join(f"{name} ≤ {limit:g} ms" for name, limit in (config.get("goodput") or {}).items())
        share = summary.get("goodput_share")
        shown = f", {share:.1%} of requests" if share is not None else ""
        yield "goodput", f"{_rate(summary, 'goodput', 'request_goodput')} requests/s{shown} with {limits}"
    cost = summary.get("cost_per_million_tokens")
    if cost:
        amounts = ", ".join(f"${number(cost[name])} {name}" for name in cost if cost[name] is not None)
        yield "per 1M tokens", amounts or "nothing to price"
    yield "tokens", _token_line(summary)
    if summary.get("concurrency_mean") is not None:
        waiting, decoding = number(summary.get("waiting_mean")), number(summary.get("decoding_mean"))
        parts = f"{waiting} waiting for the first token, {decoding} decoding"
        used = summary.get("achieved_concurrency")
        slots = f"; slots in use {used:.1%} of the time" if used is not None else ""
        yield (
            "in flight",
            f"mean {number(summary.concurrency_mean)} ({parts}), peak {summary.get('concurrency_peak')}{slots}",
        )
    reasons = [f"{name} {count}" for name, count in (summary.get("finish_reasons") or {}).items()]
    if summary.get("length_ok_share") is not None:
        reasons.append(f"{summary.length_ok_share:.1%} of the asked length")
    if reasons:
        yield "finished by", ", ".join(reasons)
    yield from _precision_facts(result)
    yield from _client_facts(result)


def _steady_facts(result: Result) -> Iterator[tuple[str, str]]:
    steady = result.steady_state
    if steady is not None:
        summary, ttft = steady.summary, steady.summary.latencies.get("ttft")
        rates = (
            f"{number(summary.get('request_throughput'))} requests/s, "
            f"{number(summary.get('output_throughput'))} output tokens/s"
        )
        median = f", TTFT p50 {milliseconds(ttft.median)} ms" if ttft is not None and ttft.n else ""
        yield "steady state", f"{steady}: {rates}{median}"
    elif (because := result.summary.get("steady_state_absent_because")) and (
        result.config.get("steady_state") or (result.summary.get("duration_s") or 0) >= LEAST_BINS
    ):
        yield "steady state", f"none: {because}"


def _client_facts(result: Result) -> Iterator[tuple[str, str]]:
    client, summary = result.client, result.summary
    if client.get("connections") is not None:
        said = [f"{client['connections']} opened"]
        if summary.get("reuse_share") is not None:
            said.append(f"{summary.reuse_share:.1%} of requests reused one")
        if summary.get("retried_share"):
            said.append(f"{summary.retried_share:.2%} were written again")
        said += _phases(client)
        if client.get("address"):
            said.append(client["address"])
        yield "connections", ", ".join(said)
    evidence = result.verdict.evidence
    busy = (evidence.get("worker_busy") or {}).get("value")
    if busy is not None:
        yield "client", f"busiest worker {busy:.0%}; {_headroom(evidence.get('ceiling') or {})}"


def _phases(client: Mapping[str, Any]) -> Iterator[str]:
    """What it took to have a connection: the name once for the run, the rest on average over those opened."""
    if client.get("resolve_ms"):
        yield f"DNS {number(client['resolve_ms'])} ms"
    for key, title in (("connect_ms", "connect"), ("tls_ms", "TLS")):
        took = client.get(key) or {}
        if took.get("max"):
            yield f"{title} {number(took['mean'])} ms (max {number(took['max'])})"


def _headroom(ceiling: Mapping[str, Any]) -> str:
    """How much more load the client could have made, by its self-test."""
    share = ceiling.get("value")
    if not share:
        return f"headroom not measured ({ceiling.get('text') or 'llmbench selftest'})"
    if share >= 1:
        return "beyond its ceiling"
    return f"this client could have taken {number(1 / share)}× more"


def _token_line(summary: Any) -> str:
    line = f"{summary.get('input_tokens')} in"
    if summary.get("cached_tokens"):
        share = summary.get("cached_share")
        line += f" ({summary.cached_tokens} cached{f', {share:.1%}' if share is not None else ''})"
    line += f", {summary.get('output_tokens')} out"
    if summary.get("reasoning_tokens"):
        line += f" ({summary.reasoning_tokens} reasoning)"
    sources = summary.get("token_sources") or {}
    return line + (f", counted by {', '.join(sources)}" if sources else "")


def _latency_rows(result: Result, percents: list[float]) -> Iterator[tuple[str, ...]]:
    open_loop = _open_loop(result)
    latencies = result.summary.latencies
    for name, title in _LATENCY_ROWS:
        values = latencies.get(name)
        if values is None or not values.n:
            continue
        if name.endswith("_from_schedule") and not open_loop:
            continue
        if name == "ttfat" and not result.summary.get("reasoning_tokens"):
            continue  # the first token is its
        if (
            name == "icl"
            and "itl" in latencies
            and latencies["itl"].n
            and result.config.get("itl") != "chunk"
        ):
            continue
        yield title, *_row(values, percents)
        yield from _interval_rows(values, percents, result.summary.get("completed") or 0)
    for name in ("ttft", "e2el"):
        values = result.summary.with_failures.get(name)
        if values is not None and values.n and (result.summary.get("failed") or result.summary.get("cut")):
            # A failed request took for ever; JSON has no word for that but null.
            cells = [
                "∞" if each is None or each == float("inf") else milliseconds(each)
                for each in values.percentiles.values()
            ]
            yield f"{name.upper()} with failures", "", *cells, ""


def _steady_rows(result: Result, percents: list[float]) -> Iterator[tuple[str, ...]]:
    steady = result.steady_state
    if steady is not None and result.config.get("steady_state"):
        part = copy.copy(result)
        part.summary = steady.summary
        yield from _latency_rows(part, percents)


def _replica_rows(result: Result) -> Iterator[tuple[str, ...]]:
    replicas = result.replicas
    if replicas is None:
        return
    for each in replicas:
        latencies = [_with_sign(each[name], percent) for name in ("ttft", "e2el") for percent in (50.0, 99.0)]
        yield (
            each.url.removeprefix("http://").removeprefix("https://"),
            f"{each.share:.0%}" if each.share is not None else "-",
            str(each.failed),
            number(each.output_throughput),
            number(each.in_flight_mean),
            *latencies,
        )
    load, ttft = replicas.imbalance.get("in_flight_mean"), replicas.imbalance.get("p50_ttft_ms")
    if load is not None and ttft is not None:
        blank = ("",) * 3
        for title, name in (("max / mean", "max_over_mean"), ("variation", "cv")):
            yield title, *blank, _ratio(getattr(load, name)), _ratio(getattr(ttft, name)), "", "", ""


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _with_sign(values: Distribution, percent: float) -> str:
    interval = values.interval(percent_name(percent))
    sign = "≥ " if interval is not None and not interval.supported else ""
    return sign + milliseconds(values.percentile(percent))


def _row(values: Distribution, percents: list[float]) -> list[str]:
    shown = [_with_sign(values, percent) for percent in percents]
    return [milliseconds(values.mean), *shown, milliseconds(values.max)]


def _interval_rows(values: Distribution, percents: list[float], completed: int) -> Iterator[tuple[str, ...]]:
    """Below a latency: ± half of its 95 % intervals, or what it would take to have them."""
    intervals = [values.interval(name) for name in ("mean", *(percent_name(each) for each in percents))]
    if not any(intervals):
        return
    worth = intervals[0].n_eff if intervals[0] is not None else 0.0
    few = f"  ± (n_eff {number(worth)})" if 0 < worth < completed / 2 else "  ±"
    yield few, *(_uncertainty(each) for each in intervals), ""


def _uncertainty(interval: Interval | None) -> str:
    if interval is None:
        return ""
    if interval.supported and interval.half_width is not None:
        return f"±{milliseconds(interval.half_width)}"
    return f"needs {_rounded(interval.needs_requests)}" if interval.needs_requests else ""


def _rounded(count: int) -> str:
    """A number of requests, never too small: 368, 12.4k, 3M."""
    for unit, name in ((1_000_000, "M"), (1000, "k")):
        if count >= 10 * unit:
            return f"{math.ceil(count / unit * 10) / 10:g}{name}"
    return str(count)


def _rate(summary: Any, name: str, key: str | None = None) -> str:
    """A rate with its interval: 7.29 ± 0.12."""
    interval = summary.intervals.get(key or name)
    half = interval.half_width if interval is not None else None
    return number(summary.get(name)) + (f" ± {number(half)}" if half is not None else "")


def _precision_facts(result: Result) -> Iterator[tuple[str, str]]:
    """What is left open by the client's own clockwork, and by the number of requests."""
    timing = result.summary.get("timing_ms")
    for name, title in (("ttft", "TTFT"), ("itl", "ITL")):
        values = result.summary.latencies.get(name)
        if not timing or values is None or values.median is None:
            continue
        interval = values.interval("median")
        if interval is None:
            continue
        if interval.supported and interval.half_width is not None:
            sampling = f"sampling ± {_fine(interval.half_width)} ms"
        else:
            sampling = f"needs {interval.needs_requests} requests"
        sign = "" if interval.supported else "≥ "
        shown = f"{title} p50 {sign}{number(values.median)} ms"
        yield "precision", f"{shown} (timing ± {_fine(timing[name])} ms, {sampling})"
    until = result.summary.get("until_ci")
    if until:
        yield "until", _until(until)


def _fine(ms: float) -> str:
    """Two digits, and no less than a microsecond."""
    return f"{max(ms, 0.001):.2g}" if ms < 100 else f"{ms:.0f}"


def _until(until: Mapping[str, Any]) -> str:
    width = until.get("relative_half_width")
    if until["reached"]:
        now = f" (± {100 * width:.2g} %)" if width is not None else ""
        return f"{until['target']} reached{now}"
    if width is not None:
        return f"{until['target']} not reached when the budget was spent: ± {100 * width:.2g} %"
    needs = until.get("needs_requests")
    lacking = f"needs {needs} requests" if needs else "no interval"
    return f"{until['target']} not reached when the budget was spent: {lacking}"


def _notes(result: Result, bounded: bool) -> Iterator[str]:
    """`bounded`: a number is shown with ≥."""
    because = result.summary.get("itl_absent_because")
    if because and (result.summary.get("completed") or 0) > 0:
        yield f"no ITL: {because}"
    if bounded:
        yield (
            "≥ marks a percentile that this run is too short to support; needs N: requests like these that would "
            "support it"
        )
    if flagged := list(_from_few_excursions(result)):
        yield f"percentiles whose tail comes from few separate moments: {'; '.join(flagged)}"
    yield from result.verdict.warnings


def _from_few_excursions(result: Result) -> Iterator[str]:
    """The percentiles shown whose values hang together too much to tell them, however many they are: how many separate
    excursions above them there were."""
    for name, title in _LATENCY_ROWS:
        values = result.summary.latencies.get(name)
        if name not in METRICS or values is None:
            continue
        counted = []
        for percent in values.percentiles:
            interval = result.summary.intervals.get(f"{percent_name(percent)}_{name}_ms")
            if interval is not None and (interval.reason or "").startswith("from "):
                counted.append(f"{percent_name(percent)} from {interval.excursions}")
        if counted:
            yield f"{title} {', '.join(counted)}"


def _open_loop(result: Result) -> bool:
    return (result.config.get("load") or {}).get("arrival") not in ("closed", None)


def milliseconds(value: float | None) -> str:
    """Four significant digits at most, two decimals at most."""
    if value is None:
        return "–"
    if value == float("inf"):
        return "∞"
    return f"{value:.2f}" if abs(value) < 100 else f"{value:.1f}" if abs(value) < 1000 else f"{value:.0f}"


def number(value: float | None) -> str:
    """A quantity with sensible digits: 0.0123, 1.23, 45.6, 7890."""
    if value is None:
        return "–"
    if value == 0 or abs(value) >= 1000:
        return f"{value:.0f}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.1f}"


def _tokens(value: float | None) -> str:
    return "unknown" if value is None else f"{value:g}"


def _cut(message: str) -> str:
    line = "".join(each if each.isprintable() else " " for each in message)
    return line if len(line) <= _ERROR_WIDTH else line[: _ERROR_WIDTH - 1] + "…"


def _escaped(words: str) -> str:
    return markup.escape(words)


def _html_table(header: tuple[str, ...], rows: Any, *, left: int) -> str:
    """A table whose first `left` columns are words."""

    def cell(tag: str, i: int, words: str) -> str:
        return f'<{tag} style="text-align:{"left" if i < left else "right"}">{_escaped(words)}</{tag}>'

    lines = [f"<tr>{''.join(cell('th', i, words) for i, words in enumerate(header))}</tr>"] if header else []
    lines += [f"<tr>{''.join(cell('td', i, words) for i, words in enumerate(row))}</tr>" for row in rows]
    return f"<table>{''.join(lines)}</table>"


def evidence_lines(evidence: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The evidence of a verdict, one line each: what was measured against which limit."""
    lines = []
    for name, line in evidence.items():
        value, limit, unit = line.get("value"), line.get("limit"), line.get("unit") or ""
        if value is None:
            lines.append(f"{name}: not measured ({line.get('text')})")
        else:
            bound = f", limit {limit:g}" if limit is not None else ""
            lines.append(f"{name}: {value:.4g}{bound}{' ' + unit if unit else ''}")
    return lines
