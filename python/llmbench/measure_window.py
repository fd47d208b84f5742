"""The measure window: what a cool-down leaves of a run. A function of the rows, so that it can be found again in a
file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmbench.request_rows import ABSENT_NS, WARMUP, Mask, Rows


@dataclass(frozen=True)
class MeasureWindow:
    """[begin, end) in nanoseconds since the run's start."""

    begin_ns: int
    end_ns: int
    load_end_ns: int
    """Where sending ended, and the cool-down with it."""

    @property
    def empty(self) -> bool:
        return self.end_ns <= self.begin_ns

    def after(self, rows: Rows) -> Mask:
        """Which rows are of the cool-down: sent after the window or, where they never were, scheduled."""
        found: Mask = (rows["phase"] != WARMUP) & (_started(rows) >= self.end_ns)
        return found

    def too_short(self) -> str:
        """Why an empty window is."""
        lasted_s = max(0, self.load_end_ns - self.begin_ns) / 1e9
        cooldown_s = (self.load_end_ns - self.end_ns) / 1e9
        return (
            f"the load lasted {lasted_s:.3g} s and its cool-down is {cooldown_s:g} s: nothing is left, and the numbers "
            "are of the whole load; shorten --cooldown-duration, or send for longer"
        )


def of_run(rows: Rows, config: Mapping[str, Any], client: Mapping[str, Any]) -> MeasureWindow | None:
    """The window of a run with a cool-down; None for one without, whose window is all that was measured."""
    cooldown_ns = _nanoseconds(config.get("cooldown_duration"))
    sent = rows["sent_ns"][(rows["phase"] != WARMUP) & (rows["sent_ns"] != ABSENT_NS)]
    if not cooldown_ns or not len(sent):
        return None
    begin_ns = _nanoseconds(config.get("warmup_duration"))
    load_end_ns = int(sent.max())
    if client.get("stopped_because") == "duration":
        load_end_ns = begin_ns + _nanoseconds(config.get("duration"))
    return MeasureWindow(begin_ns or int(sent.min()), load_end_ns - cooldown_ns, load_end_ns)


def _started(rows: Rows) -> Any:
    """When each was sent or, never sent, scheduled. An absent time is the most negative number."""
    import numpy as np

    return np.where(rows["sent_ns"] != ABSENT_NS, rows["sent_ns"], rows["scheduled_ns"])


def _nanoseconds(seconds: float | None) -> int:
    return round((seconds or 0) * 1e9)
