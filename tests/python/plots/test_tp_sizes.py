"""Latency against TFLOPs per GPU."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from matplotlib.axes import Axes

from llmbench import cli
from llmbench.combination import Combination
from llmbench.errors import ConfigError
from llmbench.plots.tp_sizes import tflops_per_gpu, tp_sizes
from llmbench.sweep_file import read_json

GOLDEN = Path(__file__).parents[2] / "golden" / "sweep"
CheckPicture = Callable[[Axes, str], None]
MakeSweep = Callable[..., Path]


def over_tp(make_sweep: MakeSweep, directory: Path, model: str = "acme/tiny-1b", **options: object) -> Path:
    for tp, step in ((1, 0.012), (2, 0.007), (4, 0.0045)):
        setting = Combination(model, tp, 768, 1, 2600, 60, 1)
        make_sweep(directory, combination=setting, step_s=step, slowdown_s=step / 12, **options)
    return directory


def points(axes: Axes) -> list[tuple[float, float]]:
    lines = [line for line in axes.get_lines() if line.get_marker() not in ("None", None)]
    return [(float(x), float(y)) for line in lines for x, y in line.get_xydata()]


def legend(axes: Axes) -> list[str]:
    found = axes.get_legend()
    assert found is not None
    return [text.get_text() for text in found.get_texts()]


@pytest.mark.parametrize(("tp", "replicas"), [(1, 1), (2, 1), (2, 4)])
def test_flops_by_hand(tmp_path: Path, make_sweep: MakeSweep, tp: int, replicas: int) -> None:
    setting = Combination("acme/tiny-1b", tp, 768, replicas, 2600, 60, 1)
    (path,) = make_sweep(tmp_path / "results_sim", clients=(8,), combination=setting).iterdir()
    point = read_json(path)
    # Every query has 2600 + 60 tokens.
    wanted = 2 * 1e9 * 2660 * point.queries_per_s / (tp * replicas) / 1e12
    assert tflops_per_gpu(point, 1e9) == pytest.approx(wanted)


def test_files_without_token_counts_take_the_means() -> None:
    for path in (GOLDEN / "results_aml").iterdir():
        point = read_json(path)
        assert point.tokens_per_s is None
        assert tflops_per_gpu(point, 1e9) == pytest.approx(2 * 7 * point.queries_per_s / 1000)


class TestDrawing:
    def test_a_series_per_tp_size(self, tmp_path: Path, make_sweep: MakeSweep) -> None:
        axes = tp_sizes(over_tp(make_sweep, tmp_path / "results_sim"))
        assert legend(axes) == ["TP 1", "TP 2", "TP 4"]
        assert len(points(axes)) == 18
        assert axes.get_xlabel() == "Throughput per GPU (TFLOP/s)"
        assert axes.get_title(loc="left") == "acme/tiny-1b"
        assert axes.texts[0].get_text() == "Prompt: 2600 tokens · Generation: 60 tokens"
        assert axes.figure.get_supxlabel().startswith(
            "2 × 1 B parameters × tokens/s ÷ GPUs · points: 1, 2, 4"
        )

    def test_directories_keep_the_colours_of_tp_sizes(self, tmp_path: Path, make_sweep: MakeSweep) -> None:
        a, b = (over_tp(make_sweep, tmp_path / name) for name in ("results_a", "results_b"))
        axes = tp_sizes([a, b])
        assert legend(axes) == [f"results_{name} · TP {tp}" for name in "ab" for tp in (1, 2, 4)]
        handles = axes.get_legend().legend_handles  # type: ignore[union-attr]
        looks = [(line.get_color(), line.get_marker(), line.get_linestyle()) for line in handles]  # type: ignore[union-attr]
        assert len(set(looks)) == 6
        assert [color for color, _, _ in looks[:3]] == [color for color, _, _ in looks[3:]]

    def test_plot_config(self, tmp_path: Path, make_sweep: MakeSweep) -> None:
        sweep = over_tp(make_sweep, tmp_path / "results_sim")
        (sweep / "plot_config.yaml").write_text("marker: s\ncolor: red\npolyfit_degree: 0\ny_max: 1.5\n")
        axes = tp_sizes(sweep)
        assert {line.get_marker() for line in axes.get_lines()} == {"s", "None"}
        # One colour for all TP sizes would hide what the figure is about.
        assert len({line.get_color() for line in axes.get_lines()}) == 3
        assert max(y for _, y in points(axes)) <= 1.5

    def test_old_files_without_streaming(self) -> None:
        assert len(points(tp_sizes(GOLDEN / "results_aml"))) == 1

    def test_parameters_may_be_given(self, tmp_path: Path, make_sweep: MakeSweep) -> None:
        sweep = over_tp(make_sweep, tmp_path / "results_sim", "acme/gpt2-xl")
        with pytest.raises(ConfigError, match="give them with --parameters"):
            tp_sizes(sweep)
        once, twice = (points(tp_sizes(sweep, parameters=value))[0] for value in (1.5e9, 3e9))
        assert twice == (pytest.approx(2 * once[0]), once[1])

    def test_a_mixture_of_experts_counts_its_active_parameters(
        self, tmp_path: Path, make_sweep: MakeSweep
    ) -> None:
        axes = tp_sizes(over_tp(make_sweep, tmp_path / "results_sim", "mistralai/Mixtral-8x7B-v0.1"))
        assert axes.figure.get_supxlabel().startswith("2 × 12.9 B parameters")

    def test_picture(self, tmp_path: Path, make_sweep: MakeSweep, check_picture: CheckPicture) -> None:
        fast = over_tp(make_sweep, tmp_path / "results_fastgen")
        slow = over_tp(make_sweep, tmp_path / "results_vllm", cap=8, verdicts={1: "INVALID"})
        check_picture(tp_sizes([fast, slow]), "tp_sizes")


class TestCommand:
    def test_files(self, tmp_path: Path, make_sweep: MakeSweep) -> None:
        sweep, out = over_tp(make_sweep, tmp_path / "results_sim"), tmp_path / "out"
        for replicas, bs in ((2, 768), (2, 256)):
            setting = Combination("acme/tiny-1b", 1, bs, replicas, 2600, 60, 1)
            make_sweep(sweep, clients=(1, 2), combination=setting)
        assert cli.main(["plot", "plot_tp_sizes", "--data_dirs", str(sweep), "--out_dir", str(out)]) == 0
        assert {path.stem for path in out.glob("*.png")} == {
            "tp_sizes_acme_tiny-1b_tp1_2_4_p2600g60r1",
            "tp_sizes_acme_tiny-1b_tp1_p2600g60r2_b256",
            "tp_sizes_acme_tiny-1b_tp1_p2600g60r2_b768",
        }

    def test_models_that_do_not_tell(
        self, tmp_path: Path, make_sweep: MakeSweep, capsys: pytest.CaptureFixture[str]
    ) -> None:
        sweep, out = over_tp(make_sweep, tmp_path / "results_sim", "acme/gpt2-xl"), tmp_path / "out"
        command = ["plot", "tp_sizes", "--data_dirs", str(sweep), "--out_dir", str(out)]
        assert cli.main(command) == 2
        assert "gpt2-xl does not tell how many parameters it has" in capsys.readouterr().err
        assert cli.main([*command, "--parameters", "1.56B"]) == 0
        over_tp(make_sweep, sweep)
        assert cli.main(command) == 0
        said = capsys.readouterr()
        assert "warning: left out: the name acme/gpt2-xl" in said.err
        assert said.out.count("saved") == 2
        assert cli.main([*command, "--parameters", "many"]) == 2
        assert "'many' is not a number of parameters, such as 7B" in capsys.readouterr().err

    def test_what_lacks_the_llmbench_object(self, tmp_path: Path, make_sweep: MakeSweep) -> None:
        sweep = over_tp(make_sweep, tmp_path / "results_fastgen")
        for path in sweep.iterdir():
            data = json.loads(path.read_text())
            del data["llmbench"]
            for row in data["response_details"]:
                row["token_gen_time"] = []
            path.write_text(json.dumps(data))
        assert len(points(tp_sizes(sweep))) == 18
