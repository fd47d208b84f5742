"""Throughput per GPU over speed per user."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from matplotlib.axes import Axes

from llmbench import cli
from llmbench.combination import Combination
from llmbench.errors import ConfigError
from llmbench.plots.pareto import frontier, pareto, position
from llmbench.sweep_file import read_json

GOLDEN = Path(__file__).parents[2] / "golden" / "sweep"
CheckPicture = Callable[[Axes, str], None]
MakeSweep = Callable[..., Path]


@pytest.fixture
def sweep(tmp_path: Path, make_sweep: MakeSweep) -> Path:
    directory = tmp_path / "results_sim"
    for tp, step in ((1, 0.012), (2, 0.007), (4, 0.0045)):
        setting = Combination("acme/tiny-1b", tp, 768, 1, 2600, 60, 1)
        make_sweep(directory, combination=setting, step_s=step, slowdown_s=step / 12)
    return directory


def points(axes: Axes) -> list[tuple[float, float]]:
    lines = [line for line in axes.get_lines() if line.get_marker() not in ("None", None)]
    return [(float(x), float(y)) for line in lines for x, y in line.get_xydata()]


@pytest.mark.parametrize(("tp", "replicas"), [(1, 1), (2, 1), (2, 4)])
def test_position_by_hand(tmp_path: Path, make_sweep: MakeSweep, tp: int, replicas: int) -> None:
    setting = Combination("acme/tiny-1b", tp, 768, replicas, 2600, 60, 1)
    (path,) = make_sweep(tmp_path / "results_sim", clients=(8,), combination=setting).iterdir()
    # A token each 12 ms + 8 × 1 ms, for 8 clients at once.
    assert position(read_json(path)) == (pytest.approx(50), pytest.approx(8 * 50 / (tp * replicas)))


def test_position_of_old_files() -> None:
    (path,) = (GOLDEN / "results_aml").iterdir()
    assert position(read_json(path)) is None
    known = [position(read_json(path)) for path in sorted((GOLDEN / "results_fastgen").iterdir())]
    # A token each 250 ms; 5 tokens in 2 s.
    assert known[0] == (pytest.approx(4), pytest.approx(2.5))


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ([], []),
        ([(1, 1)], [(1, 1)]),
        ([(1, 3), (2, 2), (3, 1)], [(1, 3), (2, 2), (3, 1)]),
        ([(1, 3), (2, 3), (3, 1)], [(2, 3), (3, 1)]),
        ([(1, 3), (1, 4), (0, 0), (0.5, 4)], [(1, 4)]),
        ([(2, 2), (2, 2)], [(2, 2)]),
    ],
)
def test_frontier(given: list[tuple[float, float]], wanted: list[tuple[float, float]]) -> None:
    assert frontier(given) == wanted


class TestDrawing:
    def test_a_series_per_tp_size(self, sweep: Path) -> None:
        axes = pareto(sweep)
        legend = axes.get_legend()
        assert legend is not None
        assert [text.get_text() for text in legend.get_texts()] == ["TP 1", "TP 2", "TP 4", "frontier"]
        assert len(points(axes)) == 18
        assert axes.get_xlabel() == "Speed per user (output tokens/s)"
        assert axes.get_ylabel() == "Throughput per GPU (output tokens/s)"
        assert axes.figure.get_supxlabel() == "Numbers at points: clients · all VALID"

    def test_replicas_share_a_figure(self, sweep: Path, make_sweep: MakeSweep) -> None:
        setting = Combination("acme/tiny-1b", 1, 768, 2, 2600, 60, 1)
        make_sweep(sweep, clients=(2, 4, 8), combination=setting)
        axes = pareto(sweep)
        assert len(points(axes)) == 21
        assert (
            axes.figure.get_supxlabel()
            == "Numbers at points: clients per replica · 1, 2 replicas · all VALID"
        )
        assert len(points(pareto(sweep, num_replicas=1))) == 18
        assert len(points(pareto(sweep, tp_size=4))) == 6
        with pytest.raises(ConfigError, match=r"0 fit \(num_replicas=3\)"):
            pareto(sweep, num_replicas=3)

    def test_old_files(self) -> None:
        sources = [GOLDEN / "results_fastgen", GOLDEN / "results" / "vllm", GOLDEN / "results_aml"]
        with pytest.warns(UserWarning, match="results_aml: left out what was measured without --stream"):
            axes = pareto(sources)
        assert len(points(axes)) == 4
        with (
            pytest.raises(ConfigError, match="without --stream"),
            pytest.warns(UserWarning, match="left out"),
        ):
            pareto(GOLDEN / "results_aml")

    def test_logarithmic(self, sweep: Path) -> None:
        axes = pareto(sweep, log=True)
        assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")

    def test_pictures(
        self, sweep: Path, tmp_path: Path, make_sweep: MakeSweep, check_picture: CheckPicture
    ) -> None:
        make_sweep(sweep, clients=(16,), verdicts={16: "UNSTABLE"})
        check_picture(pareto(sweep), "pareto")
        other = make_sweep(tmp_path / "results_other", step_s=0.02, cap=16)
        check_picture(pareto([sweep, other], log=True), "pareto_several")


class TestCommand:
    def test_files(self, sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        out = tmp_path / "out"
        assert cli.main(["plot", "pareto", "--data_dirs", str(sweep), "--out_dir", str(out), "--log"]) == 0
        assert {path.name for path in out.iterdir()} == {
            f"pareto_acme_tiny-1b_p2600g60.{kind}" for kind in ("png", "svg")
        }

    def test_not_streamed(self, capsys: pytest.CaptureFixture[str]) -> None:
        command = ["plot", "pareto", "--data_dirs", str(GOLDEN / "results_aml")]
        assert cli.main(command) == 2
        said = capsys.readouterr().err
        assert "warning: results_aml: left out" in said
        assert "nothing here was measured with --stream" in said
