"""Puts tests/support and the benchmark programs within reach of every test of this folder."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
for name in ("tests", "benchmarks", "python"):
    if str(ROOT / name) not in sys.path:
        sys.path.append(str(ROOT / name))

from support.command import Command  # noqa: E402 - found on the path set above


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Runs llmbench in an empty directory."""
    return Command(tmp_path)
