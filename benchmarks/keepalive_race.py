"""A slow run against a server that closes idle connections when it likes: no answer lost, none mixed up.

    python benchmarks/keepalive_race.py                   # one request a second, five minutes, plain and TLS
    python benchmarks/keepalive_race.py --rate 50 --seconds 4

Every answer holds the id and the prompt of its own request, so that a row tells whose bytes it was given. The
server closes idle connections at random around the time of the next request, and drops some requests on
connections that were used before, without a byte of an answer: what a client sees when its request and the
server's FIN cross. Each such request must be written once more on a new connection (attempts 2), nothing else
may be repeated.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
import harness
from support.scripted_server import CLOSE, RESET, Request, ScriptedServer, Step, echo, models, random_idle
from support.tls import server_context

import llmbench as lb


class DroppingServer:
    """The script: drops a share of the requests that come on a used connection, by FIN or by RST."""

    def __init__(self, seed: int, share: float) -> None:
        self.dropped: Counter[str] = Counter()
        self._share = share
        self._chance = random.Random(seed)

    def __call__(self, request: Request) -> Iterator[Step]:
        if request.position > 0 and self._chance.random() < self._share:
            self.dropped[request.id] += 1
            yield RESET if self._chance.random() < 0.5 else CLOSE
        yield from echo(request)


def race(rate: float, seconds: float, tls: bool, seed: int, directory: Path) -> list[str]:
    """One run and its checks; a row of the table. Raises AssertionError with what was wrong."""
    requests = max(1, round(rate * seconds))
    prompts = [f"question {number} of {requests}" for number in range(requests)]
    ca_file = directory / "ca.pem"
    script = DroppingServer(seed, share=0.1)
    with ScriptedServer(
        script,
        tls=server_context(ca_file) if tls else None,
        get=models("m"),
        idle_s=random_idle(seed, 0, 2 / rate),
    ) as server:
        result = lb.run(
            lb.Endpoint(server.url, backend="openai", model="m", ca_file=str(ca_file) if tls else None),
            lb.workloads.from_prompts(prompts, output_tokens=4),
            lb.load.constant(rate),
            num_requests=requests,
            save_text=True,
            result_dir=directory,
        )
    rows = harness.query(result.path, "SELECT id, outcome, attempts, events FROM request ORDER BY id")
    texts = dict(harness.query(result.path, "SELECT request_id, text FROM text"))
    arrivals = Counter(request.id for request in server.requests)
    ids = {request_id.rsplit("-", 1)[1]: request_id for request_id in arrivals}

    assert len(rows) == requests, f"{len(rows)} rows for {requests} requests"
    for number, outcome, attempts, _ in rows:
        request_id = ids[str(number)]
        assert outcome == "ok", f"request {number}: {outcome}"
        expected = f"{request_id}|{prompts[number]}"
        assert texts[number] == expected, (
            f"request {number} was given {texts[number]!r} instead of {expected!r}"
        )
        assert 1 + script.dropped[request_id] <= attempts <= 2, (
            f"request {number}: attempts {attempts}, dropped {script.dropped[request_id]} times by the server"
        )
        assert arrivals[request_id] <= attempts, f"request {number} came {arrivals[request_id]} times"
    repeated = sum(attempts - 1 for _, _, attempts, _ in rows)
    return [
        "TLS" if tls else "plain",
        f"{requests} at {rate:g}/s",
        f"{requests} of {requests}",
        str(server.connections),
        str(server.idle_closes),
        str(sum(script.dropped.values())),
        str(repeated),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rate", type=float, default=1.0, help="requests per second (default 1)")
    parser.add_argument("--seconds", type=float, default=300.0, help="of each run (default 300)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=["plain", "tls"], help="one of the two runs")
    options = parser.parse_args()
    header = [
        *("transport", "requests", "own bytes", "connections", "closed while idle", "dropped unanswered"),
        "written twice",
    ]
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for name in ("plain", "tls"):
            if options.only in (None, name):
                directory = Path(scratch) / name
                directory.mkdir()
                try:
                    rows.append(race(options.rate, options.seconds, name == "tls", options.seed, directory))
                except AssertionError as error:
                    print(f"{name}: {error}", file=sys.stderr)
                    return 1
    print(harness.table(header, rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
