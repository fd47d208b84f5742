"""Shares of a run, on rows made for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from llmbench import shares
from llmbench.request_rows import ABSENT_NS, Rows

MS = 1_000_000
ROW = np.dtype(
    [
        *((name, "i8") for name in ("scheduled_ns", "sent_ns")),
        *((name, "i4") for name in ("attempts", "cached_tokens", "asked_tokens", "output_tokens")),
        ("flags", "u4"),
        *((name, "u1") for name in ("outcome", "token_source")),
    ]
)
REUSED = 1


def rows(*made: dict[str, Any]) -> Rows:
    """Times in ms, None for an absent one."""
    table = np.zeros(len(made), ROW)
    for row, each in zip(table, made, strict=True):
        values = {"attempts": 1, "cached_tokens": -1, "token_source": 1, "scheduled": 0, "sent": 0} | each
        for name in ("scheduled", "sent"):
            at = values.pop(name)
            row[f"{name}_ns"] = ABSENT_NS if at is None else at * MS
        for name, value in values.items():
            row[name] = value
    return table


def of_run(table: Rows, summary: dict[str, Any] | None = None, **changes: Any) -> dict[str, float | None]:
    return shares.of_run(table, summary or {}, **({"slots": None, "ignore_eos": False} | changes))


def test_without_rows_there_is_nothing_to_share() -> None:
    assert set(of_run(rows(), slots=4, ignore_eos=True).values()) == {None}


def test_connections() -> None:
    found = of_run(
        rows(
            {"flags": REUSED}, {"flags": REUSED, "attempts": 2}, {"flags": 0}, {"sent": None, "flags": REUSED}
        )
    )
    assert found["reuse_share"] == pytest.approx(2 / 3)
    assert found["retried_share"] == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("cached", "summary", "share"),
    [
        (-1, {"cached_tokens": 0, "input_tokens": 100}, None),  # the server does not tell
        (0, {"cached_tokens": 0, "input_tokens": 100}, 0.0),
        (25, {"cached_tokens": 25, "input_tokens": 100}, 0.25),
        (0, {"cached_tokens": 0, "input_tokens": 0}, None),
    ],
)
def test_cached_prompt_tokens(cached: int, summary: dict[str, int], share: float | None) -> None:
    assert of_run(rows({"cached_tokens": cached}), summary)["cached_share"] == share


def test_answers_of_the_asked_length() -> None:
    table = rows(
        {"asked_tokens": 8, "output_tokens": 8},
        {"asked_tokens": 8, "output_tokens": 7},
        {"asked_tokens": 8, "output_tokens": 8, "token_source": 4},  # events, not tokens
        {"asked_tokens": -1, "output_tokens": 8},
        {"asked_tokens": 8, "output_tokens": 8, "outcome": 1},
    )
    assert of_run(table, ignore_eos=True)["length_ok_share"] == 0.5
    assert of_run(table)["length_ok_share"] is None
    assert of_run(table, ignore_eos=True)["ended_early"] is None
    assert of_run(table)["ended_early"] == 1
    assert of_run(table[2:], ignore_eos=True)["length_ok_share"] is None


@pytest.mark.parametrize(
    ("sends", "slots", "share"),
    [
        # (scheduled, sent): two slots over 100 ms, never idle.
        ([(0, 0), (0, 0), (50, 50), (60, 60), (100, 100)], 2, 1.0),
        # One of them idle for 20 ms.
        ([(0, 0), (0, 0), (50, 50), (60, 80), (100, 100)], 2, 0.9),
        # What was before the first send does not count.
        ([(-500, 0), (0, 0), (100, 100)], 2, 1.0),
        ([(-500, 0), (-500, 20), (100, 100)], 2, 0.9),
        # No slot was used twice.
        ([(0, 0), (0, 10)], 64, None),
        ([(0, 0), (0, 10)], 2, None),
        ([(0, 0), (0, None)], 2, None),
        ([(0, 5), (0, 5)], 2, None),
    ],
)
def test_achieved_concurrency(sends: list[tuple[int, int | None]], slots: int, share: float | None) -> None:
    found = of_run(rows(*({"scheduled": due, "sent": sent} for due, sent in sends)), slots=slots)
    assert found["achieved_concurrency"] == (None if share is None else pytest.approx(share))
