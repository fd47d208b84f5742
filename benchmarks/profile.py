"""Where the client's processor time goes, by system call in the kernel and by stage in our own code.

    python benchmarks/profile.py

Needs Linux perf (Debian: linux-perf) and the right to sample the kernel (kernel.perf_event_paranoid at most 1, or
root). Samples of the worker's thread alone, under a thousand streams, as shares of its time and, with the thread's own
count of processor time, in µs per event. `--syscalls` counts system calls per event with strace instead.
"""

from __future__ import annotations

import argparse
import collections
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import harness

KERNEL = {
    "recvmsg": r"_sys_recvmsg",
    "epoll_wait": r"_sys_epoll_p?wait|do_epoll_wait",
    "clock_nanosleep": r"_sys_clock_nanosleep",
    "sendmsg": r"_sys_sendmsg",
    "connecting and closing": r"_sys_(connect|close|socket|dup|setsockopt|getsockopt|epoll_ctl)",
    "entering and leaving": r"] entry_SYSCALL|syscall_return|syscall_exit",
    "interrupts": r"asm_sysvec_|asm_common_interrupt|el1_interrupt",
    "other system calls": r"do_syscall_64|el0_svc",
}
"""Groups of kernel samples, by what their stack holds; the first that fits."""
OURS = {
    "HTTP framing": r"HttpParser|boost::beast|Http1ResponseReader",
    "event framing": r"SseParser|BodyReader|PaddedBuffer",
    "JSON and decoding": r"simdjson|Decoder|JsonScratch|Walk<",
    "recording": r"EventBlob|BlockRecorder|RowBlock|SpscRing|LatencyHistogram|Transfer::",
    "loop and connections": r"Worker::|Transport::|Connection::|EventLoop|KernelClock|PlanShare|ReceiveTime",
}
"""Groups of our own samples, by the function they are in."""


def share_of_stacks(data: Path, thread: str) -> tuple[collections.Counter[str], int]:
    """How many samples of that thread fall into each group, and how many there are."""
    command = ["perf", "script", "-i", str(data), "--comm", thread, "-F", "comm,ip,sym,dso"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    groups: collections.Counter[str] = collections.Counter()
    for sample in re.split(r"\n\s*\n", text):
        frames = sample.strip().splitlines()[1:]
        if frames:
            groups[group_of(frames)] += 1
    return groups, groups.total()


def group_of(frames: list[str]) -> str:
    top = frames[0]
    if "kernel" in top or "[guest" in top:
        for name, pattern in KERNEL.items():
            if any(re.search(pattern, frame) for frame in frames):
                return f"kernel: {name}"
        return "kernel: the rest"
    for name, pattern in OURS.items():
        if re.search(pattern, top):
            return f"ours: {name}"
    return "ours: libc and the rest" if "_core" in top or "libc" in top else "libraries"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--requests", type=int, default=15000)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--syscalls", action="store_true", help="system calls per event, by strace")
    options = parser.parse_args()
    server_core, client_core = harness.cores()
    print(f"{harness.machine()}\n")
    with (
        tempfile.TemporaryDirectory() as scratch,
        harness.simulator(server_core, "--fixed", "--ttft-ms", "50", "--itl-ms", "10") as url,
    ):
        directory = Path(scratch)
        command = harness.run_command(
            url,
            directory,
            *("--num-prompts", str(options.requests), "--max-concurrency", str(options.streams), "--quiet"),
            *("--random-input-len", "8", "--random-output-len", str(options.tokens), "--ignore-eos"),
        )
        kept = directory / "kept"
        if options.syscalls:
            harness.measure(["strace", "-f", "-c", "-o", str(kept), *command], client_core)
            events = options.requests * options.tokens
            rows = []
            for line in kept.read_text().splitlines():
                fields = line.split()
                if len(fields) >= 5 and fields[0].replace(".", "").isdigit() and fields[-1] != "total":
                    calls = int(fields[3])
                    if calls > events / 1000:
                        rows.append([fields[-1], str(calls), f"{calls / events:.3f}"])
            print(harness.table(["system call", "calls", "per event"], rows))
            return 0
        harness.measure(["perf", "record", "-q", "-F", "3000", "-g", "-o", str(kept), *command], client_core)
        groups, total = share_of_stacks(kept, "llmbench-0")
        [(stored,)] = harness.query(directory / "run.llmbench", "SELECT * FROM run")
        worker_s = json.loads(stored)["client"]["workers"][0]["cpu_s"]
    per_event = worker_s / (options.requests * options.tokens) * 1e6
    rows = [
        [name, f"{count / total:.1%}", f"{count / total * per_event:.2f}"]
        for name, count in sorted(groups.items(), key=lambda each: -each[1])
    ]
    rows.append(["all of the worker's thread", "100%", f"{per_event:.2f}"])
    print(harness.table(["where", "share", "µs per event"], rows))
    print(f"\n{total} samples")
    return 0


if __name__ == "__main__":
    sys.exit(main())
