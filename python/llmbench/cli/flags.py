"""The flags that load-making commands share, in groups: the target's and the load's have files of their own.

Nothing here imports NumPy or pydantic: `--help` must come at once. What the flags mean is built from the
parsed arguments by `endpoint_from`, `workload_from` and `load_from`, which import what they need.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from llmbench.cli.load_flags import add_engine, add_load, load_from
from llmbench.cli.parser import (
    GOODPUT_METRICS,
    METRICS,
    Parser,
    amount,
    count,
    gate,
    json_object,
    metrics,
    number,
    pair,
    percentiles,
    port,
    positive,
    rate,
    ratio,
    seconds,
    share,
    slo_limit,
    until_ci,
    whole,
)
from llmbench.cli.target_flags import BaseUrls, add_target, endpoint_from, endpoints_from
from llmbench.errors import ConfigError

if TYPE_CHECKING:
    from llmbench.endpoint import Endpoint
    from llmbench.workloads import Workload

__all__ = [
    "GOODPUT_METRICS",
    "METRICS",
    "BaseUrls",
    "Parser",
    "add_data",
    "add_engine",
    "add_load",
    "add_metrics",
    "add_results",
    "add_target",
    "amount",
    "count",
    "endpoint_from",
    "endpoints_from",
    "gate",
    "json_object",
    "load_from",
    "metrics",
    "metrics_pages_from",
    "num_prompts",
    "number",
    "pair",
    "percentiles",
    "port",
    "positive",
    "rate",
    "ratio",
    "sampling_from",
    "seconds",
    "share",
    "slo_limit",
    "until_ci",
    "whole",
    "workload_from",
]

# Groups of flags


def add_data(parser: argparse.ArgumentParser) -> None:
    """--dataset-name … --min-p: what is sent."""
    group = parser.add_argument_group("requests")
    group.add_argument(
        "--dataset-name",
        choices=("random", "sharegpt", "custom"),
        help="where prompts come from (default random, or by the ending of --dataset-path)",
    )
    group.add_argument(
        "--dataset-path", metavar="FILE", help="ShareGPT's JSON, or JSON lines with a prompt or messages each"
    )
    group.add_argument(
        "--random-input-len", type=count, default=1024, metavar="N", help="prompt length, in tokens"
    )
    group.add_argument(
        "--random-output-len",
        type=count,
        default=128,
        metavar="N",
        help="output length to ask for, in tokens",
    )
    group.add_argument(
        "--random-range-ratio",
        type=ratio,
        default=0.0,
        metavar="X",
        help="vary both lengths uniformly within × (1 ± X) (default 0)",
    )
    group.add_argument(
        "--random-prefix-len",
        type=whole,
        default=0,
        metavar="N",
        help="tokens of a prefix that all prompts share (default 0)",
    )
    group.add_argument(
        "--output-len",
        type=count,
        metavar="N",
        help="output length to ask for with sharegpt and custom prompts",
    )
    group.add_argument(
        "--num-prompts",
        type=count,
        metavar="N",
        help="requests to send (default 1000; with --duration, no limit)",
    )
    group.add_argument("--duration", type=positive, metavar="S", help="seconds to send requests for")
    group.add_argument(
        "--seed",
        type=whole,
        default=0,
        metavar="N",
        help="seed of prompts, lengths and arrival times (default 0)",
    )
    group.add_argument(
        "--tokenizer",
        metavar="PATH",
        help="tokenizer.json or its directory: makes prompt lengths exact, and counts the tokens of answers that the "
        "server does not count",
    )
    group.add_argument("--ignore-eos", action="store_true", help="ask the server to generate the full length")
    group.add_argument("--no-stream", action="store_true", help="do not stream; there is no TTFT then")
    group.add_argument("--temperature", type=amount, metavar="X", help="sampling temperature (default 0)")
    group.add_argument("--top-p", type=number, metavar="X", help="sampling: nucleus probability")
    group.add_argument("--top-k", type=int, metavar="N", help="sampling: number of candidates")
    group.add_argument(
        "--min-p", type=number, metavar="X", help="sampling: lowest probability, relative to the highest"
    )
    group.add_argument("--frequency-penalty", type=number, metavar="X", help="sampling: frequency penalty")
    group.add_argument("--presence-penalty", type=number, metavar="X", help="sampling: presence penalty")
    group.add_argument("--repetition-penalty", type=number, metavar="X", help="sampling: repetition penalty")


def add_metrics(parser: argparse.ArgumentParser) -> None:
    """--goodput … --machine-cost: what is computed and what counts as a pass."""
    group = parser.add_argument_group("metrics")
    group.add_argument(
        "--goodput",
        nargs="+",
        action="extend",
        type=slo_limit,
        default=[],
        metavar="METRIC:MS",
        help="limits that a request must meet to count as good, in ms: ttft:200 tpot:50 e2el:2000",
    )
    group.add_argument(
        "--slo",
        nargs="+",
        action="extend",
        type=gate,
        default=[],
        metavar="COND",
        help="conditions on the result, such as 'p99_ttft_ms<=500'; exit code 3 where one fails",
    )
    group.add_argument(
        "--percentile-metrics",
        type=metrics,
        default=METRICS,
        metavar="LIST",
        help="latencies to report percentiles of (default ttft,tpot,itl,e2el)",
    )
    group.add_argument(
        "--metric-percentiles",
        type=percentiles,
        default=(50.0, 90.0, 95.0, 99.0),
        metavar="LIST",
        help="percentiles to report (default 50,90,95,99)",
    )
    group.add_argument(
        "--itl", choices=("token", "chunk"), default="token", help="inter-token latency by token or by chunk"
    )
    group.add_argument(
        "--steady-state", action="store_true", help="also show the latencies of the steady part of the run"
    )
    group.add_argument(
        "--until-ci",
        type=until_ci,
        metavar="NUMBER:PERCENT%",
        help="stop once the 95 %% interval of a number is this narrow: ttft_p99:3%%. --num-prompts or --duration "
        "remains the limit",
    )
    group.add_argument(
        "--scrape-metrics",
        nargs="*",
        metavar="URL",
        help="check the result against the server's own counters, read before, during and after the run from the "
        "backend's metrics page, or from these",
    )
    group.add_argument(
        "--shared-server",
        action="store_true",
        help="other clients may use the server: what its counters show beyond this run is a note, not an error",
    )
    group.add_argument("--strict", action="store_true", help="exit code 3 unless the verdict is VALID")
    group.add_argument(
        "--max-error-rate",
        type=share,
        default=0.01,
        metavar="X",
        help="share of requests that may fail; above it the run is INVALID, exit code 4",
    )
    group.add_argument(
        "--num-gpus", type=count, metavar="N", help="GPUs of the server, for throughput per GPU and cost"
    )
    group.add_argument(
        "--gpu-cost-per-hour",
        type=amount,
        metavar="USD",
        help="price of a GPU, for cost per million tokens; needs --num-gpus",
    )
    group.add_argument(
        "--machine-cost", type=amount, metavar="USD", help="price of the whole server per hour, instead"
    )


def add_results(parser: argparse.ArgumentParser) -> None:
    """--save-result … --json: what is kept and what is shown."""
    group = parser.add_argument_group("results")
    group.add_argument(
        "--save-result", action="store_true", help="also write NAME.json, with the keys of vLLM's bench serve"
    )
    group.add_argument("--no-save", action="store_true", help="write no files")
    group.add_argument("--result-dir", default="results", metavar="DIR", help="directory for results")
    group.add_argument(
        "--result-filename",
        metavar="NAME",
        help="name of the result files; an existing result is replaced (default: label or backend, model, time)",
    )
    group.add_argument(
        "--save-detailed",
        action="store_true",
        help="put every request's lengths and times into NAME.json too",
    )
    group.add_argument("--save-text", action="store_true", help="store the generated texts")
    group.add_argument("--label", metavar="NAME", help="name of this result")
    group.add_argument(
        "--metadata",
        nargs="+",
        action="extend",
        type=pair,
        default=[],
        metavar="KEY=VALUE",
        help="notes to store with the result",
    )
    group.add_argument("--dry-run", action="store_true", help="show what would be sent, and send nothing")
    group.add_argument(
        "--wait-ready",
        type=seconds,
        default=0.0,
        metavar="S",
        help="seconds to wait for the server to be ready (default 0)",
    )
    group.add_argument("--quiet", action="store_true", help="print only errors")
    group.add_argument("--no-progress", action="store_true", help="no progress bar")
    group.add_argument("--json", action="store_true", help="print the result as JSON")


# From flags to the things they describe

_MOST_PROMPTS = 50_000
"""Made for a run by time; a longer one sends them again."""


def workload_from(args: argparse.Namespace) -> Workload:
    from llmbench import workloads

    name = args.dataset_name
    if name is None:
        name = (
            "random"
            if args.dataset_path is None
            else "sharegpt"
            if args.dataset_path.endswith(".json")
            else "custom"
        )
    if name == "random":
        if args.dataset_path is not None and args.arrival != "trace":
            raise ConfigError("--dataset-path goes with --dataset-name sharegpt or custom, not random")
        return workloads.random(
            args.random_input_len,
            args.random_output_len,
            num_prompts(args) + _warmup_prompts(args),
            seed=args.seed,
            range_ratio=args.random_range_ratio,
            prefix_len=args.random_prefix_len,
            tokenizer=args.tokenizer,
        )
    if args.dataset_path is None:
        raise ConfigError(f"--dataset-name {name} needs --dataset-path FILE")
    make = workloads.sharegpt if name == "sharegpt" else workloads.custom
    options = {"seed": args.seed} if name == "sharegpt" else {}
    wanted = args.num_prompts if args.num_prompts is not None or args.duration is not None else 1000
    if wanted is not None:
        wanted += _warmup_prompts(args)
    return make(args.dataset_path, wanted, output_tokens=args.output_len, tokenizer=args.tokenizer, **options)


def num_prompts(args: argparse.Namespace) -> int:
    """How many prompts to make: as many as are sent, as far as that is known beforehand."""
    if args.num_prompts is not None:
        return int(args.num_prompts)
    if args.duration is None:
        return 1000
    top = _top_rate(args)
    expected = math.ceil(top * float(args.duration) * 1.1) + 100 if top else 5000
    return min(max(1000, expected), _MOST_PROMPTS)


def _warmup_prompts(args: argparse.Namespace) -> int:
    """As many more as the warm-up sends, so that what is measured finds none of its prompts in a cache."""
    by_time = math.ceil((_top_rate(args) or 0.0) * float(args.warmup_duration) * 1.1)
    return int(args.warmup_requests) + min(by_time, _MOST_PROMPTS)


def _top_rate(args: argparse.Namespace) -> float | None:
    """Of an open loop, in requests per second."""
    top: float | None = args.ramp_up_end_rps or args.request_rate
    return top if top is not None and math.isfinite(top) else None


def metrics_pages_from(args: argparse.Namespace, endpoints: Sequence[Endpoint]) -> bool | list[str]:
    """What `run` takes as `scrape_metrics`."""
    urls: list[str] | None = args.scrape_metrics
    if not urls:
        lacking = next((each for each in endpoints if urls is not None and each.metrics_url is None), None)
        if lacking is not None:
            raise ConfigError(
                f"--scrape-metrics: the backend {lacking.preset.name} has no metrics page: give the address of one, or "
                "leave it out"
            )
        return urls is not None
    for url in urls:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"--scrape-metrics {url}: an address is http://host:port/path")
    return urls


def sampling_from(args: argparse.Namespace) -> dict[str, Any]:
    names = (
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "frequency_penalty",
        "presence_penalty",
        "repetition_penalty",
    )
    return {name: getattr(args, name) for name in names if getattr(args, name) is not None}
