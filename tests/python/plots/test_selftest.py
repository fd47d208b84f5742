"""The figure of a self-test: every level drawn, on given Axes or its own, from the file or the cache."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from llmbench import selftest as measured
from llmbench.ceilings import Ceiling
from llmbench.errors import ConfigError, ResultsError
from llmbench.plots.selftest import main, selftest
from llmbench.selftest import Cores, Error, Level, SelfTest


def found(streams: tuple[int, ...] = (1, 10, 1000), worst_us: float = 4000.0) -> SelfTest:
    error = Error(100, 6.0, -2.0, 5.0, worst_us, 30.0, 90.0, 1.0)
    levels = tuple(Level(each, 100, 1000.0, error, error, 0.0, 0, {}, 0.1, 0.0) for each in streams)
    machine = {"cpu": "a processor", "cores": 2, "kernel": "6.1", "llmbench": "0.1.0"}
    cores, ceiling = Cores((0,), (1,)), Ceiling(5e-6, 40e-6)
    return SelfTest(machine, False, 0, 20.0, cores, ceiling, {}, {}, {}, levels)


@pytest.mark.parametrize("worst_us", [0.5, 40.0, 4000.0, 3e6])
def test_every_level_is_drawn_within_the_axes(worst_us: float) -> None:
    axes = selftest(found(worst_us=worst_us), shown=False)
    assert [each.get_text() for each in axes.get_xticklabels()] == ["1", "10", "1000"]
    low, high = axes.get_ylim()
    assert low == -high
    assert high > worst_us
    assert 0 in axes.get_yticks()
    axes.figure.canvas.draw()


def test_given_axes_are_drawn_on_and_returned() -> None:
    axes = Figure().add_subplot()
    assert selftest(found((1,)), axes) is axes


def test_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "found.json"
    file.write_text(json.dumps(found().to_dict()))
    assert main([str(file), "--out-dir", str(tmp_path)]) == 0
    assert "selftest.png and selftest.svg" in capsys.readouterr().out
    assert (tmp_path / "selftest.png").stat().st_size > 10_000


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"ceiling": {}}'])
def test_a_file_of_something_else_is_an_error(tmp_path: Path, content: str) -> None:
    file = tmp_path / "found.json"
    file.write_text(content)
    with pytest.raises(ResultsError):
        main([str(file), "--out-dir", str(tmp_path)])


def test_from_the_cache_or_a_word_on_how_to_fill_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(ConfigError, match="run llmbench selftest"):
        main(["--out-dir", str(tmp_path)])
    monkeypatch.setattr(measured.environment, "collect", lambda: found().machine)
    measured.keep(found())
    assert main(["--out-dir", str(tmp_path)]) == 0
