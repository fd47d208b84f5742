"""What llmbench reports beside a server that shares no code with it: the limits its times must keep.

    python benchmarks/accuracy/independent.py              # five runs of 1000 streams; half a minute

The server of benchmarks/truth_server has one core, llmbench with one worker another: 50 ms to the first token,
then 63 gaps of 10 ms. An error is what llmbench reports less what the server did; of each, the median of all runs
must be within its limit. Exit code 1 when one is not; a busy machine is a usual reason.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import harness
from truth_server import Times, TruthServer

LIMITS_MS = {
    "mean TTFT": ("mean_ttft_ms", "ttft_mean", 0.05),
    "p99 TTFT": ("p99_ttft_ms", "ttft_p99", 0.3),
    "p99 ITL": ("p99_itl_ms", "itl_p99", 0.5),
}
"""Key of the report, key of the truth, limit on either side."""
TOKENS = 64


def errors_ms(streams: int, rounds: int, directory: Path) -> dict[str, float]:
    """One run: reported − true."""
    server_core, client_core = harness.cores()
    requests = streams * rounds
    with TruthServer(
        directory / "truth.jsonl", server_core, ttft_ms=50, itl_ms=10, tokens=TOKENS, late_ms=1000
    ) as server:
        command = harness.run_command(
            server.url,
            directory,
            *("--model", "m"),
            *("--num-prompts", str(requests), "--max-concurrency", str(streams), "--ignore-eos"),
            *("--random-input-len", "8", "--random-output-len", str(TOKENS), "--workers", "1"),
            *("--metric-percentiles", "99", "--save-result"),
        )
        harness.measure(command, client_core)
    report = json.loads((directory / "run.json").read_text())
    true = Times.of(server.written)
    if (report["completed"], true.requests, true.events) != (requests, requests, requests * TOKENS):
        raise SystemExit(
            f"{report['completed']} of {requests} requests completed, {true.requests} were answered"
        )
    return {name: report[key] - getattr(true, of) for name, (key, of, _) in LIMITS_MS.items()}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=4, help="requests per stream (default 4)")
    harness.add_realtime(parser)
    options = parser.parse_args()
    if options.realtime:
        harness.go_realtime()
    print(f"{harness.machine()}\n")
    with tempfile.TemporaryDirectory() as scratch:
        found = [errors_ms(options.streams, options.rounds, Path(scratch)) for _ in range(options.runs)]
    rows, kept = [], True
    for name, (_, _, limit) in LIMITS_MS.items():
        errors = [each[name] for each in found]
        holds = abs(statistics.median(errors)) <= limit
        kept = kept and holds
        rows.append(
            [name, harness.spread(errors, 3), f"± {limit:g}", "holds" if holds else "**does not hold**"]
        )
    header = [f"{options.streams} streams, {options.runs} runs", "reported − true, ms", "limit, ms", ""]
    print(harness.table(header, rows))
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
