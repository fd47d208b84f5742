"""The numbers of a run as values: `summary["ttft"].p99`, its interval, a replica's share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Interval:
    """The 95 % interval of one number, in its unit; docs/metrics.md says how it is made."""

    low: float | None = None
    high: float | None = None
    """None where the run does not tell; `reason` says why."""
    n_eff: float = 0.0
    """The independent values that the run's are worth."""
    supported: bool = False
    needs_requests: int | None = None
    """How many requests like these would support a percentile."""
    excursions: int | None = None
    """The separate stretches above a percentile, counted where requests hang together."""
    reason: str | None = None

    @property
    def half_width(self) -> float | None:
        return None if self.low is None or self.high is None else (self.high - self.low) / 2

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Interval:
        return cls(**{name: stored[name] for name in cls.__dataclass_fields__ if name in stored})


@dataclass(frozen=True)
class Distribution:
    """One latency in milliseconds: `.mean`, `.median`, `.p99`, …; None where there is no value."""

    n: int
    mean: float | None = None
    median: float | None = None
    std: float | None = None
    min: float | None = None
    max: float | None = None
    percentiles: Mapping[float, float | None] = field(default_factory=dict)
    """By percent: {50.0: …, 99.0: …}."""
    intervals: Mapping[str, Interval] = field(default_factory=dict, repr=False)
    """By name: mean, median, p50, …; see `interval`."""

    def interval(self, name: str) -> Interval | None:
        """The 95 % interval of `mean`, `median`, `p99`, …; None where none was computed."""
        return self.intervals.get(f"p{name[1:].replace('_', '.')}" if name[:1] == "p" else name)

    def percentile(self, percent: float) -> float | None:
        """One of the percentiles that were computed."""
        try:
            return self.percentiles[float(percent)]
        except KeyError:
            known = ", ".join(percent_name(each) for each in self.percentiles) or "none"
            raise AttributeError(f"no {percent_name(percent)} in this summary: there are {known}") from None

    def __getattr__(self, name: str) -> float | None:
        if name.startswith("p") and name[1:].replace("_", ".").replace(".", "", 1).isdigit():
            return self.percentile(float(name[1:].replace("_", ".")))
        raise AttributeError(f"a distribution has no {name!r}")

    def __getitem__(self, name: str) -> float | None:
        value: float | None = getattr(self, name)
        return value


class Summary:
    """Every number of a run: `summary["ttft"].p99` in ms, `summary.completed`, `summary.output_throughput`, …"""

    def __init__(self, stored: Mapping[str, Any]) -> None:
        self._stored = dict(stored)
        percents = [float(each) for each in stored.get("percents", ())]
        self.intervals = {
            key: Interval.from_dict(each) for key, each in (stored.get("intervals") or {}).items()
        }
        """95 % intervals by the keys of the flat JSON: p99_ttft_ms, request_throughput, …"""
        self.latencies = {
            name: _distribution(each, percents, _intervals_of(name, percents, self.intervals))
            for name, each in stored.get("latency_ms", {}).items()
        }
        """By name: ttft, tpot, itl, icl, e2el, ttft_from_schedule, client_lag, …"""
        self.with_failures = {
            name: _distribution(each, percents) for name, each in stored.get("with_failures_ms", {}).items()
        }
        """Percentiles in which every failed or cut request counts as endless."""

    def __getitem__(self, name: str) -> Distribution:
        try:
            return self.latencies[name]
        except KeyError:
            raise KeyError(f"no latency {name!r}: there are {', '.join(self.latencies)}") from None

    def __contains__(self, name: object) -> bool:
        return name in self.latencies

    def __iter__(self) -> Iterator[str]:
        return iter(self.latencies)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self._stored[name]
        except KeyError:
            raise AttributeError(f"a summary has no {name!r}: there are {', '.join(self._stored)}") from None

    def __dir__(self) -> list[str]:
        return sorted([*super().__dir__(), *self._stored])

    def __repr__(self) -> str:
        return f"Summary({self._stored.get('completed')} completed, {self._stored.get('failed')} failed)"

    def get(self, name: str, default: Any = None) -> Any:
        return self._stored.get(name, default)

    def to_dict(self) -> dict[str, Any]:
        return dict(self._stored)


