"""What all figures of sweeps have in common: their flags, their modules and their old names."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure

from llmbench import cli
from llmbench.plots import FIGURES, OLD_NAMES, RESULT_FIGURES, SWEEP_FIGURES, style

GOLDEN = Path(__file__).parents[2] / "golden" / "sweep"
FEWER: dict[str, list[str]] = {"effective_throughput": ["--sla_gen_tokens_per_sec", "4"]}
"""Flags that keep a figure to few files, for the tests to be quick."""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(GOLDEN, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_figure_is_a_function_of_its_module() -> None:
    for name in FIGURES:
        module = importlib.import_module(f"llmbench.plots.{name}")
        assert callable(getattr(module, name))
        assert callable(module.main)
    assert set(FIGURES) == set(SWEEP_FIGURES) | set(RESULT_FIGURES)


@pytest.mark.parametrize(("old", "new"), OLD_NAMES.items())
def test_old_names_are_modules(old: str, new: str) -> None:
    module = importlib.import_module(f"llmbench.plots.{old}")
    assert getattr(module, new) is getattr(importlib.import_module(f"llmbench.plots.{new}"), new)
    assert sorted(module.__all__) == sorted(["main", new])


@pytest.mark.parametrize("name", SWEEP_FIGURES)
def test_flags_in_common(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plot", name, "--help"]) == 0
    said = capsys.readouterr().out
    assert all(flag in said for flag in ("--log_dir", "--backend", "--data_dirs", "--out_dir"))
    assert f"./plots/{name}" in said


@pytest.mark.parametrize("name", [name for name in (*SWEEP_FIGURES, *OLD_NAMES) if "repl" not in name])
def test_as_a_module_on_old_results(here: Path, name: str) -> None:
    figure = OLD_NAMES.get(name, name)
    command = [sys.executable, "-W", "error", "-m", f"llmbench.plots.{name}", "--backend", "fastgen", "vllm"]
    command += FEWER.get(figure, [])
    env = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).resolve().parents[2])}
    ended = subprocess.run(command, cwd=here, env=env, capture_output=True, text=True, check=False)
    assert ended.returncode == 0
    assert all("does not say how many tokens" in line for line in ended.stderr.splitlines())
    assert ended.stdout.startswith(f"saved plots/{figure}/")
    assert not list((here / "plots" / figure).glob("*[{}]*"))  # a pattern that was not filled in


@pytest.mark.parametrize("name", ["throughput_latency", "tp_sizes"])
def test_results_without_token_times(here: Path, name: str) -> None:
    assert cli.main(["plot", name, "--backend", "aml"]) == 0


def test_one_set_of_old_results_has_no_scaling(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plot", "replica_scaling"]) == 2
    assert "two numbers of replicas" in capsys.readouterr().err


@pytest.mark.parametrize("name", SWEEP_FIGURES)
def test_same_results_same_bytes(here: Path, name: str) -> None:
    if name == "replica_scaling":
        _, second = sorted((here / "results_fastgen").iterdir())
        second = second.rename(second.with_name(second.name.replace("replicas1", "replicas2")))
        second.write_text(second.read_text().replace('"num_replicas": 1', '"num_replicas": 2'))
    for out in ("one", "two"):
        command = ["plot", name, "--backend", "fastgen", "--out_dir", out, *FEWER.get(name, [])]
        assert cli.main(command) == 0
    names = sorted(path.name for path in (here / "one").iterdir())
    assert names == sorted(path.name for path in (here / "two").iterdir())
    assert all((here / "one" / each).read_bytes() == (here / "two" / each).read_bytes() for each in names)


@pytest.mark.parametrize("width", [4.0, 8.0])
def test_a_long_caption_stays_in_the_figure(width: float) -> None:
    with style.look():
        axes = style.new_axes(width, shown=False)
        style.caption(axes, " · ".join(["openai-llmbench-sim-20261123-214130: 40 requests, VALID"] * 3))
    figure = axes.figure
    assert isinstance(figure, Figure)
    figure.draw_without_rendering()
    (text,) = (each for each in figure.texts if "VALID" in each.get_text())
    assert text.get_window_extent().x1 <= figure.bbox.x1


@pytest.mark.parametrize("interactive", [False, True])
def test_what_a_notebook_shows_at_once_it_goes_on_showing(interactive: bool) -> None:
    before = mpl.is_interactive()
    try:
        mpl.interactive(interactive)
        with style.look():
            assert mpl.is_interactive() == interactive
        assert mpl.is_interactive() == interactive
        with style.look():
            mpl.interactive(True)  # as the inline backend does when the first figure is made
        assert mpl.is_interactive()
    finally:
        mpl.interactive(before)
