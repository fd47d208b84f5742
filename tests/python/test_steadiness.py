"""Steady states and growth, on series and rows whose truth is known."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from llmbench import steadiness
from llmbench.request_rows import Events
from llmbench.results import Result, load_result
from llmbench.steadiness import Bins, bins, growth, steady_state, trend, ttft_growth
from llmbench.verdict import Verdict

ABSENT_NS = -(2**63)
S = 10**9
TIMES = ("scheduled_ns", "slot_ns", "connected_ns", "sent_ns", "first_token_ns", "last_token_ns", "end_ns")
ROW = np.dtype(
    [*((name, "i8") for name in TIMES), ("output_tokens", "i4"), ("phase", "u1"), ("outcome", "u1")]
)

Series = npt.NDArray[np.float64]


def series(in_flight: npt.ArrayLike, tokens: npt.ArrayLike | None = None) -> Bins:
    """A run whose seconds are as given, 40 tokens/s for each request unless said otherwise."""
    level = np.asarray(in_flight, np.float64)
    none = np.zeros(len(level))
    return Bins(
        origin_ns=0,
        arrivals=none + 10,
        completions=none + 10,
        failures=none,
        in_flight=level,
        waiting=none,
        outstanding=level,
        tokens=40 * level if tokens is None else np.asarray(tokens, np.float64),
        ttft=none,
        sending=len(level),
        filling=0,
    )


def noisy(values: npt.ArrayLike, share: float, seed: int) -> Series:
    level = np.asarray(values, np.float64)
    return level * (1 + share * np.random.default_rng(seed).standard_normal(len(level)))


def rows(arrivals_s: npt.ArrayLike, lives_s: npt.ArrayLike, ttft_s: npt.ArrayLike = 0.05) -> np.ndarray:
    """Ok requests of 40 tokens per second."""
    sent, lives = np.asarray(arrivals_s, np.float64), np.asarray(lives_s, np.float64)
    made = np.zeros(len(sent), ROW)
    for name in ("scheduled_ns", "slot_ns", "connected_ns", "sent_ns"):
        made[name] = np.rint(sent * S)
    made["first_token_ns"] = made["sent_ns"] + np.rint(np.minimum(ttft_s, lives) * S).astype(np.int64)
    made["last_token_ns"] = made["end_ns"] = made["sent_ns"] + np.rint(lives * S).astype(np.int64)
    made["output_tokens"] = np.maximum(2, 40 * lives)
    made["phase"] = 1
    return made


def poisson(rate: float, seconds: float, seed: int) -> Series:
    chance = np.random.default_rng(seed)
    return np.cumsum(chance.exponential(1 / rate, int(rate * seconds)))


def queued(arrivals: Series, services: Series) -> Series:
    """How long each request stays in a server that takes one at a time."""
    ends, free = np.empty(len(arrivals)), 0.0
    for i, (arrival, service) in enumerate(zip(arrivals, services, strict=True)):
        ends[i] = free = max(free, arrival) + service
    return ends - arrivals


TRAPEZOID = np.concatenate([np.linspace(0, 30, 20), np.full(60, 30.0), np.linspace(30, 0, 20)])


@pytest.mark.parametrize("noise", [0.0, 0.03, 0.1])
@pytest.mark.parametrize(
    ("values", "begin", "end", "within"),
    [
        pytest.param(np.full(60, 30.0), 0, 60, 0, id="plateau"),
        pytest.param(np.full(20, 30.0), 0, 20, 0, id="as short as it may be"),
        pytest.param(TRAPEZOID, 18, 82, 6, id="ramp, plateau, drain"),
        pytest.param(
            np.concatenate([np.linspace(0, 64, 100), np.full(200, 64.0)]), 98, 300, 15, id="long ramp"
        ),
        pytest.param(np.repeat([30.0, 45.0], [40, 80]), 40, 120, 2, id="step up"),
        pytest.param(np.repeat([30.0, 15.0], [80, 40]), 0, 80, 2, id="step down"),
        pytest.param(np.repeat([30.0, 0.0, 30.0], [50, 5, 90]), 55, 145, 2, id="outage"),
        pytest.param(30 + 10 * np.sin(np.arange(240) / 4), 0, 240, 0, id="periodic"),
        pytest.param(30 + 10 * np.sign(np.sin(np.arange(240) / 4)), 0, 240, 0, id="square wave"),
    ],
)
def test_the_steady_part_of_a_series(values: Series, begin: int, end: int, within: int, noise: float) -> None:
    found = steady_state(series(noisy(values, noise, 1)), open_loop=False)
    assert found.found, found.absent_because
    assert abs(found.begin - begin) <= within
    assert abs(found.end - end) <= within


@pytest.mark.parametrize("noise", [0.0, 0.05])
@pytest.mark.parametrize("open_loop", [False, True])
def test_a_growing_queue_has_none(open_loop: bool, noise: float) -> None:
    found = steady_state(series(noisy(np.linspace(5, 300, 100), noise, 1)), open_loop=open_loop)
    assert not found.found
    assert ("piled up" if open_loop else "changed so often") in found.absent_because


def test_either_series_may_end_the_steady_part() -> None:
    """A server that slows down with as many requests as before."""
    found = steady_state(series(np.full(100, 32.0), np.repeat([1280.0, 900.0], [60, 40])), open_loop=False)
    assert (found.begin, found.end) == (0, 60)


@pytest.mark.parametrize("count", [20, 40, 100, 300, 1000])
def test_noise_alone_is_seldom_cut(count: int) -> None:
    whole = [
        steady_state(series(noisy(np.full(count, 30.0), 0.1, seed)), open_loop=False) for seed in range(20)
    ]
    assert sum(each.end - each.begin == count for each in whole) >= 18


def test_too_short() -> None:
    assert "no request was sent" in steady_state(None, open_loop=True).absent_because
    found = steady_state(series(np.full(19, 30.0)), open_loop=True)
    assert found.absent_because == (
        "stationarity not judged: from the first request to the last there are 19 whole seconds; 20 are needed: "
        "send for 21 s"
    )


@pytest.mark.parametrize("values", [np.zeros(50), np.eye(1, 50)[0], np.full(50, 1e12)])
def test_degenerate_series(values: Series) -> None:
    found = steady_state(series(values), open_loop=False)
    assert found.end - found.begin in (0, *range(20, 51))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("rate", "life_s", "seconds", "least"),
    [(10, 2, 60, 0.9), (2, 10, 240, 0.9), (50, 5, 120, 0.9), (5, 20, 300, 0.9)],
)
def test_random_arrivals_are_steady(
    rate: float, life_s: float, seconds: float, least: float, seed: int
) -> None:
    """Requests that come at random and stay as long as they do on a server that is never full: the number in flight
    wanders over the time of a stay, and that is no change.
    """
    arrivals = poisson(rate, seconds, seed)
    chance = np.random.default_rng(seed + 100)
    found = bins(rows(arrivals, life_s * chance.lognormal(-0.125, 0.5, len(arrivals))))
    assert found is not None
    steady = steady_state(found, open_loop=True)
    assert steady.end - steady.begin >= least * (found.sending - found.filling)
    judged = growth(found)
    assert judged is None or not judged.growing


def test_filling_up_is_left_out() -> None:
    """50 requests/s that stay for 5 s: 250 in flight, after 5 s."""
    arrivals = np.arange(0, 100, 0.02)
    found = bins(rows(arrivals, np.full(len(arrivals), 5.0)))
    assert found is not None
    assert found.filling == 5
    steady = steady_state(found, open_loop=True)
    assert (steady.begin, steady.end) == (5, found.sending)
    short = steady_state(replace(found, sending=24), open_loop=True)
    assert (
        "24 whole seconds, and the server was filling up for 5 of them; 20 are needed" in short.absent_because
    )
    assert short.absent_because.endswith(": send for 26 s")


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("load", "growing"), [(0.5, False), (0.8, False), (1.5, True), (3.0, True)])
def test_growth_of_a_queue(load: float, growing: bool, seed: int) -> None:
    arrivals = poisson(20, 60, seed)
    services = np.random.default_rng(seed + 50).exponential(load / 20, len(arrivals))
    stays = queued(arrivals, services)
    found = bins(rows(arrivals, stays, ttft_s=stays))
    assert found is not None
    for judge in (growth, ttft_growth):
        judged = judge(found)
        assert judged is not None
        assert judged.growing == growing
    if growing:
        assert not steady_state(found, open_loop=True).found


def test_a_load_that_grows_is_no_queue() -> None:
    """10 requests/s become 100, and each stays for half a second."""
    arrivals = np.sqrt(np.linspace(10**2, 100**2, 3300)) * 60 / 90 - 60 / 9
    found = bins(rows(arrivals, np.full(3300, 0.5)))
    assert found is not None
    judged = growth(found)
    assert judged is not None
    assert not judged.growing
    assert judged.certainty > 4


def test_requests_that_wait_for_a_slot_pile_up_too() -> None:
    """Ten at a time, each for a second, and twenty come: none of the server's numbers grows."""
    made = rows(np.arange(0, 60, 0.05), np.full(1200, 1.0))
    made["sent_ns"] = np.arange(1200) // 10 * S
    made["first_token_ns"], made["last_token_ns"] = made["sent_ns"] + S // 20, made["sent_ns"] + S
    made["end_ns"] = made["last_token_ns"]
    found = bins(made)
    assert found is not None
    assert found.in_flight.max() == pytest.approx(10)
    judged = growth(replace(found, sending=60))
    assert judged is not None
    assert judged.growing


