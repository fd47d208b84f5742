"""A sweep over a real model on a real server: the counts must be the server's own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from servers.llamacpp import InstallError, LlamaCppServer, install
from support.command import environment

import llmbench as lb

CLIENTS = (1, 2, 4, 8)
REQUESTS = 8
"""Of each level, besides one warm-up per client."""


@pytest.fixture(scope="module")
def server() -> Iterator[LlamaCppServer]:
    try:
        python = install()
    except InstallError as error:
        pytest.skip(f"the llama.cpp server cannot be installed: {error}")
    # One thread: several wait for each other by spinning, which costs more than it brings beside other tests.
    with LlamaCppServer(slots=4, context=512, threads=1, python=python) as running:
        yield running


@dataclass(frozen=True)
class Sweep:
    directory: Path
    counted: dict[str, float]
    """By the server's own counters, during the sweep."""


@pytest.fixture(scope="module")
def sweep(server: LlamaCppServer, tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """One sweep in a directory of its own, with results and figures where a user would find them."""
    directory = tmp_path_factory.mktemp("llamacpp")
    before = server.metrics()
    run_module(
        directory,
        "run_benchmark",
        *("--backend", "openai", "--openai_api_url", server.url, "--model", server.model, "--stream"),
        *("--num_clients", *map(str, CLIENTS), "--num_requests", str(REQUESTS)),
        *("--mean_prompt_length", "12", "--mean_max_new_tokens", "8", "--max_prompt_length", "32"),
    )
    after = server.metrics()
    return Sweep(directory, {name: after[name] - before[name] for name in after if name in before})


def run_module(directory: Path, module: str, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"llmbench.{module}", *arguments],
        cwd=directory,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.integration
def test_counts_are_the_servers_own(sweep: Sweep) -> None:
    files = sorted((sweep.directory / "results_openai").glob("*.llmbench"))
    assert len(files) == len(CLIENTS)
    prompt_tokens = cached_tokens = output_tokens = 0
    for file in files:
        requests = lb.load_result(file).requests
        measured = requests[requests["id"] >= 0]
        assert len(measured) == REQUESTS
        assert (requests["outcome"] == 0).all()
        assert (requests["token_source"] == 1).all()  # the server's usage, not a guess
        assert (requests["events"] >= 1).all()
        assert (measured["output_tokens"] <= measured["asked_tokens"]).all()
        prompt_tokens += int(requests["prompt_tokens"].sum())
        cached_tokens += int(requests["cached_tokens"].clip(min=0).sum())
        output_tokens += int(requests["output_tokens"].sum())
    assert output_tokens == sweep.counted["llamacpp:tokens_predicted_total"]
    assert prompt_tokens - cached_tokens == sweep.counted["llamacpp:prompt_tokens_total"]


@pytest.mark.integration
def test_results_are_in_the_sweeps_own_format(sweep: Sweep) -> None:
    levels = []
    for file in (sweep.directory / "results_openai").glob("*.json"):
        saved = json.loads(file.read_text())
        levels.append(saved["args"]["num_clients"])
        assert len(saved["response_details"]) == REQUESTS
        for details in saved["response_details"]:
            assert len(details["token_gen_time"]) >= 1  # the first token, then the gaps
            assert details["end_time"] > details["start_time"]
    assert sorted(levels) == list(CLIENTS)


@pytest.mark.integration
def test_figure(sweep: Sweep) -> None:
    run_module(sweep.directory, "plots.throughput_latency")
    drawn = list((sweep.directory / "plots" / "throughput_latency").iterdir())
    assert {figure.suffix for figure in drawn} == {".png", ".svg"}
    for figure in drawn:
        assert figure.stat().st_size > 5000, figure
