"""What became of one point of a sweep."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from llmbench.combination import Combination
from llmbench.sweep_point import SweepPoint

STATES = ("measured", "existing", "failed", "interrupted", "skipped", "not run")
"""What became of a point: measured now; its result was there before; no usable result; cut off; impossible on this
machine; not reached."""


@dataclass(frozen=True)
class PointOutcome:
    """What became of one combination."""

    combination: Combination
    state: str
    path: Path
    """Where its JSON is, or would be."""
    result: SweepPoint | None = None
    """Its numbers, for a point measured now or before."""
    reason: str = ""
    """Why there is no result, or what is remarkable about it."""
    exit_code: int = 0
    repeat: int = 1
    """From 1."""

    @property
    def done(self) -> bool:
        return self.result is not None

    @property
    def verdict(self) -> str | None:
        return self.result.verdict if self.result else None

    @property
    def summary(self) -> dict[str, float | None]:
        """The numbers of the console line; None for what was not measured. Empty without a result."""
        if self.result is None:
            return {}
        return {
            "completed": self.result.completed,
            "queries_per_s": self.result.queries_per_s,
            "tokens_per_s": self.result.tokens_per_s,
            "latency_s": self.result.mean_latency_s,
            "tpot_s": self.result.mean_tpot_s,
            "ttft_s": self.result.mean_ttft_s,
        }
