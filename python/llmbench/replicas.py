"""What each replica of a run did, and how evenly the load met them. A function of the rows, so that it can be
done again from a file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from llmbench.measure_window import MeasureWindow
from llmbench.request_rows import ABSENT_NS, CUT, OK, Rows
from llmbench.request_times import streamed_ns

Floats = npt.NDArray[np.float64]

LATENCIES = ("ttft", "e2el")
PERCENTS = (50.0, 99.0)


def compare(
    rows: Rows,
    endpoints: Mapping[str, int],
    *,
    balancing: str,
    duration_s: float | None,
    window: MeasureWindow | None = None,
) -> dict[str, Any] | None:
    """Every endpoint's requests, rates and latencies, and the imbalance among them; None for a single one.

    `rows` are the measured requests, `endpoints` the URLs and their numbers in the rows (-1: none went there),
    `duration_s` the run's. Of a run with a cool-down only what was in flight in its `window` counts as in flight.
    """
    if len(endpoints) < 2:
        return None
    found = [
        _replica(rows[rows["endpoint"] == number], url, len(rows), duration_s, window)
        for url, number in endpoints.items()
    ]
    return {
        "balancing": balancing,
        "endpoints": found,
        "imbalance": {
            name: _imbalance([_number(each, name) for each in found])
            for name in ("requests", "in_flight_mean", "p50_ttft_ms")
        },
    }


def _replica(
    rows: Rows, url: str, all_requests: int, duration_s: float | None, window: MeasureWindow | None
) -> dict[str, Any]:
    ok = rows[rows["outcome"] == OK]
    ok = ok[np.argsort(ok["sent_ns"], kind="stable")]
    output_tokens = int(np.maximum(rows["output_tokens"][rows["outcome"] <= CUT], 0).sum())
    sent = rows[(rows["sent_ns"] != ABSENT_NS) & (rows["end_ns"] != ABSENT_NS)]
    end_ns = sent["end_ns"] if window is None else np.minimum(sent["end_ns"], window.end_ns)
    in_flight_s = float((end_ns - sent["sent_ns"]).sum()) / 1e9
    latencies = {"ttft": _milliseconds(ok, "first_token_ns"), "e2el": _milliseconds(ok, "end_ns")}
    intervals: dict[str, Any] = {}
    for name, values in latencies.items():
        intervals |= _intervals(name, values)
    return {
        "url": url,
        "requests": len(rows),
        "share": len(rows) / all_requests if all_requests else None,
        "completed": len(ok),
        "failed": int((rows["outcome"] > CUT).sum()),
        "cut": int((rows["outcome"] == CUT).sum()),
        "output_tokens": output_tokens,
        "request_throughput": len(ok) / duration_s if duration_s else None,
        "output_throughput": output_tokens / duration_s if duration_s else None,
        "in_flight_mean": in_flight_s / duration_s if duration_s else None,
        "latency_ms": {name: _distribution(values) for name, values in latencies.items()},
        "intervals": intervals,
    }


def _milliseconds(ok: Rows, until: str) -> Floats:
    """From the sending on, of the requests that have it, in the order they were sent."""
    end = streamed_ns(ok, until) if until == "first_token_ns" else ok[until]
    reached = (end != ABSENT_NS) & (ok["sent_ns"] != ABSENT_NS)
    return np.asarray((end[reached] - ok["sent_ns"][reached]) / 1e6, dtype=np.float64)


def _distribution(values: Floats) -> dict[str, Any]:
    from llmbench import _core

    percentiles = _core.percentiles(values, PERCENTS).tolist() if values.size else [None] * len(PERCENTS)
    return {
        "n": int(values.size),
        "mean": float(values.mean()) if values.size else None,
        **{f"p{percent:g}": value for percent, value in zip(PERCENTS, percentiles, strict=True)},
    }


def _intervals(name: str, values: Floats) -> dict[str, Any]:
    from llmbench import _core

    if not values.size:
        return {}
    found = _core.percentile_intervals(values, PERCENTS)
    return {f"p{percent:g}_{name}_ms": each for percent, each in zip(PERCENTS, found, strict=True)}


def _number(replica: Mapping[str, Any], name: str) -> float | None:
    if name == "p50_ttft_ms":
        median: float | None = replica["latency_ms"]["ttft"]["p50"]
        return median
    value: float | None = replica[name]
    return value


def _imbalance(values: Sequence[float | None]) -> dict[str, float | None]:
    """How far apart the replicas are: largest over mean, and the coefficient of variation. A replica without the
    number (it answered nothing) is left out."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    mean = sum(known) / len(known) if known else 0.0
    if len(known) < 2 or mean <= 0:
        return {"max_over_mean": None, "cv": None}
    spread = math.sqrt(sum((value - mean) ** 2 for value in known) / len(known))
    return {"max_over_mean": max(known) / mean, "cv": spread / mean}
