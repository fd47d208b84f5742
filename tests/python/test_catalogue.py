"""`llmbench.__all__` is the public surface: complete, sorted, and cheap to import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import llmbench as lb


@pytest.mark.parametrize("name", lb.__all__)
def test_every_name_of_the_catalogue_exists(name: str) -> None:
    assert getattr(lb, name) is not None


def test_the_catalogue_is_sorted_and_complete() -> None:
    assert lb.__all__ == sorted(lb.__all__)
    assert dir(lb) == lb.__all__
    assert set(lb._HOME) == set(lb.__all__)


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="no attribute 'rnu'"):
        _ = lb.rnu


@pytest.mark.parametrize(
    "statement",
    [
        "import llmbench",
        "from llmbench.cli import main; main(['run', '--help'])",
        "from llmbench.cli import main; main(['--help'])",
    ],
)
def test_heavy_packages_load_when_first_used(statement: str) -> None:
    heavy = {"numpy", "pydantic", "matplotlib", "rich", "llmbench._core", "asyncio", "ssl", "http.client"}
    code = f"import sys\n{statement}\nprint(sorted({heavy} & set(sys.modules)), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_the_package_is_typed() -> None:
    assert Path(lb.__file__).with_name("py.typed").exists()
