"""One run of one client, and the runs that make up a session."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from truth_server import Times, TruthServer, Written

from rivals.clients import Client, Load, environment

Run = dict[str, Any]
"""What one run gave, as it stands in the JSON."""

TTFT_MS, ITL_MS, TOKENS = 50, 10, 64
EVENTS_PER_S = 100_000

RATES = (100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 40_000)
"""Requests per second that an open loop is tried at."""
HELD_STREAMS = (100, 500, 1000, 2000, 5000)
"""Streams between which EVENTS_PER_S are shared out."""
TRAPS: Mapping[str, Mapping[str, str]] = {
    "role": {"fault": "role"},
    "finish": {"finish": "alone"},
    "error": {"fault": "error"},
    "u2028": {"fault": "u2028"},
}


@dataclass(frozen=True)
class Step:
    """A run that every client makes: its name, its load, and how the server answers."""

    measure: str
    load: Load
    server: Mapping[str, Any]


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    repeats: int = 3
    streams: Mapping[int, int] = field(default_factory=lambda: {1: 4, 100: 300, 500: 1000, 1000: 3125})
    """Requests by number of streams; the largest makes 200 000 events."""
    seconds: float = 2
    """Of load in the runs that look for a rate."""
    rates: Sequence[int] = RATES
    held: Sequence[int] = HELD_STREAMS
    traps: Sequence[str] = tuple(TRAPS)

    @classmethod
    def quick(cls) -> Plan:
        return cls(
            repeats=1,
            streams={1: 3, 100: 200, 1000: 800},
            seconds=1,
            rates=(200, 1000, 5000, 20_000),
            held=(100, 1000, 5000),
            traps=("role", "error"),
        )


MEASURES = ("start", "accuracy", "requests", "rate", "held", "traps")


STREAMS = 64
"""Of the closed loops with answers of one token."""


def steps(plan: Plan, measures: Sequence[str]) -> list[Step]:
    """The runs that are repeated.

    The first two are always among them: what it takes to start, and to start whatever many streams need, such as
    processes. What an event or a request costs is told less the second.
    """
    server = {"ttft_ms": 5, "tokens": 1}
    found = [
        Step("start", Load(1, 1, streams=1), server),
        Step("base", Load(STREAMS, 1, streams=STREAMS), server),
    ]
    if "accuracy" in measures:
        server = {"ttft_ms": TTFT_MS, "itl_ms": ITL_MS, "tokens": TOKENS}
        found += [
            Step("accuracy", Load(requests, TOKENS, streams=streams), server)
            for streams, requests in plan.streams.items()
        ]
    return found


def requests_step(client: Client, plan: Plan) -> Step:
    """As many as take the client about as long as the others."""
    requests = max(200, int(client.requests_per_s * plan.seconds))
    return Step("requests", Load(requests, 1, streams=STREAMS), {"ttft_ms": 0, "tokens": 1})


def rate_step(rate: int, plan: Plan) -> Step:
    return Step("rate", Load(max(100, int(rate * plan.seconds)), 1, rate=rate), {"ttft_ms": 5, "tokens": 1})


def held_step(streams: int, plan: Plan) -> Step:
    tokens = max(2, int(EVENTS_PER_S * 0.75 * plan.seconds / streams))
    return Step(
        "held",
        Load(streams, tokens, streams=streams),
        {"ttft_ms": 0, "events_per_s": EVENTS_PER_S, "tokens": tokens},
    )


def trap_step(trap: str) -> Step:
    server = {"ttft_ms": TTFT_MS, "itl_ms": ITL_MS, "tokens": 16, **TRAPS[trap]}
    return Step(f"trap-{trap}", Load(40, 16, streams=8, chat=True), server)


def search(ladder: Sequence[int], holds: Callable[[int], bool]) -> int | None:
    """The highest rung that holds, by bisection: what holds is taken to hold on every lower one."""
    low, high = -1, len(ladder)
    while high - low > 1:
        middle = (low + high) // 2
        if holds(ladder[middle]):
            low = middle
        else:
            high = middle
    return ladder[low] if low >= 0 else None


def rate_held(run: Run) -> bool:
    """The requests came within 1 % of the rate that was asked, and 99 % of them are in the report."""
    return _reported(run) and run["true"]["rate"] >= 0.99 * run["load"]["rate"]


def streams_held(run: Run) -> bool:
    """The reported mean latency is within 1 % of the true one, over 99 % of the streams or more."""
    if not _reported(run) or run["reported"]["e2el_mean"] is None:
        return False
    true = run["true"]["e2el_mean"]
    return bool(abs(run["reported"]["e2el_mean"] - true) <= 0.01 * true)


def _reported(run: Run) -> bool:
    return bool(run["ok"]) and run["reported"]["completed"] >= 0.99 * run["load"]["requests"]


def own_times(written: Sequence[Written], requests: int) -> Times:
    """Of the last so many requests: a client may try the server out before it begins."""
    return Times.of(written[-requests:])


class Bench:
    """Runs clients on one core against a server on another."""

    def __init__(
        self, cache: Path, server_core: set[int], client_core: set[int], limit_s: float = 150
    ) -> None:
        self.cache = cache
        self.server_core = server_core
        self.client_core = client_core
        self.limit_s = limit_s

    def run(self, client: Client, step: Step, repeat: int = 0) -> Run:
        load = step.load
        with tempfile.TemporaryDirectory() as scratch:
            directory = Path(scratch) / "report"
            directory.mkdir()
            with TruthServer(
                Path(scratch) / "truth.jsonl", self.server_core, late_ms=1000, **step.server
            ) as server:
                command = client.command(client.home(self.cache), load, server.url, directory)
                used = spend(command, environment(client), self.client_core, self.limit_s)
            true = own_times(server.written, load.requests)
            error, reported = used.error, None
            try:
                reported = client.report(directory)
            except (OSError, ValueError, KeyError) as problem:
                error = error or f"no report: {problem}"
        if reported is not None and not step.measure.startswith("trap") and error is None:
            error = amiss(load, reported.completed, len(server.written))
        return {
            "client": client.name,
            "measure": step.measure,
            "repeat": repeat,
            "load": asdict(load),
            "server": dict(step.server),
            "ok": error is None,
            "error": error,
            "wall_s": round(used.wall_s, 3),
            "cpu_s": round(used.cpu_s, 3),
            "peak_mb": round(used.peak_mb, 1),
            "reported": reported.to_dict() if reported else None,
            "true": true.to_dict(),
            "served": server.summary,
        }


def amiss(load: Load, completed: int, answered: int) -> str | None:
    """What is wrong with the counts of a run on a server that made no mistake. One in ten may be missing from the
    report; the page says so."""
    if answered < load.requests:
        return f"the server answered {answered} of {load.requests} requests to the end"
    if not 0.9 * load.requests <= completed <= load.requests:
        return f"reports {completed} of {load.requests} requests as completed"
    return None


@dataclass(frozen=True)
class Used:
    """What a command and its children used."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    error: str | None


