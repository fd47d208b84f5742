"""A sweep over a real model on a real server: the counts must be the server's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
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
    with LlamaCppServer(slots=4, context=512, threads=os.cpu_count() or 1, python=python) as running:
        yield running


@pytest.mark.integration
def test_sweep(server: LlamaCppServer, tmp_path: Path) -> None:
    before = server.metrics()
    arguments = (
        *("--backend", "openai", "--openai_api_url", server.url, "--model", server.model, "--stream"),
        *("--num_clients", *map(str, CLIENTS), "--num_requests", str(REQUESTS)),
        *("--mean_prompt_length", "12", "--mean_max_new_tokens", "8", "--max_prompt_length", "32"),
        *("--out_json_dir", str(tmp_path / "results")),
    )
    done = subprocess.run(
        [sys.executable, "-m", "llmbench.run_benchmark", *arguments],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    after = server.metrics()

    files = sorted((tmp_path / "results_openai").glob("*.llmbench"))
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

    def counted(name: str) -> int:
        return round(after[f"llamacpp:{name}"] - before[f"llamacpp:{name}"])

    assert output_tokens == counted("tokens_predicted_total")
    assert prompt_tokens - cached_tokens == counted("prompt_tokens_total")

    levels = {}
    for file in sorted((tmp_path / "results_openai").glob("*.json")):
        saved = json.loads(file.read_text())
        levels[saved["args"]["num_clients"]] = saved
        assert len(saved["response_details"]) == REQUESTS
        for details in saved["response_details"]:
            assert len(details["token_gen_time"]) >= 1  # the first token, then the gaps
            assert details["end_time"] > details["start_time"]
    assert sorted(levels) == list(CLIENTS)


@pytest.mark.integration
def test_figure(tmp_path: Path, server: LlamaCppServer) -> None:
    arguments = (
        *("--backend", "openai", "--openai_api_url", server.url, "--model", server.model, "--stream"),
        *("--num_clients", "1", "2", "4", "--num_requests", "4", "--warmup", "0"),
        *("--mean_prompt_length", "8", "--mean_max_new_tokens", "4"),
    )
    for module, rest in (("run_benchmark", arguments), ("plots.throughput_latency", ())):
        done = subprocess.run(
            [sys.executable, "-m", f"llmbench.{module}", *rest],
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    drawn = list((tmp_path / "plots" / "throughput_latency").iterdir())
    assert {figure.suffix for figure in drawn} == {".png", ".svg"}
    for figure in drawn:
        assert figure.stat().st_size > 5000, figure
