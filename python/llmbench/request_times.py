"""Times of requests as columns, each defined as in the core's request_times.h."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from llmbench.request_rows import ABSENT_NS, NOT_STREAMED, Rows

Times = npt.NDArray[np.int64]


def streamed_ns(rows: Rows, name: str) -> Times:
    """A column of token times; absent where the answer came in one piece, whose only time is its end."""
    times: Times = rows[name]
    if "flags" not in (rows.dtype.names or ()):
        return times
    whole = (rows["flags"] & NOT_STREAMED) != 0
    return np.where(whole, ABSENT_NS, times) if whole.any() else times
