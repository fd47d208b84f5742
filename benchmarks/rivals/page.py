"""docs/benchmarks.md and its figures, from the JSON of a session and nothing else."""

from __future__ import annotations

import math
import statistics
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import harness

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Results = Mapping[str, Any]
Run = Mapping[str, Any]

PAGE = harness.ROOT / "docs" / "benchmarks.md"
README = harness.ROOT / "README.md"
LATENCIES = (
    ("mean TTFT", "ttft_mean", "ttft_mean"),
    ("p99 TTFT", "ttft_p99", "ttft_p99"),
    ("mean ITL", "itl_mean", "itl_mean"),
    ("p99 ITL", "itl_p99", "itl_p99"),
)
"""Name, key of the report, key of the truth."""
NONE = "–"


def runs(results: Results, measure: str, client: str | None = None) -> list[Run]:
    return [run for run in results["runs"] if run["measure"] == measure and client in (None, run["client"])]


def stream_counts(results: Results) -> list[int]:
    return sorted({run["load"]["streams"] for run in runs(results, "accuracy")})


# Numbers: the values of all repeats, to be shown as median and range


def errors(results: Results, client: str, streams: int, reported: str, true: str) -> list[float]:
    """Reported − true, ms."""
    found = []
    for run in runs(results, "accuracy", client):
        if not run["ok"] or run["load"]["streams"] != streams or run["reported"][reported] is None:
            continue
        if true == "itl_p99" and run["reported"]["itl_of"] == "request":
            true = "itl_request_p99"
        found.append(run["reported"][reported] - run["true"][true])
    return found


def base_cpu_s(results: Results, client: str) -> float:
    """What a run costs before it has many requests."""
    found = [run["cpu_s"] for run in runs(results, "base", client) if run["ok"]]
    return statistics.median(found) if found else math.nan


def cpu_per_event_us(results: Results, client: str) -> list[float]:
    """With the most streams."""
    most = max(stream_counts(results), default=0)
    return _cpu_us(
        results,
        client,
        "accuracy",
        lambda run: run["true"]["events"] if run["load"]["streams"] == most else 0,
    )


def cpu_per_request_us(results: Results, client: str) -> list[float]:
    return _cpu_us(results, client, "requests", lambda run: run["load"]["requests"])


def _cpu_us(results: Results, client: str, measure: str, count: Callable[[Run], int]) -> list[float]:
    base_s = base_cpu_s(results, client)
    return [
        (run["cpu_s"] - base_s) / count(run) * 1e6
        for run in runs(results, measure, client)
        if run["ok"] and count(run) and math.isfinite(base_s)
    ]


def of_runs(results: Results, client: str, measure: str, value: Callable[[Run], float]) -> list[float]:
    return [value(run) for run in runs(results, measure, client) if run["ok"]]


def highest(
    results: Results, client: str, measure: str, key: str, held: Callable[[Run], bool]
) -> tuple[Any, Any]:
    """The highest rung that held, and the lowest that did not; None for none."""
    tried = runs(results, measure, client)
    good = [run["load"][key] for run in tried if held(run)]
    bad = [run["load"][key] for run in tried if not held(run)]
    return max(good, default=None), min(bad, default=None)


# Cells


def number(value: float, signed: bool = False) -> str:
    """Three significant digits, at most three behind the point, no exponent."""
    if not math.isfinite(value):
        return NONE
    digits = 3 if abs(value) < 0.1 else max(0, 2 - math.floor(math.log10(abs(value))))
    if round(value, digits) == 0:
        return "0" if value == 0 else f"{0:.{digits}f}"
    return f"{value:{'+' if signed else ''},.{digits}f}".replace(",", " ").replace("-", "−")


def cell(values: Sequence[float], signed: bool = False) -> str:
    """The median, and the range where it was measured more than once."""
    if not values:
        return NONE
    middle = number(statistics.median(values), signed)
    if len(values) == 1:
        return middle
    return f"{middle} ({number(min(values), signed)} to {number(max(values), signed)})"


def rung(found: tuple[Any, Any], unit: str) -> str:
    good, bad = found
    if good is None:
        return NONE if bad is None else f"under {bad:,.0f}{unit}".replace(",", " ")
    return f"{good:,.0f}{unit}".replace(",", " ") + ("" if bad is not None else " or more")


