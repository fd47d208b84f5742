"""The engine's CPU per event and per request, beside a reader that does nothing else.

    python benchmarks/ceiling/compare.py            # what the README quotes: about five minutes
    python benchmarks/ceiling/compare.py --quick    # half a minute

The simulated server has one core, the client another. CPU is user + system time of the whole client process,
less that of a run of one request of the same kind, over the output events (or requests) of the run. Pairs
alternate (bare, llmbench, bare, …), so that a busy neighbour meets both.

`--only workers` holds two workers against one: the CPU time of the worker threads per output event, with the load of
the one shared by two, and with twice that load. With only two cores one of two workers shares its core with the
server, where an event costs another amount; the one worker is then measured on each core, and two are held against
the mean of both. Two that take turns on the core beside the server's are shown as well.

`llmbench run` also makes its prompts, in Python, before it sends anything. The second column takes that off too
(by `--dry-run` with as many prompts): connecting, sending, reading, recording and summing up are left.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import harness

HERE = Path(__file__).resolve().parent
PROMPT_WORDS = 8


def bare_reader() -> Path:
    """Compiles bare_reader.cc as CMake does, when it is newer than the program."""
    source = HERE / "bare_reader.cc"
    program = harness.ROOT / "build" / "ceiling" / "bare_reader"
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        program.parent.mkdir(parents=True, exist_ok=True)
        command = [harness.compiler(), "-std=c++20", "-O2", str(source), "-o", str(program), "-lsimdjson"]
        subprocess.run(command, check=True)
    return program


@dataclass(frozen=True)
class Sample:
    """One run of one client."""

    cpu_s: float
    wall_s: float
    requests: int
    events: int
    peak_rss_mb: float


@dataclass(frozen=True)
class Kind:
    """A closed loop: so many streams, requests and tokens."""

    streams: int
    requests: int
    tokens: int


class Bench:
    """Both clients against one server."""

    def __init__(self, url: str, core: set[int], directory: Path) -> None:
        self.url = url
        self.core = core
        self.directory = directory
        self.program = bare_reader()

    def bare(self, kind: Kind) -> Sample:
        port = self.url.rsplit(":", 1)[1].rstrip("/")
        numbers = (kind.streams, kind.requests, kind.tokens, PROMPT_WORDS)
        usage = harness.measure([str(self.program), port, *map(str, numbers)], self.core)
        told = json.loads(usage.stdout)
        assert told["requests"] == kind.requests, told
        assert told["events"] == kind.requests * kind.tokens, told
        return Sample(usage.cpu_s, usage.wall_s, told["requests"], told["events"], usage.peak_rss_mb)

    def command(self, kind: Kind, *arguments: str, workers: int = 1) -> list[str]:
        return harness.run_command(
            self.url,
            self.directory,
            *("--num-prompts", str(kind.requests), "--max-concurrency", str(kind.streams)),
            *("--random-input-len", str(PROMPT_WORDS), "--random-output-len", str(kind.tokens)),
            *("--ignore-eos", "--workers", str(workers), *arguments),
        )

    def per_event(self, kind: Kind, workers: int, cores: set[int]) -> float:
        """CPU time of the worker threads per output event, µs."""
        harness.measure(self.command(kind, workers=workers), cores)
        [(stored,)] = harness.query(self.directory / "run.llmbench", "SELECT json FROM run")
        run = json.loads(stored)
        if run["summary"]["completed"] != kind.requests:
            raise SystemExit(f"asked for {kind}; {run['summary']['completed']} requests were ok")
        cpu_s = sum(each["cpu_s"] for each in run["client"]["workers"])
        return float(cpu_s / run["summary"]["events"] * 1e6)

    def llmbench(self, kind: Kind, *arguments: str) -> Sample:
        usage = harness.measure(self.command(kind, *arguments), self.core)
        [(requests, events)] = harness.query(
            self.directory / "run.llmbench", "SELECT count(*), sum(events) FROM request WHERE outcome = 'ok'"
        )
        if requests != kind.requests or events != kind.requests * kind.tokens:
            raise SystemExit(f"asked for {kind}; {requests} requests with {events} events were ok")
        return Sample(usage.cpu_s, usage.wall_s, requests, events, usage.peak_rss_mb)

    def prompts_only(self, kind: Kind) -> float:
        """CPU of starting and of making the prompts, without a request; median of three."""
        command = self.command(kind, "--dry-run")
        return statistics.median(harness.measure(command, self.core).cpu_s for _ in range(3))


def compare(bench: Bench, kind: Kind, pairs: int, per: str) -> str:
    """One Markdown table: CPU per event or per request of both clients."""
    one = Kind(1, 1, kind.tokens)
    bare_base = statistics.median(bench.bare(one).cpu_s for _ in range(3))
    run_base = statistics.median(bench.llmbench(one).cpu_s for _ in range(3))
    prompts = bench.prompts_only(kind) - bench.prompts_only(one)

    bare, run, engine, walls, memory = [], [], [], [], []
    for pair in range(pairs):
        mine, theirs = bench.bare(kind), bench.llmbench(kind)
        count = getattr(mine, per)
        bare.append((mine.cpu_s - bare_base) / count * 1e6)
        run.append((theirs.cpu_s - run_base) / count * 1e6)
        engine.append((theirs.cpu_s - run_base - prompts) / count * 1e6)
        walls.append((mine.wall_s, theirs.wall_s))
        memory.append(theirs.peak_rss_mb)
        print(
            f"  pair {pair + 1}: bare {bare[-1]:.2f} µs, llmbench {run[-1]:.2f} µs, "
            f"ratio {run[-1] / bare[-1]:.3f}; wall {mine.wall_s:.1f} s and {theirs.wall_s:.1f} s",
            file=sys.stderr,
        )
    unit = f"µs per {per[:-1]}"
    ratio = statistics.median(run) / statistics.median(bare)
    engine_ratio = statistics.median(engine) / statistics.median(bare)
    rate = [kind.requests / wall for pair in walls for wall in pair]
    return harness.table(
        [
            f"{kind.streams} streams × {kind.tokens} tokens, {kind.requests} requests",
            f"less a one-request run, {unit}",
            f"and less making the prompts, {unit}",
            "peak memory",
        ],
        [
            ["bare reader", harness.spread(bare), "", ""],
            ["llmbench run", harness.spread(run), harness.spread(engine), f"{max(memory):.0f} MB"],
            ["ratio of medians", f"**{ratio:.3f}**", f"{engine_ratio:.3f}", ""],
            ["requests/s", f"{min(rate):.0f}–{max(rate):.0f}", "", ""],
        ],
    )


def two_workers(bench: Bench, kind: Kind, rounds: int, server_core: set[int]) -> str:
    """One worker, two with its load, and two with twice its load, by turns."""
    twice = Kind(2 * kind.streams, 2 * kind.requests, kind.tokens)
    others = os.sched_getaffinity(0) - server_core
    runs: dict[str, tuple[Kind, int, set[int]]] = {}
    if len(others) > 1:
        alone = ["one worker"]
        runs["one worker"] = (kind, 1, others)
        runs["two workers, the same load"] = (kind, 2, others)
        runs["two workers, the same load each"] = (twice, 2, others)
    else:
        alone = ["one worker, on the server's core", "one worker, on the other"]
        runs[alone[0]] = (kind, 1, server_core)
        runs[alone[1]] = (kind, 1, others)
        runs["two workers on both, the same load"] = (kind, 2, server_core | others)
        runs["two workers on both, the same load each"] = (twice, 2, server_core | others)
        runs["two workers on the other, the same load"] = (kind, 2, others)
    found: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds):
        for name, (load, workers, cores) in runs.items():
            found[name].append(bench.per_event(load, workers, cores))
        shown = ", ".join(f"{costs[-1]:.2f}" for costs in found.values())
        print(f"  round {number + 1}: {shown} µs", file=sys.stderr)
    medians = {name: statistics.median(costs) for name, costs in found.items()}
    rows = []
    for name, (load, workers, cores) in runs.items():
        base = [medians[one] for one in alone if runs[one][2] <= cores]
        ratio = f"**{medians[name] / statistics.mean(base):.3f}**" if workers > 1 else ""
        rows.append([name, str(load.streams), harness.spread(found[name]), ratio])
    header = ["CPU of the workers", "streams", "µs per event", "over one worker on the same cores"]
    return harness.table(header, rows)


def open_loop(bench: Bench, rate: int, seconds: int) -> str:
    """Poisson arrivals of one-token requests: the achieved rate and how late the client itself was."""
    kind = Kind(1, rate * seconds, 1)
    usage = harness.measure(
        harness.run_command(
            bench.url,
            bench.directory,
            *("--num-prompts", str(kind.requests), "--request-rate", str(rate), "--ignore-eos"),
            *("--random-input-len", str(PROMPT_WORDS), "--random-output-len", "1", "--workers", "1"),
        ),
        bench.core,
    )
    rows = harness.query(
        bench.directory / "run.llmbench",
        "SELECT sent_ns - max(scheduled_ns, ifnull(slot_ns, -1), ifnull(connected_ns, -1)),"
        " sent_ns - scheduled_ns, scheduled_ns, sent_ns, outcome FROM request WHERE sent_ns IS NOT NULL",
    )
    planned_s = (max(row[2] for row in rows) - min(row[2] for row in rows)) / 1e9
    sent_s = (max(row[3] for row in rows) - min(row[3] for row in rows)) / 1e9
    lag = [row[0] / 1e6 for row in rows]
    late = [row[1] / 1e6 for row in rows]
    p50, p99 = harness.percentile(lag, 50), harness.percentile(lag, 99)
    ok = sum(row[4] == "ok" for row in rows)
    return harness.table(
        [
            "open loop, Poisson",
            "planned",
            "sent",
            "ok",
            "client lag p50 / p99 / max",
            "sent − scheduled p99",
            "CPU",
        ],
        [
            [
                f"{rate} requests/s × {seconds} s",
                f"{(len(rows) - 1) / planned_s:.0f}/s",
                f"{(len(rows) - 1) / sent_s:.0f}/s ({planned_s / sent_s:.2%})",
                f"{ok} of {kind.requests}",
                f"{p50:.3f} / **{p99:.3f}** / {max(lag):.3f} ms",
                f"{harness.percentile(late, 99):.3f} ms",
                f"{usage.cpu_s:.1f} s in {usage.wall_s:.1f} s",
            ]
        ],
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="two pairs, and a fraction of the load")
    parser.add_argument("--pairs", type=int, help="alternating pairs (default 5)")
    parser.add_argument("--requests", type=int, help="requests of the streaming part (default 15000)")
    parts = ("events", "requests", "open", "workers")
    parser.add_argument("--only", nargs="+", choices=parts, default=parts)
    harness.add_realtime(parser)
    options = parser.parse_args()
    if options.realtime:
        harness.go_realtime()
    pairs = options.pairs or (2 if options.quick else 5)
    tenth = 10 if options.quick else 1
    server_core, client_core = harness.cores()
    print(f"{harness.machine()}\n")
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        if "events" in options.only:
            with harness.simulator(server_core, "--fixed", "--ttft-ms", "50", "--itl-ms", "10") as url:
                kind = Kind(1000, options.requests or (5000 if options.quick else 15000), 64)
                print(
                    compare(Bench(url, client_core, directory), kind, pairs, "events"), end="\n\n", flush=True
                )
        if "workers" in options.only:
            with harness.simulator(server_core, "--fixed", "--ttft-ms", "50", "--itl-ms", "10") as url:
                kind = Kind(400, 2000 if options.quick else 6000, 64)
                bench = Bench(url, client_core, directory)
                print(two_workers(bench, kind, pairs, server_core), end="\n\n", flush=True)
        if not {"requests", "open"} & set(options.only):
            return 0
        with harness.simulator(server_core, "--fixed", "--ttft-ms", "5", "--itl-ms", "10") as url:
            bench = Bench(url, client_core, directory)
            if "requests" in options.only:
                print(compare(bench, Kind(64, 60000 // tenth, 1), pairs, "requests"), end="\n\n", flush=True)
            if "open" in options.only:
                print(open_loop(bench, 10000, 10 if not options.quick else 3), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
