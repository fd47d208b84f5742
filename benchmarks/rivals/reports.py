"""What each client reports of a run, read from the file it writes and brought to one form."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Report:
    """Latencies in ms; None where the client gives none."""

    completed: int
    failed: int
    output_tokens: float | None
    ttft_mean: float | None
    ttft_p99: float | None
    itl_mean: float | None
    itl_p99: float | None
    e2el_mean: float | None
    itl_of: str = "gap"
    """What the percentiles of its inter-token latency are over: every `gap`, or the mean gap of every `request`."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def vllm(report: Mapping[str, Any]) -> Report:
    """The JSON of vLLM's `bench serve`, whose keys vLLM's Rust client and llmbench write too."""
    return Report(
        completed=int(report["completed"]),
        failed=int(report.get("failed") or 0),
        output_tokens=_number(report.get("total_output_tokens")),
        ttft_mean=_number(report.get("mean_ttft_ms")),
        ttft_p99=_number(report.get("p99_ttft_ms")),
        itl_mean=_number(report.get("mean_itl_ms")),
        itl_p99=_number(report.get("p99_itl_ms")),
        e2el_mean=_number(report.get("mean_e2el_ms")),
    )


def aiperf(report: Mapping[str, Any]) -> Report:
    """`profile_export_aiperf.json`. Its inter-token latency is of requests, its inter-chunk latency of gaps."""

    def of(metric: str, statistic: str = "avg") -> float | None:
        return _number((report.get(metric) or {}).get(statistic))

    return Report(
        completed=int(of("request_count") or 0),
        failed=int(of("error_request_count") or 0),
        output_tokens=of("total_output_tokens"),
        ttft_mean=of("time_to_first_token"),
        ttft_p99=of("time_to_first_token", "p99"),
        itl_mean=of("inter_chunk_latency"),
        itl_p99=of("inter_chunk_latency", "p99"),
        e2el_mean=of("request_latency"),
    )


def guidellm(report: Mapping[str, Any]) -> Report:
    """The JSON of `guidellm run`. Its inter-token latency is (last − first) / (tokens − 1) of a request."""
    [benchmark] = report["benchmarks"]
    metrics = benchmark["metrics"]
    totals = metrics["request_totals"]

    def of(metric: str, *path: str, scale: float = 1) -> float | None:
        value: Any = (metrics.get(metric) or {}).get("successful") or {}
        if not value.get("count"):
            return None
        for key in path:
            value = value[key]
        found = _number(value)
        return None if found is None else found * scale

    return Report(
        completed=int(totals["successful"]),
        failed=int(totals["errored"] + totals["incomplete"]),
        output_tokens=of("output_token_count", "total_sum"),
        ttft_mean=of("time_to_first_token_ms", "mean"),
        ttft_p99=of("time_to_first_token_ms", "percentiles", "p99"),
        itl_mean=of("inter_token_latency_ms", "mean"),
        itl_p99=of("inter_token_latency_ms", "percentiles", "p99"),
        e2el_mean=of("request_latency", "mean", scale=1000),
        itl_of="request",
    )


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def _number(value: Any) -> float | None:
    if not isinstance(value, (int, float)) or math.isnan(value):
        return None
    return float(value)
