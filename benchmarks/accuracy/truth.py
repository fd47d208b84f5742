"""What llmbench reports beside what the simulated server did: errors of TTFT and ITL, request by request.

    python benchmarks/accuracy/truth.py                 # N = 1, 10, 100, 1000 streams
    python benchmarks/accuracy/truth.py --streams 100
    python benchmarks/accuracy/truth.py --streams 200 --backends all   # every preset that streams

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

from llmbench import _core
from llmbench.backends import BACKENDS, Backend, get
from llmbench.results import load_result
from llmbench.truth import Comparison, compare, read_truth

DIALECTS = {
    "anthropic": "openai",
    "fastgen": "fastgen-grpc",
    "mii-generate": "mii",
    "mii-openai": "mii",
    "mii-openai-chat": "mii",
    "ollama-chat": "ollama",
    "tensorrt_llm_triton": "triton",
}
"""What the simulated server speaks to a preset that its dialect is not named after."""


def dialect_of(backend: Backend) -> str:
    known = next(option["choices"] for option in _core.sim_options() if option["name"] == "dialect")
    return DIALECTS.get(backend.name, backend.name if backend.name in known else "openai")


def measure(backend: Backend, streams: int, requests: int, tokens: int, directory: Path) -> list[str]:
    server_core, client_core = harness.cores()
    log = directory / f"truth-{backend.name}-{streams}.jsonl"
    fixed = ("--fixed", "--ttft-ms", "50", "--itl-ms", "10", "--truth", str(log))
    with harness.simulator(server_core, "--dialect", dialect_of(backend), *fixed) as url:
        harness.measure(
            harness.run_command(
                url,
                directory,
                *("--backend", backend.name, *(("--ignore-eos",) if backend.forces_length else ())),
                *("--num-prompts", str(requests), "--max-concurrency", str(streams)),
                *("--random-input-len", "8", "--random-output-len", str(tokens), "--workers", "1"),
            ),
            client_core,
        )
    compared = compare(load_result(directory / "run.llmbench"), read_truth(log))
    if (len(compared.ttft_ms), compared.events) != (requests, requests * tokens):
        raise SystemExit(
            f"{len(compared.ttft_ms)} of {requests} requests were recorded, {compared.events} events"
        )
    return [backend.name, str(streams), str(requests), *_describe(compared)]


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


def chosen(names: Sequence[str]) -> list[Backend]:
    """The presets of those names; of `all`, each that streams and has a server of its own in the simulator."""
    if names == ["all"]:
        return [
            backend
            for name, backend in BACKENDS.items()
            if backend.streams
            and name == backend.name
            and name not in ("template", "azure-maas", "azure-maas-chat")
        ]
    return [get(name) for name in names]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 10, 100, 1000])
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument(
        "--rounds", type=int, default=5, help="requests per stream (default 5, at least 20 in all)"
    )
    parser.add_argument(
        "--backends", nargs="+", default=["openai"], metavar="NAME", help="presets that stream, or all"
    )
    harness.add_realtime(parser)
    options = parser.parse_args()
    if options.realtime:
        harness.go_realtime()
    print(f"{harness.machine()}\n")
    header = [
        *(
            "preset",
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
            measure(backend, streams, max(20, streams * options.rounds), options.tokens, Path(scratch))
            for backend in chosen(options.backends)
            for streams in options.streams
        ]
    print(harness.table(header, rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
