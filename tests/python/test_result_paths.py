"""Where a run's files go."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmbench import result_paths
from llmbench.errors import ConfigError, ResultsError


def claim(directory: Path, filename: str | None = None, default: str = "a") -> Path:
    with result_paths.claimed(directory, filename, default) as path:
        path.write_bytes(b"rows")
    return path


@pytest.mark.parametrize("name", ["x", "x.llmbench", "x.json"])
def test_an_ending_is_left_out_and_what_is_there_replaced(tmp_path: Path, name: str) -> None:
    assert claim(tmp_path, name) == claim(tmp_path, name) == tmp_path / "x.llmbench"
    assert result_paths.json_beside(tmp_path / "x.llmbench") == tmp_path / "x.json"


def test_default_names_never_collide(tmp_path: Path) -> None:
    assert [claim(tmp_path).name for _ in range(3)] == ["a.llmbench", "a-2.llmbench", "a-3.llmbench"]


@pytest.mark.parametrize("content", [b"", b"rows"])
def test_a_name_is_given_up_by_a_run_that_wrote_nothing(tmp_path: Path, content: bytes) -> None:
    claimed = result_paths.claimed(tmp_path, None, "a")
    path = claimed.__enter__()
    path.write_bytes(content)
    claimed.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert path.exists() == bool(content)


def test_names_are_safe() -> None:
    assert result_paths.name_of("a b", None, "../m/x", "") == "a_b-m_x"
    assert len(result_paths.name_of("m" * 500)) == 80


@pytest.mark.parametrize("name", ["/", "a\0b", ".json"])
def test_names_that_are_none(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="is no file name"):
        claim(tmp_path, name)


@pytest.mark.parametrize(
    ("options", "flag"), [({}, "--result-dir"), ({"flag": "--out_json_dir"}, "--out_json_dir")]
)
def test_a_directory_that_cannot_be(tmp_path: Path, options: dict[str, str], flag: str) -> None:
    (tmp_path / "file").touch()
    directory = tmp_path / "file" / "results"
    told = f"cannot write results to {directory}: Not a directory; choose another {flag}"
    with pytest.raises(ResultsError) as caught:
        result_paths.check_directory(directory, **options)
    assert str(caught.value) == told
