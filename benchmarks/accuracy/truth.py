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
import itertools
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import harness


@dataclass(frozen=True)
class Truth:
    """One line of the server's log: times on CLOCK_MONOTONIC."""

    received_ns: int
    event_ns: list[int]


def read_truth(path: Path) -> dict[int, Truth]:
    """The log by request number, which is what the request id ends with."""
    truths = {}
    for line in path.read_text().splitlines():
        entry = json.loads(line)
        number = int(entry["request_id"].rsplit("-", 1)[1])
        # An event without tokens (role, usage) is no output.
        times = [t for t, tokens in zip(entry["event_ns"], entry["tokens"], strict=True) if tokens > 0]
        truths[number] = Truth(entry["received_ns"], times)
    return truths


@dataclass
class Errors:
    """Client minus truth, in ms."""

    ttft: list[float]
    itl: list[float]
    client_ttft: list[float]
    true_ttft: list[float]
    client_itl: list[float]
    true_itl: list[float]
    merged: int
    turn_stamped: int


def join(result: Path, truths: dict[int, Truth], tokens: int) -> Errors:
    """Rows beside the log; any token not counted is an error of its own."""
    rows = harness.query(
        result,
        "SELECT id, sent_ns, first_token_ns, request.events, output_tokens, outcome, event.events"
        " FROM request JOIN event ON request_id = id",
    )
    errors = Errors([], [], [], [], [], [], 0, 0)
    for number, sent_ns, first_token_ns, events, output_tokens, outcome, blob in rows:
        truth = truths[number]
        seen = harness.decode_events(blob, sent_ns)
        where = f"request {number}"
        assert outcome == "ok", f"{where}: {outcome}"
        assert len(truth.event_ns) == tokens, f"{where}: the server wrote {len(truth.event_ns)} of {tokens}"
        assert events == len(seen) == output_tokens == tokens, (
            f"{where}: {events}, {len(seen)}, {output_tokens}"
        )
        assert seen[0].time_ns == first_token_ns, where
        client_gaps = [(b.time_ns - a.time_ns) / 1e6 for a, b in itertools.pairwise(seen)]
        true_gaps = [(b - a) / 1e6 for a, b in itertools.pairwise(truth.event_ns)]
        assert len(client_gaps) == tokens - 1, where
        errors.client_ttft.append((first_token_ns - sent_ns) / 1e6)
        errors.true_ttft.append((truth.event_ns[0] - truth.received_ns) / 1e6)
        errors.ttft.append(errors.client_ttft[-1] - errors.true_ttft[-1])
        errors.client_itl += client_gaps
        errors.true_itl += true_gaps
        errors.itl += [mine - true for mine, true in zip(client_gaps, true_gaps, strict=True)]
        errors.merged += sum(bool(event.flags & 2) for event in seen)
        errors.turn_stamped += sum(not event.flags & 1 for event in seen)
    return errors


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
    errors = join(directory / "run.llmbench", read_truth(log), tokens)
    if len(errors.ttft) != requests:
        raise SystemExit(f"{len(errors.ttft)} of {requests} requests were recorded")
    return [str(streams), str(len(errors.ttft)), *_describe(errors)]


def _describe(errors: Errors) -> Sequence[str]:
    def of(values: list[float], digits: int = 3) -> str:
        mean = statistics.fmean(values)
        low, high = harness.percentile(values, 1), harness.percentile(values, 99)
        return f"{mean:+.{digits}f} ({low:+.{digits}f}, {high:+.{digits}f})"

    reported_p99 = harness.percentile(errors.client_ttft, 99) - harness.percentile(errors.true_ttft, 99)
    return (
        f"{statistics.fmean(errors.true_ttft):.2f}",
        of(errors.ttft),
        f"{reported_p99:+.3f}",
        f"{statistics.fmean(errors.true_itl):.3f}",
        of(errors.itl),
        f"{errors.merged / len(errors.client_itl):.2%}",
        str(errors.turn_stamped),
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
