"""Builds, starts and ends the ground-truth server."""

from __future__ import annotations

import json
import os
import select
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any

import harness

from truth_server.times import Written, read_log

_READY_S = 10


def program() -> Path:
    """Compiles truth_server.cc when it is newer than the program."""
    source = Path(__file__).with_name("truth_server.cc")
    built = harness.ROOT / "build" / "truth_server" / "truth_server"
    if not built.exists() or built.stat().st_mtime < source.stat().st_mtime:
        built.parent.mkdir(parents=True, exist_ok=True)
        making = built.with_suffix(f".{os.getpid()}")
        subprocess.run([harness.compiler(), "-std=c++20", "-O2", str(source), "-o", str(making)], check=True)
        making.replace(built)  # whole, whoever else builds it at this moment
    return built


class TruthServer:
    """A server on these cores (None: all), a context manager. After the block `written` and `summary` say what
    it did, and `exit_code` is 1 when it did not keep its own plan.

        with TruthServer(log, {0}, ttft_ms=50, itl_ms=10) as server:
            ...  # server.url
        server.written
    """

    def __init__(self, log: Path, core: set[int] | None = None, **flags: object) -> None:
        self.log = log
        self.core = core
        self.arguments = [
            word
            for name, value in {**flags, "log": log}.items()
            for word in (f"--{name.replace('_', '-')}", str(value))
        ]
        self.url = ""
        self.summary: dict[str, Any] = {}
        self.written: list[Written] = []
        self.exit_code = 0

    def __enter__(self) -> TruthServer:
        core = self.core
        self._child = subprocess.Popen(
            [str(program()), *self.arguments],
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=(lambda: os.sched_setaffinity(0, core)) if core else None,
        )
        assert self._child.stdout is not None
        ready = select.select([self._child.stdout], [], [], _READY_S)[0]
        self.url = self._child.stdout.readline().strip() if ready else ""
        if not self.url:
            self._child.kill()
            raise SystemExit(f"truth_server did not start; exit code {self._child.wait()}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._child.terminate()
        output, _ = self._child.communicate()
        self.exit_code = self._child.returncode
        if kind is None:
            self.summary = json.loads(output)
            self.written = read_log(self.log)
