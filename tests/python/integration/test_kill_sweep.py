"""A sweep that is killed at any moment, and started again, ends with all its results and no server."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.command import environment

from llmbench.server_records import STATE_VARIABLE
from llmbench.sweep_file import read_json

CHAINS = 10
KILLS = 5
"""Of each chain: the sweep that goes on after one kill is the victim of the next."""
CLIENTS = (1, 2)
REQUESTS = 4
SWEEP = [
    *("--tp_size", "1", "2", "--num_clients", *map(str, CLIENTS), "--num_requests", str(REQUESTS)),
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
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGKILL)


class Sweep:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.state = directory / "state"
        self.env = environment(**{STATE_VARIABLE: str(self.state)})

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "llmbench.run_benchmark", *SWEEP],
            cwd=self.directory,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

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


@pytest.fixture(scope="module")
def span_s(tmp_path_factory: pytest.TempPathFactory) -> float:
    """How long a sweep takes that is left alone, on this machine as busy as it is."""
    begun = time.monotonic()
    with Sweep(tmp_path_factory.mktemp("alone")).start() as sweep:
        shown, _ = sweep.communicate(timeout=120)
    assert sweep.returncode == 0, shown
    return time.monotonic() - begun


@pytest.mark.integration
@pytest.mark.parametrize("seed", range(CHAINS))
def test_killed_at_random_moments(tmp_path: Path, span_s: float, seed: int) -> None:
    chance = random.Random(seed)
    sweep = Sweep(tmp_path)
    kept: set[str] = set()
    for kill in range(KILLS):
        signum, moment = chance.choice(SIGNALS), chance.uniform(0, span_s)
        with sweep.start() as victim:
            with contextlib.suppress(subprocess.TimeoutExpired):
                victim.wait(moment)  # the moment of the kill, unless it is done before
            victim.send_signal(signum)
            shown, _ = victim.communicate(timeout=60)
        told = f"kill {kill} by {signum.name} at {moment:.3f} s: {shown}"
        # Before our handlers are there, a signal ends Python in its own way.
        early = victim.returncode == 1 and "KeyboardInterrupt" in shown
        assert early or victim.returncode in (0, -signum, 128 + signum), told
        deadline = time.monotonic() + 30
        while sweep.processes():  # after a SIGKILL the guard ends the server
            assert time.monotonic() < deadline, f"{told}: left {sweep.processes()}"
            time.sleep(0.01)
        assert kept <= sweep.results(), told
        kept = sweep.results()
    with sweep.start() as last:
        shown, _ = last.communicate(timeout=120)
    assert last.returncode == 0, shown
    assert sweep.results() == {
        f"meta-llama_Llama-2-7b-hf-tp{tp}-bs768-replicas1-prompt8-gen6-clients{clients}.json"
        for tp in (1, 2)
        for clients in CLIENTS
    }
    for path in (tmp_path / "results_sim").glob("*.json"):
        assert read_json(path).completed == REQUESTS
        assert path.with_suffix(".llmbench").exists()
    assert not sweep.processes()
    assert not [path for path in sweep.state.iterdir() if path.suffix == ".json"]
