"""Memory over a long run: rows leave for the result file as they come, so that two million events cost next to none.

    python benchmarks/memory.py

Growth is the peak resident set during the load less what was resident once all connections stood; the summary at the
end, which reads the rows back, is reported apart.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import harness

STREAMS = 1000
TOKENS = 64


def resident_mb(pid: int) -> float:
    """VmRSS, or 0 once the process has ended."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0.0


def sockets(pid: int) -> int:
    try:
        return len(list(Path(f"/proc/{pid}/fd").iterdir()))
    except (FileNotFoundError, ProcessLookupError):
        return 0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=2_000_000)
    harness.add_realtime(parser)
    options = parser.parse_args()
    if options.realtime:
        harness.go_realtime()
    requests = -(-options.events // TOKENS)
    server_core, client_core = harness.cores()
    print(f"{harness.machine()}\n")
    with (
        tempfile.TemporaryDirectory() as scratch,
        harness.simulator(server_core, "--fixed", "--ttft-ms", "50", "--itl-ms", "10") as url,
    ):
        command = harness.run_command(
            url,
            Path(scratch),
            *("--num-prompts", str(requests), "--max-concurrency", str(STREAMS), "--ignore-eos"),
            *("--random-input-len", "8", "--random-output-len", str(TOKENS), "--workers", "1"),
        )
        child = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            env=harness.environment(),
            preexec_fn=lambda: os.sched_setaffinity(0, client_core),
        )
        connected = loaded = peak = 0.0
        while child.poll() is None:
            now, fds = resident_mb(child.pid), sockets(child.pid)
            if not connected and fds > STREAMS:
                connected = now
            if connected and fds > STREAMS // 2:
                loaded = max(loaded, now)
            peak = max(peak, now)
            time.sleep(0.02)
        if child.returncode != 0:
            raise SystemExit(f"{' '.join(command)} ended with {child.returncode}")
        [(events,)] = harness.query(Path(scratch) / "run.llmbench", "SELECT sum(events) FROM request")
        size_mb = (Path(scratch) / "run.llmbench").stat().st_size / 1e6
    print(
        harness.table(
            [
                "events",
                "resident once connected",
                "growth during the load",
                "growth with the summary",
                "file",
            ],
            [
                [
                    str(events),
                    f"{connected:.0f} MB",
                    f"**{loaded - connected:.0f} MB**",
                    f"{peak - connected:.0f} MB",
                    f"{size_mb:.0f} MB, {size_mb * 1e6 / events:.1f} bytes an event",
                ]
            ],
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
