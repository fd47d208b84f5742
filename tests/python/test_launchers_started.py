"""Every kind of server started for real, with programs that answer as it does in place of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from llmbench import launchers, server_records
from llmbench.errors import ServerStartError
from llmbench.launchers import LAUNCHERS, LaunchOptions, LaunchPlan, gpus
from llmbench.servers import Deployment
from llmbench.sweep_plan import ServerSettings

FAKE = f"""#!{sys.executable}
# Takes every flag of every server; FAKE says what becomes of it.
import http.server, os, sys, time
words = sys.argv[1:]
print("started with", *words, flush=True)
print("sees", os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True)
if os.environ.get("FAKE") == "crash":
    print("CUDA out of memory", flush=True)
    sys.exit(3)
if os.environ.get("FAKE") == "hang":
    time.sleep(600)
port = next(int(words[i + 1]) for i, word in enumerate(words) if word == "--port") if "--port" in words else next(
    int(word.partition("=")[2]) for word in words if word.startswith("--http-port=")
)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        print("asked for", self.path, flush=True)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *args):
        pass
http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""

MII = """
class _Client:
    def terminate_server(self):
        print("terminated", flush=True)
def serve(model, **options):
    import os
    if os.environ.get("FAKE") == "crash":
        raise RuntimeError("CUDA out of memory")
    if os.environ.get("FAKE") == "hang":
        import time
        time.sleep(600)
    engine = options.pop("inference_engine_config")
    print("serving", model, sorted(options.items()), engine, flush=True)
    return _Client()
"""
DEEPSPEED = """
class DeepSpeedTPConfig(dict): pass
class DSStateManagerConfig(dict): pass
class RaggedInferenceEngineConfig(dict): pass
"""


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv(server_records.STATE_VARIABLE, str(tmp_path / "state"))
    monkeypatch.setenv(gpus.VARIABLE, "0,1,2,3")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    yield
    server_records.end_all(server_records.records(), grace_s=0)


def program(directory: Path, name: str, text: str = FAKE) -> str:
    path = directory / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def interpreter_with_mii(directory: Path) -> str:
    """A Python that has DeepSpeed-MII, as far as the script asks of it."""
    site = directory / "site"
    ragged = site / "deepspeed" / "inference" / "v2" / "ragged"
    ragged.mkdir(parents=True)
    (site / "mii.py").write_text(MII)
    (site / "deepspeed" / "__init__.py").touch()
    (site / "deepspeed" / "inference" / "__init__.py").write_text(DEEPSPEED)
    (site / "deepspeed" / "inference" / "v2" / "__init__.py").touch()
    (ragged / "__init__.py").write_text(DEEPSPEED)
    described = site / "deepspeed_mii-0.3.3.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: deepspeed-mii\nVersion: 0.3.3\n")
    return program(directory, "python-mii", f'#!/bin/sh\nPYTHONPATH={site} exec {sys.executable} "$@"\n')


@dataclass(frozen=True)
class Case:
    kind: str
    binary: str
    """What it is called on PATH; "" where it is named instead."""
    asked: str
    model_path: str | None = None


CASES = (
    Case("vllm", "", "/health"),
    Case("sglang", "", "/health"),
    Case("tgi", "text-generation-launcher", "/health"),
    Case("triton", "tritonserver", "/v2/health/ready", "/repository"),
    Case("llamacpp", "llama-server", "/health"),
    Case("transformers", "", "/health"),
    Case("command", "", "/v1/models"),
    Case("fastgen", "", "/health"),
)


def planned(case: Case, directory: Path, *, tp: int = 1, replicas: int = 1, **more: Any) -> LaunchPlan:
    options: dict[str, Any] = {"model_path": case.model_path, **more}
    backend = "openai" if case.kind == "command" else LAUNCHERS[case.kind].backends[0]
    if case.kind == "fastgen":
        options["python"] = interpreter_with_mii(directory)
    elif case.kind == "command":
        options["command"] = f"{program(directory, 'own')} --port {{port}} --model {{model}}"
    elif case.binary:
        program(directory, case.binary)
    else:
        options["binary"] = program(directory, f"fake-{case.kind}")
    if case.kind != "command":
        options["kind"] = case.kind
    launch = launchers.prepare(backend, LaunchOptions(**options))
    return launch.plan(ServerSettings("org/m", tp, 256, replicas))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.kind)
