"""Where the results of sweeps are found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmbench.combination import Combination
from llmbench.errors import ConfigError
from llmbench.result_dirs import find_points, result_dirs
from llmbench.sweep_file import ResponseDetail, write_json

GOLDEN = Path(__file__).parents[1] / "golden" / "sweep"


def write(directory: Path, clients: int) -> None:
    combination = Combination("m", 1, 1, 1, 1, 1, clients)
    detail = ResponseDetail(1000.0, 1001.0, 10, 3)
    path = directory / combination.file_name
    write_json(path, combination=combination, args={}, details=[detail], llmbench={}, duration_s=1.0)


def test_found_by_backend_in_both_forms() -> None:
    assert result_dirs(GOLDEN / "results", backends=["fastgen", "vllm"]) == [
        GOLDEN / "results_fastgen",
        GOLDEN / "results" / "vllm",
    ]


def test_all_without_a_name() -> None:
    assert result_dirs(GOLDEN / "results") == [
        GOLDEN / "results_aml",
        GOLDEN / "results_fastgen",
        GOLDEN / "results" / "vllm",
    ]


def test_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert result_dirs(data_dirs=[GOLDEN / "results_aml"]) == [GOLDEN / "results_aml"]
    monkeypatch.chdir(GOLDEN)
    assert result_dirs("results", data_dirs=["results_aml", "vllm", "results_aml"]) == [
        Path("results_aml"),
        Path("results/vllm"),
    ]
    assert result_dirs() == [Path("results_aml"), Path("results_fastgen"), Path("results/vllm")]


def test_flat(tmp_path: Path) -> None:
    write(tmp_path / "runs", 1)
    assert result_dirs(tmp_path / "runs") == [tmp_path / "runs"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"backends": ["vlm"]}, r"--backend vlm: .*results_vlm/ nor .*results/vlm/; .*results_fastgen"),
        ({"data_dirs": ["nowhere"]}, r"--data_dirs: there is no directory nowhere"),
    ],
)
def test_what_is_not_there(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        result_dirs(GOLDEN / "results", **asked)


def test_nothing_at_all(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="run_benchmark first"):
        result_dirs(tmp_path / "results")


def test_points_in_order_other_files_passed_over(tmp_path: Path) -> None:
    for clients in (16, 2, 1):
        write(tmp_path, clients)
    (tmp_path / "plot_config.yaml").write_text("")
    (tmp_path / "other.json").write_text("{}")
    (tmp_path / "m-tp1-bs1-replicas1-prompt1-gen1-clients4.llmbench").write_text("")
    found = find_points([tmp_path])
    assert [file.combination.num_clients for file in found] == [1, 2, 16]
    assert [file.read().combination.num_clients for file in found] == [1, 2, 16]
