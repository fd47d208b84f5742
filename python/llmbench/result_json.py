"""NAME.json: a result as a flat dict with the keys of vLLM's `bench serve`, and back."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llmbench.errors import ResultsError
from llmbench.options import METRICS
from llmbench.request_rows import ABSENT_NS, measured
from llmbench.result_storage import SCHEMA_VERSION, finite
from llmbench.summary import Distribution, percent_name
from llmbench.verdict import Verdict

if TYPE_CHECKING:
    from llmbench.results import Result

_APART = ("intervals", "steady_state", "replicas")
"""Parts of a summary that have keys of their own beside it."""


def flat(result: Result, *, detailed: bool = False, texts: bool = False) -> dict[str, Any]:
    """vLLM's keys at the top, everything else in `llmbench`; seconds where vLLM has seconds."""
    from llmbench import _core

    summary, config = result.summary, result.config
    load, endpoint = config.get("load", {}), config.get("endpoint", {})
    workload = config.get("workload", {})
    rate = load.get("request_rate")
    started = (result.start_unix_ns or 0) / 1e9
    content: dict[str, Any] = {
        **dict(config.get("metadata") or {}),
        "date": time.strftime("%Y%m%d-%H%M%S", time.localtime(started)),
        "backend": endpoint.get("backend"),
        "label": config.get("label"),
        "model_id": config.get("model"),
        "tokenizer_id": workload.get("tokenizer"),
        "num_prompts": config.get("num_requests") or summary.get("requests"),
        "request_rate": "inf" if rate is None else rate,
        "burstiness": load.get("burstiness", 1.0),
        "max_concurrency": load.get("max_concurrency"),
        "duration": summary.get("duration_s"),
        "completed": summary.get("completed"),
        "failed": summary.get("failed"),
        "total_input_tokens": summary.get("input_tokens"),
        "total_output_tokens": summary.get("output_tokens"),
        "request_throughput": summary.get("request_throughput"),
        "request_goodput": summary.get("goodput"),
        "output_throughput": summary.get("output_throughput"),
        "total_token_throughput": summary.get("total_throughput"),
    }
    for metric in config.get("percentile_metrics") or METRICS:
        content.update(_latency_keys(metric, _reported(result, metric)))
    if detailed:
        content.update(_details(result, texts))
    content["llmbench"] = {
        "schema_version": SCHEMA_VERSION,
        "version": result.environment.get("llmbench") or _core.__version__,
        "status": result.status,
        "start_time": datetime.fromtimestamp(started, timezone.utc).isoformat(),
        "verdict": result.verdict.to_dict(),
        "intervals": _intervals(result),
        "steady_state": summary.get("steady_state"),
        "replicas": summary.get("replicas"),
        "from_schedule": {
            name.removesuffix("_from_schedule"): _plain(each)
            for name, each in summary.latencies.items()
            if name.endswith("_from_schedule")
        },
        "with_failures": {name: _plain(each) for name, each in summary.with_failures.items()},
        "errors": result.errors,
        "error_messages": dict(result.error_messages),
        "finish_reasons": summary.get("finish_reasons") or {},
        "token_count_source": summary.get("token_sources") or {},
        "concurrency": {
            "mean": summary.get("concurrency_mean"),
            "peak": summary.get("concurrency_peak"),
            "waiting_mean": summary.get("waiting_mean"),
            "decoding_mean": summary.get("decoding_mean"),
        },
        "summary": {name: each for name, each in summary.to_dict().items() if name not in _APART},
        "server": {
            **(config.get("server") or {}),
            "counters": result.client.get("server_counters"),
        },
        "client": dict(result.client),
        "environment": dict(result.environment),
        "config": dict(config),
    }
    plain: dict[str, Any] = finite(content)
    return plain


