"""True times: what the ground-truth server's log says of a run."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Written:
    """One request in the log: nanoseconds on CLOCK_MONOTONIC."""

    received_ns: int
    event_ns: tuple[int, ...]


def read_log(log: Path) -> list[Written]:
    """The requests that were answered to the end, in the order in which they came."""
    with log.open() as lines:
        entries = [json.loads(line) for line in lines]
    return [Written(entry["received_ns"], tuple(entry["event_ns"])) for entry in entries if entry["complete"]]


def percentile(values: Sequence[float], percent: float) -> float:
    """Linear interpolation between exact values, NumPy's default; NaN of nothing."""
    if not values:
        return math.nan
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan


@dataclass(frozen=True)
class Times:
    """What a client that made no error would report, in ms."""

    requests: int
    events: int
    ttft_mean: float
    ttft_p99: float
    itl_mean: float
    """Over all gaps."""
    itl_p99: float
    itl_request_p99: float
    """Of each request's mean gap, which some clients call its inter-token latency."""
    e2el_mean: float
    rate: float
    """Requests per second, from the first to the last."""

    @classmethod
    def of(cls, written: Sequence[Written]) -> Times:
        ttft = [(each.event_ns[0] - each.received_ns) / 1e6 for each in written]
        gaps, means = [], []
        for each in written:
            events = each.event_ns
            if len(events) > 1:
                gaps += [(after - before) / 1e6 for before, after in itertools.pairwise(events)]
                means.append((events[-1] - events[0]) / 1e6 / (len(events) - 1))
        span_s = (written[-1].received_ns - written[0].received_ns) / 1e9 if written else 0.0
        return cls(
            requests=len(written),
            events=sum(len(each.event_ns) for each in written),
            ttft_mean=mean(ttft),
            ttft_p99=percentile(ttft, 99),
            itl_mean=mean(gaps),
            itl_p99=percentile(gaps, 99),
            itl_request_p99=percentile(means, 99),
            e2el_mean=mean([(each.event_ns[-1] - each.received_ns) / 1e6 for each in written]),
            rate=(len(written) - 1) / span_s if span_s > 0 else math.nan,
        )

    def to_dict(self) -> dict[str, float | None]:
        """As JSON has it: null for what there is none of."""
        return {
            name: None if isinstance(value, float) and math.isnan(value) else value
            for name, value in asdict(self).items()
        }
