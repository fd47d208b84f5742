"""The command line's own argparse, and the flags that every load-making command shares.

Nothing here imports NumPy or pydantic: `--help` must come at once. What the flags mean is built from the
parsed arguments by `endpoint_from`, `workload_from` and `load_from`, which import what they need.
"""

from __future__ import annotations

import argparse
import difflib
import json
import math
import os
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from llmbench.backends import BACKENDS
from llmbench.errors import ConfigError

if TYPE_CHECKING:
    from llmbench.endpoint import Endpoint
    from llmbench.load import Load
    from llmbench.workloads import Workload


class Parser(argparse.ArgumentParser):
    """argparse that takes `-` and `_` alike, names the nearest flag for an unknown one, and raises instead
    of exiting."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("allow_abbrev", False)
        kwargs.setdefault("formatter_class", _Formatter)
        super().__init__(*args, **kwargs)

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message} ({self.prog} --help lists the flags)")

    def parse_known_args(self, args: Iterable[str] | None = None, namespace: Any = None) -> Any:
        given = list(sys.argv[1:] if args is None else args)
        return super().parse_known_args(self._spelled(given), namespace)

    def parse_args(self, args: Iterable[str] | None = None, namespace: Any = None) -> Any:
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            self.error(self._unknown(unknown))
        return parsed

    def _spelled(self, args: list[str]) -> list[str]:
        """The arguments with each flag spelled as it was declared."""
        declared = {option.replace("_", "-"): option for option in self._option_string_actions}
        result: list[str] = []
        for i, argument in enumerate(args):
            if argument == "--":
                return result + args[i:]
            flag, equals, value = argument.partition("=")
            if flag.startswith("--"):
                flag = declared.get(flag.replace("_", "-"), flag)
            result.append(flag + equals + value)
        return result

    def _unknown(self, unknown: list[str]) -> str:
        argument = next((each for each in unknown if each.startswith("-") and not _is_number(each)), None)
        if argument is None:
            return f"unexpected argument {unknown[0]!r}"
        flag = argument.partition("=")[0]
        near = difflib.get_close_matches(flag.replace("_", "-"), self._option_string_actions, n=1, cutoff=0.5)
        return f"unknown flag {flag}" + (f": did you mean {near[0]}?" if near else "")


class _Formatter(argparse.HelpFormatter):
    def __init__(self, prog: str, **kwargs: Any) -> None:
        kwargs.setdefault("max_help_position", 34)
        super().__init__(prog, **kwargs)

    def _get_help_string(self, action: argparse.Action) -> str | None:
        text = action.help
        if text is None or action.default in (None, False, argparse.SUPPRESS, [], "") or "default" in text:
            return text
        return f"{text} (default %(default)s)" if action.option_strings and action.nargs != 0 else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


# Kinds of values. Each says what it wanted when it cannot take what it got.


def _checked(wanted: str, convert: Callable[[str], Any], fits: Callable[[Any], bool]) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        try:
            value = convert(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}") from None
        if not fits(value):
            raise argparse.ArgumentTypeError(f"{text} is not {wanted}")
        return value

    return parse


def _is_finite(value: float) -> bool:
    return math.isfinite(value)


count = _checked("a whole number of at least 1", int, lambda value: value >= 1)
whole = _checked("a whole number of at least 0", int, lambda value: value >= 0)
seconds = _checked("a number of seconds, 0 or more", float, lambda value: _is_finite(value) and value >= 0)
positive = _checked("a number above 0", float, lambda value: _is_finite(value) and value > 0)
amount = _checked("a number of at least 0", float, lambda value: _is_finite(value) and value >= 0)
number = _checked("a number", float, _is_finite)
share = _checked("a share from 0 to 1", float, lambda value: 0 <= value <= 1)
ratio = _checked("a number of at least 0 and below 1", float, lambda value: 0 <= value < 1)
rate = _checked("a request rate above 0 (per second), or inf", float, lambda value: value > 0)
port = _checked("a port from 1 to 65535", int, lambda value: 1 <= value <= 65535)


def pair(text: str) -> tuple[str, str]:
    """KEY=VALUE."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        # The text may hold a secret, so it is not repeated.
        raise argparse.ArgumentTypeError("KEY=VALUE is wanted")
    return key.strip(), value.strip()


