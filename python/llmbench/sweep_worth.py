"""What the points of a sweep are worth: throughput per GPU, goodput, cost, and the best point under each limit."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from llmbench.combination import Combination
from llmbench.gates import Gate
from llmbench.sweep_point import SweepPoint


@dataclass(frozen=True)
class Worth:
    """One combination, over all its repeats: means of the numbers, and how far the repeats lie apart."""

    combination: Combination
    points: tuple[SweepPoint, ...]

    @property
    def gpus(self) -> int:
        """What the measurement was told, else one per tensor-parallel rank and replica."""
        told = self.points[0].llmbench.get("config", {}).get("num_gpus")
        return told or self.combination.tp_size * self.combination.num_replicas

    @property
    def queries_per_s(self) -> float:
        return _mean(point.queries_per_s for point in self.points) or 0.0

    @property
    def output_per_gpu(self) -> float | None:
        """Output tokens per second and GPU."""
        found = _mean(point.output_tokens_per_s for point in self.points)
        return None if found is None else found / self.gpus

    @property
    def goodput(self) -> float | None:
        """Requests per second that met every limit of --goodput; None where none was asked for."""
        return _mean(_summary(point).get("goodput") for point in self.points)

    @property
    def goodput_share(self) -> float | None:
        return _mean(_summary(point).get("goodput_share") for point in self.points)

    @property
    def cost(self) -> float | None:
        """Money per million output tokens; None without a price."""
        costs = (_summary(point).get("cost_per_million_tokens") or {} for point in self.points)
        return _mean(each.get("output") for each in costs)

    @property
    def spread(self) -> float | None:
        """Half the range of queries/s over the repeats, as a share of their mean; None for a single one."""
        rates = [point.queries_per_s for point in self.points]
        return (max(rates) - min(rates)) / 2 / self.queries_per_s if len(rates) > 1 else None

    @property
    def trusted(self) -> bool:
        """Whether every repeat was VALID, or nobody judged."""
        return all(point.verdict in (None, "VALID") for point in self.points)

    def value(self, key: str) -> float | None:
        """A number of the flat JSON by its key, the mean over the repeats; None where it was not measured."""
        return _mean(value(point, key) for point in self.points)


def worths(points: Iterable[SweepPoint]) -> list[Worth]:
    """The combinations in the order in which they first come."""
    grouped: dict[Combination, list[SweepPoint]] = {}
    for point in points:
        grouped.setdefault(point.combination, []).append(point)
    return [Worth(combination, tuple(each)) for combination, each in grouped.items()]


@dataclass(frozen=True)
class Choice:
    """The best combination under a limit; none where no point meets it."""

    limit: str
    best: Worth | None
    closest: float | None = None
    """Where none meets it: the value that came nearest."""


def choices(found: Sequence[Worth], gates: Sequence[Gate]) -> list[Choice]:
    """Of the points that meet each gate, and of those that meet all of several, the one with the most output tokens per
    GPU; trusted points before others."""
    limits = [(str(gate), [gate]) for gate in gates]
    if len(gates) > 1:
        limits.append(("all of these", list(gates)))
    chosen = []
    for name, wanted in limits:
        meeting = [each for each in found if all(gate.met(each.value(gate.key)) for gate in wanted)]
        closest = None
        if not meeting and len(wanted) == 1:
            values = [each for each in (point.value(wanted[0].key) for point in found) if each is not None]
            if values:
                closest = min(values) if wanted[0].sign.startswith("<") else max(values)
        chosen.append(Choice(name, max(meeting, key=_merit, default=None), closest))
    return chosen


def best_by_goodput(found: Sequence[Worth]) -> Worth | None:
    """The most goodput per GPU; None where no goodput was asked for or nothing met it."""
    good = [each for each in found if each.goodput]
    return max(good, key=lambda each: (each.trusted, (each.goodput or 0) / each.gpus), default=None)


def value(point: SweepPoint, key: str) -> float | None:
    """A number of the flat JSON by its key (`p99_ttft_ms`, `output_throughput`), from the rows of the point."""
    rates: dict[str, float | None] = {
        "request_throughput": point.queries_per_s,
        "output_throughput": point.output_tokens_per_s,
        "total_token_throughput": point.tokens_per_s,
        "request_goodput": _summary(point).get("goodput"),
    }
    if key in rates:
        return rates[key]
    statistic, _, metric = key.removesuffix("_ms").partition("_")
    columns = {
        "ttft": point.first_token_s,
        "tpot": point.tpot_s,
        "itl": point.gaps_s,
        "e2el": point.latency_s,
    }
    values = columns[metric][np.isfinite(columns[metric])] * 1000
    if not len(values):
        return None
    if statistic.startswith("p"):
        return float(np.percentile(values, float(statistic[1:])))
    return float({"mean": values.mean(), "median": np.median(values), "std": values.std()}[statistic])


def _merit(each: Worth) -> tuple[bool, float]:
    return each.trusted, each.output_per_gpu or each.queries_per_s / each.gpus


def _summary(point: SweepPoint) -> Mapping[str, Any]:
    found = point.llmbench.get("summary")
    return found if isinstance(found, Mapping) else {}


def _mean(values: Iterable[Any]) -> float | None:
    """None as soon as one of them is missing."""
    listed = list(values)
    if not listed or any(not isinstance(each, (int, float)) or not math.isfinite(each) for each in listed):
        return None
    return float(sum(listed) / len(listed))
