"""Percentiles of the gaps between tokens: which gaps count, and which numbers of clients are drawn."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from llmbench import cli
from llmbench.combination import Combination
from llmbench.errors import ConfigError
from llmbench.plots.latency_percentile import latency_percentile, token_gaps
from llmbench.sweep_file import ResponseDetail, read_json, write_json
from llmbench.sweep_point import SweepPoint

GOLDEN = Path(__file__).parents[2] / "golden" / "sweep"
TINY = Combination("acme/tiny-1b", 1, 768, 1, 100, 3, 1)
CheckPicture = Callable[[Axes, str], None]
MakeSweep = Callable[..., Path]


def bars(axes: Axes) -> list[float]:
    """Heights, series after series."""
    return [bar.get_height() for bar in axes.patches if isinstance(bar, Rectangle)]


@pytest.fixture
def point(tmp_path: Path) -> SweepPoint:
    """Requests with gaps 1, 2, 3, 4 in the order of their start, which is not that of the file."""
    details = [
        ResponseDetail(1e9 + start, 1e9 + start + 50, 100, 3, [10.0 * gap, gap, gap])
        for start, gap in ((3, 4.0), (0, 1.0), (2, 3.0), (1, 2.0))
    ]
    path = tmp_path / "results_sim" / TINY.file_name
    write_json(path, combination=TINY, args={}, details=details, llmbench={}, duration_s=60)
    return read_json(path)


@pytest.mark.parametrize(
    ("tokens", "requests", "wanted"),
    [
        (1, 0, [1, 1, 2, 2, 3, 3, 4, 4]),
        (1, 1, [2, 2, 3, 3]),
        (0, 1, [2, 2, 3, 3, 20, 30]),
        (2, 1, [2, 3]),
        (9, 1, []),
        (1, 2, [1, 1, 2, 2, 3, 3, 4, 4]),  # nothing would be left
    ],
)
def test_which_gaps_count(point: SweepPoint, tokens: int, requests: int, wanted: list[float]) -> None:
    assert sorted(token_gaps(point, tokens, requests)) == wanted


class TestDrawing:
    def test_heights(self, point: SweepPoint) -> None:
        axes = latency_percentile(point)
        assert bars(axes) == pytest.approx(np.percentile([2, 2, 3, 3], (50, 90, 95)) * 1e3)
        assert [tick.get_text() for tick in axes.get_xticklabels()] == ["P50", "P90", "P95"]
        assert axes.get_ylabel() == "Inter-token latency (ms)"

    def test_old_files_of_two_backends(self) -> None:
        axes = latency_percentile(
            [GOLDEN / "results_fastgen", GOLDEN / "results" / "vllm"], num_clients=1, skip_request_num=0
        )
        assert len(bars(axes)) == 6
        with pytest.raises(ConfigError, match="all series have 1, 2"):
            latency_percentile([GOLDEN / "results_fastgen", GOLDEN / "results" / "vllm"])

    def test_only_common_numbers_of_clients(self, tmp_path: Path, make_sweep: MakeSweep) -> None:
        a = make_sweep(tmp_path / "results_a", clients=(1, 2, 4))
        b = make_sweep(tmp_path / "results_b", clients=(4, 8))
        with pytest.warns(UserWarning, match="not all have") as said:
            latency_percentile([a, b])
        assert [str(warning.message).partition(": ")[2] for warning in said] == [
            "not all have 1, 2 clients, as results_a has",
            "not all have 8 clients, as results_b has",
        ]
        with (
            pytest.raises(ConfigError, match="all series have 4"),
            pytest.warns(UserWarning, match="8 clients"),
        ):
            latency_percentile([a, b], num_clients=8)

    def test_events_of_several_tokens_are_chunks(self, tmp_path: Path, point: SweepPoint) -> None:
        data = json.loads(point.path.read_text())
        data["llmbench"]["output_lens"] = [7] * 4
        point.path.write_text(json.dumps(data))
        axes = latency_percentile(point.path.parent)
        assert axes.get_ylabel() == "Inter-chunk latency (ms)"
        assert axes.figure.get_supxlabel().startswith("Events of several tokens: results_sim · ")

    def test_intervals_and_unsupported_percentiles(self, point: SweepPoint) -> None:
        data = json.loads(point.path.read_text())
        data["llmbench"]["intervals"] = {
            "p50_itl_ms": {"low": 2000.0, "high": 3000.0, "supported": True},
            "p95_itl_ms": {"low": 2500.0, "high": 3000.0, "supported": False},
        }
        point.path.write_text(json.dumps(data))
        axes = latency_percentile(point.path.parent)
        assert [list(line.get_ydata()) for line in axes.get_lines()] == [[2000, 3000], [2500, 3000]]
        labels = [text.get_text() for text in axes.texts if "tokens" not in text.get_text()]
        assert labels == ["2500", "3000", "≥ 3000"]

    def test_all_heads_skipped(self, point: SweepPoint) -> None:
        with (
            pytest.raises(ConfigError, match="no gap is left behind 9 tokens"),
            pytest.warns(UserWarning, match="results: left out, its answers have no gap behind 9 tokens"),
        ):
            latency_percentile(point, skip_head_token_num=9)

    @pytest.mark.parametrize("options", [{"skip_head_token_num": -1}, {"skip_request_num": -1}])
    def test_nonsense_is_refused(self, point: SweepPoint, options: dict[str, Any]) -> None:
        with pytest.raises(ConfigError, match="at least 0"):
            latency_percentile(point, **options)

    def test_not_streamed(self) -> None:
        with (
            pytest.raises(ConfigError, match="without --stream"),
            pytest.warns(UserWarning, match="left out"),
        ):
            latency_percentile(GOLDEN / "results_aml")

    def test_picture(self, tmp_path: Path, make_sweep: MakeSweep, check_picture: CheckPicture) -> None:
        sweeps = [
            make_sweep(tmp_path / "results_fastgen", clients=(8,), step_s=0.010),
            make_sweep(tmp_path / "results_vllm", clients=(8,), verdicts={8: "UNSTABLE"}),
            make_sweep(tmp_path / "results_sglang", clients=(8,), step_s=0.008),
        ]
        for number, path in enumerate(path for sweep in sweeps for path in sweep.iterdir()):
            data = json.loads(path.read_text())
            for row in data["response_details"]:
                row["token_gen_time"][50:] = [0.02 + 0.01 * number + 0.001 * i for i in range(10)]
            path.write_text(json.dumps(data))
        check_picture(latency_percentile(sweeps), "latency_percentile")


class TestCommand:
    def test_a_figure_per_common_number_of_clients(
        self, tmp_path: Path, make_sweep: MakeSweep, capsys: pytest.CaptureFixture[str]
    ) -> None:
        make_sweep(tmp_path / "results_a", clients=(1, 2, 4))
        make_sweep(tmp_path / "results_b", clients=(2, 4, 8))
        out = tmp_path / "out"
        command = ["plot", "plot_latency_percentile", "--log_dir", str(tmp_path / "results")]
        command += ["--backend", "a", "b", "--out_dir", str(out), "--skip_request_num", "0"]
        assert cli.main(command) == 0
        assert {path.stem for path in out.glob("*.png")} == {
            f"p95_token_latency_acme_tiny-1b_c{clients}_tp1_p2600g60" for clients in (2, 4)
        }
        assert "not all have 8 clients, as results_b has" in capsys.readouterr().err

    def test_nothing_in_common(
        self, tmp_path: Path, make_sweep: MakeSweep, capsys: pytest.CaptureFixture[str]
    ) -> None:
        dirs = [make_sweep(tmp_path / name, clients=(n,)) for name, n in (("results_a", 1), ("results_b", 2))]
        command = ["plot", "latency_percentile", "--data_dirs", *map(str, dirs), "--out_dir", str(tmp_path)]
        assert cli.main(command) == 2
        assert "no setting and number of clients that all directories have" in capsys.readouterr().err
