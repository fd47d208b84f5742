"""`until_ci`: a run that goes on until one number is known well enough, or its budget is spent."""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmbench.errors import ConfigError

LATENCIES = ("ttft", "tpot", "itl", "icl", "e2el", "ttft_from_schedule", "e2el_from_schedule")
RATES = ("request_throughput", "output_throughput", "total_token_throughput")

_LOOK_S = 1.0
"""Rows are committed once a second."""
_REST = 20
"""A look is followed by this many times its processor time without one: a twentieth of a processor at most."""
_IN_A_ROW = 2
"""Looks that must agree: the more often one looks, the likelier is a lucky one."""


@dataclass(frozen=True)
class Target:
    """One number and the relative half width its 95 % interval is to have."""

    text: str
    metric: str
    statistic: str
    """mean, median or p99; empty for a rate."""
    relative: float

    @classmethod
    def parse(cls, text: str) -> Target:
        """`ttft_p99:3%`, `itl_mean:1%`, `output_throughput:2%`."""
        number, _, width = text.strip().partition(":")
        share = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*%", width.strip())
        if share is None or not 0 < float(share[1]) < 100:
            raise ConfigError(f"until_ci {text!r}: NUMBER:PERCENT% is wanted, such as ttft_p99:3%")
        relative = float(share[1]) / 100
        if number in RATES:
            return cls(text, number, "", relative)
        metric, _, statistic = number.rpartition("_")
        known = statistic in ("mean", "median") or _percent(statistic) is not None
        if metric not in LATENCIES or not known:
            raise ConfigError(
                f"until_ci {text!r}: unknown number {number!r}; there are {', '.join(RATES)}, and mean, median or "
                f"pNN of {', '.join(LATENCIES)}, such as ttft_p99"
            )
        return cls(text, metric, statistic, relative)

    @property
    def percent(self) -> float | None:
        return _percent(self.statistic)

    @property
    def key(self) -> str:
        """In the flat JSON."""
        percent = self.percent
        if not self.statistic:
            return self.metric
        return f"{self.statistic if percent is None else f'p{percent:g}'}_{self.metric}_ms"

    def value(self, summary: Mapping[str, Any]) -> float | None:
        if not self.statistic:
            name = "total_throughput" if self.metric == "total_token_throughput" else self.metric
            rate: float | None = summary.get(name)
            return rate
        latency = (summary.get("latency_ms") or {}).get(self.metric) or {}
        if self.percent is None:
            plain: float | None = latency.get(self.statistic)
            return plain
        percents = [float(each) for each in summary.get("percents") or ()]
        values = latency.get("percentiles") or ()
        return dict(zip(percents, values, strict=False)).get(self.percent)

    def width(self, summary: Mapping[str, Any]) -> float | None:
        """The relative half width; None where the number is not supported."""
        interval, value = (summary.get("intervals") or {}).get(self.key) or {}, self.value(summary)
        low, high = interval.get("low"), interval.get("high")
        if not interval.get("supported") or not value or low is None or high is None:
            return None
        return float((high - low) / 2 / value)

    def outcome(self, summary: Mapping[str, Any], *, stopped: bool) -> dict[str, Any]:
        """What came of it, for the result."""
        interval = (summary.get("intervals") or {}).get(self.key) or {}
        width = self.width(summary)
        return {
            "target": self.text,
            "reached": stopped or (width is not None and width <= self.relative),
            "relative_half_width": width,
            "needs_requests": interval.get("needs_requests") if width is None else None,
        }


class Watch:
    """Looks at the rows of a running measurement about once a second, on a thread of low priority, and calls
    `reached` once the target is met."""

    def __init__(
        self,
        path: Path,
        target: Target,
        reached: Callable[[], None],
        *,
        look_s: float = _LOOK_S,
    ) -> None:
        self.path, self.target, self.reached, self.look_s = path, target, reached, look_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="llmbench-until-ci", daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
        met, pause = 0, self.look_s
        while not self._over.wait(pause):
            began = time.thread_time()
            met = met + 1 if self._is_met() else 0
            if met == _IN_A_ROW:
                self.reached()
                return
            pause = max(self.look_s, _REST * (time.thread_time() - began))

    def _is_met(self) -> bool:
        from llmbench import _core

        percent = self.target.percent
        percents = [50.0 if percent is None else percent]
        try:
            # One thread: the others belong to the load.
            summary = _core.RunDigest(str(self.path)).summarize(percents=percents, threads=1)
        except _core.CoreError:
            return False  # nothing was committed yet, or nothing can be: the run itself will say
        width = self.target.width({**summary, "percents": percents})
        return width is not None and width <= self.target.relative


def _percent(statistic: str) -> float | None:
    found = re.fullmatch(r"p(\d+(?:\.\d+)?)", statistic)
    percent = float(found[1]) if found else 0.0
    return percent if 0 < percent < 100 else None
