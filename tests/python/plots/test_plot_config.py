"""plot_config.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmbench.errors import ConfigError
from llmbench.plots.plot_config import PlotConfig, read_plot_config


def read(directory: Path, text: str) -> PlotConfig:
    (directory / "plot_config.yaml").write_text(text)
    return read_plot_config(directory)


WHOLE = 'label: vLLM\ncolor: purple\nmarker: s\nlinestyle: ":"\npolyfit_degree: 0\nx_max: 30\ny_max: 7.5\n'


def test_every_key(tmp_path: Path) -> None:
    whole = PlotConfig("vLLM", "purple", "s", ":", 0, 30, 7.5)
    assert read(tmp_path, WHOLE) == whole
    assert read(tmp_path, "config:\n" + "".join(f"  {line}\n" for line in WHOLE.splitlines())) == whole


@pytest.mark.parametrize("text", ["", "# nothing\n", "config:\n", "label:\n", "label: ~\n"])
def test_every_key_may_be_left_out(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text) == PlotConfig()


def test_no_file(tmp_path: Path) -> None:
    assert read_plot_config(tmp_path) == PlotConfig()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("colour: red", "unknown key 'colour'; did you mean 'color'?"),
        ("polyfit_degre: 2", "did you mean 'polyfit_degree'?"),
        ("zzz: 1", "unknown key 'zzz'; the keys are label, color"),
        ("7: 1", "unknown key 7"),
        ("label: 5", "label is 5; it must be a text"),
        ("color: blurple", "color is 'blurple'; it must be a colour"),
        ("marker: oo", "marker is 'oo'; it must be one of matplotlib's markers"),
        ("linestyle: dotty", "linestyle is 'dotty'; it must be one of - --"),
        ("polyfit_degree: -1", "polyfit_degree is -1; it must be a whole number"),
        ("polyfit_degree: 2.5", "polyfit_degree is 2.5"),
        ("polyfit_degree: true", "polyfit_degree is True"),
        ("x_max: 0", "x_max is 0; it must be a number over 0"),
        ("y_max: .inf", "y_max is inf"),
        ("y_max: tall", "y_max is 'tall'"),
        ("- label", "holds a list"),
        ("label: [a", "is not YAML"),
        ("label: a\nlabel: b", "is not YAML (line 2)"),
        ("label: !!python/object:os.system x", "is not YAML"),
    ],
)
def test_errors_name_the_file_and_the_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert message in str(caught.value)
    assert str(tmp_path / "plot_config.yaml") in str(caught.value)