def read(path: Path) -> dict[str, Any]:
    """What a `Result` is made of, from NAME.json (ours, or vLLM's); rows come from NAME.llmbench where it lies beside
    it."""
    try:
        # Other tools write NaN and Infinity, which JSON does not have.
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda name: None)
    except (OSError, ValueError, RecursionError) as error:
        raise ResultsError(f"cannot read {path}: {error}") from None
    if not isinstance(content, dict) or "completed" not in content:
        raise ResultsError(f'{path} is not a result: it has no key "completed"')
    try:
        return _loaded(path, content)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ResultsError(f"{path} is a damaged result: {error}") from None


def _loaded(path: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    ours = content.get("llmbench")
    beside = path.with_name(path.name.removesuffix(".json") + ".llmbench")
    if isinstance(ours, dict) and isinstance(ours.get("summary"), dict):
        if int(ours.get("schema_version", 0)) > SCHEMA_VERSION:
            raise ResultsError(
                f"{path} was written by a newer llmbench ({ours.get('version')}): update this one"
            )
        started = datetime.fromisoformat(ours["start_time"]).timestamp() if ours.get("start_time") else None
        return {
            "path": beside if beside.exists() else None,
            "config": ours.get("config", {}),
            "summary": {
                **ours["summary"],
                "intervals": _stored_intervals(ours),
                "steady_state": ours.get("steady_state"),
                "replicas": ours.get("replicas"),
            },
            "verdict": Verdict.from_dict(ours.get("verdict", {})),
            "client": ours.get("client", {}),
            "environment": ours.get("environment", {}),
            "status": ours.get("status", "finished"),
            "start_unix_ns": round(started * 1e9) if started is not None else None,
            "error_messages": ours.get("error_messages", {}),
        }
    return _from_foreign(content)


def _intervals(result: Result) -> dict[str, Any]:
    """By the flat keys; where those of `itl` hold gaps between chunks, so do their intervals."""
    stored: Mapping[str, Any] = result.summary.get("intervals") or {}
    if result.config.get("itl") != "chunk":
        return dict(stored)
    kept = {key: each for key, each in stored.items() if not key.endswith("_itl_ms")}
    return kept | {
        key.replace("_icl_ms", "_itl_ms"): each for key, each in stored.items() if key.endswith("_icl_ms")
    }


def _stored_intervals(ours: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a file, back under the names of the summary's own latencies."""
    chunks = (ours.get("config") or {}).get("itl") == "chunk"
    stored = ours.get("intervals") or {}
    return {key: each for key, each in stored.items() if not (chunks and key.endswith("_itl_ms"))}


def _from_foreign(content: Mapping[str, Any]) -> dict[str, Any]:
    """vLLM's own file: what its flat keys say, and no verdict."""
    prefix, suffix = "mean_", "_ms"
    metrics = [
        key[len(prefix) : -len(suffix)] for key in content if key.startswith(prefix) and key.endswith(suffix)
    ]
    named = {
        float(key[1 : -len(f"_{name}_ms")])
        for name in metrics
        for key in content
        if _is_percentile(key, name)
    }
    percents = sorted(named | {50.0})  # the median's other name
    completed = _count(content, "completed")
    if completed is None:
        raise ValueError("it does not say how many requests were completed")
    planned = _count(content, "num_prompts")

    def latency(key: str) -> float | None:
        # Of no request there is no latency, although such files say 0.
        return _number(content, key) if completed else None

    latencies = {
        name: {
            "n": completed,
            "mean": latency(f"mean_{name}_ms"),
            "median": latency(f"median_{name}_ms"),
            "std": latency(f"std_{name}_ms"),
            "percentiles": [
                latency(
                    f"{percent_name(each)}_{name}_ms"
                    if each != 50 or f"p50_{name}_ms" in content
                    else f"median_{name}_ms"
                )
                for each in percents
            ],
        }
        for name in metrics
    }
    rate = content.get("request_rate")
    summary = {
        "percents": percents,
        "latency_ms": latencies,
        "requests": planned,
        "completed": completed,
        "failed": _count(content, "failed")
        if content.get("failed") is not None
        else max(0, (planned or 0) - completed),
        "duration_s": _number(content, "duration"),
        "input_tokens": _count(content, "total_input_tokens"),
        "output_tokens": _count(content, "total_output_tokens"),
        "request_throughput": _number(content, "request_throughput"),
        "output_throughput": _number(content, "output_throughput"),
        "total_throughput": _number(content, "total_token_throughput"),
        "goodput": _number(content, "request_goodput"),
    }
    return {
        "path": None,
        "config": {
            "model": content.get("model_id"),
            "endpoint": {"backend": content.get("backend") or content.get("endpoint_type")},
            "load": {
                "request_rate": None if rate == "inf" else _number(content, "request_rate"),
                "burstiness": _number(content, "burstiness"),
                "max_concurrency": _count(content, "max_concurrency"),
            },
            "workload": {"tokenizer": content.get("tokenizer_id")},
            "num_requests": planned,
        },
        "summary": summary,
        "verdict": Verdict("not judged"),
        "client": {},
        "environment": {},
    }


def _number(content: Mapping[str, Any], key: str) -> float | None:
    """None where there is none, or one that is not finite. Raises ValueError for what is no number."""
    value = content.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{key} is {str(value)[:40]!r} and no number")
    return value if math.isfinite(value) else None


def _count(content: Mapping[str, Any], key: str) -> int | None:
    value = _number(content, key)
    if value is not None and (value < 0 or value != int(value)):
        raise ValueError(f"{key} is {value:g} and no count")
    return None if value is None else int(value)


def _is_percentile(key: str, metric: str) -> bool:
    suffix = f"_{metric}_ms"
    return (
        key.startswith("p") and key.endswith(suffix) and key[1 : -len(suffix)].replace(".", "", 1).isdigit()
    )


def _reported(result: Result, metric: str) -> Distribution | None:
    """What goes under a metric's flat keys; for `itl` that may be gaps between chunks, when asked for."""
    if metric == "itl" and result.config.get("itl") == "chunk":
        metric = "icl"
    return result.summary.latencies.get(metric)


def _latency_keys(metric: str, values: Distribution | None) -> dict[str, float | None]:
    if values is None:
        return {f"{name}_{metric}_ms": None for name in ("mean", "median", "std")}
    keys = {f"{name}_{metric}_ms": getattr(values, name) for name in ("mean", "median", "std")}
    keys.update({f"{percent_name(each)}_{metric}_ms": value for each, value in values.percentiles.items()})
    return keys


def _plain(values: Distribution) -> dict[str, Any]:
    stored: dict[str, Any] = {
        name: getattr(values, name) for name in ("n", "mean", "median", "std", "min", "max")
    }
    stored.update({percent_name(each): value for each, value in values.percentiles.items()})
    return stored


def _details(result: Result, texts: bool) -> dict[str, Any]:
    """One entry for each measured request, in schedule order."""
    table = result.table
    rows = table.requests
    shown = np.flatnonzero(measured(rows))
    chosen = rows[shown]
    offsets, times = table.event_offsets, table.event_times_ns
    ttft = np.where(
        (chosen["first_token_ns"] != ABSENT_NS) & (chosen["sent_ns"] != ABSENT_NS),
        (chosen["first_token_ns"] - chosen["sent_ns"]) / 1e9,
        np.nan,
    )
    start = np.where(chosen["sent_ns"] != ABSENT_NS, chosen["sent_ns"] / 1e9, np.nan)
    generated = table.texts if texts else []
    errors = table.errors
    return {
        "input_lens": [max(0, int(each)) for each in chosen["prompt_tokens"]],
        "output_lens": [max(0, int(each)) for each in chosen["output_tokens"]],
        "ttfts": ttft.tolist(),
        "itls": [(np.diff(times[offsets[i] : offsets[i + 1]]) / 1e9).tolist() for i in shown.tolist()],
        "start_times": start.tolist(),
        "generated_texts": [generated[i] if generated else "" for i in shown.tolist()],
        "errors": [errors[i] if errors else "" for i in shown.tolist()],
    }
