"""The numbers of a sweep as text."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmbench.sweep_file import read_json
from llmbench.sweep_tables import figures, packed, replica_lines, summary_parts

GOLDEN = Path(__file__).parents[1] / "golden" / "sweep"


def test_the_line_of_one_point() -> None:
    name = "acme_tiny-1b-tp1-bs768-replicas1-prompt4-gen3-clients1.json"
    point = read_json(GOLDEN / "results" / "vllm" / name, count_tokens=lambda text: len(text.split()))
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
