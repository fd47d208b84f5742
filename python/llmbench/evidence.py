"""What a verdict is drawn from, and the limits it is held against.

`LIMITS` is the whole table of numbers. A check is a function of `Facts` that returns a `Finding`, one line of evidence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from llmbench import steadiness
from llmbench.request_rows import ABSENT_NS, Mask, Rows, where

STATUSES = ("INVALID", "CLIENT-LIMITED", "UNSTABLE", "VALID")
"""Worst first."""

Times = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Limits:
    """Beyond these a run is not VALID."""

    client_lag_ms: float = 1.0
    client_lag_of_ttft: float = 0.05
    start_of_e2el: float = 0.05
    """How long the start of a closed loop may take, as a share of the median request: so much of the first round of its
    slots it leaves empty. Never under `client_lag_ms`."""
    start_share: float = 0.01
    """Of so few requests the start spoils no p99."""
    achieved: float = 0.98
    worker_busy: float = 0.85
    run_queue: float = 0.10
    processor_seconds: float = 0.01
    """A worker that lived for less has no shares of its time: the kernel gives processors out for milliseconds."""
    steal: float = 0.01
    lateness_of_itl: float = 0.05
    merged_width_ms: float = 0.2
    merged_width_of_icl: float = 0.05
    merged_share: float = 0.02
    ceiling: float = 0.70
    ceiling_seconds: float = 1.0
    """A run of less is not held against the ceiling: its rate is that of a burst."""
    consistency: float = 0.001
    growth_seconds: int = steadiness.LEAST_BINS
    """Bins of one second that a judgement of stationarity takes at least."""
    growth_significance: float = steadiness.SIGNIFICANCE
    """The slope of requests not answered yet, and of TTFT, in its standard deviations."""
    growth_share: float = steadiness.GROWTH_SHARE
    """And the growth over the run, as a share of their mean."""
    retried_share: float = 0.001
    cached_share: float = 0.01
    retokenized: float = 0.02
    """By how much a tokenizer and the server may differ on the same texts."""


LIMITS = Limits()


@dataclass(frozen=True)
class Finding:
    """One line of evidence."""

    name: str
    value: float | None
    """What was measured; None when it was not."""
    limit: float | None
    unit: str = ""
    status: str = "VALID"
    """What this line alone would make of the run."""
    text: str = ""
    """The reason with number and remedy; or, when nothing was measured, why not."""
    details: Mapping[str, float | None] = field(default_factory=dict)
    """What else was measured, or what the value was made of; units are in the names."""

    def to_dict(self) -> dict[str, Any]:
        return {
            "value": self.value,
            "limit": self.limit,
            "unit": self.unit,
            "status": self.status if self.value is not None or self.status != "VALID" else "not measured",
            "text": self.text,
            **({"details": dict(self.details)} if self.details else {}),
        }


def judged(bad: bool, status: str, text: str) -> tuple[str, str]:
    return (status, text) if bad else ("VALID", "")


def not_measured(name: str, limit: float | None, why: str) -> Finding:
    return Finding(name, None, limit, text=why)


@dataclass(frozen=True)
class Facts:
    """All that a verdict is drawn from."""

    requests: Rows
    """The measured requests (warm-up left out), in schedule order."""
    all_requests: Rows
    summary: Mapping[str, Any]
    """What `_core.summarize` returned."""
    client: Mapping[str, Any]
    """What the engine reported about itself, and what the kernel counted meanwhile."""
    open_loop: bool
    rate: float | None
    max_concurrency: int | None
    max_error_rate: float = 0.01
    distinct_prompts: int | None = None
    prefix_asked: bool = False
    notes: tuple[str, ...] = ()
    """Warnings from elsewhere."""
    bins: steadiness.Bins | None = None
    """The run second by second; None: they are made from the rows."""

    @cached_property
    def first_of_slots(self) -> Mask:
        """The measured requests with which a closed loop started: their numbers are their slots'. All go at once,
        or by their ramp, and those after them when an answer ends."""
        ids = self.requests["id"]
        found: Mask = (ids >= 0) & (ids < (0 if self.open_loop else self.max_concurrency or 1))
        return found

    @cached_property
    def client_lag_ms(self) -> Times:
        return lag_ms(self.requests)

    def median_ms(self, metric: str) -> float | None:
        stored = self.summary.get("latency_ms", {}).get(metric)
        median: float | None = stored.get("median") if stored else None
        return median


def difference_ms(rows: Rows, later: str, earlier: str) -> Times:
    both = where(rows, (rows[later] != ABSENT_NS) & (rows[earlier] != ABSENT_NS))
    return np.asarray((both[later] - both[earlier]) / 1e6, dtype=np.float64)


def lag_ms(rows: Rows) -> Times:
    """sent − max(scheduled, slot, connected); an absent time is the most negative number and never the maximum."""
    sent = where(rows, rows["sent_ns"] != ABSENT_NS)
    ready = np.maximum(np.maximum(sent["scheduled_ns"], sent["slot_ns"]), sent["connected_ns"])
    return np.asarray((sent["sent_ns"] - ready) / 1e6, dtype=np.float64)
