"""One point of a sweep as columns, read from its file, and the numbers made from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from llmbench.combination import Combination

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class SweepPoint:
    """One result as columns, a row per completed request, and the numbers made from them."""

    path: Path
    combination: Combination
    args: Mapping[str, Any]
    time: str
    start_s: Floats
    end_s: Floats
    prompt_tokens: Ints
    """-1 where nobody counted."""
    output_tokens: Ints
    """-1 where nobody counted."""
    token_times_s: Floats
    """Of all requests, one after another: time to the first event with output, then the gaps."""
    token_offsets: Ints
    """Request i has `token_times_s[token_offsets[i]:token_offsets[i + 1]]`; none without streaming."""
    llmbench: Mapping[str, Any] = field(default_factory=dict)
    """What our own files add: verdict, intervals, errors; empty for files of old."""

    @property
    def completed(self) -> int:
        return len(self.start_s)

    @property
    def backend(self) -> str | None:
        value = self.args.get("backend")
        return value if isinstance(value, str) else None

    @property
    def streamed(self) -> bool:
        return len(self.token_times_s) > 0

    @cached_property
    def latency_s(self) -> Floats:
        """End-to-end latency of each request."""
        return self.end_s - self.start_s

    @cached_property
    def first_token_s(self) -> Floats:
        """Time to first token of each request, NaN where none was seen."""
        first = np.full(self.completed, np.nan)
        streamed = np.diff(self.token_offsets) > 0
        first[streamed] = self.token_times_s[self.token_offsets[:-1][streamed]]
        return first

    @cached_property
    def gaps_s(self) -> Floats:
        """Every gap between two events with output, of all requests, first-token times left out."""
        keep = np.ones(len(self.token_times_s), dtype=bool)
        keep[self.token_offsets[:-1][np.diff(self.token_offsets) > 0]] = False
        return self.token_times_s[keep]

    def gaps_of(self, request: int) -> Floats:
        """The gaps of one request."""
        return self.token_times_s[self.token_offsets[request] : self.token_offsets[request + 1]][1:]

    @cached_property
    def tpot_s(self) -> Floats:
        """(last token − first token) / (tokens − 1) of each request, NaN where undefined."""
        last = np.concatenate(([0.0], np.cumsum(self.token_times_s)))
        span = last[self.token_offsets[1:]] - last[self.token_offsets[:-1]] - self.first_token_s
        defined = (np.diff(self.token_offsets) > 1) & (self.output_tokens > 1)
        tpot = np.full(self.completed, np.nan)
        tpot[defined] = span[defined] / (self.output_tokens[defined] - 1)
        return tpot

    @cached_property
    def duration_s(self) -> float:
        """First request sent to last request ended, failed ones included where the file says."""
        value = self.llmbench.get("duration")
        if isinstance(value, (int, float)) and value > 0:
            return float(value)
        return float(self.end_s.max() - self.start_s.min())

    @cached_property
    def queries_per_s(self) -> float:
        """Completed requests over wall time; clients over mean latency would forget every idle moment."""
        return self.completed / self.duration_s

    @cached_property
    def tokens_per_s(self) -> float | None:
        """Prompt and generated tokens over wall time; None when a count is unknown."""
        if (self.prompt_tokens < 0).any() or (self.output_tokens < 0).any():
            return None
        return float(self.prompt_tokens.sum() + self.output_tokens.sum()) / self.duration_s

    @cached_property
    def output_tokens_per_s(self) -> float | None:
        if (self.output_tokens < 0).any():
            return None
        return float(self.output_tokens.sum()) / self.duration_s

    @cached_property
    def mean_latency_s(self) -> float:
        return float(self.latency_s.mean())

    @cached_property
    def mean_tpot_s(self) -> float | None:
        """None without streaming."""
        values = self.tpot_s[np.isfinite(self.tpot_s)]
        return float(values.mean()) if len(values) else None

    @cached_property
    def mean_ttft_s(self) -> float | None:
        """None without streaming."""
        values = self.first_token_s[np.isfinite(self.first_token_s)]
        return float(values.mean()) if len(values) else None

    @property
    def verdict(self) -> str | None:
        """VALID, UNSTABLE, CLIENT-LIMITED or INVALID; None for a file of old, which nobody judged."""
        verdict = self.llmbench.get("verdict")
        status = verdict.get("status") if isinstance(verdict, Mapping) else None
        return status if isinstance(status, str) else None

    def interval(self, key: str) -> tuple[float, float] | None:
        """The 95 % interval of one key of the summary, such as `mean_e2el_ms`, in that key's unit."""
        intervals = self.llmbench.get("intervals")
        entry = intervals.get(key) if isinstance(intervals, Mapping) else None
        if not isinstance(entry, Mapping):
            return None
        low, high = entry.get("low"), entry.get("high")
        if not isinstance(low, (int, float)) or not isinstance(high, (int, float)):
            return None
        return float(low), float(high)

    def is_supported(self, key: str) -> bool:
        """False where the file says that too few requests tell this percentile."""
        intervals = self.llmbench.get("intervals")
        entry = intervals.get(key) if isinstance(intervals, Mapping) else None
        return not (isinstance(entry, Mapping) and entry.get("supported") is False)