def test_long_decoding_hides_a_queue_that_the_first_tokens_show() -> None:
    arrivals = np.arange(0, 100, 0.1)
    ttft = 0.05 + arrivals / 20
    found = bins(rows(arrivals, 20 + ttft, ttft_s=ttft))
    assert found is not None
    in_flight, first_token = growth(found), ttft_growth(found)
    assert in_flight is not None
    assert not in_flight.growing
    assert first_token is not None
    assert first_token.growing


def test_bins_of_two_requests() -> None:
    made = rows([0, 0.5], [2.0, 3.0], ttft_s=0.5)
    made["sent_ns"][1] += S // 4  # it waited for a slot
    found = bins(made)
    assert found is not None
    assert len(found) == 4
    assert found.arrivals.tolist() == [2, 0, 0, 0]
    assert found.completions.tolist() == [0, 0, 1, 1]
    assert found.in_flight.tolist() == pytest.approx([1.25, 2, 1, 0.5])
    assert found.waiting.tolist() == pytest.approx([0.75, 0, 0, 0])
    assert found.outstanding.tolist() == pytest.approx([1.5, 2, 1, 0.5])
    assert found.ttft[0] == pytest.approx(0.5)
    assert np.isnan(found.ttft[1:]).all()
    assert found.tokens.sum() == pytest.approx(made["output_tokens"].sum())
    assert found.sending == 0
    assert found.seconds.tolist() == [0.5, 1.5, 2.5, 3.5]


