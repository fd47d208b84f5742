"""How often the timing budget that llmbench prints contains its actual error.

    python benchmarks/accuracy/budget.py                   # 100 runs; five minutes
    python benchmarks/accuracy/budget.py --runs 10

Each run draws its number of streams (1 to 1000, evenly on a logarithmic scale), time to the first token and gap,
and meets the server of benchmarks/truth_server, which shares no code with llmbench. The error of mean TTFT and of mean
ITL, reported less true, is held against the run's own budget (`timing_ms` of the summary). Exit code 1 when fewer
than 95 % of either are within; a busy machine widens the budget, it is no excuse.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import harness
from truth_server import Times, TruthServer

sys.path.insert(0, str(harness.ROOT / "python"))
from llmbench.results import load_result

SHARE = 0.95
EVENTS_PER_S = 50_000  # no run asks for more
SECONDS = 1.5  # of load, about


@dataclass(frozen=True)
class Draw:
    """The load of one run."""

    streams: int
    ttft_ms: float
    itl_ms: float
    tokens: int
    requests: int

    @classmethod
    def of(cls, chance: random.Random) -> Draw:
        streams = round(1000 ** chance.random())
        ttft_ms = chance.uniform(10, 100)
        itl_ms = max(chance.uniform(5, 20), streams / EVENTS_PER_S * 1000)
        tokens = chance.randint(8, 64)
        rounds = max(1, round(SECONDS * 1000 / (ttft_ms + (tokens - 1) * itl_ms)))
        return cls(streams, ttft_ms, itl_ms, tokens, streams * rounds)


@dataclass(frozen=True)
class Outcome:
    """Errors and budgets of one run, ms."""

    ttft: float
    ttft_budget: float
    itl: float
    itl_budget: float


def measure(draw: Draw, directory: Path) -> Outcome:
    server_core, client_core = harness.cores()
    times = {"ttft_ms": f"{draw.ttft_ms:.3f}", "itl_ms": f"{draw.itl_ms:.3f}"}
    with TruthServer(
        directory / "truth.jsonl", server_core, **times, tokens=draw.tokens, late_ms=1000
    ) as server:
        command = harness.run_command(
            server.url,
            directory,
            *("--model", "m"),
            *("--num-prompts", str(draw.requests), "--max-concurrency", str(draw.streams), "--ignore-eos"),
            *("--random-input-len", "8", "--random-output-len", str(draw.tokens), "--workers", "1"),
        )
        harness.measure(command, client_core)
    summary = load_result(directory / "run.llmbench").summary
    true = Times.of(server.written)
    if (summary.completed, true.requests) != (draw.requests, draw.requests):
        raise SystemExit(
            f"{summary['completed']} of {draw.requests} requests completed, {true.requests} answered"
        )
    budget = summary.timing_ms
    return Outcome(
        summary["ttft"]["mean"] - true.ttft_mean,
        budget["ttft"],
        summary["itl"]["mean"] - true.itl_mean,
        budget["itl"],
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    harness.add_realtime(parser)
    options = parser.parse_args()
    if options.realtime:
        harness.go_realtime()
    print(f"{harness.machine()}\n")
    chance = random.Random(options.seed)
    draws = [Draw.of(chance) for _ in range(options.runs)]
    found = []
    with tempfile.TemporaryDirectory() as scratch:
        for i, draw in enumerate(draws):
            found.append(measure(draw, Path(scratch)))
            each = found[-1]
            print(
                f"  {i + 1:3}: {draw.streams:4} streams, TTFT {each.ttft:+.4f} of ± {each.ttft_budget:.4f}, "
                f"ITL {each.itl:+.5f} of ± {each.itl_budget:.4f} ms",
                file=sys.stderr,
                flush=True,
            )
    rows, kept = [], True
    for name in ("ttft", "itl"):
        errors = [abs(getattr(each, name)) for each in found]
        budgets = [getattr(each, f"{name}_budget") for each in found]
        share = sum(error <= budget for error, budget in zip(errors, budgets, strict=True)) / len(found)
        kept = kept and share >= SHARE
        rows.append(
            [
                f"mean {name.upper()}",
                f"**{share:.0%}**",
                harness.spread(errors, 4),
                harness.spread(budgets, 4),
            ]
        )
    header = [f"{len(found)} runs, 1–1000 streams", "within the budget", "error, ms", "budget, ±ms"]
    print(harness.table(header, rows))
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
