"""What the benchmark programs share: a pinned simulator, a measured child process, a table."""

from __future__ import annotations

import argparse
import os
import select
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
"""The checkout."""


def environment() -> dict[str, str]:
    """The environment of a child process that imports llmbench from this checkout."""
    paths = [os.environ.get("PYTHONPATH", ""), str(ROOT / "python")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}


def cores() -> tuple[set[int], set[int]]:
    """The server's core and the client's; the same one, with a warning, where there is only one."""
    mine = sorted(os.sched_getaffinity(0))
    if len(mine) < 2:
        print("warning: only one core; server and client share it", file=sys.stderr)
    return {mine[0]}, {mine[-1]}


def add_realtime(parser: argparse.ArgumentParser) -> None:
    """`--realtime`, for a machine that is not idle."""
    parser.add_argument(
        "--realtime",
        action="store_true",
        help="run server and client at real-time priority (SCHED_FIFO, needs CAP_SYS_NICE): other programs cannot "
        "interrupt them, though they still share the caches",
    )


def go_realtime() -> None:
    """This process and all it starts from now on."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        raise SystemExit("--realtime needs root or CAP_SYS_NICE") from None


@dataclass(frozen=True)
class Usage:
    """What a child process used, as the kernel counted it for the whole process."""

    wall_s: float
    user_s: float
    system_s: float
    peak_rss_mb: float
    exit_code: int
    stdout: str

    @property
    def cpu_s(self) -> float:
        return self.user_s + self.system_s


def measure(command: Sequence[str], core: set[int], check: bool = True) -> Usage:
    """Runs a command on these cores to its end."""
    with tempfile.TemporaryFile("w+") as output:
        start = time.monotonic()
        child = subprocess.Popen(
            command, stdout=output, env=environment(), preexec_fn=lambda: os.sched_setaffinity(0, core)
        )
        _, status, used = os.wait4(child.pid, 0)
        wall_s = time.monotonic() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read()
    if check and child.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {child.returncode}\n{text}")
    return Usage(wall_s, used.ru_utime, used.ru_stime, used.ru_maxrss / 1024, child.returncode, text)


@contextmanager
def simulator(core: set[int] | None, *arguments: str, ready_s: float = 30) -> Iterator[str]:
    """`llmbench sim` on these cores (None: all) and a port of the kernel's choice; gives its URL."""
    command = [sys.executable, "-m", "llmbench", "sim", "--port", "0", *arguments]
    child = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
        preexec_fn=(lambda: os.sched_setaffinity(0, core)) if core else None,
    )
    assert child.stdout is not None
    try:
        yield _url(child.stdout, child, ready_s)
    finally:
        child.terminate()
        child.wait()
        child.stdout.close()


def _url(stdout: Any, child: subprocess.Popen[str], ready_s: float) -> str:
    """The first URL that the simulator prints: it serves from then on."""
    deadline = time.monotonic() + ready_s
    while time.monotonic() < deadline:
        if not select.select([stdout], [], [], 0.1)[0]:
            continue
        line = stdout.readline()
        if not line:
            raise SystemExit(f"llmbench sim ended with exit code {child.wait()}")
        for word in line.split():
            if word.startswith("http://"):
                return str(word.rstrip(".,;/"))
    raise SystemExit(f"llmbench sim was not ready within {ready_s:g} s")


def run_command(url: str, directory: Path, *arguments: str) -> list[str]:
    """A `llmbench run` of the simulator in its default form, without the progress bar."""
    return [
        *(
            sys.executable,
            "-m",
            "llmbench",
            "run",
            "--base-url",
            url,
            "--backend",
            "openai",
            "--model",
            "sim",
        ),
        *("--no-progress", "--result-dir", str(directory), "--result-filename", "run", *arguments),
    ]


def query(result: Path, sql: str) -> list[tuple[Any, ...]]:
    """Rows of a result file, read with the standard library alone."""
    connection = sqlite3.connect(f"file:{result}?mode=ro", uri=True)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def percentile(values: Sequence[float], percent: float) -> float:
    """Linear interpolation between exact values."""
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def spread(values: Sequence[float], digits: int = 2) -> str:
    """`median (lowest–highest)`."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def machine() -> str:
    """The processor and the kernel, in one line."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return (
        f"{model}, {os.cpu_count()} cores, Linux {os.uname().release}, load average {os.getloadavg()[0]:.2f}"
    )


def compiler() -> str:
    found = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++")
    if not found:
        raise SystemExit("no C++ compiler; install g++ or set CXX")
    return found