def test_time_weighted_in_flight_is_the_sum_of_stays() -> None:
    made = rows(poisson(30, 40, 3), np.random.default_rng(3).exponential(2, 1200))
    found = bins(made)
    assert found is not None
    assert found.in_flight.sum() == pytest.approx(float((made["end_ns"] - made["sent_ns"]).sum()) / S)
    assert found.tokens.sum() == pytest.approx(float(made["output_tokens"].sum()))


@pytest.fixture(params=[1 << 22, 3], ids=["in one go", "in chunks"])
def chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steadiness, "_CHUNK", request.param)


@pytest.mark.usefixtures("chunk")
def test_tokens_come_when_their_events_do() -> None:
    made = rows([0, 0, 0, 0, 0], np.full(5, 4.0))
    made["output_tokens"] = [3, 10, 10, 100, 7]
    made["outcome"][3] = 17
    made["phase"][4] = 0
    events = Events(
        offsets=np.array([0, 3, 5, 7, 9, 10]),
        times_ns=np.rint(np.array([0.1, 1.1, 3.9, 0.5, 2.5, 0.5, 2.5, 0.5, 1.5, 1.0]) * S).astype(np.int64),
        tokens=np.array([1, 1, 1, 4, 6, 4, 0, 1, 1, 1], np.uint32),
        flags=np.zeros(10, np.uint8),
    )
    found = bins(made, events)
    assert found is not None
    # One each; by their counts; evenly, as one count is unknown; nothing of what failed or warmed up.
    assert found.tokens.tolist() == [1 + 4 + 5, 1, 6 + 5, 1]


