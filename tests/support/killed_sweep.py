"""A sweep that is killed again and again and goes on each time: what must hold after every kill, and at the end."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from llmbench.server_records import STATE_VARIABLE
from llmbench.sweep_file import read_json
from support.command import environment

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGKILL)
TP_SIZES, CLIENTS, REQUESTS = (1, 2), (1, 2), 4
COMMAND = [
    *("--tp_size", *map(str, TP_SIZES), "--num_clients", *map(str, CLIENTS), "--num_requests", str(REQUESTS)),
    *(
        "--mean_prompt_length",
        "8",
        "--mean_max_new_tokens",
        "6",
        "--warmup",
        "0",
        "--stream",
        "--no-progress",
    ),
    "--server_args=--fixed --ttft-ms 10 --itl-ms 5",
]
RESULTS = {
    f"meta-llama_Llama-2-7b-hf-tp{tp}-bs768-replicas1-prompt8-gen6-clients{clients}.json"
    for tp in TP_SIZES
    for clients in CLIENTS
}
_PATIENCE_S = 30.0
"""For the last process to be gone after a kill."""


@dataclass(frozen=True)
class Kill:
    """One of a chain, and what was left of the sweep."""

    signum: signal.Signals
    moment_s: float
    """After the start."""
    exit_code: int
    """0 where the sweep had come to its end before."""
    results: int
    gone_after_s: float
    """Between the end of the sweep's own process and that of the last one it had started."""


class KilledSweep:
    """One sweep in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.state = directory / "state"
        self.env = environment(**{STATE_VARIABLE: str(self.state)})

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "llmbench.run_benchmark", *COMMAND],
            cwd=self.directory,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def left_alone_s(self) -> float:
        """How long the sweep takes from start to end, on this machine as busy as it is."""
        begun = time.monotonic()
        with self.start() as sweep:
            shown, _ = sweep.communicate(timeout=120)
        assert sweep.returncode == 0, shown
        return time.monotonic() - begun

    def chain(
        self,
        chance: random.Random,
        span_s: float,
        kills: int,
        on_kill: Callable[[Kill], None] = lambda _: None,
    ) -> int:
        """Kills the sweep at random moments, at most so many times, until it comes to its end, and returns how often it
        was killed. `span_s` is how long it takes when left alone. Raises AssertionError for what must not be: a result
        that is gone again, a process or a record that is left, another set of results."""
        kept: set[str] = set()
        for killed in range(kills + 1):
            # What is left of it takes its share of the time, and the start as long as a point.
            share = (1 + len(RESULTS - kept)) / (1 + len(RESULTS))
            moment_s = chance.uniform(0, share * span_s) if killed < kills else None
            kill, shown = self._kill(chance.choice(SIGNALS), moment_s)
            assert kept <= self.results(), f"{kill}: {kept - self.results()} is gone: {shown}"
            kept = self.results()
            if kill.exit_code == 0:
                break
            on_kill(kill)
        assert kill.exit_code == 0, shown
        assert kept == RESULTS
        for path in (self.directory / "results_sim").glob("*.json"):
            assert read_json(path).completed == REQUESTS
            assert path.with_suffix(".llmbench").exists()
        assert not list(self.state.glob("*.json"))
        return killed

    def _kill(self, signum: signal.Signals, moment_s: float | None) -> tuple[Kill, str]:
        """Starts the sweep and kills it after so many seconds, or never."""
        with self.start() as victim:
            with contextlib.suppress(subprocess.TimeoutExpired):
                victim.wait(120 if moment_s is None else moment_s)
            victim.send_signal(signum)
            shown, _ = victim.communicate(timeout=60)
        told = f"{signum.name} at {moment_s} s: {shown}"
        # Before our handlers are there, a signal ends Python in its own way.
        early = victim.returncode == 1 and "KeyboardInterrupt" in shown
        assert early or victim.returncode in (0, -signum, 128 + signum), f"{victim.returncode} of {told}"
        ended = time.monotonic()
        while left := self.processes():  # after a SIGKILL the guard ends the server
            assert time.monotonic() < ended + _PATIENCE_S, f"{told}: left {left}"
            time.sleep(0.01)
        gone_after_s = time.monotonic() - ended
        return Kill(signum, moment_s or 0.0, victim.returncode, len(self.results()), gone_after_s), shown

    def results(self) -> set[str]:
        return {path.name for path in (self.directory / "results_sim").glob("*.json")}

    def processes(self) -> list[int]:
        """All that were started here, whoever keeps a record of them: the sweep itself, guards, servers."""
        mark = f"{STATE_VARIABLE}={self.state}\0".encode()
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if mark in path.read_bytes() + b"\0":
                    found.append(int(path.parent.name))
        return found
