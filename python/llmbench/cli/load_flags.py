"""Flags that say when requests are sent, and over how many connections and threads."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmbench.cli.parser import amount, count, positive, rate, seconds, whole
from llmbench.errors import ConfigError

if TYPE_CHECKING:
    from llmbench.load import Load


def add_load(parser: argparse.ArgumentParser) -> None:
    """--request-rate … --workers: when it is sent."""
    group = parser.add_argument_group("load")
    group.add_argument(
        "--request-rate",
        type=rate,
        default=math.inf,
        metavar="R",
        help="requests per second (open loop); inf: closed loop with --max-concurrency, all at once without "
        "(default inf)",
    )
    group.add_argument(
        "--burstiness",
        type=positive,
        default=1.0,
        metavar="B",
        help="shape of gamma arrivals: 1 is Poisson, less is burstier",
    )
    group.add_argument(
        "--arrival",
        metavar="NAME",
        help="poisson, constant, gamma, trace (times from --dataset-path) or a file of arrival times (default poisson)",
    )
    group.add_argument("--max-concurrency", type=count, metavar="N", help="requests in flight, at most")
    group.add_argument(
        "--ramp-up-strategy", choices=("linear", "exponential"), help="how the rate grows over the run"
    )
    group.add_argument("--ramp-up-start-rps", type=amount, metavar="R", help="rate at the start of the ramp")
    group.add_argument("--ramp-up-end-rps", type=positive, metavar="R", help="rate at its end")
    group.add_argument(
        "--warmup-requests",
        type=whole,
        default=0,
        metavar="N",
        help="requests to send before the measurement (default 0)",
    )
    group.add_argument(
        "--warmup-duration",
        type=seconds,
        default=0.0,
        metavar="S",
        help="seconds of load before the measurement (default 0)",
    )
    group.add_argument(
        "--cooldown-duration",
        type=seconds,
        default=0.0,
        metavar="S",
        help="seconds at the end of the load to leave out of the measurement (default 0)",
    )
    add_engine(group)


def add_engine(group: argparse._ArgumentGroup) -> None:
    """--connect … --retries: over how many connections and threads, and how long is waited for what."""
    group.add_argument(
        "--connect",
        choices=("pooled", "new", "sticky"),
        default="pooled",
        help="pooled: newest idle connection first; new: one per request; sticky: one per slot",
    )
    group.add_argument(
        "--balancing",
        choices=("round-robin", "random", "least-in-flight", "sticky"),
        default="round-robin",
        metavar="HOW",
        help="which of several --base-url a request goes to: round-robin, random, least-in-flight or sticky (one per "
        "slot, or per prompt in an open loop)",
    )
    group.add_argument("--workers", type=count, default=1, metavar="N", help="client threads")
    group.add_argument(
        "--connect-timeout", type=seconds, default=10.0, metavar="S", help="seconds to connect; 0: no limit"
    )
    group.add_argument(
        "--first-token-timeout",
        type=seconds,
        default=0.0,
        metavar="S",
        help="seconds to the first token; 0: no limit (default 0)",
    )
    group.add_argument(
        "--idle-timeout", type=seconds, default=120.0, metavar="S", help="seconds without a byte; 0: no limit"
    )
    group.add_argument(
        "--request-timeout",
        type=seconds,
        default=0.0,
        metavar="S",
        help="seconds for the whole request; 0: no limit (default 0)",
    )
    group.add_argument(
        "--drain", type=seconds, default=5.0, metavar="S", help="seconds that running requests get at the end"
    )
    group.add_argument(
        "--retries", type=whole, default=0, metavar="N", help="retries of a failed request (default 0)"
    )


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
