"""`llmbench selftest`: this machine's ceiling and timing error, against the simulator's ground truth."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmbench.cli import flags

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from llmbench.selftest import Error, SelfTest

_BUDGET_NOT_MET = 3


def parser() -> flags.Parser:
    parser = flags.Parser(
        prog="llmbench selftest",
        description="Measures llmbench itself against the simulated server: how many events and requests a second "
        "this machine's client can take, and how far its times are from the truth. Takes about half a minute; the "
        "result is kept for the verdicts of later runs. Exit code 3 when an error is over its budget.",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="a few seconds, at most 100 streams; does not replace a thorough one",
    )
    parser.add_argument(
        "--out_dir", default="./plots/selftest", metavar="DIR", help="where the PNG and SVG files go"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser


def main(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    from llmbench import selftest
    from llmbench.errors import ResultsError

    with _steps(quiet=args.json) as on_step:
        found = selftest.measure(quick=args.quick, on_step=on_step)
    if args.json:
        print(json.dumps(found.to_dict(), ensure_ascii=False, allow_nan=False))
    else:
        show(found)
    try:
        path = selftest.keep(found)
    except ResultsError as error:
        # Only later verdicts miss it.
        print(f"llmbench selftest: not kept for later runs: {error}", file=sys.stderr)
    else:
        if not args.json:
            print(f"kept in {path}")
    # Last: where it cannot be written, nothing else is lost.
    saved = _figure(found, Path(args.out_dir))
    if not args.json:
        print("\n".join(f"saved {path}" for path in saved))
    return 0 if found.within_budget else _BUDGET_NOT_MET


def show(found: SelfTest, console: Console | None = None) -> None:
    """The tables, in 80 columns where the output is no terminal."""
    from rich.console import Console as RichConsole
    from rich.text import Text

    if console is None:
        console = RichConsole(highlight=False)
        if not console.is_terminal:
            console = RichConsole(highlight=False, width=80, no_color=True)
    machine, cores = found.machine, found.cores
    console.print(
        Text(
            f"llmbench {machine.get('llmbench')} on {machine.get('cpu')}, {machine.get('cores')} cores, "
            f"Linux {machine.get('kernel')}"
        )
    )
    console.print(
        Text(f"server on core {cores.server[0]}, client on core {cores.client[-1]}; {found.duration_s:.0f} s")
    )
    console.print()
    console.print(_ceiling_table(found))
    console.print()
    console.print(_lateness_table(found))
    console.print()
    console.print(_error_table(found))
    console.print()
    console.print(Text(_said(found), style="bold green" if found.within_budget else "bold red"))
    for note in found.notes:
        console.print(Text(f"note: {note}"))


def _ceiling_table(found: SelfTest) -> Table:
    ceiling = found.ceiling
    one, everything = ceiling.of_cores(1), ceiling.of_cores(found.machine_cores)
    table = _table("ceiling", "one worker", f"all {found.machine_cores} cores", "CPU each", "measured at")
    rows = (
        ("events/s", one[0], everything[0], ceiling.event_s, found.measured_at["events_per_s"]),
        ("requests/s", one[1], everything[1], ceiling.request_s, found.measured_at["requests_per_s"]),
    )
    for name, worker, cores, cost_s, rate in rows:
        table.add_row(name, _count(worker), _count(cores), f"{cost_s * 1e6:.1f} µs", f"{_count(rate)}/s")
    return table


def _lateness_table(found: SelfTest) -> Table:
    table = _table("lateness, ms", "n", "p50", "p99", "max")
    rows: tuple[tuple[str, Mapping[str, float | None]], ...] = (
        ("reads after the kernel's stamp", found.read_lateness_ms),
        ("sends after their planned time", found.timer_lateness_ms),
    )
    for name, late in rows:
        shown = ("–" if late[each] is None else f"{late[each]:.3f}" for each in ("p50", "p99", "max"))
        table.add_row(name, f"{late['count'] or 0:.0f}", *shown)
    return table


def _error_table(found: SelfTest) -> Table:
    table = _table("streams", "µs", "mean", "p1", "p50", "p99", "± p50", "± p99", "within", "merged")
    for level in found.levels:
        table.add_row(
            str(level.streams),
            "TTFT",
            *_cells(level.ttft),
            f"{level.merged:.1%}" if level.merged < 1 else "100%",
        )
        table.add_row("", "ITL", *_cells(level.itl), "")
    return table


def _cells(error: Error) -> list[str]:
    values = (error.mean_us, error.p1_us, error.p50_us, error.p99_us)
    budget = (error.budget_us, error.budget_p99_us)
    within = f"{error.within:.1%}" if error.within < 1 else "100%"
    return [*(_us(each, "+") for each in values), *(_us(each) for each in budget), within]


def _us(value: float, sign: str = "") -> str:
    return format(value, f"{sign}.0f") if abs(value) < 99_999.5 else format(value / 1e6, f"{sign}.2f") + " s"


def _said(found: SelfTest) -> str:
    from llmbench.selftest import WITHIN

    over = [str(level.streams) for level in found.levels if not level.within_budget]
    if not over:
        return f"at least {WITHIN:.0%} of all times are within their budget (±)"
    return f"over budget with {', '.join(over)} streams: under {WITHIN:.0%} of times are within theirs (±)"


def _table(*columns: str) -> Table:
    from rich.table import Table as RichTable

    table = RichTable(box=None, padding=(0, 1), pad_edge=False, header_style="dim")
    for i, name in enumerate(columns):
        table.add_column(name, justify="left" if i == 0 or name == "µs" else "right", no_wrap=True)
    return table


def _count(value: float) -> str:
    """Three significant digits: these are no exact numbers."""
    return f"{float(f'{value:.3g}'):,.0f}".replace(",", " ")


def _figure(found: SelfTest, directory: Path) -> tuple[Path, ...]:
    from llmbench.plots import style
    from llmbench.plots.selftest import selftest

    return style.save(selftest(found, shown=False), directory, "selftest")


@contextlib.contextmanager
def _steps(*, quiet: bool) -> Iterator[Callable[[str], Any]]:
    """What is being measured, on a line of the terminal that goes away."""
    from rich.console import Console as RichConsole

    console = RichConsole(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda step: None
        return
    with console.status("starting") as status:
        yield lambda step: status.update(f"{step} …")