@dataclass(frozen=True)
class SteadyState:
    """The longest time in which requests in flight and the token rate only fluctuated; docs/metrics.md says how it
    is found."""

    begin_s: float
    """Since the run's start; so is the end."""
    end_s: float
    summary: Summary
    """Of the requests sent, and the tokens and completions that came, within."""

    def __str__(self) -> str:
        return f"{self.begin_s:.0f} s to {self.end_s:.0f} s"


@dataclass(frozen=True)
class Replica:
    """One of several endpoints of a run, and what it did. Rates are over the run's duration."""

    url: str
    requests: int
    share: float | None
    """Of the run's requests."""
    completed: int
    failed: int
    cut: int
    output_tokens: int
    request_throughput: float | None
    output_throughput: float | None
    in_flight_mean: float | None
    """Requests in flight, over time."""
    latencies: Mapping[str, Distribution]
    """ttft and e2el, in milliseconds: mean, median, p50, p99, with intervals."""

    def __getitem__(self, name: str) -> Distribution:
        return self.latencies[name]

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Replica:
        plain = {name: stored.get(name) for name in cls.__dataclass_fields__ if name != "latencies"}
        known = {key: Interval.from_dict(each) for key, each in (stored.get("intervals") or {}).items()}
        latencies = {}
        for name, each in (stored.get("latency_ms") or {}).items():
            percents = [float(key[1:]) for key in each if key[:1] == "p"]
            values = {
                "n": each["n"],
                "mean": each["mean"],
                "median": each.get("p50"),
                "percentiles": [each[percent_name(percent)] for percent in percents],
            }
            latencies[name] = _distribution(values, percents, _intervals_of(name, percents, known))
        return cls(**plain, latencies=latencies)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Imbalance:
    """How far the replicas' values of one number are apart."""

    max_over_mean: float | None
    """1 when all are equal; None where fewer than two replicas have the number."""
    cv: float | None
    """Coefficient of variation: their standard deviation over their mean."""


class Replicas(tuple[Replica, ...]):
    """The endpoints of a run that had several, in the order given, and how evenly the load met them."""

    balancing: str
    imbalance: Mapping[str, Imbalance]
    """Of `requests`, `in_flight_mean` and `p50_ttft_ms`."""

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Replicas:
        made = cls(Replica.from_dict(each) for each in stored["endpoints"])
        made.balancing = stored.get("balancing") or ""
        made.imbalance = {
            name: Imbalance(each.get("max_over_mean"), each.get("cv"))
            for name, each in (stored.get("imbalance") or {}).items()
        }
        return made


def percent_name(percent: float) -> str:
    """p99, p99.9."""
    return f"p{percent:g}"


def _intervals_of(
    metric: str, percents: Sequence[float], intervals: Mapping[str, Interval]
) -> dict[str, Interval]:
    names = ["mean", "median", *(percent_name(each) for each in percents)]
    return {name: intervals[f"{name}_{metric}_ms"] for name in names if f"{name}_{metric}_ms" in intervals}


def _distribution(
    stored: Mapping[str, Any], percents: Sequence[float], intervals: Mapping[str, Interval] | None = None
) -> Distribution:
    values = stored.get("percentiles") or ()
    return Distribution(
        n=int(stored.get("n") or 0),
        mean=stored.get("mean"),
        median=stored.get("median"),
        std=stored.get("std"),
        min=stored.get("min"),
        max=stored.get("max"),
        percentiles=dict(zip(percents, values, strict=False)),
        intervals=intervals or {},
    )