def spend(command: Sequence[str], environ: Mapping[str, str], core: set[int], limit_s: float) -> Used:
    """Runs a command on these cores to its end, or to `limit_s`.

    CPU time is that of the process and of all descendants that were waited for. Peak memory is the kernel's
    for a single process; of several, the sum of their proportional shares, looked at twice a second.
    """
    with tempfile.TemporaryFile("w+") as output:
        start = time.monotonic()
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environ),
            start_new_session=True,
            preexec_fn=lambda: os.sched_setaffinity(0, core),
        )
        over = threading.Event()
        late = threading.Timer(limit_s, lambda: (over.set(), _kill(child.pid)))
        late.start()
        shares = _Shares(child.pid)
        shares.start()
        _, status, used = os.wait4(child.pid, 0)
        wall_s = time.monotonic() - start
        late.cancel()
        shares.stop()
        child.returncode = os.waitstatus_to_exitcode(status)
        if shares.others():  # left behind by a client that was killed or did not clean up
            _kill(child.pid)
        output.seek(0)
        lines = [line.strip() for line in output.read().splitlines()]
        said = [line for line in lines if line and not line.startswith("/")]  # no paths of what was saved
    error = None
    if over.is_set():
        error = f"not done after {limit_s:g} s"
    elif child.returncode != 0:
        error = f"exit code {child.returncode}: {said[-1] if said else 'no output'}"
    return Used(wall_s, used.ru_utime + used.ru_stime, max(used.ru_maxrss / 1024, shares.peak_mb), error)


def _kill(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has just ended
        os.killpg(group, signal.SIGKILL)


class _Shares(threading.Thread):
    """Watches the memory of a session of processes."""

    def __init__(self, session: int) -> None:
        super().__init__(daemon=True)
        self.session = session
        self.peak_mb = 0.0
        self._end = threading.Event()

    def run(self) -> None:
        while not self._end.wait(0.5):
            members = list(self._members())
            if len(members) > 1:
                self.peak_mb = max(self.peak_mb, sum(map(_share_mb, members)))

    def stop(self) -> None:
        self._end.set()
        self.join()

    def others(self) -> bool:
        return any(member != self.session for member in self._members())

    def _members(self) -> Iterator[int]:
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    fields = (entry / "stat").read_text().rpartition(")")[2].split()
                except OSError:
                    continue
                if int(fields[3]) == self.session and fields[0] != "Z":
                    yield int(entry.name)


def _share_mb(pid: int) -> float:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return 0.0


def session(
    bench: Bench, clients: Sequence[Client], plan: Plan, measures: Sequence[str], done: Callable[[Run], None]
) -> Iterable[Run]:
    """Every run, client after client within each step, so that a busy minute meets all of them."""

    def run(client: Client, step: Step, repeat: int = 0) -> Run:
        result = bench.run(client, step, repeat)
        done(result)
        return result

    for repeat in range(plan.repeats):
        turn = repeat % len(clients)
        order = [*clients[turn:], *clients[:turn]]
        for step in steps(plan, measures):
            yield from (run(client, step, repeat) for client in order)
        if "requests" in measures:
            yield from (run(client, requests_step(client, plan), repeat) for client in order)
    for client in clients:
        found: list[Run] = []

        def holds(
            step: Step, rule: Callable[[Run], bool], client: Client = client, found: list[Run] = found
        ) -> bool:
            found.append(run(client, step))
            return rule(found[-1])

        if "rate" in measures:
            search(plan.rates, lambda rate: holds(rate_step(rate, plan), rate_held))
        if "held" in measures:
            search(plan.held, lambda streams: holds(held_step(streams, plan), streams_held))
        yield from found
    if "traps" in measures:
        for trap in plan.traps:
            yield from (run(client, trap_step(trap)) for client in clients)
