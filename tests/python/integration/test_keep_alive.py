"""Connections that the server closes when it likes: benchmarks/keepalive_race.py, sixty times as fast."""

from __future__ import annotations

import subprocess
import sys

import pytest
from support.command import ROOT, environment


@pytest.mark.parametrize("transport", ["plain", "tls"])
def test_every_request_gets_its_own_bytes(transport: str) -> None:
    program = ROOT / "benchmarks" / "keepalive_race.py"
    done = subprocess.run(
        [sys.executable, str(program), "--rate", "60", "--seconds", "5", "--only", transport],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    _, _, row = done.stdout.strip().splitlines()[-3:]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    _, _, own, _, closed_while_idle, dropped, written_twice = cells
    assert own == "300 of 300"
    # The run has met what it is about.
    assert int(closed_while_idle) > 10
    assert int(dropped) > 3
    assert int(written_twice) >= int(dropped)
