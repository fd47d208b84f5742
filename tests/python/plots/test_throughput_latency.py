"""Latency against throughput: what is drawn, what is said, and what it looks like."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import imread

from llmbench import cli
from llmbench.combination import Combination
from llmbench.errors import ConfigError
from llmbench.plots.throughput_latency import throughput_latency
from llmbench.sweep_file import read_json

GOLDEN = Path(__file__).parents[2] / "golden" / "sweep"
STEM = "acme_tiny-1b-tp1-bs768-replicas1-prompt2600-gen60"
CheckPicture = Callable[[Axes, str], None]
MakeSweep = Callable[..., Path]


def markers(axes: Axes) -> list[tuple[float, float]]:
    """The points of a figure, filled ones first."""
    lines = [line for line in axes.get_lines() if line.get_marker() not in ("None", None)]
    return [(float(x), float(y)) for line in lines for x, y in line.get_xydata()]


def legend_labels(axes: Axes) -> list[str]:
    legend = axes.get_legend()
    return [] if legend is None else [text.get_text() for text in legend.get_texts()]


class TestDrawing:
    def test_points_stay_pairs(self, tmp_path: Path, make_sweep: MakeSweep) -> None:
        # With a cap of 4 and slow decoding the throughput is the same at 4, 8 and 16 and the latency is not.
        sweep = make_sweep(tmp_path / "results_sim", clients=(16, 1, 4, 8), cap=4)
        points = {point.combination.num_clients: point for point in map(read_json, sweep.iterdir())}
        wanted = [(points[n].queries_per_s, points[n].mean_latency_s) for n in (1, 4, 8, 16)]
        assert markers(throughput_latency(sweep)) == wanted

    def test_old_files_without_verdict_or_streaming(self) -> None:
        axes = throughput_latency(
            [GOLDEN / "results_fastgen", GOLDEN / "results" / "vllm", GOLDEN / "results_aml"]
        )
        assert legend_labels(axes) == ["results_fastgen", "vllm", "results_aml"]
        assert sorted(markers(axes)) == sorted(
            [(1, 1), (0.8, 1.875), (2 / 3.5, 1.75), (2 / 3, 2.5), (0.4, 2.5)]
        )
        assert axes.get_title(loc="left") == "acme/tiny-1b"

    def test_axes_in_axes_out(
        self, tmp_path: Path, make_sweep: MakeSweep, picture: Callable[[Axes], npt.NDArray[np.float64]]
    ) -> None:
        sweep = make_sweep(tmp_path / "results_sim")
        ax = Figure().add_subplot()
        assert throughput_latency(sweep, ax) is ax
        assert ax.get_xlabel() == "Throughput (queries/s)"
        assert ax.get_ylabel() == "Mean latency (s)"
        left, right = Figure(figsize=(10, 4), layout="constrained").subplots(1, 2)
        throughput_latency(sweep, left)
        throughput_latency(sweep, right, log=True)
        assert right.get_yscale() == "log"
        picture(left)

    def test_sources_of_every_kind(self, tmp_path: Path, make_sweep: MakeSweep) -> None:
        a, b = make_sweep(tmp_path / "results_a"), make_sweep(tmp_path / "results_b", step_s=0.02)
        points = [read_json(path) for path in sorted(b.iterdir())]
        for sources in (
            [a, b],
            [str(a), *points],
            {"one": a, "two": points},
            {"one": a, "two": sorted(b.iterdir())},
        ):
            assert len(markers(throughput_latency(sources))) == 12
        assert legend_labels(throughput_latency({"one": a, "two": points})) == ["one", "two"]
        assert legend_labels(throughput_latency(a)) == ["results_a"]
        assert legend_labels(throughput_latency(points)) == ["results_b"]

    def test_same_names_are_told_apart(self, tmp_path: Path, make_sweep: MakeSweep) -> None:
        sweeps = [make_sweep(tmp_path / day / "results_sim") for day in ("monday", "tuesday")]
        assert legend_labels(throughput_latency(sweeps)) == ["monday/results_sim", "tuesday/results_sim"]

    def test_one_setting_is_chosen(self, tmp_path: Path, make_sweep: MakeSweep) -> None:
        sweep = tmp_path / "results_sim"
        for tp_size in (1, 2):
            make_sweep(
                sweep, clients=(1, 2), combination=Combination("acme/tiny-1b", tp_size, 768, 1, 10, 10, 1)
            )
        assert len(markers(throughput_latency(sweep, tp_size=2))) == 2
        assert len(markers(throughput_latency(sweep, tp_size=2, model="acme/tiny-1b"))) == 2
        with pytest.raises(ConfigError, match=r"2 fit.*choose tp_size=1 or 2 from.*tp1-.*; .*tp2-"):
            throughput_latency(sweep)
        with pytest.raises(ConfigError, match=r"0 fit \(tp_size=4\)"):
            throughput_latency(sweep, tp_size=4)
        with pytest.raises(ConfigError, match="unknown setting 'tp'"):
            throughput_latency(sweep, tp=4)
        (tmp_path / "empty").mkdir()
        with pytest.raises(ConfigError, match="no results in"):
            throughput_latency(tmp_path / "empty")

    def test_plot_config(self, tmp_path: Path, make_sweep: MakeSweep) -> None:
        sweep = make_sweep(tmp_path / "results_sim", cap=8)
        latencies = sorted(read_json(path).mean_latency_s for path in sweep.iterdir())
        (sweep / "plot_config.yaml").write_text(
            "label: Mine\ncolor: '#123456'\nmarker: s\nlinestyle: '-.'\npolyfit_degree: 0\n"
            f"y_max: {latencies[3] + 0.01}\n"
        )
        axes = throughput_latency(sweep)
        assert legend_labels(axes) == ["Mine"]
        assert len(markers(axes)) == 4
        line = axes.get_lines()[0]
        assert (line.get_color(), line.get_linestyle()) == ("#123456", "-.")
        assert np.isfinite(np.asarray(line.get_xdata(), dtype=float)).sum() == 4
        assert axes.get_lines()[1].get_marker() == "s"

    def test_flat_curves_lie_within_the_frame(self, tmp_path: Path, make_sweep: MakeSweep) -> None:
        axes = throughput_latency(make_sweep(tmp_path / "results_sim", slowdown_s=0.0, old=True))
        assert (axes.get_xlim()[0], axes.get_ylim()[0]) == (0, 0)
        assert axes.get_ylim()[1] > 1.05 * max(y for _, y in markers(axes))
        assert axes.get_xlim()[1] > 1.05 * max(x for x, _ in markers(axes))

    def test_look_is_left_alone(self, tmp_path: Path, make_sweep: MakeSweep) -> None:
        import matplotlib as mpl

        before = dict(mpl.rcParams)
        throughput_latency(make_sweep(tmp_path / "results_sim"))
        assert dict(mpl.rcParams) == before


class TestPictures:
    def test_several_series(self, tmp_path: Path, make_sweep: MakeSweep, check_picture: CheckPicture) -> None:
        sweeps = [
            make_sweep(tmp_path / "results_fastgen", step_s=0.010, slowdown_s=0.0007),
            make_sweep(tmp_path / "results_vllm", cap=16, verdicts={32: "CLIENT-LIMITED"}),
            make_sweep(tmp_path / "results_old", step_s=0.02, old=True),
        ]
        axes = throughput_latency(sweeps)
        check_picture(axes, "several_series")
        foot = axes.figure.get_supxlabel()
        assert foot == (
            "Points: 1, 2, 4, 8, 16, 32 clients · shade: 95 % interval · 11 VALID, 1 CLIENT-LIMITED (hollow)"
        )

    def test_one_series(self, tmp_path: Path, make_sweep: MakeSweep, check_picture: CheckPicture) -> None:
        sweep = make_sweep(tmp_path / "results_sim", clients=(1, 2, 4, 8, 16, 32, 64), cap=16)
        check_picture(throughput_latency(sweep, model_name="Tiny 1B"), "one_series")

    def test_long_names_and_few_points(
        self, tmp_path: Path, make_sweep: MakeSweep, check_picture: CheckPicture
    ) -> None:
        model = Combination("acme-research/" + "very-long-name-" * 8 + "instruct", 2, 768, 4, 500, 128, 1)
        sweeps = [
            make_sweep(
                tmp_path / "our-build-with-chunked-prefill-and-prefix-cache-off",
                clients=(1,),
                combination=model,
            ),
            make_sweep(tmp_path / "baseline", clients=(1, 8), combination=model, step_s=0.02),
            make_sweep(tmp_path / "other", clients=(1, 8, 32), combination=model, cap=8),
        ]
        check_picture(throughput_latency(sweeps, log=True), "long_names")

    def test_a_moved_point_is_seen(
        self, tmp_path: Path, make_sweep: MakeSweep, difference_to: Callable[[Axes, str], float]
    ) -> None:
        sweep = make_sweep(tmp_path / "results_sim", clients=(1, 2, 4, 8, 16, 32, 64), cap=16)
        make_sweep(tmp_path / "results_sim", clients=(64,), cap=12)
        assert difference_to(throughput_latency(sweep, model_name="Tiny 1B"), "one_series") > 6


class TestCommand:
    @pytest.fixture
    def here(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        shutil.copytree(GOLDEN, tmp_path, dirs_exist_ok=True)
        monkeypatch.chdir(tmp_path)
        return tmp_path

    def test_all_directories_by_default(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["plot", "throughput-latency"]) == 0
        out = here / "plots" / "throughput_latency"
        stem = "acme_tiny-1b-tp1-bs768-replicas1-prompt4-gen3"
        assert sorted(path.name for path in out.iterdir()) == [f"{stem}.png", f"{stem}.svg"]
        assert f"saved plots/throughput_latency/{stem}.png" in capsys.readouterr().out
        height, width = imread(out / f"{stem}.png").shape[:2]
        assert (width, height) == (1600, 960)
        svg = (out / f"{stem}.svg").read_text()
        assert svg.startswith("<?xml")

    def test_same_results_same_bytes(self, here: Path) -> None:
        for out in ("one", "two"):
            assert (
                cli.main(["plot", "throughput_latency", "--backend", "vllm", "fastgen", "--out_dir", out])
                == 0
            )
        names = sorted(path.name for path in (here / "one").iterdir())
        assert len(names) == 2
        assert all((here / "one" / name).read_bytes() == (here / "two" / name).read_bytes() for name in names)

    def test_missing_settings_and_broken_files_are_warned_of(
        self, here: Path, make_sweep: MakeSweep, capsys: pytest.CaptureFixture[str]
    ) -> None:
        make_sweep(here / "results_sim")
        broken = here / "results_sim" / f"{STEM}-clients64.json"
        broken.write_text("{}")
        assert cli.main(["plot", "plot_th_lat", "--data-dirs", "results_sim", "results_fastgen"]) == 0
        said = capsys.readouterr()
        assert f"warning: {STEM} is not in results_fastgen" in said.err
        assert "warning: acme_tiny-1b-tp1-bs768-replicas1-prompt4-gen3 is not in results_sim" in said.err
        assert f"warning: left out: results_sim/{broken.name}: the key 'args' is missing" in said.err
        assert said.out.count("saved ") == 2

    @pytest.mark.parametrize(
        ("arguments", "code", "message"),
        [
            (
                ["throughput_latncy"],
                2,
                "unknown figure 'throughput_latncy': did you mean throughput_latency?",
            ),
            (["throughput_latency", "--log-dri", "x"], 2, "unknown flag --log-dri: did you mean --log_dir?"),
            (["throughput_latency", "--backend", "nope"], 2, "there is no results_nope/ nor results/nope/"),
            (["throughput_latency", "--log_dir", "none"], 2, "no results under none_*/"),
            (["throughput_latency", "--data_dirs", "broken"], 74, "is not JSON"),
            (["throughput_latency", "--out_dir", "a-file"], 74, "cannot write the figure"),
            (
                ["throughput_latency", "--data_dirs", "strange"],
                2,
                "unknown key 'colour'; did you mean 'color'?",
            ),
        ],
    )
    def test_errors(
        self, here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, message: str
    ) -> None:
        (here / "a-file").write_text("")
        (here / "broken").mkdir()
        (here / "broken" / f"{STEM}-clients1.json").write_text("{")
        shutil.copytree(here / "results_fastgen", here / "strange")
        (here / "strange" / "plot_config.yaml").write_text("colour: red\n")
        assert cli.main(["plot", *arguments]) == code
        assert message in capsys.readouterr().err

    def test_lists_figures(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["plot", "--help"]) == 0
        assert "throughput_latency" in capsys.readouterr().out

    @pytest.mark.parametrize("module", ["throughput_latency", "plot_th_lat"])
    def test_as_a_module(self, here: Path, module: str) -> None:
        command = [
            sys.executable,
            "-W",
            "error",
            "-m",
            f"llmbench.plots.{module}",
            "--backend",
            "aml",
            "--model_name",
            "M",
        ]
        ended = subprocess.run(command, cwd=here, capture_output=True, text=True, check=False)
        assert (ended.returncode, ended.stderr) == (0, "")
        assert ended.stdout.startswith("saved plots/throughput_latency/")


def test_intervals_of_short_runs_do_not_stretch_the_axes(make_sweep: MakeSweep, tmp_path: Path) -> None:
    directory = make_sweep(tmp_path / "results_vllm")
    for file in directory.glob("*.json"):
        stored = json.loads(file.read_text())
        interval = stored["llmbench"]["intervals"]["request_throughput"]
        interval["high"] *= 100
        file.write_text(json.dumps(stored))
    axes = throughput_latency(directory)
    greatest = max(float(line.get_xdata()[-1]) for line in axes.lines if len(line.get_xdata()))
    assert greatest < axes.get_xlim()[1] < 1.3 * greatest


def test_pyplot_is_not_loaded() -> None:
    program = "import sys, llmbench.plots.throughput_latency; assert 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
