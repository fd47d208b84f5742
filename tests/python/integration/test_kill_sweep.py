"""A sweep that is killed at any moment, and started again, ends with all its results and no server.

Ten moments here; `make kills` takes fifty.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from support.killed_sweep import KilledSweep

CHAINS, KILLS = 2, 5
"""The sweep that goes on after one kill is the victim of the next."""


@pytest.fixture(scope="module")
def span_s(tmp_path_factory: pytest.TempPathFactory) -> float:
    return KilledSweep(tmp_path_factory.mktemp("alone")).left_alone_s()


@pytest.mark.integration
@pytest.mark.parametrize("seed", range(CHAINS))
def test_killed_at_random_moments(tmp_path: Path, span_s: float, seed: int) -> None:
    KilledSweep(tmp_path).chain(seed, span_s, KILLS)