def size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def trap_cell(trap: str, run: Run | None) -> str:
    if run is None:
        return NONE
    reported, true = run["reported"], run["true"]
    if reported is None:
        return f"no result: {run['error']}"
    if trap in ("error", "u2028"):
        return f"{reported['completed']} of {run['load']['requests']}"
    key = "ttft_mean" if trap == "role" else "itl_mean"
    shown = NONE if reported[key] is None else f"{reported[key]:.2f}"
    return f"{shown} ms (true: {true[key]:.2f})"


TRAPS = (
    ("role", "an empty role delta at once, the first token after 50 ms: mean TTFT"),
    ("finish", "the finish reason in an event of its own, right after the last token: mean ITL"),
    ("error", "an error object in the stream after the fifth token: counted as completed (right: 0)"),
    ("u2028", "U+2028 in the text: counted as completed (right: all)"),
)


# Tables


def measured(results: Results) -> list[Mapping[str, Any]]:
    return [client for client in results["clients"] if "skipped" not in client]


def main_table(results: Results) -> str:
    from rivals.measures import rate_held, streams_held

    names = [client["name"] for client in measured(results)]
    rows: list[list[str]] = []

    def row(title: str, of: Callable[[str], str]) -> None:
        cells = [of(name) for name in names]
        if any(each != NONE for each in cells):
            rows.append([title, *cells])

    for title, reported, true in LATENCIES:
        for streams in stream_counts(results):

            def of(name: str, streams: int = streams, reported: str = reported, true: str = true) -> str:
                return cell(errors(results, name, streams, reported, true), signed=True)

            row(f"{title}, reported − true, {streams} stream{'s' * (streams > 1)}, ms", of)
    row("CPU per event, µs", lambda name: cell(cpu_per_event_us(results, name)))
    row("CPU per request of one token, µs", lambda name: cell(cpu_per_request_us(results, name)))
    most = max(stream_counts(results), default=0)
    largest = [run for run in runs(results, "accuracy") if run["load"]["streams"] == most and run["ok"]]
    if largest:
        events = round(max(run["true"]["events"] for run in largest), -3)

        def peak(name: str) -> str:
            return cell([run["peak_mb"] for run in largest if run["client"] == name])

        row(f"peak memory, {number(events)} events, MB", peak)
    row(
        "a run of one request, s",
        lambda name: cell(of_runs(results, name, "start", lambda run: run["wall_s"])),
    )
    row(
        "CPU of a run of one request, s",
        lambda name: cell(of_runs(results, name, "start", lambda run: run["cpu_s"])),
    )
    row(
        "closed loop, 64 streams, one token at once, requests/s",
        lambda name: cell(of_runs(results, name, "requests", lambda run: run["true"]["rate"])),
    )
    row(
        "highest open-loop rate held, requests/s",
        lambda name: rung(highest(results, name, "rate", "rate", rate_held), ""),
    )
    row(
        "streams held at 100 000 events/s",
        lambda name: rung(highest(results, name, "held", "streams", streams_held), ""),
    )
    sizes = {client["name"]: client["bytes"] for client in measured(results)}
    row("size on disk", lambda name: size(sizes[name]))
    titles = [f"{client['title']} {client['version']}" for client in measured(results)]
    return harness.table(["", *titles], rows)


def trap_table(results: Results) -> str:
    names = [client["name"] for client in measured(results)]
    rows = []
    for trap, title in TRAPS:
        found = {run["client"]: run for run in runs(results, f"trap-{trap}")}
        if found:
            rows.append([title, *(trap_cell(trap, found.get(name)) for name in names)])
    return harness.table(["", *(client["title"] for client in measured(results))], rows) if rows else ""


def tables(results: Results) -> str:
    return "\n\n".join(each for each in (main_table(results), trap_table(results)) if each)


def failures(results: Results) -> list[str]:
    """A line for each client that was skipped, and for each run that gave nothing or not all."""
    lines = [
        f"{client['title']} was left out: {client['skipped']}"
        for client in results["clients"]
        if "skipped" in client
    ]
    titles = {client["name"]: client["title"] for client in results["clients"]}
    for run in results["runs"]:
        asked = run["load"]["requests"]
        missing = run["ok"] and run["reported"]["completed"] < asked
        if (
            (run["ok"] and not missing)
            or run["measure"] in ("rate", "held")
            or run["measure"].startswith("trap")
        ):
            continue
        said = (
            f"{run['reported']['completed']} of {asked} requests are in its report"
            if missing
            else run["error"]
        )
        lines.append(f"{titles[run['client']]}, {run['measure']}, {run['load']['streams']} streams: {said}")
    return list(dict.fromkeys(lines))


