"""How far the client's own clockwork may be off: the timing budget that is printed beside what sampling leaves
open."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from llmbench.request_rows import ABSENT_NS, TURN_STAMPED, Rows

_USUAL = 90
"""The percentile at which a window that differs from request to request enters the budget."""
_PATH_MS = 0.01
"""What an event's way through the kernel, from the server's write to the receive time, may vary by: single gaps
against the simulator's own log are off by ± 0.004 ms (`llmbench selftest`)."""


def budget_ms(rows: Rows, summary: Mapping[str, Any], client: Mapping[str, Any]) -> dict[str, float] | None:
    """What TTFT and ITL may be off by, in ms; None when the engine kept no account, or nothing was sent.

    Of a time to the first token: how well the kernel's clock is known, the call that sent the request, and the
    receive time. Of a gap: the receive times of both its ends. Both: the way through the kernel.
    """
    if client.get("clock_uncertainty_ns") is None:
        return None
    done = (rows["sent_ns"] != ABSENT_NS) & (rows["send_done_ns"] != ABSENT_NS)
    if not done.any():
        return None
    clock = client["clock_uncertainty_ns"] / 1e6
    send = float(np.percentile(rows["send_done_ns"][done] - rows["sent_ns"][done], _USUAL)) / 1e6
    events, merged = summary.get("events") or 0, summary.get("merged_events") or 0
    width = (client.get("merged_width_ms") or {}).get("mean") or 0.0
    turns = float(np.mean((rows["flags"][done] & TURN_STAMPED) != 0))
    lateness = (client.get("read_lateness_ms") or {}).get(f"p{_USUAL}") or 0.0
    receive = (width * merged / events if events else 0.0) + lateness * turns
    return {"ttft": clock + send + receive + _PATH_MS, "itl": clock + 2 * receive + _PATH_MS}
