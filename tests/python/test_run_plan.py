"""What a run is going to do, before it starts."""

from __future__ import annotations

from typing import Any

import pytest

import llmbench as lb
from llmbench.options import RunOptions
from llmbench.run_plan import RunPlan


def plan(**options: Any) -> RunPlan:
    workload = lb.workloads.random(input_tokens=6, output_tokens=4, n=3, seed=1)
    return RunPlan(lb.Endpoint("http://h:1"), workload, lb.load.closed(2), RunOptions(**options))


@pytest.mark.parametrize(
    ("options", "load_s", "phases"),
    [
        ({}, None, {0: "measure", 1e9: "measure"}),
        ({"duration": 10}, 10, {0: "measure", 9.9: "measure", 10: "measure"}),
        (
            {"duration": 10, "warmup_duration": 5, "cooldown_duration": 2},
            15,
            {0: "warmup", 4.9: "warmup", 5: "measure", 13: "measure", 13.1: "cooldown", 15: "cooldown"},
        ),
        # Where sending will end is not known.
        (
            {"num_requests": 9, "warmup_duration": 5, "cooldown_duration": 2},
            None,
            {1: "warmup", 60: "measure"},
        ),
    ],
)
def test_phases_of_the_load(options: dict[str, Any], load_s: float | None, phases: dict[float, str]) -> None:
    planned = plan(**options)
    assert planned.load_s == load_s
    assert {moment: planned.phase_at(moment) for moment in phases} == phases


def test_without_a_length_every_prompt_is_sent_once() -> None:
    assert plan().options.num_requests == 3
    assert plan(duration=1).options.num_requests is None
    assert plan(until_ci="ttft_p99.5:3%").options.percentiles == (50, 90, 95, 99, 99.5)
