"""What a client reported beside what the simulated server did: errors of TTFT and of gaps, request by request.

The server's truth log notes, on the clock both processes share, when its kernel had the last byte of each
request and when it wrote each token (docs/simulator.md). Requests are matched by X-Request-Id, whose end is the
number of the request. The true TTFT is first write − received; the client's is first_token − sent. Their
difference is the client's error and the few microseconds that the loopback takes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from llmbench.errors import ResultsError

if TYPE_CHECKING:
    from llmbench.results import Result

Times = npt.NDArray[np.float64]

KERNEL, MERGED = 1, 2
"""Flags of an event: stamped by the kernel; read together with another event of its stream."""


@dataclass(frozen=True)
class TrueTimes:
    """One request in the server's log: nanoseconds on CLOCK_MONOTONIC."""

    received_ns: int
    event_ns: tuple[int, ...]
    """One per event that carried tokens."""


def read_truth(path: Path) -> dict[int, TrueTimes]:
    """The log by request number."""
    truths = {}
    with path.open() as lines:
        for line in lines:
            entry = json.loads(line)
            number = int(entry["request_id"].rsplit("-", 1)[1])
            times = [t for t, tokens in zip(entry["event_ns"], entry["tokens"], strict=True) if tokens > 0]
            truths[number] = TrueTimes(entry["received_ns"], tuple(times))
    return truths


@dataclass(frozen=True)
class Comparison:
    """Reported and true times in ms: of each request, and of each gap between two events of a request."""

    ttft_ms: Times
    true_ttft_ms: Times
    ttft_budget_ms: Times
    """How far off each reported TTFT may be by the client's own account."""
    gaps_ms: Times
    true_gaps_ms: Times
    gap_budget_ms: Times
    merged: int
    """Events that were read together with others."""
    turn_stamped: int
    """Events without a kernel time."""

    @property
    def ttft_errors_ms(self) -> Times:
        return self.ttft_ms - self.true_ttft_ms

    @property
    def gap_errors_ms(self) -> Times:
        return self.gaps_ms - self.true_gaps_ms

    @property
    def events(self) -> int:
        return len(self.ttft_ms) + len(self.gaps_ms)


@dataclass(frozen=True)
class Uncertainty:
    """What may put a time off, in ms, from what the engine noted about itself."""

    clock_ms: float
    """Of the offset between the kernel's clock and the engine's."""
    merged_ms: float
    """A merged event may have come this much before its stamp."""
    turn_ms: float
    """And one without a kernel time this much."""

    @classmethod
    def of(cls, client: Mapping[str, Any]) -> Uncertainty:
        return cls(
            clock_ms=(client.get("clock_uncertainty_ns") or 0) / 1e6,
            merged_ms=_p99(client.get("merged_width_ms")),
            turn_ms=_p99(client.get("read_lateness_ms")),
        )

    def of_events(self, flags: npt.NDArray[np.uint8]) -> Times:
        """How much earlier than its stamp each event may have come."""
        merged = np.where(flags & MERGED, self.merged_ms, 0.0)
        turn = np.where(flags & KERNEL, 0.0, self.turn_ms)
        return np.asarray(merged + turn, dtype=np.float64)


def compare(result: Result, truths: Mapping[int, TrueTimes]) -> Comparison:
    """Every request of a result beside the log. Raises ResultsError when one failed, is not in the log, or has
    another number of events than the server wrote.

    The budget of a TTFT is the uncertainty of the clock on both sides, the time that the send took (sent →
    send_done), the width of its first event if that is merged, the lateness of its read if the kernel gave no time,
    and the server's own send, taken to last as long as ours do (95th percentile). The budget of a gap has no
    send of ours and two events.
    """
    rows, events = result.requests, result.events
    if not len(rows):
        raise ResultsError("this result has no requests to compare with the truth log")
    true_ttft = np.empty(len(rows))
    true_gaps: list[Times] = []
    gaps: list[Times] = []
    first = events.offsets[:-1]
    for i, number in enumerate(rows["id"].tolist()):
        truth, seen = truths.get(number), events.of(i)
        if rows["outcome"][i] != 0:
            raise ResultsError(f"request {number} did not succeed: there is nothing to compare")
        if truth is None:
            raise ResultsError(f"request {number} is not in the truth log")
        if len(truth.event_ns) != len(seen):
            raise ResultsError(
                f"request {number}: the server wrote {len(truth.event_ns)} events, {len(seen)} were recorded"
            )
        if not len(seen) or seen[0] != rows["first_token_ns"][i]:
            raise ResultsError(f"request {number}: its first event is not its first token")
        true_ttft[i] = (truth.event_ns[0] - truth.received_ns) / 1e6
        true_gaps.append(_gaps_ms(np.asarray(truth.event_ns, dtype=np.int64)))
        gaps.append(_gaps_ms(seen))
    uncertainty = Uncertainty.of(result.client)
    early = uncertainty.of_events(events.flags)
    send = (rows["send_done_ns"] - rows["sent_ns"]) / 1e6
    server_send = float(np.percentile(send, 95))
    inside = np.ones(len(early), dtype=bool)
    inside[first] = False
    later = np.flatnonzero(inside)
    return Comparison(
        ttft_ms=(rows["first_token_ns"] - rows["sent_ns"]) / 1e6,
        true_ttft_ms=true_ttft,
        ttft_budget_ms=2 * uncertainty.clock_ms + send + server_send + early[first],
        gaps_ms=np.concatenate(gaps),
        true_gaps_ms=np.concatenate(true_gaps),
        gap_budget_ms=2 * uncertainty.clock_ms + server_send + early[later] + early[later - 1],
        merged=int(np.count_nonzero(events.flags & MERGED)),
        turn_stamped=int(np.count_nonzero((events.flags & KERNEL) == 0)),
    )


def _gaps_ms(times_ns: npt.NDArray[np.int64]) -> Times:
    return np.asarray((times_ns[1:] - times_ns[:-1]) / 1e6, dtype=np.float64)


def _p99(described: Mapping[str, Any] | None) -> float:
    return float((described or {}).get("p99") or 0.0)
