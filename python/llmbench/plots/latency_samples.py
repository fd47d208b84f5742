"""One latency of every completed request, or the gaps within it: what the figures of single results are drawn from."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from llmbench.errors import ConfigError, ResultsError
from llmbench.plots import style
from llmbench.request_rows import ABSENT_NS, measured
from llmbench.request_times import streamed_ns

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.void]


class HasRequests(Protocol):
    """A `Result`, as far as these figures need one."""

    @property
    def requests(self) -> Rows: ...


Measured: TypeAlias = "HasRequests | Rows | str | os.PathLike[str]"
"""A result, its file, or the table of its requests alone."""


def _between(start: str, end: str) -> Callable[[Rows], Floats]:
    def milliseconds(rows: Rows) -> Floats:
        starts, ends = (_times(rows, name) for name in (start, end))
        present = (starts != ABSENT_NS) & (ends != ABSENT_NS)
        values = np.full(len(rows), np.nan)
        values[present] = (ends[present] - starts[present]) / 1e6
        return values

    return milliseconds


def _times(rows: Rows, name: str) -> npt.NDArray[np.int64]:
    of_a_token = name in ("first_token_ns", "first_answer_ns")
    times: npt.NDArray[np.int64] = streamed_ns(rows, name) if of_a_token else rows[name]
    return times


def _per_token(start: str, end: str, fewer: int) -> Callable[[Rows], Floats]:
    between = _between(start, end)

    def milliseconds(rows: Rows) -> Floats:
        tokens = rows["output_tokens"].astype(np.float64) - fewer
        return between(rows) / np.where(tokens > 0, tokens, np.nan)

    return milliseconds


def _client_lag(rows: Rows) -> Floats:
    ready = np.maximum(np.maximum(rows["scheduled_ns"], rows["slot_ns"]), rows["connected_ns"])
    values: Floats = np.where(rows["sent_ns"] != ABSENT_NS, (rows["sent_ns"] - ready) / 1e6, np.nan)
    return values


def _gaps(result: Any, rows: Rows, completed: npt.NDArray[np.intp], metric: str) -> Floats:
    """The gaps between the output events of the completed requests; for `itl` of those with one token to an event."""
    events = getattr(result, "events", None)
    if events is None:
        raise ConfigError(f"{metric} comes from the events of a result; a table of its requests has none")
    offsets, times = events.offsets, events.times_ns
    chosen = completed
    if metric == "itl":
        chosen = completed[rows["output_tokens"][completed] == np.diff(offsets)[completed]]
        if len(chosen) < 0.95 * len(completed):
            raise ResultsError(
                f"only {len(chosen)} of {len(completed)} requests came a token at a time, so the gaps between tokens "
                "are not known: use icl, the gaps between chunks"
            )
    gaps = [np.diff(times[offsets[i] : offsets[i + 1]]) / 1e6 for i in chosen]
    return np.concatenate([np.empty(0), *gaps])


METRICS: dict[str, tuple[str, Callable[[Rows], Floats]]] = {
    "ttft": ("Time to first token (ms)", _between("sent_ns", "first_token_ns")),
    "tpot": ("Time per output token (ms)", _per_token("first_token_ns", "last_token_ns", 1)),
    "e2el": ("End-to-end latency (ms)", _between("sent_ns", "end_ns")),
    "ttfb": ("Time to first byte (ms)", _between("sent_ns", "first_byte_ns")),
    "ttfat": ("Time to first answer token (ms)", _between("sent_ns", "first_answer_ns")),
    "ttft_from_schedule": (
        "Time to first token, from schedule (ms)",
        _between("scheduled_ns", "first_token_ns"),
    ),
    "e2el_from_schedule": ("End-to-end latency, from schedule (ms)", _between("scheduled_ns", "end_ns")),
    "normalized_latency": ("Latency per output token (ms)", _per_token("sent_ns", "end_ns", 0)),
    "slot_wait": ("Wait for a slot (ms)", _between("scheduled_ns", "slot_ns")),
    "connect_wait": ("Wait for a connection (ms)", _between("slot_ns", "connected_ns")),
    "client_lag": ("Client lag (ms)", _client_lag),
}
"""The axis label of each metric of a request, and how it comes from the rows."""

GAPS = {"itl": "Inter-token latency (ms)", "icl": "Inter-chunk latency (ms)"}
"""The axis label of each metric of an event."""


def axis_label(metric: str) -> str:
    return GAPS[metric] if metric in GAPS else METRICS[metric][0]


@dataclass(frozen=True, eq=False)
class LatencySample:
    """The values of one result in ascending order, and what is known about them."""

    label: str
    values_ms: Floats
    completed: int
    failed: int
    """Requests that failed or were cut: they have no latency."""
    verdict: str | None
    intervals: Mapping[str, Any]

    def interval_ms(self, key: str) -> tuple[float, float] | None:
        entry = self.intervals.get(key)
        if not isinstance(entry, Mapping) or entry.get("low") is None or entry.get("high") is None:
            return None
        return float(entry["low"]), float(entry["high"])

    def tells(self, metric: str, percent: float) -> bool:
        """Whether this percentile is supported: by its interval where there is one, else by the number of requests."""
        entry = self.intervals.get(f"p{percent:g}_{metric}_ms")
        if isinstance(entry, Mapping) and entry.get("supported") is not None:
            return bool(entry["supported"])
        return percent / 100 <= self.supported_share(metric)

    def shown(self, metric: str, percent: float, value_ms: float) -> str:
        """A percentile as figures write it: `P99 51.2 ms`, `P99 ≥ 51.2 ms (needs 368 requests)`."""
        if self.tells(metric, percent):
            return f"P{percent:g} {style.short(value_ms)} ms"
        entry = self.intervals.get(f"p{percent:g}_{metric}_ms")
        needs = entry.get("needs_requests") if isinstance(entry, Mapping) else None
        if needs is None:
            needs = math.ceil(math.log(0.025) / math.log(percent / 100))
        return f"P{percent:g} ≥ {style.short(value_ms)} ms (needs {needs} requests)"

    def supported_share(self, metric: str) -> float:
        """The highest percentile, as a share, that this many requests can tell: p with p^n_eff = 0.025; and below
        each that the result says it cannot tell.

        Without an interval, which knows n_eff, requests count as independent, and the gaps of one request as one.
        """
        known = [
            float(entry["n_eff"])
            for key, entry in self.intervals.items()
            if key.endswith(f"_{metric}_ms") and isinstance(entry, Mapping) and entry.get("n_eff")
        ]
        bound = 0.025 ** (1 / max(1.0, min([*known, self.completed, len(self.values_ms)])))
        told_not = [
            float(key[1 : -len(f"_{metric}_ms")]) / 100
            for key, entry in self.intervals.items()
            if key.startswith("p") and key.endswith(f"_{metric}_ms") and entry.get("supported") is False
        ]
        return float(min([bound, *(math.nextafter(each, 0) for each in told_not)]))


def latency_samples(
    results: Measured | Iterable[Measured] | Mapping[str, Measured], metric: str
) -> list[LatencySample]:
    """The metric's values of each result. Raises ConfigError for an unknown metric, ResultsError without any
    value.
    """
    if metric not in METRICS and metric not in GAPS:
        raise ConfigError(f"unknown metric {metric!r}; there are {', '.join([*METRICS, *GAPS])}")
    if isinstance(results, Mapping):
        named = list(results.items())
    elif isinstance(results, np.ndarray | str | os.PathLike) or hasattr(results, "requests"):
        named = [("", results)]
    else:
        named = [("", result) for result in results]
    opened = [(label, _opened(result)) for label, result in named]
    samples = [
        _sample(label or _label_of(result, i), result, metric) for i, (label, result) in enumerate(opened)
    ]
    for sample in samples:
        if len(sample.values_ms) == 0:
            raise ResultsError(f"{sample.label}: no completed request has a {metric}")
    return samples


def _opened(result: Measured) -> HasRequests | Rows:
    if not isinstance(result, str | os.PathLike):
        return result
    # Results know their figures: imported when one is drawn from a file.
    from llmbench.results import load_result

    return load_result(result)


def _label_of(result: HasRequests | Rows, index: int) -> str:
    path = getattr(result, "path", None)
    return Path(path).stem if path else f"result {index + 1}"


def _sample(label: str, result: HasRequests | Rows, metric: str) -> LatencySample:
    rows = result if isinstance(result, np.ndarray) else result.requests
    shown = measured(rows)
    completed = np.flatnonzero(shown & (rows["outcome"] == 0))
    if metric in GAPS:
        values = _gaps(result, rows, completed, metric)
    else:
        values = METRICS[metric][1](rows[completed])
    verdict = getattr(getattr(result, "verdict", None), "status", None)
    return LatencySample(
        label=label,
        values_ms=np.sort(values[np.isfinite(values)]),
        completed=len(completed),
        failed=int(shown.sum()) - len(completed),
        verdict=str(verdict) if verdict is not None else None,
        intervals=_intervals_of(result),
    )


def _intervals_of(result: HasRequests | Rows) -> Mapping[str, Any]:
    if isinstance(result, np.ndarray) or not hasattr(result, "to_json"):
        return {}
    intervals = result.to_json().get("llmbench", {}).get("intervals", {})
    return intervals if isinstance(intervals, Mapping) else {}


def caption(samples: list[LatencySample]) -> str:
    """How many requests there were, which of them are not in the figure, and the verdicts."""
    parts = []
    for sample in samples:
        text = f"{sample.completed} requests"
        if sample.failed:
            text += f", {sample.failed} more failed or cut and not shown"
        if sample.verdict:
            text += f", {sample.verdict}"
        parts.append(text if len(samples) == 1 else f"{sample.label}: {text}")
    line = " · ".join(parts)
    return line if len(line) <= 130 else "\n".join(parts)
