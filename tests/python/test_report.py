"""The report: what it says, how wide it is, and what it never lets through."""

from __future__ import annotations

from typing import Any

import pytest

from llmbench import report
from llmbench.results import Result
from llmbench.verdict import Verdict

SHOWN = ("ttft", "ttft_from_schedule", "tpot", "itl", "icl", "e2el", "client_lag")
LATENCY = {
    "n": 90,
    "mean": 12.3456,
    "median": 12.0,
    "std": 1.0,
    "min": 1.0,
    "max": 123456.7,
    "percentiles": [12.0, 999.96],
}


def result(**changes: Any) -> Result:
    summary: dict[str, Any] = {
        "percents": [50, 99],
        "completed": 90,
        "failed": 10,
        "cut": 2,
        "duration_s": 12.345,
        "request_throughput": 7.29,
        "output_throughput": 1234.5,
        "total_throughput": 23456.7,
        "input_tokens": 900,
        "output_tokens": 1800,
        "cached_tokens": 5,
        "token_sources": {"usage": 90},
        "finish_reasons": {"length": 90},
        "errors": {"http_5xx": 9, "reset_mid_stream": 1},
        "concurrency_mean": 3.21,
        "concurrency_peak": 7,
        "waiting_mean": 1.0,
        "decoding_mean": 2.21,
        "goodput": 6.5,
        "goodput_share": 0.8,
        "cost_per_million_tokens": {"input": 1.5, "output": 0.123, "total": None},
        "reused": 80,
        "latency_ms": dict.fromkeys(
            ("ttft", "ttft_from_schedule", "tpot", "itl", "icl", "e2el", "client_lag"), LATENCY
        ),
        "with_failures_ms": {"ttft": {**LATENCY, "percentiles": [13.0, None]}},
    } | changes.pop("summary", {})
    return Result(
        path=None,
        config={
            "endpoint": {"url": "http://127.0.0.1:8000", "backend": "vllm"},
            "model": "<script>m",
            "load": {"arrival": "poisson", "description": "Poisson, 20 requests/s"},
            "workload": {"name": "random", "mean_prompt_tokens": 512.0, "mean_output_tokens": None},
            "goodput": {"ttft": 200.0},
        }
        | changes.pop("config", {}),
        summary=summary,
        verdict=changes.pop(
            "verdict", Verdict("CLIENT-LIMITED", ("sent late, p99 3 ms: use more --workers",), ("a note",))
        ),
        client={"connections": 16, "address": "127.0.0.1"},
        environment={},
        error_messages={"http_5xx": "it\x1b[31m broke <script>alert(1)</script> " + "x" * 500},
        **changes,
    )


def test_the_verdict_comes_first_and_all_is_there() -> None:
    text = report.text(result())
    lines = text.splitlines()
    assert lines[0] == "CLIENT-LIMITED"
    assert lines[1] == "  sent late, p99 3 ms: use more --workers"
    for told in (
        "90 completed, 10 failed, 2 cut in 12.3 s",
        "7.29 requests/s, 1234 output tokens/s, 23457 total tokens/s",
        "900 in (5 cached), 1800 out, counted by usage",
        "80.0% of requests with ttft ≤ 200 ms",
        "$1.5 input, $0.123 output",
        "length 90",
        "16 opened",
        "http_5xx",
        "note: a note",
        "512 tokens in, unknown asked",
    ):
        assert told in " ".join(text.split()), told


def test_nothing_is_wider_than_asked_and_nothing_trails() -> None:
    for width in (80, 120):
        lines = report.text(result(), width).splitlines()
        assert max(len(line) for line in lines) <= width
        assert all(line == line.rstrip() for line in lines)


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_no_number_is_cut_short(width: int) -> None:
    percents = [50, 75, 90, 95, 99, 99.9]
    wide = dict.fromkeys(SHOWN, LATENCY | {"percentiles": [123456.7] * len(percents)})
    made = result(summary={"percents": percents, "latency_ms": wide})

    def table(width: int) -> list[str]:
        shown = report.text(made, width)
        start = shown.index("\nms ")
        return shown[start : shown.index("\n\n", start)].split()

    assert table(width) == table(500)


def test_latencies_line_up() -> None:
    lines = {line.split("  ")[0]: line.split() for line in report.text(result()).splitlines()}
    assert lines["TTFT"] == ["TTFT", "12.35", "12.00", "1000.0", "123457"]
    assert lines["TTFT with failures"][-2:] == ["13.00", "∞"]
    assert "TTFT from schedule" in lines
    assert not any(name.startswith("ICL") for name in lines)


def test_a_closed_loop_has_no_schedule() -> None:
    text = report.text(result(config={"load": {"arrival": "closed", "description": "closed loop"}}))
    assert "from schedule" not in text


def test_without_itl_the_reason_and_icl_are_shown() -> None:
    latencies = {"ttft": LATENCY, "icl": LATENCY}
    text = report.text(
        result(summary={"latency_ms": latencies, "itl_absent_because": "events are not tokens"})
    )
    assert "no ITL: events are not tokens" in text
    assert "ICL (between chunks)" in text


def test_control_characters_and_long_messages_are_cut() -> None:
    text = report.text(result())
    assert "\x1b" not in text
    assert "x" * 200 not in text.replace("\n", "").replace(" ", "")


