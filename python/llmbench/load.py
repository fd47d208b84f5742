"""When requests are sent: the arrival process and the concurrency limit.

A closed loop keeps N requests in flight and sends the next when one ends. An open loop sends at planned
times whatever the server does, and so shows what waiting costs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from numbers import Real
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmbench.errors import ConfigError

if TYPE_CHECKING:
    from llmbench._core import RunConfig

ARRIVALS = ("closed", "burst", "constant", "poisson", "gamma", "trace")
RAMPS = ("none", "linear", "exponential")


@dataclass(frozen=True, repr=False)
class Load:
    """An arrival process and, where there is one, a concurrency limit. The functions of this module make
    them."""

    arrival: str
    rate: float | None = None
    """Requests per second; the final rate where there is a ramp. None when requests are not paced."""
    burstiness: float = 1.0
    """Gamma arrivals: the shape. 1 is Poisson, below is burstier, above is more even."""
    max_concurrency: int | None = None
    num_requests: int | None = None
    """What the load itself fixes: a burst's size, a trace's length."""
    trace_ns: tuple[int, ...] = ()
    ramp: str = "none"
    ramp_start_rate: float | None = None
    ramp_requests: int | None = None
    """How many requests the ramp lasts; None: the whole run."""
    closed_ramp_s: float = 0.0
    """Closed loop: the slots' first requests are spread over this many seconds."""
    closed_ramp_random: bool = False
    """Closed loop: spread uniformly at random rather than evenly."""

    def __post_init__(self) -> None:
        if self.arrival not in ARRIVALS:
            raise ConfigError(f"unknown arrival {self.arrival!r}: there are {', '.join(ARRIVALS)}")
        if self.max_concurrency is not None:
            _whole("concurrency", self.max_concurrency, 1)
        if self.arrival == "closed" and self.max_concurrency is None:
            raise ConfigError("a closed loop needs a concurrency")
        if self.arrival in ("constant", "poisson", "gamma"):
            if self.rate is None:
                raise ConfigError(f"{self.arrival} arrivals need a request rate")
            _positive("request rate", self.rate, "requests per second; inf means no pacing")
            _positive("burstiness", self.burstiness)
        if self.num_requests is not None:
            _whole("number of requests", self.num_requests, 1)
        if self.ramp not in RAMPS:
            raise ConfigError(f"unknown ramp {self.ramp!r}: there are {', '.join(RAMPS)}")
        if self.ramp != "none":
            if self.rate is None:
                raise ConfigError("a ramp needs paced arrivals: constant, poisson or gamma")
            start = self.ramp_start_rate
            if start is None:
                raise ConfigError("a ramp needs a start rate")
            if self.ramp == "exponential":
                _positive("ramp start rate", start, "an exponential ramp cannot start at 0")
            elif not (math.isfinite(start) and start >= 0):
                raise ConfigError(f"ramp start rate must be 0 or more, not {start:g}")
        if not (math.isfinite(self.closed_ramp_s) and self.closed_ramp_s >= 0):
            raise ConfigError(f"closed-loop ramp must be 0 seconds or more, not {self.closed_ramp_s:g}")
        # NumPy's numbers, as loops over an array have them, cannot be stored in a result.
        for name, kind in (("rate", float), ("max_concurrency", int), ("num_requests", int)):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, kind(getattr(self, name)))

    def __repr__(self) -> str:
        """What differs from the defaults; of a trace, how long it is."""
        said = [repr(self.arrival)]
        for field in fields(self)[1:]:
            value = getattr(self, field.name)
            if value != field.default:
                shown = f"<{len(value)} times>" if field.name == "trace_ns" else repr(value)
                said.append(f"{field.name}={shown}")
        return f"Load({', '.join(said)})"

    @property
    def open_loop(self) -> bool:
        """Whether requests go at planned times; a closed loop waits for answers instead."""
        return self.arrival != "closed"

    def describe(self) -> str:
        """One line for tables: "Poisson, 20 requests/s, at most 64 in flight"."""
        cap = f", at most {self.max_concurrency} in flight" if self.max_concurrency else ""
        if self.arrival == "closed":
            return f"closed loop, {self.max_concurrency} in flight"
        if self.arrival == "burst":
            return f"burst{cap}"
        if self.arrival == "trace":
            return f"trace of {len(self.trace_ns)} arrivals{cap}"
        name = {
            "poisson": "Poisson",
            "constant": "constant",
            "gamma": f"gamma (burstiness {self.burstiness:g})",
        }
        ramp = "" if self.ramp == "none" else f"{self.ramp_start_rate:g} to "
        kind = "" if self.ramp == "none" else f", {self.ramp} ramp"
        return f"{name[self.arrival]}, {ramp}{self.rate:g} requests/s{kind}{cap}"

    def to_dict(self) -> dict[str, Any]:
        """What a result stores about the load."""
        stored: dict[str, Any] = {
            "arrival": self.arrival,
            "request_rate": self.rate,
            "burstiness": self.burstiness,
            "max_concurrency": self.max_concurrency,
            "description": self.describe(),
        }
        if self.ramp != "none":
            stored["ramp"] = {
                "strategy": self.ramp,
                "start_rate": self.ramp_start_rate,
                "end_rate": self.rate,
                "requests": self.ramp_requests,
            }
        if self.closed_ramp_s:
            stored["closed_ramp"] = {"seconds": self.closed_ramp_s, "random": self.closed_ramp_random}
        return stored

    def apply(self, config: RunConfig, num_requests: int) -> None:
        """Writes the load into the core's configuration of a run of `num_requests` (0: by duration)."""
        config.arrival = self.arrival
        config.rate = self.rate or 0.0
        config.burstiness = self.burstiness
        config.max_concurrency = self.max_concurrency or 0
        if self.trace_ns:
            import numpy as np

            config.trace_ns = np.asarray(self.trace_ns, dtype=np.int64)
        config.ramp = self.ramp
        if self.ramp != "none":
            config.ramp_start_rate = self.ramp_start_rate or 0.0
            requests = self.ramp_requests or num_requests
            if not requests:
                raise ConfigError(
                    "a ramp in a run by duration needs its length: give a number of requests too"
                )
            config.ramp_requests = requests
        config.closed_ramp_s = self.closed_ramp_s
        config.closed_ramp_random = self.closed_ramp_random