def test_it_starts_gets_ready_and_ends(tmp_path: Path, case: Case) -> None:
    plan = planned(case, tmp_path)
    with Deployment.start(plan.commands, tmp_path, "server") as deployment:
        deployment.wait_ready(60)
        assert deployment.death() == ""
        processes = server_records.records()[0].processes()
        assert len(processes) >= 2  # with its guard
    told = (tmp_path / "server.log").read_text()
    assert "org/m" in told or case.kind in ("triton", "transformers")
    if case.kind == "fastgen":
        assert "('quantization_mode', None), ('replica_num', 1), ('tensor_parallel', 1)" in told
        assert "{'max_ragged_batch_size': 256, 'max_ragged_sequence_count': 256}" in told
        assert told.endswith("terminated\n")
    else:
        assert f"asked for {case.asked}" in told
        assert "sees 0\n" in told
    assert not any(Path(f"/proc/{pid}").exists() for pid in processes)
    assert server_records.records() == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.kind)
def test_one_that_crashes_at_its_start_is_quoted(tmp_path: Path, case: Case) -> None:
    plan = planned(case, tmp_path, env={"FAKE": "crash"})
    expected = pytest.raises(
        ServerStartError, match=r"(?s)ended with code [13] before it was ready.*out of memory"
    )
    with Deployment.start(plan.commands, tmp_path, "server") as deployment, expected:
        deployment.wait_ready(60)
    assert server_records.records() == []


@pytest.mark.parametrize("case", [CASES[0], CASES[7]], ids=lambda case: case.kind)
def test_one_that_hangs_is_given_up_and_ended(tmp_path: Path, case: Case) -> None:
    plan = planned(case, tmp_path, env={"FAKE": "hang"})
    expected = pytest.raises(ServerStartError, match=r"was not ready after 0\.3 s .*--server_timeout")
    with Deployment.start(plan.commands, tmp_path, "server") as deployment, expected:
        deployment.wait_ready(0.3)
    assert server_records.records() == []


def test_replicas_see_gpus_of_their_own(tmp_path: Path) -> None:
    plan = planned(CASES[0], tmp_path, tp=2, replicas=2)
    with Deployment.start(plan.commands, tmp_path, "server") as deployment:
        deployment.wait_ready(60)
        assert len(set(deployment.urls)) == 2
    seen = [(tmp_path / f"server-{number}.log").read_text() for number in (1, 2)]
    assert ["sees 0,1\n" in seen[0], "sees 2,3\n" in seen[1]] == [True, True]


def test_the_quantisation_of_mii(tmp_path: Path) -> None:
    launch = launchers.prepare(
        "fastgen-rest",
        LaunchOptions(
            python=interpreter_with_mii(tmp_path), deployment="d", args=("max_length=4096", "dtype=fp16")
        ),
    )
    plan = launch.plan(ServerSettings("org/m", 2, 512, 2, fp6=True))
    with Deployment.start(plan.commands, tmp_path, "server") as deployment:
        deployment.wait_ready(60)
    told = (tmp_path / "server.log").read_text()
    port = int(plan.urls[0].rpartition(":")[2])
    for option in (
        ("deployment_name", "d"),
        ("device_map", [[0, 1], [2, 3]]),
        ("dtype", "fp16"),
        ("enable_restful_api", True),
        ("max_length", 4096),
        ("quantization_mode", "wf6af16"),
        ("replica_num", 2),
        ("restful_api_port", port),
        ("tensor_parallel", 2),
    ):
        assert repr(option) in told
    assert launch.program.versions["deepspeed-mii"] == "0.3.3"
