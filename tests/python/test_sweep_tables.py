"""The numbers of a sweep as text."""

from __future__ import annotations

import dataclasses
from itertools import product
from pathlib import Path

import pytest

from llmbench.sweep_file import read_json
from llmbench.sweep_outcome import PointOutcome
from llmbench.sweep_tables import figures, packed, replica_lines, summary_parts, table_text
from llmbench.sweep_worth import worths

GOLDEN = Path(__file__).parents[1] / "golden" / "sweep"
NAME = "acme_tiny-1b-tp1-bs768-replicas1-prompt4-gen3-clients1.json"


def test_the_line_of_one_point() -> None:
    point = read_json(GOLDEN / "results" / "vllm" / NAME, count_tokens=lambda text: len(text.split()))
    assert summary_parts(point) == [
        "Deployment: benchmark-deployment",
        "Clients: 1",
        "Prompt (mean): 4 tokens",
        "Generation (mean): 3 tokens",
        "Query throughput: 0.571 queries/s",
        "Token throughput (total): 3.71 tokens/s",
        "Query latency: 1.75 s",
        "Token generation latency: 0.500 s/token",
        "First token received: 1.00 s",
    ]
    assert replica_lines(point) == []


def test_what_was_not_measured_is_left_out_of_the_line() -> None:
    [path] = (GOLDEN / "results_aml").glob("*.json")
    told = [part.partition(":")[0] for part in summary_parts(read_json(path))]
    assert told[-1] == "Query latency"
    assert "Token throughput (total)" not in told  # nobody counted


def outcomes(repeats: int = 1, **settings: tuple[int, ...]) -> list[PointOutcome]:
    """A point for each combination of the settings, as the plan has them: the repeats one round after another."""
    path = GOLDEN / "results" / "vllm" / NAME
    point = read_json(path)
    priced = {"summary": {"goodput": 6.2, "goodput_share": 1.0, "cost_per_million_tokens": {"output": 5.49}}}
    found = []
    for repeat in range(1, repeats + 1):
        for values in product(*settings.values()):
            at = dataclasses.replace(point.combination, **dict(zip(settings, values, strict=True)))
            result = dataclasses.replace(point, combination=at, llmbench=priced)
            found.append(PointOutcome(at, "measured", path, result, repeat=repeat))
    return found


def shown(points: list[PointOutcome]) -> str:
    return table_text(points, worths(point.result for point in points if point.result), [], 80)


def test_every_setting_at_once_fits_eighty_columns_uncut() -> None:
    text = shown(
        outcomes(
            2,
            tp_size=(1, 8),
            max_ragged_batch_size=(512, 16384),
            num_replicas=(1, 16),
            prompt_length=(1200, 16000),
            gen_length=(60, 1024),
            num_clients=(1, 1024),
        )
    )
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    assert text.count("per GPU, and what it costs: prompt ") == 4


def test_the_repeats_of_a_point_stand_side_by_side() -> None:
    rows = [line.split() for line in shown(outcomes(2, num_clients=(1, 2))).splitlines()]
    assert [row[:2] for row in rows if len(row) > 5 and row[0].isdigit()][:4] == [
        ["1", "1"],
        ["1", "2"],
        ["2", "1"],
        ["2", "2"],
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, ""),
        (0, "0"),
        (0.01234, "0.0123"),
        (1.5, "1.50"),
        (9.996, "10.0"),
        (12.345, "12.3"),
        (99.96, "100"),
        (123.4, "123"),
        (45678.9, "45679"),
    ],
)
def test_three_significant_figures(value: float | None, expected: str) -> None:
    assert figures(value) == expected


def test_parts_are_packed_into_lines_and_never_broken() -> None:
    assert packed(["aaaa", "bbbb", "cccc"], 12) == ["aaaa, bbbb,", "cccc"]
    assert packed(["a long part"], 5) == ["a long part"]