def json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error.msg} at character {error.pos}") from None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("a JSON object is wanted: '{\"field\": value}'")
    return value


def percentiles(text: str) -> tuple[float, ...]:
    """50,90,99.9."""
    try:
        values = tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of percentiles such as 50,90,99") from None
    if not values or not all(0 < value < 100 for value in values):
        raise argparse.ArgumentTypeError(
            f"{text!r}: percentiles are above 0 and below 100, separated by commas"
        )
    return tuple(dict.fromkeys(values))


METRICS = ("ttft", "tpot", "itl", "e2el")


def metrics(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    for name in names:
        if name not in METRICS:
            raise argparse.ArgumentTypeError(f"unknown metric {name!r}: there are {', '.join(METRICS)}")
    if not names:
        raise argparse.ArgumentTypeError(f"at least one of {', '.join(METRICS)} is wanted")
    return names


GOODPUT_METRICS = ("ttft", "tpot", "e2el")


def slo_limit(text: str) -> tuple[str, float]:
    """ttft:200, a limit per request in milliseconds."""
    name, _, limit = text.partition(":")
    if name not in GOODPUT_METRICS:
        raise argparse.ArgumentTypeError(f"unknown metric {name!r}: there are {', '.join(GOODPUT_METRICS)}")
    try:
        value = float(limit)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"{text!r}: METRIC:MILLISECONDS is wanted, such as ttft:200")
    return name, value


def gate(text: str) -> str:
    """p99_ttft_ms<=500, a condition on the summary."""
    if not re.fullmatch(r"\s*\w[\w.]*\s*(<=|>=|<|>)\s*[-+0-9.eE]+\s*", text) or not _is_number(
        re.split(r"[<>]=?", text)[1]
    ):
        raise argparse.ArgumentTypeError(f"{text!r}: KEY<=NUMBER is wanted, such as 'p99_ttft_ms<=500'")
    return "".join(text.split())


def until_ci(text: str) -> str:
    """ttft_p99:3%, a number and how well it is to be known."""
    from llmbench.precision import Target

    try:
        return Target.parse(text).text
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("until_ci ")) from None


# Groups of flags


def add_target(parser: argparse.ArgumentParser, *, default_backend: str = "openai") -> None:
    """--base-url … --unix-socket: which server, and how it is spoken to."""
    group = parser.add_argument_group("target")
    group.add_argument(
        "--base-url", metavar="URL", help="the server, as http://host:port; instead of --host and --port"
    )
    group.add_argument("--host", default="127.0.0.1", help="the server's name or address")
    group.add_argument("--port", type=port, default=8000, help="the server's port")
    group.add_argument("--endpoint", metavar="PATH", help="path of the requests (default: the backend's)")
    group.add_argument(
        "--backend", default=default_backend, metavar="NAME", help=f"one of {', '.join(BACKENDS)}"
    )
    group.add_argument("--model", help="model name (default: the first the server lists)")
    group.add_argument(
        "--header",
        nargs="+",
        action="extend",
        type=pair,
        default=[],
        metavar="KEY=VALUE",
        help="extra request header",
    )
    group.add_argument(
        "--api-key-env",
        metavar="NAME",
        help="environment variable that holds the key (default: OPENAI_API_KEY where it is set)",
    )
    group.add_argument(
        "--extra-body",
        type=json_object,
        default={},
        metavar="JSON",
        help="fields for every request's body; null removes one",
    )
    group.add_argument("--ca-file", metavar="FILE", help="certificates to trust, PEM")
    group.add_argument(
        "--insecure", action="store_true", help="do not verify the server's certificate; reports say so"
    )
    group.add_argument("--proxy", metavar="URL", help="HTTP proxy; the environment's is not used")
    group.add_argument(
        "--unix-socket", metavar="PATH", help="connect to this socket instead of host and port"
    )


