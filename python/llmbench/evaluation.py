"""From rows to the run's last word: summary, cost, verdict. A function of the table, so that it can be
done again from a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llmbench import measure_window, precision, replicas, secrecy, shares, steadiness, timing
from llmbench.errors import ResultsError
from llmbench.evidence import Facts
from llmbench.request_rows import CUT, WARMUP, measured
from llmbench.verdict import Verdict, judge

if TYPE_CHECKING:
    from llmbench._core import RecordTable, RunDigest


def evaluate(
    source: RecordTable | RunDigest | Path,
    config: Mapping[str, Any],
    client: Mapping[str, Any],
    notes: Sequence[str] = (),
) -> tuple[dict[str, Any], Verdict, dict[str, str]]:
    """Summary, verdict and the top message of each class of failure, under the settings in `config`.

    From a result file or its digest, rather than from a table, the events of a long run never fill the memory.
    """

    load, workload = config.get("load", {}), config.get("workload", {})
    open_loop = load.get("arrival") != "closed"
    percents = [float(each) for each in config.get("percentiles") or (50, 90, 95, 99)]
    options = {
        "percents": percents,
        "goodput": {name: float(limit) for name, limit in (config.get("goodput") or {}).items()},
        "goodput_from_schedule": open_loop,
        "ignore_eos": bool(config.get("ignore_eos")),
    }
    run = _opened(source)
    table = run.rows
    summary = run.summarize(**options)
    bins = steadiness.bins(table.requests, tokens=summary.pop("output_tokens_by_second"))
    rows = table.requests
    results = measured(rows)
    window = measure_window.of_run(rows, config, client)
    too_short = window.too_short() if window is not None and window.empty else None
    if too_short:
        window = None
    summary["measure_window"] = None
    if window is not None:
        results &= ~window.after(rows)
        summary = _within(run, window, summary, options)
    # Of a long run, a copy is not nothing.
    own = rows if results.all() else rows[results]
    summary["percents"] = percents
    ended = summary["completed"] + summary["failed"]
    summary["error_rate"] = summary["failed"] / ended if ended else None
    summary.update(per_gpu_and_cost(summary, config))
    names = [secrecy.redact_url(name) for name in table.endpoints]
    summary["replicas"] = replicas.compare(
        own,
        {
            endpoint["url"]: names.index(endpoint["name"]) if endpoint["name"] in names else -1
            for endpoint in config.get("endpoints") or ()
        },
        balancing=config.get("balancing") or "round-robin",
        duration_s=summary.get("duration_s"),
        window=window,
    )
    slots = None if open_loop else load.get("max_concurrency")
    summary.update(shares.of_run(own, summary, slots=slots, ignore_eos=options["ignore_eos"]))
    summary["timing_ms"] = timing.budget_ms(own, summary, client)
    if config.get("until_ci"):
        target = precision.Target.parse(config["until_ci"])
        summary["until_ci"] = target.outcome(summary, stopped=client.get("stopped_because") == "until-ci")
    parameters = workload.get("parameters") or {}
    verdict = judge(
        Facts(
            requests=own,
            all_requests=rows,
            summary=summary,
            client=client,
            open_loop=open_loop,
            rate=load.get("request_rate"),
            max_concurrency=load.get("max_concurrency"),
            max_error_rate=float(config.get("max_error_rate", 0.01)),
            distinct_prompts=parameters.get("distinct") or workload.get("prompts"),
            prefix_asked=bool(parameters.get("prefix_len")),
            notes=tuple(notes),
            bins=bins,
        )
    )
    if too_short:
        verdict = verdict.spoilt(too_short)
    summary.update(_steady_state(run, bins, open_loop, options))
    return summary, verdict, top_messages(table)


def _within(
    run: RunDigest | _TableDigest,
    window: measure_window.MeasureWindow,
    whole: Mapping[str, Any],
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """The summary of the measure window; what can only be told of whole answers is that of the whole run."""
    summary = run.summarize(**options, window_ns=(window.begin_ns, window.end_ns))
    del summary["output_tokens_by_second"]
    summary.update({name: whole[name] for name in ("usage_checked", "usage_apart")})
    summary["measure_window"] = {
        "begin_s": window.begin_ns / 1e9,
        "end_s": window.end_ns / 1e9,
        "cooldown_requests": whole["requests"] - summary["requests"],
    }
    return summary


def _steady_state(
    run: RunDigest | _TableDigest, bins: steadiness.Bins | None, open_loop: bool, options: Mapping[str, Any]
) -> dict[str, Any]:
    """The summary of the time in which the run was steady, or why there is none."""
    found = steadiness.steady_state(bins, open_loop=open_loop)
    if bins is None or not found.found:
        return {"steady_state": None, "steady_state_absent_because": found.absent_because}
    begin_ns, end_ns = (bins.origin_ns + edge * steadiness.BIN_NS for edge in (found.begin, found.end))
    summary = run.summarize(**options, window_ns=(begin_ns, end_ns))
    del summary["output_tokens_by_second"]
    summary["percents"] = options["percents"]
    window = {"begin_s": begin_ns / 1e9, "end_s": end_ns / 1e9, "summary": summary}
    return {"steady_state": window, "steady_state_absent_because": ""}


@dataclass(frozen=True)
class _TableDigest:
    """A table as if it were `_core.RunDigest`."""

    rows: RecordTable

    def summarize(self, **options: Any) -> dict[str, Any]:
        from llmbench import _core

        return _core.summarize(self.rows, **options)


def _opened(source: RecordTable | RunDigest | Path) -> RunDigest | _TableDigest:
    from llmbench import _core

    if isinstance(source, _core.RunDigest):
        return source
    if not isinstance(source, Path):
        return _TableDigest(source)
    try:
        return _core.RunDigest(str(source))
    except _core.CoreError as error:
        raise ResultsError(str(error)) from None


def per_gpu_and_cost(summary: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """Throughput per GPU and user, and dollars per million tokens, as far as the settings name GPUs and prices."""
    found: dict[str, Any] = {}
    tpot = (summary.get("latency_ms") or {}).get("tpot") or {}
    if tpot.get("mean"):
        found["output_throughput_per_user"] = 1000 / tpot["mean"]
    gpus = config.get("num_gpus")
    if gpus:
        for name in ("request", "input", "output", "total"):
            found[f"{name}_throughput_per_gpu"] = (summary.get(f"{name}_throughput") or 0.0) / gpus
    per_hour = config.get("machine_cost")
    if per_hour is None and config.get("gpu_cost_per_hour") is not None and gpus:
        per_hour = config["gpu_cost_per_hour"] * gpus
    if per_hour is not None:
        found["cost_per_million_tokens"] = {
            name: per_hour / 3600 / summary[f"{name}_throughput"] * 1e6
            if summary.get(f"{name}_throughput")
            else None
            for name in ("input", "output", "total")
        }
    return found


def top_messages(table: RecordTable) -> dict[str, str]:
    """The most frequent message of each class of failure, over measured requests."""
    from llmbench import _core

    errors = table.errors
    if not errors:
        return {}
    rows = table.requests
    counts: dict[str, Counter[str]] = {}
    for i in np.flatnonzero((rows["outcome"] > CUT) & (rows["phase"] != WARMUP)).tolist():
        counts.setdefault(_core.OUTCOMES[rows["outcome"][i]], Counter())[errors[i]] += 1
    return {name: counter.most_common(1)[0][0] for name, counter in counts.items()}


def of_torn(stored: Mapping[str, Any], table: RecordTable) -> dict[str, Any]:
    """The `run` row of a file whose run was killed, completed from its rows."""
    summary, verdict, messages = evaluate(table, stored.get("config", {}), {})
    verdict = verdict.spoilt("the run was killed before its end: only what it had written by then is here")
    return {
        **stored,
        "status": "unfinished",
        "summary": summary,
        "verdict": verdict.to_dict(),
        "error_messages": messages,
    }
