"""What this machine's client can take, and how exact its times are: llmbench measured against the simulator.

    from llmbench import selftest
    found = selftest.measure()
    found.ceiling.events_per_s, found.levels[-1].ttft.p99_us, found.within_budget

The simulated server runs in fixed mode as a child process on a core of its own, the client on the others.
docs/selftest.md says what is measured and how.
"""

from __future__ import annotations

import contextlib
import math
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from llmbench import ceilings, environment, load, result_storage, runner, sim, workloads
from llmbench.ceilings import Ceiling
from llmbench.endpoint import Endpoint
from llmbench.errors import EngineError, ResultsError
from llmbench.load import Load
from llmbench.results import Result
from llmbench.truth import MERGED, Comparison, compare, read_truth

STREAMS = (1, 10, 100, 1000, 5000)
QUICK_STREAMS = (1, 10, 100)
WITHIN = 0.95
"""The share of requests, and of gaps, whose error must lie within the budget."""

_MODERATE = 0.3
"""How busy a worker is while costs are measured: a third of the ceiling."""
_MUCH_MERGED = 0.05
"""A client that reads more than this share of events together with others was kept from running."""
_LEVEL_LOAD = 0.25
"""The share of the ceiling at which timing is measured."""
_COST_STREAMS = 200
_FIRST_EVENTS_PER_S = 10_000.0
_FIRST_REQUESTS_PER_S = 1000.0
_PILOTS, _PILOT_S = 5, 0.4
"""At most so many short runs to find the rate to measure at."""
_TTFT_MS = 10.0
_MIN_GAP_MS = 4
_LEVEL_S = 3.0
_TOKENS = 16
_PROMPT_TOKENS = 8
_FILES_BESIDE = 200
"""Open files of either process that are no stream."""


@dataclass(frozen=True)
class Cores:
    """Where the server and the client run; one and the same core where there is only one."""

    server: tuple[int, ...]
    client: tuple[int, ...]

    @property
    def shared(self) -> bool:
        return self.server == self.client


@dataclass(frozen=True)
class LevelPlan:
    """The load of one level."""

    streams: int
    requests: int
    tokens: int
    gap_ms: int
    ramp_s: float
    """Over which the first requests are spread, so that the tokens of all streams are, too."""

    @property
    def events_per_s(self) -> float:
        return self.streams / self.gap_ms * 1000


@dataclass(frozen=True)
class Error:
    """Reported − true, in µs, over the requests or the gaps of one level."""

    n: int
    mean_us: float
    p1_us: float
    p50_us: float
    p99_us: float
    budget_us: float
    """What the client's own account allows, its median."""
    budget_p99_us: float
    within: float
    """The share whose error lies within its own budget."""

    @classmethod
    def of(cls, errors_ms: npt.NDArray[np.float64], budget_ms: npt.NDArray[np.float64]) -> Error:
        p1, p50, p99 = np.percentile(errors_ms, (1, 50, 99)) * 1000
        return cls(
            n=len(errors_ms),
            mean_us=float(errors_ms.mean() * 1000),
            p1_us=float(p1),
            p50_us=float(p50),
            p99_us=float(p99),
            budget_us=float(np.median(budget_ms) * 1000),
            budget_p99_us=float(np.percentile(budget_ms, 99) * 1000),
            within=float(np.mean(np.abs(errors_ms) <= budget_ms)),
        )


@dataclass(frozen=True)
class Level:
    """The timing error with so many streams."""

    streams: int
    requests: int
    events_per_s: float
    ttft: Error
    itl: Error
    merged: float
    """Share of events that were read together with others."""
    turn_stamped: int
    read_lateness_ms: Mapping[str, float | None]
    worker_busy: float
    run_queue: float
    """The share of the time that the worker waited for a processor."""

    @property
    def within_budget(self) -> bool:
        return self.ttft.within >= WITHIN and self.itl.within >= WITHIN

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Level:
        return cls(**{**stored, "ttft": Error(**stored["ttft"]), "itl": Error(**stored["itl"])})