def test_the_core_counts_tokens_alike() -> None:
    made = rows([0.0, 1.0], [3.0, 1.5])
    found = bins(made, tokens=[1, 2])
    assert found is not None
    assert found.tokens.tolist() == [1, 2, 0]
    found = bins(made, tokens=[1, 2, 3, 4, 5])
    assert found is not None
    assert found.tokens.tolist() == [1, 2, 3]


def _no_rows() -> np.ndarray:
    return rows([], [])


def _never_sent() -> np.ndarray:
    made = rows([0, 1], [1, 1])
    made["sent_ns"] = ABSENT_NS
    return made


@pytest.mark.parametrize("make", [_no_rows, _never_sent])
def test_nothing_sent(make: Callable[[], np.ndarray]) -> None:
    assert bins(make()) is None


def test_requests_without_tokens() -> None:
    made = rows(np.arange(30), np.full(30, 1.0))
    made["first_token_ns"] = made["last_token_ns"] = ABSENT_NS
    made["output_tokens"] = -1
    found = bins(made)
    assert found is not None
    assert not found.tokens.any()
    assert found.waiting.sum() == pytest.approx(30)
    assert steady_state(found, open_loop=True).found


def test_trend_of_a_line() -> None:
    certainty, grown = trend(np.arange(50.0))
    assert grown == pytest.approx(49)
    assert certainty > 4
    assert trend(np.full(50, 3.0)) == (0.0, 0.0)


def test_a_day_is_judged_in_seconds() -> None:
    found = series(noisy(np.full(86_400, 30.0), 0.1, 1))
    assert steady_state(found, open_loop=True).end == 86_400


# In a result


def result(*, asked: bool, steady: bool = True) -> Result:
    """Its steady part has half the TTFT of the whole."""

    def numbers(ttft_ms: float) -> dict[str, object]:
        latency = {"n": 90, "mean": ttft_ms, "median": ttft_ms, "max": ttft_ms, "percentiles": [ttft_ms]}
        return {
            "percents": [50.0],
            "completed": 90,
            "failed": 0,
            "duration_s": 100.0,
            "request_throughput": 0.9,
            "output_throughput": 36.0,
            "latency_ms": {"ttft": latency},
        }

    window = {"begin_s": 12.0, "end_s": 87.0, "summary": numbers(40.0)}
    because = "" if steady else "requests piled up until the end: no interval was steady"
    part = {"steady_state": window if steady else None, "steady_state_absent_because": because}
    return Result(
        path=None,
        config={"steady_state": asked},
        summary=numbers(80.0) | part,
        verdict=Verdict("VALID"),
        client={},
        environment={},
    )


def test_the_steady_part_of_a_result() -> None:
    part = result(asked=False).steady_state
    assert part is not None
    assert (part.begin_s, part.end_s, str(part)) == (12, 87, "12 s to 87 s")
    assert part.summary["ttft"].p50 == 40
    assert result(asked=False, steady=False).steady_state is None


def test_the_report_has_a_line_and_when_asked_a_table() -> None:
    plain, asked = (result(asked=each).report(100) for each in (False, True))
    for text in (plain, asked):
        assert "12 s to 87 s: 0.9 requests/s, 36 output tokens/s, TTFT p50 40.00 ms" in text
    assert "steady, ms" not in plain
    table = asked.split("steady, ms")[1]
    assert "40.00" in table
    assert "80.00" not in table
    assert "none: requests piled up" in result(asked=True, steady=False).report(100)
    assert "steady, ms" in result(asked=True)._repr_html_()


def test_the_json_has_it_once_and_gives_it_back(tmp_path: Path) -> None:
    path = result(asked=True).save_json(tmp_path / "a.json")
    stored = json.loads(path.read_text())["llmbench"]
    assert stored["steady_state"]["begin_s"] == 12
    assert "steady_state" not in stored["summary"]
    part = load_result(path).steady_state
    assert part is not None
    assert part.summary["ttft"].p50 == 40