# Figures


def figures(results: Results, directory: Path) -> list[Path]:
    """The figures for which there are runs: TTFT error by streams, CPU per event and per request."""
    from llmbench.plots import style

    saved: list[Path] = []
    with style.look():
        if len(stream_counts(results)) > 1:
            axes = style.new_axes(shown=False)
            _draw_errors(axes, results)
            saved.append(_save(axes, directory / "ttft_error.png"))
        if runs(results, "accuracy") or runs(results, "requests"):
            axes = style.new_axes(shown=False)
            _draw_cpu(axes, results)
            saved.append(_save(axes, directory / "cpu.png"))
    return saved


def _save(axes: Axes, path: Path) -> Path:
    from llmbench.plots import style

    assert axes.figure is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    axes.figure.savefig(path, dpi=style.DPI, metadata={"Software": None})  # type: ignore[union-attr]
    return path


def _series(results: Results) -> Iterable[tuple[str, str, str, str]]:
    """Name, title, colour and marker of every client, the same whichever are there."""
    from llmbench.plots import style
    from rivals.clients import CLIENTS

    fixed = dict(zip(CLIENTS, zip(style.PALETTE, style.MARKERS, strict=False), strict=False))
    for client in measured(results):
        yield client["name"], client["title"], *fixed[client["name"]]


def _conditions(results: Results) -> str:
    return f"{results['date']}, client on one core, {_repeats(results)}"


def _repeats(results: Results) -> str:
    return "one run each" if results["repeats"] == 1 else f"medians of {results['repeats']} runs"


def _draw_errors(axes: Axes, results: Results) -> None:
    from llmbench.plots import style

    axes.set_xscale("log")
    axes.set_yscale("log")
    handles, labels = [], []
    for name, title, color, marker in _series(results):
        points = []
        for streams in stream_counts(results):
            found = [abs(each) for each in errors(results, name, streams, "ttft_mean", "ttft_mean")]
            if found:
                points.append((streams, statistics.median(found), min(found), max(found)))
        if not points:
            continue
        x, middle, low, high = zip(*points, strict=True)
        axes.vlines(x, low, high, color=color, alpha=0.5, linewidth=3)
        [line] = axes.plot(x, middle, color=color, marker=marker)
        handles.append(line)
        labels.append(title)
    counts = stream_counts(results)
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel("streams")
    axes.set_ylabel("|reported − true| mean TTFT, ms")
    style.title(axes, "How far reported TTFT is from the truth", _conditions(results))
    style.legend(axes, handles, labels)


def _draw_cpu(axes: Axes, results: Results) -> None:
    from llmbench.plots import style

    axes.set_yscale("log")
    series = list(_series(results))
    width = 0.8 / max(1, len(series))
    handles, labels = [], []
    for i, (name, title, color, _) in enumerate(series):
        heights, places = [], []
        for place, values in enumerate((cpu_per_event_us(results, name), cpu_per_request_us(results, name))):
            if values:
                heights.append(statistics.median(values))
                places.append(place + (i - (len(series) - 1) / 2) * width)
        if not heights:
            continue
        bars = axes.bar(places, heights, width * 0.92, color=color)
        axes.bar_label(bars, [number(height) for height in heights], padding=2, fontsize=9)
        handles.append(bars[0])
        labels.append(title)
    most = max(stream_counts(results), default=0)
    axes.set_xticks([0, 1], [f"event, {most} streams", "request of one token"])
    axes.grid(visible=False, axis="x")
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_ylim(bottom=1)
    axes.set_ylabel("CPU, µs")
    style.title(axes, "CPU time of the client", _conditions(results))
    style.legend(axes, handles, labels)


# The page

TEMPLATE = Path(__file__).with_name("page.md")


