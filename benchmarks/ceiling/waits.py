"""Ways to wait for tokens on a thousand connections: CPU per event, wake-ups, and how long a token lies unread.

    python benchmarks/ceiling/waits.py

What docs/performance.md says about epoll, gathering, busy polling and io_uring. The ways alternate; CPU is that of the
whole process less a run of one request. io_uring is left out where liburing is not installed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import harness

HERE = Path(__file__).resolve().parent
WAYS = (
    "epoll",
    "pwait2",
    "gather:100",
    "gather:250",
    "gather:500",
    "gather:1000",
    "busy",
    "uring",
    "uring-gather:500",
)


def compiled() -> tuple[Path, tuple[str, ...]]:
    """The program, and the ways that it knows."""
    source, program = HERE / "waits.cc", harness.ROOT / "build" / "ceiling" / "waits"
    program.parent.mkdir(parents=True, exist_ok=True)
    command = [harness.compiler(), "-std=c++20", "-O2", str(source), "-o", str(program)]
    with_uring = [*command, "-DLLMBENCH_HAVE_URING", "-luring"]
    if subprocess.run(with_uring, capture_output=True).returncode == 0:
        return program, WAYS
    print("no liburing (Debian: liburing-dev 2.3 or later): io_uring is left out", file=sys.stderr)
    subprocess.run(command, check=True)
    return program, tuple(way for way in WAYS if not way.startswith("uring"))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--streams", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--requests", type=int, default=6000)
    parser.add_argument("--rounds", type=int, default=5)
    harness.add_realtime(parser)
    options = parser.parse_args()
    if options.realtime:
        harness.go_realtime()
    program, ways = compiled()
    server_core, client_core = harness.cores()
    print(f"{harness.machine()}\n")

    def run(way: str, port: str, streams: int, requests: int) -> dict[str, Any]:
        command = [str(program), way, port, str(streams), str(requests), "64"]
        told: dict[str, Any] = json.loads(harness.measure(command, client_core).stdout)
        return told

    with harness.simulator(server_core, "--fixed", "--ttft-ms", "50", "--itl-ms", "10") as url:
        port = url.rsplit(":", 1)[1].rstrip("/")
        for streams in options.streams:
            requests = max(1, options.requests * min(streams, 1000) // 1000)
            seen: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
            for _ in range(options.rounds):
                for way in ways:
                    seen[way].append(run(way, port, streams, requests))
            rows = []
            for way, runs in seen.items():
                cpu = [each["cpu_s"] / each["events"] * 1e6 for each in runs]
                events = runs[0]["events"]
                rows.append(
                    [
                        way,
                        harness.spread(cpu),
                        f"{statistics.median(each['wakeups'] for each in runs) / events:.3g}",
                        f"{statistics.median(each['lateness_p50_ms'] for each in runs):.3f}",
                        f"{statistics.median(each['lateness_p99_ms'] for each in runs):.3f}",
                    ]
                )
            header = [
                f"{streams} streams",
                "CPU, µs per event",
                "wake-ups per event",
                "unread p50, ms",
                "p99, ms",
            ]
            print(harness.table(header, rows), end="\n\n", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
