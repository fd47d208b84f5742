"""Shares that the rows of a run tell: connections used again, prompt tokens from a cache, answers of the asked length,
and how far a closed loop kept its slots busy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from llmbench.request_rows import ABSENT_NS, Rows, where

_REUSED_CONNECTION = 1 << 0
_OK = 0
_COUNTED = (1, 2, 3)
"""Where a number of output tokens comes from: usage, token ids, a tokenizer; not from events."""


def of_run(
    rows: Rows, summary: Mapping[str, Any], *, slots: int | None, ignore_eos: bool
) -> dict[str, float | None]:
    """By name; None where a share has no meaning or was not told. `rows` are the measured ones, `slots` those of a
    closed loop."""
    sent = where(rows, rows["sent_ns"] != ABSENT_NS)
    asked = (rows["outcome"] == _OK) & np.isin(rows["token_source"], _COUNTED) & (rows["asked_tokens"] >= 0)
    as_asked = rows["output_tokens"][asked] == rows["asked_tokens"][asked]
    shorter = rows["output_tokens"][asked] < rows["asked_tokens"][asked]
    told = bool((rows["cached_tokens"] >= 0).any())
    cached, prompt = summary.get("cached_tokens") or 0, summary.get("input_tokens") or 0
    return {
        "reuse_share": _mean((sent["flags"] & _REUSED_CONNECTION) != 0),
        "retried_share": _mean(sent["attempts"] > 1),
        "cached_share": cached / prompt if told and prompt else None,
        "length_ok_share": _mean(as_asked) if ignore_eos else None,
        "ended_early": None if ignore_eos else int(shorter.sum()),
        "achieved_concurrency": achieved_concurrency(rows, slots) if slots else None,
    }


def achieved_concurrency(rows: Rows, slots: int) -> float | None:
    """1 − idle slot time / (slots × time from the first send to the last); None when that is no time, or no slot was
    used twice.

    A slot is idle from the end of its last request, which is when the next one is scheduled, until that one is sent.
    """
    known = where(rows, (rows["sent_ns"] != ABSENT_NS) & (rows["scheduled_ns"] != ABSENT_NS))
    if len(known) <= slots:
        return None
    begin, end = int(known["sent_ns"].min()), int(known["sent_ns"].max())
    if end <= begin:
        return None
    idle = known["sent_ns"] - np.clip(known["scheduled_ns"], begin, known["sent_ns"])
    return 1.0 - float(idle.sum()) / (slots * (end - begin))


def _mean(values: Any) -> float | None:
    return float(np.mean(values)) if len(values) else None
