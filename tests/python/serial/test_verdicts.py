"""Four real runs and the verdicts they must get. `make test` runs them after all others, alone on the machine:
what one test does to another's processor is just what a verdict is about."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import llmbench as lb

pytestmark = [
    pytest.mark.serial,
    pytest.mark.skipif(
        len(os.sched_getaffinity(0)) < 2, reason="server and client need a processor core each"
    ),
]

SERVER_CORE, CLIENT_CORE = ({min(os.sched_getaffinity(0))}, {max(os.sched_getaffinity(0))})
FOREIGN = 0.15
"""Of one core: with more of it taken by others, nobody's run need be VALID."""


@dataclass(frozen=True)
class Measured:
    result: dict[str, Any]
    foreign: float
    """Processor time that neither the test nor its processes took, as a share of one core."""

    @property
    def verdict(self) -> dict[str, Any]:
        verdict: dict[str, Any] = self.result["llmbench"]["verdict"]
        return verdict

    def skip_if_disturbed(self) -> None:
        if self.foreign > FOREIGN:
            pytest.skip(f"other programs took {self.foreign:.0%} of a core meanwhile")


def machine_busy_s() -> float:
    """Processor time of all cores so far that was not idle, and that this machine was given."""
    user, nice, system, _, _, irq, softirq, *_ = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def process_cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def own_cpu_s(*pids: int) -> float:
    """Of this process, its ended children and those processes."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    mine = resource.getrusage(resource.RUSAGE_SELF)
    spent = sum(usage.ru_utime + usage.ru_stime for usage in (ended, mine))
    return spent + sum(process_cpu_s(pid) for pid in pids)


@contextmanager
def server(**options: Any) -> Iterator[lb.sim.Server]:
    with lb.sim.Server(**options) as running:
        for task in Path(f"/proc/{running.pid}/task").iterdir():
            os.sched_setaffinity(int(task.name), SERVER_CORE)
        yield running


def run(directory: Path, running: lb.sim.Server, *arguments: str) -> Measured:
    """`llmbench run` on the client's core, and what else went on meanwhile."""
    command = [
        *(sys.executable, "-m", "llmbench", "run", "--base-url", running.url, "--backend", "vllm"),
        *("--model", "llmbench-sim", "--no-progress", "--save-result", "--result-filename", "run"),
        *("--random-input-len", "8", "--ignore-eos", "--seed", "3", *arguments),
    ]
    began, machine, own = time.monotonic(), machine_busy_s(), own_cpu_s(running.pid)
    ended = subprocess.run(
        command,
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(Path(lb.__file__).parents[1])},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=lambda: os.sched_setaffinity(0, CLIENT_CORE),
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    others = machine_busy_s() - machine - (own_cpu_s(running.pid) - own)
    result = json.loads((directory / "results" / "run.json").read_text())
    return Measured(result, others / (time.monotonic() - began))


@contextmanager
def busy_loops(count: int, core: set[int]) -> Iterator[None]:
    loops = [
        subprocess.Popen(
            [sys.executable, "-c", "while True: pass"], preexec_fn=lambda: os.sched_setaffinity(0, core)
        )
        for _ in range(count)
    ]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
        for loop in loops:
            loop.wait()


# 50 000 tokens a second, which keeps the client's core a quarter busy.
STREAMS = ("--max-concurrency", "200", "--num-prompts", "2400", "--random-output-len", "64")


def test_a_starved_client_says_so(tmp_path: Path) -> None:
    with server(ttft_ms=20, itl_ms=4) as running, busy_loops(6, CLIENT_CORE):
        measured = run(tmp_path, running, *STREAMS)
    assert measured.verdict["status"] == "CLIENT-LIMITED", measured.verdict
    evidence = measured.verdict["evidence"]
    assert evidence["run_queue"]["value"] > evidence["run_queue"]["limit"]
    assert any("for a processor" in reason for reason in measured.verdict["reasons"])


def test_a_large_closed_loop_may_take_its_time_to_start(tmp_path: Path) -> None:
    """A thousand requests due at once go one after the other, which is not how late those after them are."""
    with server(ttft_ms=50, itl_ms=20) as running:
        measured = run(
            tmp_path,
            running,
            "--max-concurrency",
            "1000",
            "--num-prompts",
            "3000",
            "--random-output-len",
            "32",
        )
    evidence = measured.verdict["evidence"]
    start = evidence["client_start"]
    if start["status"] != "VALID":
        measured.skip_if_disturbed()
    assert start["status"] == "VALID", start
    assert start["details"]["requests"] == 1000
    assert start["limit"] > evidence["client_lag_p99"]["limit"]


def test_the_same_client_left_alone_is_valid(tmp_path: Path) -> None:
    with server(ttft_ms=20, itl_ms=4) as running:
        measured = run(tmp_path, running, *STREAMS)
    if measured.verdict["status"] != "VALID":
        measured.skip_if_disturbed()
    assert measured.verdict["status"] == "VALID", measured.verdict["reasons"]
    assert measured.verdict["reasons"] == []


def test_a_growing_queue_is_unstable(tmp_path: Path) -> None:
    # Sixteen places of 16 × 25 ms each serve 40 requests a second; 50 are asked for.
    with server(max_num_seqs=16, step_ms=25, jitter=0) as running:
        measured = run(
            tmp_path,
            running,
            *("--model", running_model(running), "--request-rate", "50", "--duration", "26"),
            *("--random-output-len", "16", "--drain", "30"),
        )
    evidence = measured.verdict["evidence"]
    assert evidence["in_flight_growth"]["status"] == "UNSTABLE", evidence
    assert evidence["ttft_growth"]["status"] == "UNSTABLE", evidence
    assert any("lower --request-rate" in reason for reason in measured.verdict["reasons"])
    if measured.verdict["status"] != "UNSTABLE":
        measured.skip_if_disturbed()
    assert measured.verdict["status"] == "UNSTABLE", measured.verdict["reasons"]


def running_model(running: lb.sim.Server) -> str:
    from urllib.request import urlopen

    with urlopen(f"{running.url}/v1/models", timeout=10) as answer:
        name: str = json.load(answer)["data"][0]["id"]
    return name


def test_a_stall_of_the_server_shows_from_the_schedule(tmp_path: Path) -> None:
    """Ten requests at a time meet the stall; the three hundred that come due meanwhile wait for a place. TTFT from
    the moment of sending knows of the ten alone."""
    stalled_s = 2.0

    def stall(pid: int) -> None:
        os.kill(pid, signal.SIGSTOP)
        threading.Timer(stalled_s, os.kill, (pid, signal.SIGCONT)).start()

    with server(ttft_ms=5, itl_ms=1) as running:
        timer = threading.Timer(3.0, stall, (running.pid,))
        timer.start()
        try:
            measured = run(
                tmp_path,
                running,
                *("--request-rate", "150", "--max-concurrency", "10", "--duration", "9"),
                *(
                    "--random-output-len",
                    "4",
                ),
            )
        finally:
            timer.join()
            os.kill(running.pid, signal.SIGCONT)
    result = measured.result
    assert result["failed"] == 0
    from_schedule = result["llmbench"]["from_schedule"]
    assert from_schedule["ttft"]["p99"] > 1000 * stalled_s / 2, from_schedule
    assert result["p99_ttft_ms"] < 1000 * stalled_s / 10, result["p99_ttft_ms"]
