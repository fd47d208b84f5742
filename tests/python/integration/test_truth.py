"""The engine against the simulator's own log: every token seen, in the order and number it was written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from harness import run_command, simulator
from support.command import Command

from llmbench.results import load_result
from llmbench.truth import compare, read_truth


@pytest.mark.integration
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("streams", [1, 50])
def test_every_token_is_counted(command: Command, tmp_path: Path, streams: int, workers: int) -> None:
    log = tmp_path / "truth.jsonl"
    requests, tokens = max(4, 2 * streams), 32
    with simulator(None, "--fixed", "--ttft-ms", "30", "--itl-ms", "5", "--truth", str(log)) as url:
        done = command(
            *run_command(url, tmp_path)[3:],
            *("--num-prompts", str(requests), "--max-concurrency", str(streams), "--ignore-eos"),
            *("--random-input-len", "8", "--random-output-len", str(tokens), "--workers", str(workers)),
        )
        assert done.returncode == 0, done.stderr
    compared = compare(load_result(tmp_path / "run.llmbench"), read_truth(log))
    assert len(compared.ttft_ms) == requests
    assert len(compared.gaps_ms) == requests * (tokens - 1)
    # Generous: the point is that the two clocks are one, not how fast this machine is today.
    assert abs(np.median(compared.ttft_errors_ms)) < 20
    assert abs(np.median(compared.gap_errors_ms)) < 2