def render(results: Results, images: Sequence[str] = ()) -> str:
    """The Markdown of the page. `images` are links to the figures."""
    cores = results["machine"]["cores"]
    conditions = [
        (
            f"- {results['date']}; {results['machine']['description']}; "
            f"server on core {cores['server'][0]}, client on core {cores['client'][0]}"
        ),
        "- "
        + ", ".join(f"{client['title']} {client['version']}" for client in measured(results))
        + f"; Python {results['machine']['python']}",
    ]
    if results["quick"]:
        conditions.append("- a quick session: one run of everything, and fewer requests than a full one has")
    if results["note"]:
        conditions.append(f"- {results['note']}")
    alt = {"ttft_error.png": "Error of mean TTFT against streams", "cpu.png": "CPU per event and per request"}
    shown = "".join(f"\n![{alt[Path(image).name]}]({image})\n" for image in images)
    notes = failures(results)
    repeats = (
        "Each was measured once."
        if results["repeats"] == 1
        else f"Shown is the median of {results['repeats']} runs, with the range; "
        "rates, streams held and traps were measured once."
    )

    def tried(measure: str, key: str) -> str:
        return ", ".join(
            number(each) for each in sorted({run["load"][key] for run in runs(results, measure)})
        )

    return TEMPLATE.read_text().format(
        conditions="\n".join(conditions),
        repeats=repeats,
        main=main_table(results),
        figures=shown,
        traps=trap_table(results) or "Not measured in this session.",
        failures="\n" + "\n".join(f"- {line}" for line in notes) + "\n" if notes else "",
        rates=tried("rate", "rate") or NONE,
        held=tried("held", "streams") or NONE,
    )


# The README's sentence


def claim(results: Results) -> str:
    """llmbench beside the best of the others, number by number, from a full session; "" where one was not measured."""
    if results["quick"]:
        return ""
    most = max(stream_counts(results), default=0)

    def error(name: str) -> float:
        found = errors(results, name, most, "ttft_mean", "ttft_mean")
        return statistics.median(found) if found else math.nan

    def cost(of: Callable[[Results, str], list[float]], name: str) -> float:
        found = of(results, name)
        return statistics.median(found) if found else math.nan

    def beside(of: Callable[[str], float], said: Callable[[str, str, str], str]) -> str:
        others = {
            client["title"]: of(client["name"])
            for client in measured(results)
            if client["name"] != "llmbench"
        }
        known = {title: abs(value) for title, value in others.items() if math.isfinite(value)}
        if not known or not math.isfinite(of("llmbench")):
            return ""
        best = min(known, key=lambda title: known[title])
        return said(number(abs(of("llmbench"))), number(known[best]), best)

    parts = (
        beside(
            error,
            lambda ours, theirs, best: (
                f"at {most} streams on one core the mean TTFT it reports is off by {ours} ms, "
                f"that of the nearest other client ({best}) by {theirs} ms"
            ),
        ),
        beside(
            lambda name: cost(cpu_per_event_us, name),
            lambda ours, theirs, best: (
                f"an event costs it {ours} µs of CPU, the cheapest other ({best}) {theirs} µs"
            ),
        ),
        beside(
            lambda name: cost(cpu_per_request_us, name),
            lambda ours, theirs, best: f"a request {ours} µs, the cheapest other ({best}) {theirs} µs",
        ),
    )
    return "; ".join(part for part in parts if part)


def _count(others: int) -> str:
    numbers = (
        "no other client",
        "one other client",
        "two other clients",
        "three other clients",
        "four other clients",
    )
    return numbers[others] if others < len(numbers) else f"{others} other clients"


BEGIN, END = "<!-- of docs/benchmarks.md: written by `make rivals` -->\n", "<!-- end -->\n"


def with_claim(readme: str, results: Results) -> str:
    """The README with this session's sentence between its two marks, or nothing where it claims nothing."""
    said = claim(results)
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        return readme
    if not said:
        return f"{before}{BEGIN}{END}{after}"
    others = _count(len(measured(results)) - 1)
    sentence = f"Beside {others}, in one session on a server that shares no code with llmbench: {said}."
    lines = textwrap.fill(sentence, 140, break_long_words=False, break_on_hyphens=False)
    return f"{before}{BEGIN}{lines}\n{END}{after}"


def write(results: Results, page: Path = PAGE, readme: Path | None = None) -> None:
    """The page, its figures beside it in images/benchmarks, and the sentence of the README."""
    saved = figures(results, page.parent / "images" / "benchmarks")
    page.write_text(render(results, [path.relative_to(page.parent).as_posix() for path in saved]))
    if readme is not None:
        readme.write_text(with_claim(readme.read_text(), results))
