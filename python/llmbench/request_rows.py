"""What a request's row and its events hold: codes, flags and absent values, as in the core's request_record.h."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.void]
Mask = npt.NDArray[np.bool_]

ABSENT_NS = -(2**63)
"""A time that was never reached."""

WARMUP = 0
COOLDOWN = 3
"""Codes of `phase`."""
PHASES = ("warmup", "measure", "drain", "cooldown")

OK = 0
CUT = 1
"""Codes of `outcome`; those above are failures."""

USAGE = 1
"""The code of `token_source` for the server's own count."""
TOKEN_SOURCES = ("none", "usage", "token_ids", "tokenizer", "events")

REUSED_CONNECTION = 1 << 0
TURN_STAMPED = 1 << 1
NOT_STREAMED = 1 << 2
HTTP10 = 1 << 8
"""Bits of `flags`."""


def measured(rows: Rows) -> Mask:
    """Which rows are results: neither of the warm-up nor of the cool-down."""
    found: Mask = (rows["phase"] != WARMUP) & (rows["phase"] != COOLDOWN)
    return found


def where(rows: npt.NDArray[Any], mask: Mask) -> npt.NDArray[Any]:
    """The rows of a mask, without copying them where it is all of them: rows are wide, and mostly all are wanted."""
    return rows if mask.all() else rows[mask]


@dataclass(frozen=True)
class Events:
    """The times of all output-carrying events. Those of request i are `[offsets[i], offsets[i + 1])`."""

    offsets: npt.NDArray[np.int64]
    times_ns: npt.NDArray[np.int64]
    tokens: npt.NDArray[np.uint32]
    """Tokens in each event, 0 where the server did not say."""
    flags: npt.NDArray[np.uint8]

    def of(self, i: int) -> npt.NDArray[np.int64]:
        """Times of request i's events."""
        return self.times_ns[self.offsets[i] : self.offsets[i + 1]]
