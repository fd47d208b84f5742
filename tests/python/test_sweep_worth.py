"""What points are worth: per GPU, in money, and the best one under a limit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmbench.combination import Combination
from llmbench.gates import Gate
from llmbench.sweep_point import SweepPoint
from llmbench.sweep_worth import best_by_goodput, choices, value, worths


def point(
    clients: int,
    *,
    tp_size: int = 1,
    replicas: int = 1,
    ttft_s: float = 0.05,
    requests: int = 10,
    duration_s: float = 5.0,
    verdict: str = "VALID",
    **summary: Any,
) -> SweepPoint:
    """`requests` of 100 prompt and 4 output tokens with gaps of 10 ms."""
    times = np.tile([ttft_s, 0.01, 0.01, 0.01], requests)
    start = np.linspace(0, 1, requests)
    return SweepPoint(
        path=Path("a.json"),
        combination=Combination("m", tp_size, 768, replicas, 100, 4, clients),
        args={},
        time="",
        start_s=start,
        end_s=start + ttft_s + 0.03,
        prompt_tokens=np.full(requests, 100),
        output_tokens=np.full(requests, 4),
        token_times_s=times,
        token_offsets=np.arange(requests + 1) * 4,
        llmbench={"duration": duration_s, "summary": summary, "verdict": {"status": verdict}, "config": {}},
    )


def test_throughput_is_per_gpu() -> None:
    [one] = worths([point(8, tp_size=4, replicas=2, requests=80)])
    assert one.gpus == 8
    assert one.output_per_gpu == pytest.approx(80 * 4 / 5 / 8)
    assert one.queries_per_s == pytest.approx(16)
    assert one.spread is None
    assert one.goodput is None
    assert one.cost is None


def test_repeats_are_one_combination() -> None:
    found = worths(
        [point(1, requests=10), point(2), point(1, requests=14), point(1, requests=12, verdict="UNSTABLE")]
    )
    assert [each.combination.num_clients for each in found] == [1, 2]
    assert found[0].queries_per_s == pytest.approx(12 / 5)
    assert found[0].spread == pytest.approx((14 - 10) / 2 / 12)
    assert not found[0].trusted
    assert found[1].trusted


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("mean_ttft_ms", 50.0),
        ("p99_ttft_ms", 50.0),
        ("median_itl_ms", 10.0),
        ("mean_tpot_ms", 10.0),
        ("p50_e2el_ms", 80.0),
        ("std_e2el_ms", 0.0),
        ("request_throughput", 2.0),
        ("output_throughput", 8.0),
        ("total_token_throughput", 208.0),
        ("request_goodput", None),
    ],
)
def test_the_numbers_of_the_flat_keys(key: str, expected: float | None) -> None:
    found = value(point(1), key)
    assert found == (None if expected is None else pytest.approx(expected, abs=1e-9))


def test_the_best_point_under_a_limit_has_the_most_tokens_per_gpu() -> None:
    slow = point(32, requests=100, ttft_s=0.9)
    wide = point(16, tp_size=4, requests=90, ttft_s=0.1)
    best = point(8, requests=60, ttft_s=0.2)
    found = worths([slow, wide, best, point(1, requests=10)])
    gates = [Gate.parse("p99_ttft_ms<=500"), Gate.parse("mean_ttft_ms<=100"), Gate.parse("p99_ttft_ms<=1")]
    chosen = choices(found, gates)
    assert [each.limit for each in chosen] == [*map(str, gates), "all of these"]
    assert [each.best.combination.num_clients if each.best else None for each in chosen] == [
        8,
        16,
        None,
        None,
    ]
    assert chosen[2].closest == pytest.approx(50)


def test_a_point_that_cannot_be_trusted_is_second_choice() -> None:
    found = worths([point(8, requests=100, verdict="CLIENT-LIMITED"), point(4, requests=50)])
    [chosen] = choices(found, [Gate.parse("p99_ttft_ms<=500")])
    assert chosen.best is not None
    assert chosen.best.combination.num_clients == 4
    [only] = choices(found[:1], [Gate.parse("p99_ttft_ms<=500")])
    assert only.best is found[0]


def test_goodput_and_cost_come_from_the_measurement() -> None:
    found = worths(
        [
            point(8, tp_size=2, goodput=10.0, goodput_share=0.5, cost_per_million_tokens={"output": 3.0}),
            point(4, goodput=6.0, goodput_share=1.0, cost_per_million_tokens={"output": 2.0}),
        ]
    )
    assert [each.cost for each in found] == [3.0, 2.0]
    assert best_by_goodput(found) is found[1]
    assert best_by_goodput(worths([point(1)])) is None