@dataclass(frozen=True)
class SelfTest:
    """All that a self-test found."""

    machine: Mapping[str, Any]
    """Processor, cores, kernel, version of llmbench: what it holds for."""
    quick: bool
    measured_unix_s: int
    duration_s: float
    cores: Cores
    ceiling: Ceiling
    measured_at: Mapping[str, float]
    """The events/s and requests/s at which the ceilings were measured."""
    read_lateness_ms: Mapping[str, float | None]
    """Kernel stamp → turn of the loop, at that rate of events."""
    timer_lateness_ms: Mapping[str, float | None]
    """Client lag of an open loop at that rate of requests."""
    levels: tuple[Level, ...]
    notes: tuple[str, ...] = ()

    @property
    def within_budget(self) -> bool:
        return all(level.within_budget for level in self.levels)

    @property
    def machine_cores(self) -> int:
        return int(self.machine.get("cores") or 1)

    def to_dict(self) -> dict[str, Any]:
        """As JSON keeps it."""
        one = self.ceiling.of_cores(1)
        everything = self.ceiling.of_cores(self.machine_cores)
        stored: dict[str, Any] = result_storage.finite(asdict(self))
        stored["ceilings"] = {
            "per_worker": {"events_per_s": one[0], "requests_per_s": one[1]},
            "all_cores": {"events_per_s": everything[0], "requests_per_s": everything[1]},
        }
        stored["within_budget"] = self.within_budget
        return stored

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> SelfTest:
        """Raises ResultsError when `stored` is none."""
        try:
            ceiling = Ceiling.from_dict(stored["ceiling"])
            if ceiling is None:
                raise ValueError("ceiling")
            return cls(
                machine=stored["machine"],
                quick=bool(stored["quick"]),
                measured_unix_s=int(stored["measured_unix_s"]),
                duration_s=float(stored["duration_s"]),
                cores=Cores(tuple(stored["cores"]["server"]), tuple(stored["cores"]["client"])),
                ceiling=ceiling,
                measured_at=stored["measured_at"],
                read_lateness_ms=stored["read_lateness_ms"],
                timer_lateness_ms=stored["timer_lateness_ms"],
                levels=tuple(Level.from_dict(each) for each in stored["levels"]),
                notes=tuple(stored.get("notes", ())),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ResultsError(f"this is no self-test: {error} is missing or wrong") from None


def measure(
    *,
    quick: bool = False,
    streams: Sequence[int] | None = None,
    on_step: Callable[[str], None] = lambda step: None,
) -> SelfTest:
    """Runs the whole self-test: about half a minute, with `quick` a few seconds. `on_step` is told what is
    being measured."""
    start = time.monotonic()
    cores = split_cores(os.sched_getaffinity(0))
    wanted = streams or (QUICK_STREAMS if quick else STREAMS)
    levels, notes = fitting_streams(wanted, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    if cores.shared:
        notes.append("server and client share the only core: both are slower than on two")
    with tempfile.TemporaryDirectory(prefix="llmbench-selftest-") as directory:
        bench = _Bench(cores, Path(directory))
        on_step("the cost of an event")
        events = bench.event_cost(1.0 if quick else 2.0)
        on_step("the cost of a request")
        requests = bench.request_cost(1.0 if quick else 2.0)
        event_s, request_s = solve_costs(_Work.of(events), _Work.of(requests))
        ceiling = Ceiling(event_s, request_s)
        if len(cores.client) > 1 and not quick:
            on_step("two workers")
            ceiling = Ceiling(event_s, request_s, bench.scaling(event_s))
        measured = []
        for count in levels:
            on_step(f"timing with {count} stream{'s' * (count != 1)}")
            measured.append(bench.level(plan_level(count, ceiling, quick=quick)))
    if ceiling.scaling is None and (os.cpu_count() or 1) > 1:
        notes.append("two workers were not tried: several are taken to do as well as one each")
    if max(_merged(events), *(level.merged for level in measured)) > _MUCH_MERGED:
        waited = max(_run_queue(events), _run_queue(requests), *(level.run_queue for level in measured))
        notes.append(
            "the client could not always run when it should have: it read many events together with others, and "
            f"waited up to {waited:.0%} of the time for a processor: an idle machine does better"
        )
    return SelfTest(
        machine=ceilings.machine_key(environment.collect()),
        quick=quick,
        measured_unix_s=int(time.time()),
        duration_s=round(time.monotonic() - start, 1),
        cores=cores,
        ceiling=ceiling,
        measured_at={
            "events_per_s": _Work.of(events).events_per_s,
            "requests_per_s": _Work.of(requests).requests_per_s,
        },
        read_lateness_ms=_described(events.client.get("read_lateness_ms")),
        timer_lateness_ms=_described(_client_lag(requests)),
        levels=tuple(measured),
        notes=tuple(notes),
    )


def keep(found: SelfTest) -> Path:
    """Writes the self-test where later runs look for it, and returns the file. A quick one does not replace a
    thorough one. Raises ResultsError."""
    path = ceilings.cache_path(found.machine)
    before = ceilings.cached_selftest(found.machine)
    if found.quick and before is not None and not before.get("quick"):
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResultsError(
            f"cannot write {path}: {error.strerror or error}; set XDG_CACHE_HOME to a directory that can be written"
        ) from None
    return result_storage.write_json(path, found.to_dict())


def kept() -> SelfTest | None:
    """The last self-test of this machine and version."""
    stored = ceilings.cached_selftest(environment.collect())
    return SelfTest.from_dict(stored) if stored is not None else None


# The plan


def split_cores(usable: set[int]) -> Cores:
    """The first core for the server, the others for the client."""
    first, *others = sorted(usable)
    return Cores((first,), tuple(others) or (first,))


def fitting_streams(wanted: Sequence[int], file_limit: int) -> tuple[list[int], list[str]]:
    """The numbers of streams that the limit of open files allows, and a word on what it does not."""
    most = file_limit - _FILES_BESIDE
    if file_limit == resource.RLIM_INFINITY or max(wanted) <= most:
        return list(wanted), []
    fitting = sorted({min(each, max(1, most)) for each in wanted})
    note = (
        f"{fitting[-1]} streams instead of {max(wanted)}: this process may have {file_limit} open files; "
        f"ulimit -n {max(wanted) + _FILES_BESIDE} allows all"
    )
    return fitting, [note]


def plan_level(streams: int, ceiling: Ceiling, *, quick: bool = False) -> LevelPlan:
    """Gaps so long that events come at a quarter of the ceiling at most; the first requests likewise."""
    gap_ms = max(_MIN_GAP_MS, math.ceil(streams / (_LEVEL_LOAD * ceiling.events_per_s) * 1000))
    tokens = min(_TOKENS, max(3, int(_LEVEL_S * 1000 / gap_ms)))
    rounds = 20 if streams <= 100 else 2 if streams <= 1000 else 1
    requests = max(60, streams * rounds)
    if quick:
        requests = max(20, streams * 2)
    spread_s = streams / (_LEVEL_LOAD * ceiling.requests_per_s)
    ramp_s = 0.0 if streams == 1 else max(1, math.ceil(spread_s * 1000 / gap_ms)) * gap_ms / 1000
    return LevelPlan(streams, requests, tokens, gap_ms, ramp_s)


@dataclass(frozen=True)
class _Work:
    """What the workers did, and the CPU time it took them."""

    events: int
    """That were read one by one."""
    requests: int
    cpu_s: float
    wall_s: float

    @classmethod
    def of(cls, result: Result) -> _Work:
        workers = result.client["workers"]
        wall_s = float(result.summary.get("duration_s") or 0.0)
        return cls(
            # Events that shared a read cost less than their rate would have it.
            events=min(len(result.events.times_ns), sum(each["reads"] for each in workers)),
            requests=len(result.requests),
            cpu_s=sum(each["cpu_s"] for each in workers),
            wall_s=wall_s or max(each["wall_s"] for each in workers),
        )

    @property
    def events_per_s(self) -> float:
        return self.events / self.wall_s

    @property
    def requests_per_s(self) -> float:
        return self.requests / self.wall_s


def solve_costs(long: _Work, short: _Work) -> tuple[float, float]:
    """CPU seconds per event and per request, from a run of long answers and one of short ones.

    Where noise makes one of them come out at nothing, all of the CPU time counts as the other's: too much rather
    than too little.
    """
    determinant = long.events * short.requests - short.events * long.requests
    event_s = request_s = 0.0
    if determinant > 0:
        event_s = (long.cpu_s * short.requests - short.cpu_s * long.requests) / determinant
        request_s = (long.events * short.cpu_s - short.events * long.cpu_s) / determinant
    if event_s <= 0:
        event_s = long.cpu_s / long.events
    if request_s <= 0:
        request_s = short.cpu_s / short.requests
    return event_s, request_s


# The measurements


class _Bench:
    """Runs against the simulator in fixed mode, each on its core."""

    def __init__(self, cores: Cores, directory: Path) -> None:
        self.cores = cores
        self.directory = directory

    def event_cost(self, seconds: float) -> Result:
        """A run of long answers."""
        return self._at_moderate_load(self._long_answers, _FIRST_EVENTS_PER_S, seconds)

    def request_cost(self, seconds: float) -> Result:
        """An open loop of answers of one token."""
        return self._at_moderate_load(self._short_answers, _FIRST_REQUESTS_PER_S, seconds)

    def _at_moderate_load(self, run: Callable[[float, float], Result], rate: float, seconds: float) -> Result:
        """A run at a rate that is found by doubling: an event costs less when there are more."""
        for _ in range(_PILOTS):
            pilot = run(rate, _PILOT_S)
            if _busy(pilot) >= _MODERATE * 0.7 or _merged(pilot) > _MUCH_MERGED:
                break
            rate *= 2
        return run(rate * min(1.0, _MODERATE / _busy(pilot)), seconds)

    def scaling(self, event_s: float) -> float:
        """CPU per event of one worker ÷ that of two that have twice the events."""
        two = _Work.of(self._long_answers(2 * _MODERATE / event_s, 1.5, workers=2))
        return event_s / (two.cpu_s / two.events)

    def level(self, plan: LevelPlan) -> Level:
        log = self.directory / f"truth-{plan.streams}.jsonl"
        result = self._run(
            plan.requests,
            plan.tokens,
            load.closed(plan.streams, ramp_s=plan.ramp_s),
            gap_ms=plan.gap_ms,
            truth=log,
        )
        return _judged(plan, result, compare(result, read_truth(log)))

    def _long_answers(self, events_per_s: float, seconds: float, workers: int = 1) -> Result:
        streams = _COST_STREAMS * workers
        gap_ms = streams / events_per_s * 1000
        return self._run(
            streams,
            max(2, round(seconds * 1000 / gap_ms)),
            load.closed(streams, ramp_s=0.2),
            gap_ms=gap_ms,
            workers=workers,
        )

    def _short_answers(self, rate: float, seconds: float) -> Result:
        return self._run(max(20, round(rate * seconds)), 1, load.constant(rate))

    def _run(
        self,
        requests: int,
        tokens: int,
        how: Load,
        *,
        gap_ms: float = 10.0,
        truth: Path | None = None,
        workers: int = 1,
    ) -> Result:
        """One run; the truth log is complete when this returns."""
        client = self.cores.client[-workers:]
        with _pinned(self.cores.server):
            server = sim.Server(ttft_ms=_TTFT_MS, itl_ms=gap_ms, truth=truth)
        with server, _pinned(client):
            result = runner.run(
                Endpoint(server.url, backend="openai", model="sim"),
                workloads.random(_PROMPT_TOKENS, tokens, min(requests, 1000)),
                how,
                num_requests=requests,
                workers=workers,
                ignore_eos=True,
                save=False,
                progress=False,
            )
        if result.interrupted:
            raise KeyboardInterrupt
        if result.summary.completed != requests:
            said = "; ".join(result.error_messages.values()) or "no reason is known"
            raise EngineError(
                f"the self-test's own server answered {result.summary.completed} of {requests} requests: {said}"
            )
        return result


@contextlib.contextmanager
def _pinned(cores: Sequence[int]) -> Iterator[None]:
    """This thread, and the threads and processes it starts, on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _judged(plan: LevelPlan, result: Result, compared: Comparison) -> Level:
    return Level(
        streams=plan.streams,
        requests=plan.requests,
        events_per_s=_Work.of(result).events_per_s,
        ttft=Error.of(compared.ttft_errors_ms, compared.ttft_budget_ms),
        itl=Error.of(compared.gap_errors_ms, compared.gap_budget_ms),
        merged=_merged(result),
        turn_stamped=compared.turn_stamped,
        read_lateness_ms=_described(result.client.get("read_lateness_ms")),
        worker_busy=_busy(result),
        run_queue=_run_queue(result),
    )


def _busy(result: Result) -> float:
    return max(float(each["cpu_s"] / each["wall_s"]) for each in result.client["workers"])


def _run_queue(result: Result) -> float:
    return max(float(each["run_queue_s"] / each["wall_s"]) for each in result.client["workers"])


def _merged(result: Result) -> float:
    """The share of events that were read together with others."""
    return float(np.mean(result.events.flags & MERGED != 0))


def _client_lag(result: Result) -> Mapping[str, Any]:
    lag = result.summary["client_lag"]
    return {"count": lag.n, "p50": lag.median, "p99": lag.p99, "max": lag.max}


def _described(stored: Mapping[str, Any] | None) -> dict[str, float | None]:
    return {name: (stored or {}).get(name) for name in ("count", "p50", "p99", "max")}