def test_html_is_escaped_and_has_the_verdict_on_top() -> None:
    html = result()._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;m" in html
    assert html.index("CLIENT-LIMITED") < html.index("<table>")
    assert "TTFT from schedule" in html


@pytest.mark.parametrize(
    ("options", "headline"),
    [
        ({"verdict": Verdict("VALID")}, "VALID"),
        ({"verdict": Verdict("VALID"), "status": "interrupted"}, "VALID, interrupted"),
        ({"verdict": Verdict("INVALID"), "status": "unfinished"}, "INVALID, unfinished"),
    ],
)
def test_headlines(options: dict[str, Any], headline: str) -> None:
    assert report.text(result(**options)).splitlines()[0] == headline


def test_an_empty_result_can_be_shown() -> None:
    empty = Result(path=None, config={}, summary={}, verdict=Verdict("INVALID"), client={}, environment={})
    assert "INVALID" in report.text(empty)
    assert "INVALID" in empty._repr_html_()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        (0.0, "0.00"),
        (1.234, "1.23"),
        (99.99, "99.99"),
        (123.45, "123.5"),
        (1234.5, "1234"),
        (float("inf"), "∞"),
    ],
)
def test_milliseconds(value: float | None, shown: str) -> None:
    assert report.milliseconds(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), (0, "0"), (0.01234, "0.0123"), (12.34, "12.3"), (123.45, "123.5"), (12345.6, "12346")],
)
def test_number(value: float | None, shown: str) -> None:
    assert report.number(value) == shown


def test_evidence_lines() -> None:
    lines = report.evidence_lines(
        {"a": {"value": 0.5, "limit": 0.9, "unit": "share"}, "b": {"value": None, "text": "no ceiling"}}
    )
    assert lines == ["a: 0.5, limit 0.9 share", "b: not measured (no ceiling)"]


@pytest.mark.parametrize(
    ("ceiling", "told"),
    [
        ({"value": 0.16}, "this client could have taken 6.25× more"),
        ({"value": 0.0004}, "this client could have taken 2500× more"),
        ({"value": 1.2}, "beyond its ceiling"),
        ({"value": None, "text": "llmbench selftest"}, "headroom not measured (llmbench selftest)"),
        ({}, "headroom not measured (llmbench selftest)"),
    ],
)
def test_the_clients_headroom(ceiling: dict[str, Any], told: str) -> None:
    evidence = {"worker_busy": {"value": 0.12}, "ceiling": ceiling}
    shown = result(verdict=Verdict("VALID", evidence=evidence)).report()
    assert f"busiest worker 12%; {told}" in " ".join(shown.split())


def test_a_bound_is_explained_only_where_one_is_shown() -> None:
    def noted(key: str) -> bool:
        interval = {"low": 1.0, "high": None, "n_eff": 5.0, "supported": False, "needs_requests": 368}
        return "too short to support" in " ".join(
            report.text(result(summary={"intervals": {key: interval}})).split()
        )

    assert noted("p99_ttft_ms")
    assert not noted("p99_tpot_from_nowhere_ms")
    assert not noted("mean_e2el_ms")  # a mean is shown without a sign


def test_few_excursions_are_named() -> None:
    flagged = {"n_eff": 900.0, "supported": False, "excursions": 7, "reason": "from 7 excursions"}
    intervals = {"p50_ttft_ms": {**flagged, "excursions": 12}, "p99_ttft_ms": flagged, "p99_ttfb_ms": flagged}
    told = "percentiles whose tail comes from few separate moments: TTFT p50 from 12, p99 from 7"
    assert f"note: {told} note:" in " ".join(report.text(result(summary={"intervals": intervals})).split())
    assert "separate moments" not in report.text(result())


def test_how_connections_came_about() -> None:
    shown = result(summary={"reuse_share": 0.975, "retried_share": 0.0015})
    shown.client = {
        "connections": 16,
        "resolve_ms": 0.4,
        "connect_ms": {"mean": 0.25, "max": 1.5},
        "tls_ms": {"mean": 3.0, "max": 9.0},
    }
    told = (
        "16 opened, 97.5% of requests reused one, 0.15% were written again, DNS 0.4 ms, connect 0.25 ms (max 1.5), "
        "TLS 3 ms (max 9)"
    )
    assert told in " ".join(shown.report().split())


@pytest.mark.parametrize(
    ("summary", "told"),
    [
        ({"cached_share": 0.0056}, "900 in (5 cached, 0.6%)"),
        ({"length_ok_share": 0.98}, "length 90, 98.0% of the asked length"),
        ({"achieved_concurrency": 0.998}, "peak 7; slots in use 99.8% of the time"),
        ({"output_throughput_per_user": 42.0}, "42 output tokens/s (1 / mean TPOT)"),
        (
            {
                "request_throughput_per_gpu": 1.5,
                "output_throughput_per_gpu": 24.0,
                "total_throughput_per_gpu": 100.0,
            },
            "1.5 requests/s, 24 output tokens/s, 100.0 total tokens/s",
        ),
        ({"reasoning_tokens": 3, "latency_ms": {"ttfat": LATENCY}}, "first answer token 12.35"),
    ],
)
def test_what_is_told_where_it_is_known(summary: dict[str, Any], told: str) -> None:
    assert told in " ".join(report.text(result(summary=summary)).split())
