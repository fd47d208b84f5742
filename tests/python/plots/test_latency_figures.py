"""The figures of single results."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from llmbench.errors import ConfigError, ResultsError
from llmbench.plots.latency_cdf import latency_cdf
from llmbench.plots.latency_samples import METRICS, latency_samples
from llmbench.plots.percentiles import percentiles
from llmbench.request_rows import Events
from llmbench.results import Plots

CheckPicture = Callable[[Axes, str], None]
MakeRows = Callable[..., npt.NDArray[np.void]]


def result_of(rows: npt.NDArray[np.void]) -> SimpleNamespace:
    entry = {"low": 46.0, "high": 54.0, "n_eff": 500.0}
    intervals = {"p50_ttft_ms": entry, "p99_ttft_ms": {"low": 85.0, "high": 120.0, "n_eff": 500.0}}
    return SimpleNamespace(
        requests=rows,
        path="somewhere/vllm-512-128.llmbench",
        verdict=SimpleNamespace(status="VALID"),
        to_json=lambda: {"llmbench": {"intervals": intervals}},
    )


class TestSamples:
    def test_metrics_by_their_definitions(self, request_table: MakeRows) -> None:
        rows = request_table(1)
        rows["scheduled_ns"], rows["slot_ns"], rows["connected_ns"], rows["sent_ns"] = (
            0,
            10**6,
            3 * 10**6,
            4 * 10**6,
        )
        rows["first_byte_ns"], rows["first_token_ns"], rows["first_answer_ns"] = (
            14 * 10**6,
            24 * 10**6,
            34 * 10**6,
        )
        rows["last_token_ns"], rows["end_ns"], rows["output_tokens"] = 124 * 10**6, 134 * 10**6, 11
        wanted = {
            "ttft": 20, "tpot": 10, "e2el": 130, "ttfb": 10, "ttfat": 30, "ttft_from_schedule": 24,
            "e2el_from_schedule": 134, "normalized_latency": 130 / 11, "slot_wait": 1, "connect_wait": 2,
            "client_lag": 1,
        }  # fmt: skip
        assert set(wanted) == set(METRICS)
        for metric, value in wanted.items():
            assert latency_samples(rows, metric)[0].values_ms.tolist() == [pytest.approx(value)]

    def test_a_path_is_the_result_there(
        self, request_table: MakeRows, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        files = {"a.llmbench": result_of(request_table(3)), Path("b.llmbench"): result_of(request_table(4))}
        monkeypatch.setattr("llmbench.results.load_result", files.__getitem__)
        assert [len(sample.values_ms) for sample in latency_samples(list(files), "ttft")] == [3, 4]
        assert [len(sample.values_ms) for sample in latency_samples("a.llmbench", "ttft")] == [3]
        named = latency_samples({"before": "a.llmbench", "after": files[Path("b.llmbench")]}, "ttft")
        assert [(sample.label, len(sample.values_ms)) for sample in named] == [("before", 3), ("after", 4)]

    def test_a_path_without_a_result_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(ResultsError, match=r"nowhere\.llmbench"):
            latency_samples(tmp_path / "nowhere.llmbench", "ttft")

    def test_only_completed_measured_requests_count(self, request_table: MakeRows) -> None:
        rows = request_table(10, failed=3)
        rows["phase"][:2] = 0
        (sample,) = latency_samples(rows, "ttft")
        assert (sample.completed, sample.failed, len(sample.values_ms)) == (8, 3, 8)
        assert (np.diff(sample.values_ms) >= 0).all()

    def test_one_token_has_no_time_per_token(self, request_table: MakeRows) -> None:
        rows = request_table(3)
        rows["output_tokens"][0] = 1
        assert len(latency_samples(rows, "tpot")[0].values_ms) == 2

    def test_labels(self, request_table: MakeRows) -> None:
        rows = request_table(2)
        assert [
            sample.label for sample in latency_samples([result_of(request_table(1000)), rows], "ttft")
        ] == [
            "vllm-512-128",
            "result 2",
        ]
        assert [sample.label for sample in latency_samples({"a": rows, "b": rows}, "ttft")] == ["a", "b"]

    def test_supported_percentiles(self, request_table: MakeRows) -> None:
        # p99 wants 368 independent values.
        assert latency_samples(request_table(368), "ttft")[0].supported_share("ttft") >= 0.99
        assert latency_samples(request_table(367), "ttft")[0].supported_share("ttft") < 0.99
        assert latency_samples(result_of(request_table(1000)), "ttft")[0].supported_share(
            "ttft"
        ) == pytest.approx(0.025 ** (1 / 500))

    def test_what_a_result_cannot_tell_is_marked(self, request_table: MakeRows) -> None:
        flagged = {"low": 85.0, "high": None, "n_eff": 500.0, "supported": False, "needs_requests": 2500}
        result = result_of(request_table(1000))
        result.to_json = lambda: {"llmbench": {"intervals": {"p99_ttft_ms": flagged}}}
        (sample,) = latency_samples(result, "ttft")
        assert not sample.tells("ttft", 99)
        assert sample.tells("ttft", 90)
        assert sample.supported_share("ttft") < 0.99
        assert sample.shown("ttft", 99, 85.04) == "P99 ≥ 85 ms (needs 2500 requests)"
        assert sample.shown("ttft", 50, 51.26) == "P50 51.3 ms"
        assert any("(needs 2500 requests)" in text.get_text() for text in latency_cdf(result).texts)
        (few,) = latency_samples(request_table(100), "ttft")
        assert few.shown("ttft", 99, 85.0).endswith("(needs 368 requests)")

    def test_gaps_come_from_the_events(self, request_table: MakeRows) -> None:
        result = result_of(request_table(3, failed=1))
        result.requests["output_tokens"] = [3, 2, 1, 5]
        offsets = np.array([0, 3, 5, 6, 8])
        times = np.array([10, 30, 60, 10, 15, 10, 10, 99]) * 10**6
        result.events = Events(offsets, times, np.ones(8, np.uint32), np.zeros(8, np.uint8))
        for metric in ("itl", "icl"):
            assert latency_samples(result, metric)[0].values_ms.tolist() == [5, 20, 30]
        result.requests["output_tokens"][0] = 6  # two tokens to a chunk
        assert latency_samples(result, "icl")[0].values_ms.tolist() == [5, 20, 30]
        with pytest.raises(ResultsError, match=r"only 2 of 3 requests came a token at a time.* use icl"):
            latency_samples(result, "itl")
        with pytest.raises(ConfigError, match="a table of its requests has none"):
            latency_samples(result.requests, "icl")

    def test_errors(self, request_table: MakeRows) -> None:
        with pytest.raises(ConfigError, match=r"unknown metric 'tft'; there are ttft, "):
            latency_samples(request_table(2), "tft")
        rows = request_table(2)
        rows["outcome"] = 3
        with pytest.raises(ResultsError, match="result 1: no completed request has a ttft"):
            latency_samples(rows, "ttft")


def test_cdf_of_one_result(check_picture: CheckPicture, request_table: MakeRows) -> None:
    axes = latency_cdf(result_of(request_table(1000, failed=5)))
    check_picture(axes, "latency_cdf")
    assert axes.figure.get_supxlabel() == "1000 requests, 5 more failed or cut and not shown, VALID"


def test_cdf_of_several(check_picture: CheckPicture, request_table: MakeRows) -> None:
    rows = {"vllm": request_table(1000), "sglang": request_table(100, median_ms=65, spread=0.5)}
    check_picture(latency_cdf(rows, log=True), "latency_cdf_several")


@pytest.mark.parametrize("median_ms", [0.5, 50, 5000])
@pytest.mark.parametrize("log", [False, True])
def test_labels_of_the_cdf_stay_in_the_frame(request_table: MakeRows, median_ms: float, log: bool) -> None:
    axes = latency_cdf(request_table(100, median_ms=median_ms), log=log, shown=False)
    axes.figure.draw_without_rendering()  # type: ignore[union-attr]
    frame = axes.get_window_extent()
    for text in axes.texts:
        if "needs" in text.get_text():
            assert "e+" not in text.get_text()
            assert frame.x0 <= text.get_window_extent().x0 < text.get_window_extent().x1 <= frame.x1
    assert frame.width > 0.8 * axes.figure.bbox.width


def test_the_caption_has_a_line_for_each_result(request_table: MakeRows) -> None:
    results = {f"a-long-name-of-a-result-{i}" * 3: result_of(request_table(400)) for i in range(3)}
    said = latency_cdf(results, shown=False).figure.get_supxlabel()  # type: ignore[union-attr]
    assert [line.partition(":")[0] for line in said.splitlines()] == list(results)


def test_percentiles(check_picture: CheckPicture, request_table: MakeRows) -> None:
    rows = {"vllm": request_table(20_000), "sglang": request_table(400, median_ms=65, spread=0.5)}
    check_picture(percentiles(rows), "percentiles")


@pytest.mark.parametrize("draw", [latency_cdf, percentiles])
@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("log", [False, True])
def test_few_requests(request_table: MakeRows, draw: Callable[..., Axes], count: int, log: bool) -> None:
    draw(request_table(count), log=log).figure.savefig("/dev/null", format="png")


def test_plot_of_a_result(request_table: MakeRows) -> None:
    plot = Plots(result_of(request_table(1000)))
    ax = Figure().add_subplot()
    assert plot.latency_cdf(ax, metric="e2el") is ax
    assert ax.get_xlabel() == "End-to-end latency (ms)"
    assert plot.percentiles(metric="tpot", log=True).get_ylabel() == "Time per output token (ms)"
    assert dir(plot) == ["latency_cdf", "percentiles", "timeline", "token_timeline"]
    # Neither the modules that help to draw nor the figures of sweeps.
    for name in ("latency_samples", "style", "throughput_latency"):
        with pytest.raises(
            AttributeError, match=rf"no figure '{name}' of a single result, but latency_cdf, percentiles"
        ):
            getattr(plot, name)