def add_data(parser: argparse.ArgumentParser) -> None:
    """--dataset-name … --min-p: what is sent."""
    group = parser.add_argument_group("requests")
    group.add_argument(
        "--dataset-name",
        choices=("random", "sharegpt", "custom"),
        help="where prompts come from (default random, or by the ending of --dataset-path)",
    )
    group.add_argument(
        "--dataset-path", metavar="FILE", help="ShareGPT's JSON, or JSON lines with prompt or messages"
    )
    group.add_argument(
        "--random-input-len", type=count, default=1024, metavar="N", help="tokens of a random prompt"
    )
    group.add_argument(
        "--random-output-len", type=count, default=128, metavar="N", help="tokens asked of a random prompt"
    )
    group.add_argument(
        "--random-range-ratio",
        type=ratio,
        default=0.0,
        metavar="X",
        help="lengths are uniform in len × (1 ± X)",
    )
    group.add_argument(
        "--random-prefix-len",
        type=whole,
        default=0,
        metavar="N",
        help="tokens before each random prompt, the same for all",
    )
    group.add_argument(
        "--output-len", type=count, metavar="N", help="tokens asked of sharegpt and custom prompts"
    )
    group.add_argument(
        "--num-prompts",
        type=count,
        metavar="N",
        help="number of requests (default 1000, none with --duration)",
    )
    group.add_argument("--duration", type=positive, metavar="S", help="send for this many seconds")
    group.add_argument("--seed", type=whole, default=0, help="of prompts, lengths and arrival times")
    group.add_argument(
        "--tokenizer", metavar="PATH", help="tokenizer.json or its directory, for exact prompt lengths"
    )
    group.add_argument(
        "--ignore-eos", action="store_true", help="ask the server not to stop before the asked length"
    )
    group.add_argument("--temperature", type=amount, help="sampling temperature (default 0)")
    group.add_argument("--top-p", type=number, help="sampling: nucleus")
    group.add_argument("--top-k", type=int, help="sampling: the k likeliest")
    group.add_argument("--min-p", type=number, help="sampling: smallest probability, relative to the largest")
    group.add_argument("--frequency-penalty", type=number, help="sampling: penalty by frequency")
    group.add_argument("--presence-penalty", type=number, help="sampling: penalty by presence")
    group.add_argument("--repetition-penalty", type=number, help="sampling: factor against repetition")


