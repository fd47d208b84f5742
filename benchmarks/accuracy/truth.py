"""What llmbench reports beside what the simulated server did: errors of TTFT and ITL, request by request.

    python benchmarks/accuracy/truth.py                 # N = 1, 10, 100, 1000 streams
    python benchmarks/accuracy/truth.py --streams 100

The server notes, on the clock both share, when its kernel had the last byte of each request and when it wrote
each token. Client TTFT is first_token − sent; the truth is first write − received; their difference is the
client's error and the loopback's few microseconds. The same for every gap between tokens. Every token must
have been counted.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import harness

sys.path.insert(0, str(harness.ROOT / "python"))
import numpy as np
import numpy.typing as npt

from llmbench.results import load_result
from llmbench.truth import Comparison, compare, read_truth


def measure(streams: int, requests: int, tokens: int, directory: Path) -> list[str]:
    server_core, client_core = harness.cores()
    log = directory / f"truth-{streams}.jsonl"
    fixed = ("--fixed", "--ttft-ms", "50", "--itl-ms", "10", "--truth", str(log))
    with harness.simulator(server_core, *fixed) as url:
        harness.measure(
            harness.run_command(
                url,
                directory,
                *("--num-prompts", str(requests), "--max-concurrency", str(streams), "--ignore-eos"),
                *("--random-input-len", "8", "--random-output-len", str(tokens), "--workers", "1"),
            ),
            client_core,
        )
    compared = compare(load_result(directory / "run.llmbench"), read_truth(log))
    if (len(compared.ttft_ms), compared.events) != (requests, requests * tokens):
        raise SystemExit(
            f"{len(compared.ttft_ms)} of {requests} requests were recorded, {compared.events} events"
        )
    return [str(streams), str(requests), *_describe(compared)]


def _describe(compared: Comparison) -> Sequence[str]:
    def of(errors_ms: npt.NDArray[np.float64]) -> str:
        low, high = np.percentile(errors_ms, (1, 99))
        return f"{errors_ms.mean():+.3f} ({low:+.3f}, {high:+.3f})"

    reported_p99 = np.percentile(compared.ttft_ms, 99) - np.percentile(compared.true_ttft_ms, 99)
    return (
        f"{compared.true_ttft_ms.mean():.2f}",
        of(compared.ttft_errors_ms),
        f"{reported_p99:+.3f}",
        f"{compared.true_gaps_ms.mean():.3f}",
        of(compared.gap_errors_ms),
        f"{compared.merged / compared.events:.2%}",
        str(compared.turn_stamped),
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 10, 100, 1000])
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument(
        "--rounds", type=int, default=5, help="requests per stream (default 5, at least 20 in all)"
    )
    harness.add_realtime(parser)
    options = parser.parse_args()
    if options.realtime:
        harness.go_realtime()
    print(f"{harness.machine()}\n")
    header = [
        *(
            "streams",
            "requests",
            "true TTFT, ms",
            "TTFT error mean (p1, p99), ms",
            "p99 TTFT reported − true, ms",
        ),
        *("true ITL, ms", "ITL error mean (p1, p99), ms", "merged events", "without a kernel stamp"),
    ]
    with tempfile.TemporaryDirectory() as scratch:
        rows = [
            measure(streams, max(20, streams * options.rounds), options.tokens, Path(scratch))
            for streams in options.streams
        ]
    print(harness.table(header, rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
