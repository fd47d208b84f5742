"""The options of one run, with their defaults, and what cannot be."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from numbers import Real
from os import PathLike
from pathlib import Path
from typing import Any

from llmbench.errors import ConfigError
from llmbench.precision import Target

METRICS = ("ttft", "tpot", "itl", "e2el")
"""The latencies of the flat JSON, in its order."""
GOODPUT_METRICS = ("ttft", "tpot", "e2el")
CONNECTS = ("pooled", "new", "sticky")
BALANCINGS = ("round-robin", "random", "least-in-flight", "sticky")
"""How requests are shared out among the endpoints of a run."""

OnProgress = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True)
class RunOptions:
    """What `run` takes besides endpoint, workload and load. Times are seconds and 0 means none; goodput
    limits are ms."""

    num_requests: int | None = None
    duration: float | None = None
    warmup_requests: int = 0
    warmup_duration: float = 0
    cooldown_duration: float = 0
    goodput: Mapping[str, float] | None = field(default_factory=dict)
    percentiles: Sequence[float] = (50, 90, 95, 99)
    percentile_metrics: Sequence[str] = METRICS
    itl: str = "token"
    steady_state: bool = False
    connect: str = "pooled"
    balancing: str = "round-robin"
    workers: int = 1
    connect_timeout: float = 10
    first_token_timeout: float = 0
    idle_timeout: float = 120
    request_timeout: float = 0
    drain: float = 5
    retries: int = 0
    ignore_eos: bool = False
    sampling: Mapping[str, Any] | None = field(default_factory=dict)
    stream: bool = True
    seed: int = 0
    label: str | None = None
    metadata: Mapping[str, Any] | None = field(default_factory=dict)
    result_dir: str | PathLike[str] = "results"
    result_filename: str | None = None
    save: bool = True
    save_result: bool = False
    save_detailed: bool = False
    save_text: bool = False
    progress: bool | None = None
    on_progress: OnProgress | None = None
    max_error_rate: float = 0.01
    num_gpus: int | None = None
    gpu_cost_per_hour: float | None = None
    machine_cost: float | None = None
    wait_ready: float = 0
    until_ci: str | None = None
    scrape_metrics: bool | Sequence[str] = False
    shared_server: bool = False
    server: Mapping[str, Any] | None = None
    tokenizer: Any = None

    def __post_init__(self) -> None:
        self._check_types()
        for name in ("num_requests", "num_gpus", "workers"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} must be at least 1, not {value}")
        for name in _NOT_NEGATIVE:
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"{name} must be 0 or more, not {value}")
        if self.duration == 0:
            raise ConfigError("duration must be more than 0 seconds")
        if self.duration is not None and self.cooldown_duration >= self.duration:
            raise ConfigError(
                f"a cool-down of {self.cooldown_duration:g} s leaves nothing of a duration of {self.duration:g} s: "
                "make it shorter, or --duration longer"
            )
        if self.cooldown_duration and self.until_ci is not None:
            raise ConfigError(
                "a cool-down cannot go with --until-ci, under which the load ends as soon as a number is precise: "
                "leave --cooldown-duration out"
            )
        if self.connect not in CONNECTS:
            raise ConfigError(f"unknown connect {self.connect!r}: there are {', '.join(CONNECTS)}")
        if self.balancing not in BALANCINGS:
            raise ConfigError(f"unknown balancing {self.balancing!r}: there are {', '.join(BALANCINGS)}")
        if self.itl not in ("token", "chunk"):
            raise ConfigError(f"itl must be token or chunk, not {self.itl!r}")
        if not 0 <= self.max_error_rate <= 1:
            raise ConfigError(f"max_error_rate must be a share from 0 to 1, not {self.max_error_rate}")
        if not self.percentiles or not all(0 < each < 100 for each in self.percentiles):
            raise ConfigError(f"percentiles must be above 0 and below 100, not {list(self.percentiles)}")
        for name in self.percentile_metrics:
            if name not in METRICS:
                raise ConfigError(f"unknown metric {name!r}: there are {', '.join(METRICS)}")
        for name, limit in (self.goodput or {}).items():
            if name not in GOODPUT_METRICS:
                raise ConfigError(f"unknown goodput metric {name!r}: there are {', '.join(GOODPUT_METRICS)}")
            if not (math.isfinite(limit) and limit > 0):
                raise ConfigError(f"the goodput limit of {name} must be above 0 ms, not {limit}")
        if self.gpu_cost_per_hour is not None and self.num_gpus is None:
            raise ConfigError("a cost per GPU needs the number of GPUs (--num-gpus)")
        if self.until_ci is not None:
            Target.parse(self.until_ci)
        if self.save_result and not self.save:
            raise ConfigError("a result cannot be both saved and not: choose --save-result or --no-save")

    def _check_types(self) -> None:
        """Says which option has the wrong type, before anything else fails over it."""
        given: dict[str, Any] = {each.name: getattr(self, each.name) for each in fields(self)}
        for name in (*_NOT_NEGATIVE, "num_requests", "num_gpus", "workers", "max_error_rate"):
            if given[name] is not None and not isinstance(given[name], Real):
                raise ConfigError(f"{name} must be a number, not {given[name]!r}")
        percentiles, goodput = given["percentiles"], given["goodput"]
        if not isinstance(percentiles, Iterable) or not all(isinstance(each, Real) for each in percentiles):
            raise ConfigError(f"percentiles must be numbers such as (50, 99), not {percentiles!r}")
        if goodput is not None and not (
            isinstance(goodput, Mapping) and all(isinstance(each, Real) for each in goodput.values())
        ):
            raise ConfigError(f"goodput must be limits in ms such as {{'ttft': 200}}, not {goodput!r}")
        try:
            json.dumps(dict(given["metadata"] or {}))
        except (TypeError, ValueError):
            raise ConfigError("metadata must be a mapping of values that JSON can hold") from None

    def to_dict(self) -> dict[str, Any]:
        """What a result stores of them."""
        return {name: _plain(getattr(self, name)) for name in _STORED}


_NOT_NEGATIVE = (
    "duration",
    "warmup_requests",
    "warmup_duration",
    "cooldown_duration",
    "connect_timeout",
    "first_token_timeout",
    "idle_timeout",
    "request_timeout",
    "drain",
    "retries",
    "seed",
    "gpu_cost_per_hour",
    "machine_cost",
    "wait_ready",
)

_STORED = (
    "num_requests",
    "duration",
    "warmup_requests",
    "warmup_duration",
    "cooldown_duration",
    "goodput",
    "percentiles",
    "percentile_metrics",
    "itl",
    "steady_state",
    "connect",
    "balancing",
    "workers",
    "connect_timeout",
    "first_token_timeout",
    "idle_timeout",
    "request_timeout",
    "drain",
    "retries",
    "ignore_eos",
    "stream",
    "seed",
    "label",
    "max_error_rate",
    "num_gpus",
    "gpu_cost_per_hour",
    "machine_cost",
    "save_text",
    "until_ci",
    "scrape_metrics",
    "shared_server",
)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return list(value)
    return str(value) if isinstance(value, Path) else value
