"""A sweep that is killed at any moment, and started again, ends with all its results and no server.

Ten moments here; `make kills` takes fifty.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from support.killed_sweep import KilledSweep

KILLS = 5


@pytest.fixture(scope="module")
def span_s(tmp_path_factory: pytest.TempPathFactory) -> float:
    return KilledSweep(tmp_path_factory.mktemp("alone")).left_alone_s()


@pytest.mark.integration
@pytest.mark.parametrize("seed", [1, 2])
def test_killed_at_random_moments(tmp_path: Path, span_s: float, seed: int) -> None:
    chance, killed = random.Random(seed), 0
    for sweep in range(4 * KILLS):  # one that came to its end makes room for another
        directory = tmp_path / str(sweep)
        directory.mkdir()
        killed += KilledSweep(directory).chain(chance, span_s, KILLS - killed)
        if killed == KILLS:
            return
    pytest.fail(f"only {killed} kills came before the end of their sweep")
