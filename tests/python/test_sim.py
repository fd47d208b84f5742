"""`llmbench sim` and `llmbench.sim.Server`: the simulated server as a child process."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import llmbench as lb
from llmbench import _core, sim
from llmbench.cli import main
from llmbench.cli.sim import parser
from llmbench.errors import ConfigError, LlmbenchError

DEADLINE_S = 20.0


def ask(url: str, path: str, body: dict[str, Any] | None = None, **headers: str) -> tuple[int, str]:
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=DEADLINE_S)
    try:
        content = None if body is None else json.dumps(body)
        method = "GET" if content is None else "POST"
        connection.request(method, path, content, {"Content-Type": "application/json", **headers})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def events(answer: str) -> list[str]:
    return [line.removeprefix("data: ") for line in answer.splitlines() if line.startswith("data: ")]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while alive(pid):
        assert time.monotonic() < deadline, f"process {pid} still runs"
        time.sleep(0.02)


def test_a_server_streams_and_tells_the_truth(tmp_path: Path) -> None:
    truth = tmp_path / "truth.jsonl"
    before = time.monotonic_ns()
    with sim.Server(ttft_ms=20, itl_ms=5, truth=truth) as server:
        assert server.running
        assert server.urls == [server.url] == [f"http://127.0.0.1:{server.ports[0]}"]
        request = {"prompt": "one two three", "max_tokens": 4, "stream": True}
        status, answer = ask(server.url, "/v1/completions", request, **{"X-Request-Id": "r-1"})
        assert status == 200
        assert events(answer)[-1] == "[DONE]"
        assert [json.loads(event)["id"] for event in events(answer)[:-1]] == ["cmpl-r-1"] * 4
    after = time.monotonic_ns()
    assert not server.running
    (row,) = [json.loads(line) for line in truth.read_text().splitlines()]
    assert row["request_id"] == "r-1"
    assert row["status"] == 200
    assert row["complete"]
    assert row["tokens"] == [1, 1, 1, 1]
    assert before < row["received_ns"] < row["event_ns"][0] < row["event_ns"][-1] < after
    planned = [row["received_ns"] + 20_000_000 + i * 5_000_000 for i in range(4)]
    assert all(sent >= due for sent, due in zip(row["event_ns"], planned, strict=True))


def test_the_batching_model_is_the_default() -> None:
    with lb.sim.Server(model="meta-llama/Llama-2-7b-hf", replicas=2, speed=20) as server:
        assert len(set(server.ports)) == 2
        for url in server.urls:
            models = json.loads(ask(url, "/v1/models")[1])["data"]
            assert (models[0]["id"], models[0]["max_model_len"]) == ("meta-llama/Llama-2-7b-hf", 4096)
            status, answer = ask(url, "/v1/completions", {"prompt": "a b", "max_tokens": 5})
            assert (status, json.loads(answer)["usage"]["completion_tokens"]) == (200, 5)
            assert 'finished_reason="length"} 1.0' in ask(url, "/metrics")[1]


@pytest.mark.parametrize(
    ("dialect", "path", "request_", "piece"),
    [
        ("tgi", "/generate", {"inputs": "a", "parameters": {"max_new_tokens": 1}}, '"generated_text":" '),
        (
            "ollama",
            "/api/generate",
            {"model": "m", "prompt": "a", "options": {"num_predict": 1}},
            '"done":true',
        ),
        ("jetstream-v1", "/v1/generate", {"text_content": {"text": "a"}, "max_tokens": 1}, '"streamContent"'),
        (
            "openai",
            "/v1/messages",
            {"model": "m", "max_tokens": 1, "messages": [{"content": "a"}]},
            "max_tokens",
        ),
    ],
)
def test_it_speaks_dialects(dialect: str, path: str, request_: dict[str, Any], piece: str) -> None:
    with sim.Server(ttft_ms=0, itl_ms=0, dialect=dialect) as server:
        status, answer = ask(server.url, path, request_)
        assert (status, piece in answer) == (200, True), answer


def test_a_key_is_asked_for_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIM_TEST_KEY", "very-secret")
    with sim.Server(ttft_ms=0, api_key_env="SIM_TEST_KEY") as server:
        assert ask(server.url, "/v1/models")[0] == 401
        assert ask(server.url, "/v1/models", Authorization="Bearer very-secret")[0] == 200
        assert b"very-secret" not in Path(f"/proc/{server.pid}/cmdline").read_bytes()


def test_options_that_are_off_or_none_are_passed_on() -> None:
    with sim.Server(ttft_ms=0, itl_ms=0, send_done=False, gpu=None) as server:
        answer = ask(server.url, "/v1/completions", {"prompt": "a", "max_tokens": 2, "stream": True})[1]
        assert len(events(answer)) == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"ttft_mss": 3}, "'ttft_mss' is unknown; did you mean 'ttft_ms'?"),
        ({"port": 99999}, "'port' is '99999'"),
        ({"dialect": "latin"}, "it takes openai, vllm-generate, tgi,"),
        ({"extras": "numbers,words"}, "any of duplicates, numbers or strings, separated by commas"),
        ({"role": "sometimes"}, "it takes auto, none, early, late, null, first or every"),
        ({"fixed": False, "ttft_ms": 3}, "are for fixed mode"),
        ({"model": "meta-llama/Llama-2-70b-hf"}, "use tensor_parallel_size 2 or more"),
        ({"model": "nameless"}, "give 'parameters_b' too"),
        ({"gpu": "H1000"}, "Did you mean 'H100'?"),
        ({"faults": "429"}, "write KIND=PROBABILITY"),
        ({"api_key_env": "NO_SUCH_VARIABLE"}, "no such environment variable"),
        ({"tls_cert": "/nonexistent"}, "give both"),
        ({"truth": "/nonexistent/truth", "ttft_ms": 1}, "cannot write the truth log"),
    ],
)
def test_what_cannot_be_is_refused_in_words(options: dict[str, Any], said: str) -> None:
    with pytest.raises(LlmbenchError) as error:
        sim.Server(**options)
    assert said in str(error.value)
    assert "llmbench sim:" not in str(error.value)


def test_a_taken_port_is_named() -> None:
    with sim.Server(ttft_ms=0) as server, pytest.raises(LlmbenchError, match=f"127.0.0.1:{server.ports[0]}"):
        sim.Server(ttft_ms=0, port=server.ports[0])


def test_stopping_twice_is_fine_and_forgetting_stops() -> None:
    server = sim.Server(ttft_ms=0)
    server.stop()
    server.stop()
    assert not server.running
    forgotten = sim.Server(ttft_ms=0)
    pid = forgotten.pid
    del forgotten
    wait_until_gone(pid)


def test_the_server_ends_with_the_process_that_started_it() -> None:
    code = (
        "import os, threading; from llmbench import sim\n"
        "servers = []\n"
        # The thread that starts it ends at once; the process goes on.
        "t = threading.Thread(target=lambda: servers.append(sim.Server(ttft_ms=0)))\n"
        "t.start(); t.join()\n"
        "print(servers[0].pid, servers[0].url, flush=True); input(); os._exit(9)\n"
    )
    home = str(Path(sim.__file__).parents[1])
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": home},
    ) as parent:
        assert parent.stdout is not None
        pid, url = parent.stdout.readline().split()
        assert ask(url, "/health")[0] == 200
        parent.communicate("\n", timeout=DEADLINE_S)
    assert parent.returncode == 9
    wait_until_gone(int(pid))


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_in_the_foreground_it_ends_at_a_signal(signum: signal.Signals, tmp_path: Path) -> None:
    ports = tmp_path / "ports"
    truth = tmp_path / "truth"
    command = [
        sys.executable,
        "-m",
        "llmbench",
        "sim",
        "--port=0",
        "--replicas=2",
        "--ttft-ms=1",
        "--itl_ms=1",
    ]
    with subprocess.Popen(
        [*command, f"--port-file={ports}", f"--truth={truth}", "--model", "a/b"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(sim.__file__).parents[1])},
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(2)]
        urls = [line.split()[2] for line in lines]
        for line, url in zip(lines, urls, strict=True):
            said = f"llmbench sim: {url} (a/b, fixed: 1 ms to the first token, 1 ms between tokens)\n"
            assert line == said
        ask(urls[1], "/v1/completions", {"prompt": "a"})
        assert [int(port) for port in ports.read_text().split()] == [urlsplit(url).port for url in urls]
        process.send_signal(signum)
        assert process.wait(DEADLINE_S) == 0
    assert len(truth.read_text().splitlines()) == 1


def test_an_unknown_flag_is_an_error_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sim", "--ttft-mss", "3"]) == 2
    assert "did you mean --ttft-ms?" in capsys.readouterr().err


def test_every_option_is_a_flag_with_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sim", "--help"]) == 0
    said = capsys.readouterr().out
    for option in _core.sim_options():
        assert f"--{option['name'].replace('_', '-')}" in said
        assert option["help"]
    assert parser().parse_args([]).port is None


def test_every_option_and_fault_is_documented() -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "simulator.md"
    text = page.read_text()
    for option in _core.sim_options():
        assert f"`{option['name']}`" in text, option["name"]
    with pytest.raises(ConfigError) as error:
        sim.Server(ttft_ms=0, faults="nonsense=1")
    for fault in str(error.value).partition("from 300 to 999, ")[2].rstrip(".").split(", "):
        assert f"`{fault}`" in text, fault