def closed(concurrency: int, *, ramp_s: float = 0.0, ramp_random: bool = False) -> Load:
    """`concurrency` requests in flight at all times: the next goes when one ends."""
    return Load("closed", max_concurrency=concurrency, closed_ramp_s=ramp_s, closed_ramp_random=ramp_random)


def burst(n: int | None = None, *, max_concurrency: int | None = None) -> Load:
    """All requests (`n`, or as many as the workload has) at once."""
    return Load("burst", num_requests=n, max_concurrency=max_concurrency)


def poisson(
    rate: float,
    max_concurrency: int | None = None,
    *,
    ramp: str = "none",
    ramp_start_rate: float | None = None,
    ramp_requests: int | None = None,
) -> Load:
    """Independent users: exponential gaps of mean 1/rate."""
    return _paced("poisson", rate, max_concurrency, 1.0, ramp, ramp_start_rate, ramp_requests)


def constant(
    rate: float,
    max_concurrency: int | None = None,
    *,
    ramp: str = "none",
    ramp_start_rate: float | None = None,
    ramp_requests: int | None = None,
) -> Load:
    """A metronome: gaps of exactly 1/rate."""
    return _paced("constant", rate, max_concurrency, 1.0, ramp, ramp_start_rate, ramp_requests)


def gamma(
    rate: float,
    burstiness: float,
    max_concurrency: int | None = None,
    *,
    ramp: str = "none",
    ramp_start_rate: float | None = None,
    ramp_requests: int | None = None,
) -> Load:
    """Gamma gaps of mean 1/rate; `burstiness` is the shape, 1 the same as Poisson, below 1 burstier."""
    return _paced("gamma", rate, max_concurrency, burstiness, ramp, ramp_start_rate, ramp_requests)


def trace(path: str | PathLike[str], max_concurrency: int | None = None) -> Load:
    """Arrivals at the times of a file: one number of seconds a line, from the start, or JSON lines with
    `timestamp` in milliseconds. Empty lines and lines starting with # are skipped."""
    file = Path(path)
    try:
        lines = file.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the trace {file}: {error}") from None
    times: list[int] = []
    for number, line in enumerate(lines, 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        times.append(_trace_time(file, number, line))
        if len(times) > 1 and times[-1] < times[-2]:
            raise ConfigError(f"{file}, line {number}: the time {line} is earlier than the one before it")
    if not times:
        raise ConfigError(f"the trace {file} holds no times")
    first = times[0] if times[0] > 10**18 else 0  # wall-clock times count from the first
    return Load(
        "trace",
        max_concurrency=max_concurrency,
        num_requests=len(times),
        trace_ns=tuple(time - first for time in times),
    )


def _trace_time(file: Path, number: int, line: str) -> int:
    import json

    try:
        if line.startswith("{"):
            nanoseconds = float(json.loads(line)["timestamp"]) * 1e6
        else:
            nanoseconds = float(line) * 1e9
        if not (math.isfinite(nanoseconds) and nanoseconds >= 0):
            raise ValueError
    except (ValueError, KeyError, TypeError):
        raise ConfigError(
            f"{file}, line {number}: {line[:40]!r} is no time in seconds "
            "and no JSON with a timestamp in milliseconds"
        ) from None
    return round(nanoseconds)


def _paced(
    arrival: str,
    rate: float,
    max_concurrency: int | None,
    burstiness: float,
    ramp: str,
    ramp_start_rate: float | None,
    ramp_requests: int | None,
) -> Load:
    return Load(
        arrival,
        rate=rate,
        burstiness=burstiness,
        max_concurrency=max_concurrency,
        ramp=ramp,
        ramp_start_rate=ramp_start_rate,
        ramp_requests=ramp_requests,
    )


def _positive(name: str, value: Any, remedy: str = "") -> None:
    if not (isinstance(value, Real) and math.isfinite(value) and float(value) > 0):
        raise ConfigError(f"{name} must be more than 0, not {value!r}" + (f" ({remedy})" if remedy else ""))


def _whole(name: str, value: Any, least: int) -> None:
    if not isinstance(value, Real) or value != value // 1 or float(value) < least:
        raise ConfigError(f"{name} must be a whole number of at least {least}, not {value!r}")