def add_load(parser: argparse.ArgumentParser) -> None:
    """--request-rate … --workers: when it is sent."""
    group = parser.add_argument_group("load")
    group.add_argument(
        "--request-rate",
        type=rate,
        default=math.inf,
        metavar="R",
        help="requests per second; inf: a closed loop with --max-concurrency, else one burst (default inf)",
    )
    group.add_argument(
        "--burstiness", type=positive, default=1.0, metavar="B", help="gamma arrivals' shape; 1 is Poisson"
    )
    group.add_argument(
        "--arrival",
        metavar="NAME",
        help="poisson, constant, gamma, trace (times in --dataset-path) or a file of times (default poisson)",
    )
    group.add_argument(
        "--max-concurrency", type=count, metavar="N", help="at most this many requests in flight"
    )
    group.add_argument(
        "--ramp-up-strategy", choices=("linear", "exponential"), help="how the rate grows over the run"
    )
    group.add_argument("--ramp-up-start-rps", type=amount, metavar="R", help="rate at the start of the ramp")
    group.add_argument("--ramp-up-end-rps", type=positive, metavar="R", help="rate at its end")
    group.add_argument(
        "--warmup-requests", type=whole, default=0, metavar="N", help="requests before the measurement"
    )
    group.add_argument(
        "--warmup-duration", type=seconds, default=0.0, metavar="S", help="seconds of load before it"
    )
    group.add_argument(
        "--connect",
        choices=("pooled", "new", "sticky"),
        default="pooled",
        help="pooled: newest idle connection first; new: one a request; sticky: one a slot",
    )
    group.add_argument("--workers", type=count, default=1, metavar="N", help="client threads")
    group.add_argument("--connect-timeout", type=seconds, default=10.0, metavar="S", help="0: none")
    group.add_argument(
        "--first-token-timeout", type=seconds, default=0.0, metavar="S", help="0: none (default 0)"
    )
    group.add_argument(
        "--idle-timeout", type=seconds, default=120.0, metavar="S", help="without a byte; 0: none"
    )
    group.add_argument(
        "--request-timeout", type=seconds, default=0.0, metavar="S", help="in all; 0: none (default 0)"
    )
    group.add_argument(
        "--drain", type=seconds, default=5.0, metavar="S", help="for running requests at the end"
    )
    group.add_argument("--retries", type=whole, default=0, metavar="N", help="per failed request (default 0)")


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
        help="limits per request",
    )
    group.add_argument(
        "--slo",
        nargs="+",
        action="extend",
        type=gate,
        default=[],
        metavar="COND",
        help="'p99_ttft_ms<=500': else exit 3",
    )
    group.add_argument(
        "--percentile-metrics",
        type=metrics,
        default=METRICS,
        metavar="LIST",
        help="default ttft,tpot,itl,e2el",
    )
    group.add_argument(
        "--metric-percentiles",
        type=percentiles,
        default=(50.0, 90.0, 95.0, 99.0),
        metavar="LIST",
        help="default 50,90,95,99",
    )
    group.add_argument(
        "--itl", choices=("token", "chunk"), default="token", help="gaps per token, or between chunks"
    )
    group.add_argument(
        "--steady-state", action="store_true", help="show the latencies of the steady part as well"
    )
    group.add_argument(
        "--until-ci",
        type=until_ci,
        metavar="NUMBER:PERCENT%",
        help="ttft_p99:3%%: go on until its 95 %% interval is ± 3 %%, at most as long as --num-prompts or --duration",
    )
    group.add_argument("--strict", action="store_true", help="exit 3 unless the verdict is VALID")
    group.add_argument(
        "--max-error-rate", type=share, default=0.01, metavar="X", help="share of failures that is allowed"
    )
    group.add_argument("--num-gpus", type=count, metavar="N", help="for throughput per GPU and cost")
    group.add_argument(
        "--gpu-cost-per-hour", type=amount, metavar="USD", help="for cost per million tokens; with --num-gpus"
    )
    group.add_argument("--machine-cost", type=amount, metavar="USD", help="per hour, of the whole server")


def add_results(parser: argparse.ArgumentParser) -> None:
    """--save-result … --json: what is kept and what is shown."""
    group = parser.add_argument_group("results")
    group.add_argument("--save-result", action="store_true", help="write NAME.json beside NAME.llmbench")
    group.add_argument("--no-save", action="store_true", help="keep no file")
    group.add_argument("--result-dir", default="results", metavar="DIR", help="where results go")
    group.add_argument(
        "--result-filename", metavar="NAME", help="replaces an existing result (default: from label and time)"
    )
    group.add_argument(
        "--save-detailed", action="store_true", help="with every request's lengths and times in NAME.json"
    )
    group.add_argument("--save-text", action="store_true", help="keep generated texts")
    group.add_argument("--label", help="a name for this result")
    group.add_argument(
        "--metadata",
        nargs="+",
        action="extend",
        type=pair,
        default=[],
        metavar="KEY=VALUE",
        help="kept with the result",
    )
    group.add_argument("--dry-run", action="store_true", help="show what would be done and send nothing")
    group.add_argument(
        "--wait-ready", type=seconds, default=0.0, metavar="S", help="wait this long for the server"
    )
    group.add_argument("--quiet", action="store_true", help="print errors only")
    group.add_argument("--no-progress", action="store_true", help="no progress bar")
    group.add_argument("--json", action="store_true", help="print the result as JSON")


# From flags to the things they describe


