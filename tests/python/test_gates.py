"""Limits on numbers: their grammar and what meets them."""

from __future__ import annotations

import pytest

from llmbench.errors import ConfigError
from llmbench.gates import Gate, percent_of


@pytest.mark.parametrize(
    ("text", "gate"),
    [
        ("p99_ttft_ms<=500", Gate("p99_ttft_ms", "<=", 500.0)),
        ("mean_tpot_ms<50", Gate("mean_tpot_ms", "<", 50.0)),
        ("output_throughput>=1e3", Gate("output_throughput", ">=", 1000.0)),
        ("request_goodput > 2.5", Gate("request_goodput", ">", 2.5)),
        ("p99.9_e2el_ms<=2000", Gate("p99.9_e2el_ms", "<=", 2000.0)),
    ],
)
def test_a_gate_is_read(text: str, gate: Gate) -> None:
    assert Gate.parse(text) == gate
    assert Gate.parse(str(gate)) == gate


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("p99_ttft_ms", "KEY<=NUMBER is wanted"),
        ("p99_ttft_ms<=fast", "'fast' is no number"),
        ("p99_tfft_ms<=1", "did you mean p99_ttft_ms"),
        ("p0_ttft_ms<=1", "unknown key 'p0_ttft_ms'"),
        ("output_troughput>=1", "did you mean output_throughput"),
        ("p99_ttft<=1", "unknown key 'p99_ttft'"),
    ],
)
def test_what_is_no_gate(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Gate.parse(text)


@pytest.mark.parametrize(
    ("sign", "value", "met"),
    [
        ("<=", 5.0, True),
        ("<", 5.0, False),
        (">=", 5.0, True),
        (">", 5.0, False),
        ("<=", 5.1, False),
        (">=", 4.9, False),
        ("<=", None, False),
        (">=", None, False),
        ("<=", float("nan"), False),
    ],
)
def test_what_meets_it(sign: str, value: float | None, met: bool) -> None:
    assert Gate("p99_ttft_ms", sign, 5.0).met(value) is met


@pytest.mark.parametrize(
    ("key", "number"),
    [
        ("p99.0_ttft_ms", "p99_ttft_ms"),
        ("p99.90_e2el_ms", "p99.9_e2el_ms"),
        ("mean_ttft_ms", "mean_ttft_ms"),
        ("error_rate", "error_rate"),
    ],
)
def test_where_its_number_is(key: str, number: str) -> None:
    assert Gate(key, "<=", 1.0).number == number


@pytest.mark.parametrize(
    ("part", "percent"), [("p50", 50.0), ("p99.9", 99.9), ("p100", None), ("px", None), ("mean", None)]
)
def test_percents(part: str, percent: float | None) -> None:
    assert percent_of(part) == percent
