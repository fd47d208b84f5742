"""llmbench beside vLLM's two clients, aiperf and guidellm, on one server whose own times are known.

    python benchmarks/rivals/compare.py                    # installs, measures, writes docs/benchmarks.md; 25 minutes
    python benchmarks/rivals/compare.py --quick            # one repeat of less; 8 minutes
    python benchmarks/rivals/compare.py --render           # the page and its figures again, from the JSON alone

The clients take turns on the last core, against benchmarks/truth_server on the first. Each is installed into an
environment of its own under build/rivals (6 GB in all); one that cannot be is skipped, with the reason.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import harness

sys.path.insert(0, str(harness.ROOT / "python"))
from rivals import page
from rivals.clients import CLIENTS, Client, InstallError, tokenizer
from rivals.measures import MEASURES, Bench, Plan, Run, session

RESULTS = Path(__file__).with_name("results.json")
CACHE = harness.ROOT / "build" / "rivals"


def prepare(names: list[str], cache: Path) -> tuple[list[Client], list[dict[str, Any]]]:
    """The clients that can be had, and what the page says of all."""
    tokenizer(cache)
    had, told = [], []
    for name in names:
        client = CLIENTS[name]
        about: dict[str, Any] = {"name": name, "title": client.title, "version": client.version}
        print(f"{name} {client.version}", file=sys.stderr, flush=True)
        try:
            client.prepare(cache)
        except InstallError as error:
            print(f"  skipped: {error}", file=sys.stderr, flush=True)
            told.append({**about, "skipped": str(error)})
        else:
            had.append(client)
            told.append({**about, "bytes": client.size(client.home(cache))})
    return had, told


def show(run: Run) -> None:
    """One line of progress."""
    load = run["load"]
    what = f"{load['rate']:g}/s" if load["rate"] else f"{load['streams']} streams"
    said = "ok" if run["ok"] else run["error"]
    print(
        f"  {run['measure']:<11} {run['client']:<12} {what:<13} {run['wall_s']:6.1f} s, "
        f"CPU {run['cpu_s']:6.2f} s  {said}",
        file=sys.stderr,
        flush=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", nargs="+", choices=list(CLIENTS), default=list(CLIENTS))
    parser.add_argument("--measures", nargs="+", choices=MEASURES, default=list(MEASURES))
    parser.add_argument("--repeats", type=int, help="of start, accuracy and requests (default 3)")
    parser.add_argument("--quick", action="store_true", help="one repeat, and less of everything")
    parser.add_argument("--install", action="store_true", help="only install")
    parser.add_argument("--render", action="store_true", help="only write the page, from the JSON")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where the environments are kept")
    parser.add_argument("--json", type=Path, default=RESULTS, help="all runs; written, or read by --render")
    parser.add_argument(
        "--page",
        type=Path,
        default=page.PAGE,
        help="the Markdown file; with the default one, the README's sentence is written too",
    )
    parser.add_argument("--note", default="", help="a sentence for the page on the conditions of the session")
    harness.add_realtime(parser)
    options = parser.parse_args()
    readme = page.README if options.page == page.PAGE else None
    if options.render:
        page.write(json.loads(options.json.read_text()), options.page, readme)
        return 0
    clients, told = prepare(options.clients, options.cache)
    if options.install:
        return 0
    if not clients:
        raise SystemExit("no client could be installed")
    if options.realtime:
        harness.go_realtime()
    plan = Plan.quick() if options.quick else Plan()
    if options.repeats:
        plan = replace(plan, repeats=options.repeats)
    server_core, client_core = harness.cores()
    os.sched_setaffinity(0, server_core)
    start = time.monotonic()
    results: dict[str, Any] = {
        "date": dt.date.today().isoformat(),
        "machine": {
            "description": harness.machine(),
            "cores": {"server": sorted(server_core), "client": sorted(client_core)},
            "python": platform.python_version(),
        },
        "note": options.note,
        "quick": options.quick,
        "repeats": plan.repeats,
        "clients": told,
        "runs": list(
            session(Bench(options.cache, server_core, client_core), clients, plan, options.measures, show)
        ),
    }
    results["duration_s"] = round(time.monotonic() - start)
    save(results, options.json)
    page.write(results, options.page, readme)
    print(page.tables(results))
    return 0


def save(results: dict[str, Any], path: Path) -> None:
    """As JSON, a line per run."""
    head = {key: value for key, value in results.items() if key != "runs"}
    lines = ",\n  ".join(json.dumps(run, allow_nan=False) for run in results["runs"])
    text = json.dumps(head, indent=1, allow_nan=False, ensure_ascii=False)
    path.write_text(f'{text[:-2]},\n "runs": [\n  {lines}\n ]\n}}\n')


if __name__ == "__main__":
    sys.exit(main())