def endpoint_from(args: argparse.Namespace) -> Endpoint:
    from llmbench.endpoint import Endpoint

    url = args.base_url or f"http://{f'[{args.host}]' if ':' in args.host else args.host}:{args.port}"
    name = args.api_key_env or "OPENAI_API_KEY"
    key = os.environ.get(name)
    if args.api_key_env and not key:
        raise ConfigError(f"--api-key-env {name}: this environment variable is not set or empty")
    if args.ca_file and not Path(args.ca_file).is_file():
        raise ConfigError(f"--ca-file {args.ca_file}: no such file")
    return Endpoint(
        url,
        backend=args.backend,
        model=args.model,
        api_key=key or None,
        headers=dict(args.header),
        extra_body=args.extra_body,
        path=args.endpoint,
        ca_file=args.ca_file,
        insecure=args.insecure,
        proxy=args.proxy,
        unix_socket=args.unix_socket,
        api_key_name=name if key else None,
    )


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
            num_prompts(args) + args.warmup_requests,
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
        wanted += args.warmup_requests
    return make(args.dataset_path, wanted, output_tokens=args.output_len, tokenizer=args.tokenizer, **options)


def num_prompts(args: argparse.Namespace) -> int:
    """How many prompts to make: as many as are sent, as far as that is known beforehand."""
    if args.num_prompts is not None:
        return int(args.num_prompts)
    if args.duration is None:
        return 1000
    top = args.ramp_up_end_rps or (args.request_rate if math.isfinite(args.request_rate) else None)
    expected = math.ceil(top * args.duration * 1.1) + 100 if top else 5000
    return min(max(1000, expected), 50_000)


def load_from(args: argparse.Namespace) -> Load:
    from llmbench import load

    cap = args.max_concurrency
    arrival = args.arrival
    if args.ramp_up_strategy:
        if math.isfinite(args.request_rate):
            raise ConfigError("--ramp-up-end-rps is the rate of a ramp: give it instead of --request-rate")
        if args.ramp_up_start_rps is None or args.ramp_up_end_rps is None:
            raise ConfigError("--ramp-up-strategy needs --ramp-up-start-rps and --ramp-up-end-rps")
    elif args.ramp_up_start_rps is not None or args.ramp_up_end_rps is not None:
        raise ConfigError(
            "--ramp-up-start-rps and --ramp-up-end-rps need --ramp-up-strategy linear or exponential"
        )
    if arrival is not None and arrival not in ("poisson", "constant", "gamma"):
        if math.isfinite(args.request_rate) or args.ramp_up_strategy:
            raise ConfigError("a trace has its own times: leave out --request-rate and --ramp-up-*")
        path = args.dataset_path if arrival == "trace" else arrival
        if path is None:
            raise ConfigError(
                "--arrival trace takes its times from --dataset-path; --arrival FILE names a file of times"
            )
        if arrival != "trace" and not Path(arrival).exists():
            raise ConfigError(f"--arrival {arrival}: neither poisson, constant, gamma, trace nor a file")
        return load.trace(path, cap)
    final: float = args.request_rate
    if args.ramp_up_strategy:
        final = args.ramp_up_end_rps or math.inf
    if not math.isfinite(final):
        if arrival is not None or args.burstiness != 1.0:
            raise ConfigError(
                f"{'--arrival ' + arrival if arrival else '--burstiness'} needs a finite --request-rate"
            )
        return load.closed(cap) if cap is not None else load.burst()
    if arrival in ("poisson", "constant") and args.burstiness != 1.0:
        raise ConfigError(f"--burstiness goes with --arrival gamma, not {arrival}")
    ramp: dict[str, Any] = {
        "ramp": args.ramp_up_strategy or "none",
        "ramp_start_rate": args.ramp_up_start_rps,
    }
    if arrival == "constant":
        return load.constant(final, cap, **ramp)
    if arrival == "gamma" or args.burstiness != 1.0:
        return load.gamma(final, args.burstiness, cap, **ramp)
    return load.poisson(final, cap, **ramp)


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
