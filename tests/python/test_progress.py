"""The live display: its words, in a terminal, in a notebook, and not at all."""

from __future__ import annotations

import io
import sys
import types
from typing import Any

import pytest

from llmbench import progress

SNAPSHOT: dict[str, Any] = {
    "elapsed_s": 12.5,
    "completed": 40,
    "failed": 10,
    "in_flight": 8,
    "output_events": 1000,
    "phase": "measure",
    "ttft_p50_ms": 51.23,
    "ttft_p99_ms": 180.0,
    "worker_busy": 0.12,
}


def words(planned: int | None, duration: float | None, **changes: Any) -> tuple[str, str, float]:
    numbers = progress._Numbers(planned, duration, "title")
    numbers.take(SNAPSHOT | changes)
    return numbers.head, numbers.lines(1000)[0], numbers.share


def test_words() -> None:
    head, body, share = words(100, None)
    assert head == "measuring 50/100 requests, 0:12, 0:12 left"
    assert (
        body == "0 tokens/s · 8 in flight · 10 failed · TTFT p50 51.2 p99 180 ms · client 12%, headroom 7.1×"
    )
    assert share == 0.5


@pytest.mark.parametrize(
    ("planned", "duration", "changes", "head"),
    [
        (None, 50.0, {}, "measuring 50 requests, 0:12, 0:37 left"),
        (None, None, {}, "measuring 50 requests, 0:12"),
        (
            100,
            None,
            {"phase": "warmup", "elapsed_s": -1.0, "completed": 0, "failed": 0},
            "warming up 0/100 requests, 0:00",
        ),
        (None, 50.0, {"phase": "cooldown", "elapsed_s": 45.0}, "cooling down 50 requests, 0:45, 0:05 left"),
        (100, None, {"phase": "drain"}, "draining 50/100 requests, 0:12"),
        (100, None, {"stopping": True}, "stopping 50/100 requests, 0:12"),
        (100, None, {"elapsed_s": 3725.0, "completed": 90}, "measuring 100/100 requests, 1:02:05"),
    ],
)
def test_heads(planned: int | None, duration: float | None, changes: dict[str, Any], head: str) -> None:
    assert words(planned, duration, **changes)[0] == head


def test_an_interrupted_run_says_what_a_second_interrupt_does() -> None:
    assert words(100, None, stopping=True)[1].startswith("finishing what runs; interrupt again to end now · ")


def test_before_the_first_token_there_is_no_ttft() -> None:
    assert "TTFT" not in words(100, None, ttft_p50_ms=None)[1]


def test_the_rate_is_that_of_the_last_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    numbers = progress._Numbers(100, None, "title")
    for second in range(10):
        now[0] = 100.0 + second
        numbers.take(SNAPSHOT | {"output_events": 500 * second * second})
    assert numbers.lines(80)[0].startswith("8000 tokens/s")  # from the 7th second to the 9th


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (94, ["0 tokens/s · 8 in flight · 10 failed · TTFT p50 51.2 p99 180 ms · client 12%, headroom 7.1×"]),
        (
            80,
            ["0 tokens/s · 8 in flight · 10 failed · TTFT p50 51.2 p99 180 ms", "client 12%, headroom 7.1×"],
        ),
        (
            60,
            [
                "0 tokens/s · 8 in flight · 10 failed",
                "TTFT p50 51.2 p99 180 ms · client 12%, headroom 7.1×",
            ],
        ),
    ],
)
def test_what_does_not_fit_goes_below(width: int, lines: list[str]) -> None:
    numbers = progress._Numbers(100, None, "title")
    numbers.take(SNAPSHOT)
    assert numbers.lines(width) == lines


def test_a_terminal_is_shown_everything_and_left_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stderr", out)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with progress.display(True, 100, None, "Poisson") as display:
        assert isinstance(display, progress.TerminalDisplay)
        display.update(SNAPSHOT)
    assert "50/100 requests" in out.getvalue()
    assert "TTFT p50 51.2" in out.getvalue()
    assert "headroom 7.1×" in out.getvalue()


def test_nothing_is_shown_where_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    for wanted in (None, False):
        with progress.display(wanted, 1, None, "") as display:
            assert isinstance(display, progress.NoDisplay)
            display.update(SNAPSHOT)


def test_a_notebook_gets_one_cell_that_is_updated(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[dict[str, str]] = []

    class ZMQInteractiveShell:
        pass

    class Handle:
        def update(self, value: dict[str, str], raw: bool) -> None:
            assert raw
            shown.append(value)

    def show(value: dict[str, str], raw: bool, display_id: bool) -> Handle:
        assert raw
        assert display_id
        shown.append(value)
        return Handle()

    ipython: Any = types.ModuleType("IPython")
    ipython.get_ipython = ZMQInteractiveShell
    ipython.display = types.ModuleType("IPython.display")
    ipython.display.display = show
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", ipython.display)
    with progress.display(None, 100, None, "<b>") as display:
        assert isinstance(display, progress.NotebookDisplay)
        display.update(SNAPSHOT)
    assert "&lt;b&gt;" in shown[0]["text/html"]
    assert 'value="0.500"' in shown[1]["text/html"]
    assert shown[1]["text/plain"].startswith("measuring 50/100 requests")
    assert shown[-1] == {"text/html": "", "text/plain": ""}
