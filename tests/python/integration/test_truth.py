"""The engine against the simulator's own log: every token seen, in the order and number it was written."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest
from accuracy.truth import join, read_truth
from harness import run_command, simulator
from support.command import Command


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
    errors = join(tmp_path / "run.llmbench", read_truth(log), tokens)
    assert len(errors.ttft) == requests
    assert len(errors.itl) == requests * (tokens - 1)
    # Generous: the point is that the two clocks are one, not how fast this machine is today.
    assert abs(statistics.median(errors.ttft)) < 20
    assert abs(statistics.median(errors.itl)) < 2
