"""Limits on the numbers of a run, such as `p99_ttft_ms<=500`."""

from __future__ import annotations

import difflib
import operator
from collections.abc import Sequence
from dataclasses import dataclass

from llmbench.errors import ConfigError

RATES = ("request_throughput", "output_throughput", "total_token_throughput", "request_goodput")
"""Keys of the flat JSON that are no latency."""
LATENCIES = ("ttft", "tpot", "itl", "e2el")

_SIGNS = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt}


@dataclass(frozen=True)
class Gate:
    """One limit on one number. `Gate.parse` reads it."""

    key: str
    sign: str
    limit: float

    def __str__(self) -> str:
        return f"{self.key}{self.sign}{self.limit:g}"

    @classmethod
    def parse(cls, text: str, *, latencies: Sequence[str] = LATENCIES, rates: Sequence[str] = RATES) -> Gate:
        """KEY<=NUMBER. Raises ConfigError for another form or an unknown key, with the nearest one."""
        for sign in _SIGNS:
            key, found, limit = text.partition(sign)
            if found:
                break
        else:
            raise ConfigError(f"--slo {text}: KEY<=NUMBER is wanted")
        try:
            gate = cls(key.strip(), sign, float(limit))
        except ValueError:
            raise ConfigError(f"--slo {text}: {limit!r} is no number") from None
        if gate.key not in rates and not _is_latency(gate.key, latencies):
            known = [*rates, *(f"{part}_{name}_ms" for name in latencies for part in ("mean", "p99"))]
            near = difflib.get_close_matches(gate.key, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise ConfigError(f"--slo {text}: unknown key {gate.key!r}: {hint}")
        return gate

    def met(self, value: float | None) -> bool:
        """Whether the value keeps the limit; what was not measured does not."""
        return value is not None and bool(_SIGNS[self.sign](value, self.limit))

    @property
    def number(self) -> str:
        """The key as the flat JSON writes it: p99_ttft_ms for p99.0_ttft_ms."""
        percent, rest = self.percent, self.key.partition("_")[2]
        return self.key if percent is None else f"p{percent:g}_{rest}"

    @property
    def percent(self) -> float | None:
        """99.0 of p99_ttft_ms; None where it is about no percentile."""
        return percent_of(self.key.partition("_")[0])


def percent_of(part: str) -> float | None:
    """99.9 of "p99.9"."""
    try:
        value = float(part[1:]) if part.startswith("p") else -1.0
    except ValueError:
        return None
    return value if 0 < value < 100 else None


def _is_latency(key: str, latencies: Sequence[str]) -> bool:
    part, _, rest = key.partition("_")
    known = part in ("mean", "median", "std") or percent_of(part) is not None
    return known and rest.endswith("_ms") and rest.removesuffix("_ms") in latencies
