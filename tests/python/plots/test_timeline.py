"""The figures that show a run over time."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from llmbench.errors import ConfigError, ResultsError
from llmbench.plots.timeline import timeline
from llmbench.plots.token_timeline import token_timeline
from llmbench.request_rows import Events
from llmbench.verdict import Verdict

CheckPicture = Callable[[Axes, str], None]
ABSENT_NS = -(2**63)
S = 10**9
TIMES = ("scheduled_ns", "slot_ns", "connected_ns", "sent_ns", "first_token_ns", "last_token_ns", "end_ns")
ROW = np.dtype(
    [
        ("id", "i8"),
        *((name, "i8") for name in TIMES),
        ("output_tokens", "i4"),
        ("phase", "u1"),
        ("outcome", "u1"),
    ]
)


def run_of(count: int = 600, *, rate: float = 10.0, tokens: int = 40, stall_at: float | None = None) -> Any:
    """A token each 50 ms to whoever is there; at `stall_at` everything stands still for half a second."""
    chance = np.random.default_rng(11)
    made = np.zeros(count, ROW)
    made["id"] = np.arange(count)
    sent = np.cumsum(chance.exponential(1 / rate, count))
    first = sent + chance.lognormal(-3.0, 0.4, count)
    came = first[:, None] + 0.05 * np.arange(tokens)
    if stall_at is not None:
        came = np.where(came > stall_at, came + 0.5, came)
    for name in ("scheduled_ns", "slot_ns", "connected_ns", "sent_ns"):
        made[name] = sent * S
    made["first_token_ns"] = came[:, 0] * S
    made["last_token_ns"] = made["end_ns"] = came[:, -1] * S
    made["output_tokens"], made["phase"] = tokens, 1
    events = Events(
        offsets=np.arange(count + 1) * tokens,
        times_ns=(came * S).astype(np.int64).ravel(),
        tokens=np.ones(count * tokens, np.uint32),
        flags=np.zeros(count * tokens, np.uint8),
    )
    return SimpleNamespace(
        requests=made,
        events=events,
        path="somewhere/vllm-512-128.llmbench",
        config={"load": {"arrival": "poisson", "description": f"Poisson, {rate:g} requests/s"}},
        verdict=Verdict("VALID"),
    )


def fail(result: Any, every: int) -> None:
    """Those requests never had a token."""
    result.requests["outcome"][::every] = 17
    for name in ("first_token_ns", "last_token_ns"):
        result.requests[name][::every] = ABSENT_NS
    result.requests["output_tokens"][::every] = -1


def panels(axes: Axes) -> list[Axes]:
    return [each for each in axes.child_axes if isinstance(each, Axes)]


def test_a_steady_run(check_picture: CheckPicture) -> None:
    result = run_of()
    fail(result, 50)
    axes = timeline(result)
    check_picture(axes, "timeline")
    assert [panel.get_ylabel() for panel in panels(axes)] == [
        "Requests\nin flight", "Requests/s", "Output\ntokens/s", "TTFT (ms)",
    ]  # fmt: skip
    said = axes.figure.get_supxlabel()
    assert said.startswith("600 requests · VALID · shaded: steady from 3 s to ")


def test_a_run_without_a_steady_part() -> None:
    result = run_of(100)
    result.verdict = Verdict("UNSTABLE", ("the queue was growing",))
    said = timeline(result).figure.get_supxlabel().replace("\n", " ")
    assert said.startswith(
        "100 requests · UNSTABLE: the queue was growing · no steady state: stationarity not judged"
    )


def test_a_table_of_requests_is_enough() -> None:
    axes = timeline(run_of(300).requests)
    assert panels(axes)[2].dataLim.ymax > 100


def test_wide_ranges_have_a_logarithmic_axis() -> None:
    result = run_of(300)
    result.requests["sent_ns"][100:200] -= 3 * S
    assert panels(timeline(result))[3].get_yscale() == "log"
    assert panels(timeline(run_of(300)))[3].get_yscale() == "linear"


def test_a_stall(check_picture: CheckPicture) -> None:
    result = run_of(stall_at=12.0)
    fail(result, 40)
    axes = token_timeline(result, rows=30, begin_s=9, end_s=15)
    check_picture(axes, "token_timeline")
    assert axes.get_xlim() == (9, 15)
    said = axes.figure.get_supxlabel()
    assert said.startswith("30 of ")
    assert "requests, chosen evenly" in said
    assert said.endswith("of them with a stall · VALID")
    labels = [each.get_text() for each in axes.get_legend().get_texts()]
    assert labels[-1] == "stall, over 250 ms"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "50 of 600 requests, chosen evenly · no stalls · VALID"),
        ({"rows": 600}, "600 requests · no stalls · VALID"),
        ({"rows": 7, "stall_ms": 10}, "7 of 600 requests, chosen evenly · 7 of them with a stall · VALID"),
    ],
)
def test_how_many_rows_are_said(options: dict[str, Any], said: str) -> None:
    assert token_timeline(run_of(), **options).figure.get_supxlabel() == said


@pytest.mark.parametrize(
    ("rows", "labels"), [(4, ["0", "200", "399", "599"]), (50, ["0", "100", "200", "300", "400", "500"])]
)
def test_rows_are_numbered(rows: int, labels: list[str]) -> None:
    axes = token_timeline(run_of(), rows=rows)
    assert [each.get_text() for each in axes.get_yticklabels()] == labels
    heights = axes.get_yticks() * 599 / (rows - 1)
    assert heights == pytest.approx([int(each) for each in labels], abs=8)


def test_failures_are_in_the_legend() -> None:
    run = run_of(20)
    fail(run, 5)
    labels = [each.get_text() for each in token_timeline(run).get_legend().get_texts()]
    assert labels[-1] == "failed"


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"rows": 0}, ConfigError, "rows must be at least 1"),
        ({"begin_s": 5, "end_s": 5}, ConfigError, "is empty"),
        ({"begin_s": 500}, ResultsError, "vllm-512-128: no request was in flight"),
    ],
)
def test_what_cannot_be_drawn(options: dict[str, Any], error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        token_timeline(run_of(), **options)


def test_nothing_sent() -> None:
    result = run_of(3)
    result.requests["sent_ns"] = ABSENT_NS
    with pytest.raises(ResultsError, match="no request was sent"):
        timeline(result)
    with pytest.raises(ResultsError, match="no request was in flight"):
        token_timeline(result)


@pytest.mark.parametrize("draw", [timeline, token_timeline])
@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("failing", [False, True])
def test_few_requests(draw: Callable[..., Axes], count: int, failing: bool) -> None:
    result = run_of(count, tokens=1)
    if failing:
        fail(result, 1)
        result.events = Events(*(np.zeros(n, np.int64) for n in (count + 1, 0, 0, 0)))  # type: ignore[arg-type]
    draw(result).figure.savefig("/dev/null", format="png")


@pytest.mark.parametrize("draw", [timeline, token_timeline])
def test_into_given_axes(draw: Callable[..., Axes]) -> None:
    figure = Figure()
    axes: npt.NDArray[Any] = figure.subplots(1, 2)
    assert draw(run_of(100), axes[0]) is axes[0]
    assert not axes[1].child_axes
    figure.savefig("/dev/null", format="png")


@pytest.mark.parametrize("draw", [timeline, token_timeline])
def test_a_long_name_stays_clear_of_the_legend(draw: Callable[..., Axes]) -> None:
    run = run_of(200)
    run.path = "results/openai-llmbench-sim-20261123-214511-with-a-label.llmbench"
    run.config = {"load": {"description": "Poisson, 8 requests/s, at most 64 in flight"}}
    axes = draw(run, shown=False)
    figure = axes.figure
    assert isinstance(figure, Figure)
    figure.draw_without_rendering()
    (detail,) = (each for each in axes.texts if "20261123" in each.get_text())
    legends = [panel.get_legend() for panel in (axes, *axes.child_axes)]
    top = next(legend for legend in legends if legend is not None)
    assert not detail.get_window_extent().overlaps(top.get_window_extent())
