"""What a user meets when something is wrong: one message, the right exit code, no traceback, nothing lost."""

from __future__ import annotations

import os
import resource
import socket
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import simulator
from support.command import Command
from support.scripted_server import (
    CLOSE,
    EVENT_STREAM,
    STALL,
    Request,
    ScriptedServer,
    Step,
    answer,
    chunk,
    completion,
    head,
    healthy,
    models,
)

SMALL = (*("--model", "m", "--random-input-len", "4", "--random-output-len", "4"), "--no-progress")


def rows(directory: Path, sql: str) -> list[tuple[Any, ...]]:
    """Of the one result in ./results."""
    [result] = (directory / "results").glob("*.llmbench")
    connection = sqlite3.connect(f"file:{result}?mode=ro", uri=True)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def test_refused_connection(command: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    done = command("run", "--base-url", f"http://127.0.0.1:{port}", "--num-prompts", "2", *SMALL)
    assert done.returncode == 1
    assert f"127.0.0.1:{port}" in done.stderr
    assert "is the server up" in done.stderr.lower()


def test_unknown_host(command: Command) -> None:
    done = command("run", "--base-url", "http://no-such-host.invalid:8000", "--num-prompts", "2", *SMALL)
    assert done.returncode == 1
    assert "no-such-host.invalid" in done.stderr


def failing(status: int) -> Any:
    body = {"error": {"message": f"scripted failure {status}", "type": "test", "code": status}}
    return lambda request: answer(status, body)


def html(request: Request) -> Iterable[Step]:
    return answer(200, "<html><body>It works!</body></html>")


def cut(request: Request) -> Iterator[Step]:
    yield head(200, EVENT_STREAM)
    yield chunk(completion(" half", request.id))
    yield chunk(completion(" an", request.id))
    yield CLOSE


def silent(request: Request) -> Iterator[Step]:
    yield STALL


@pytest.mark.parametrize(
    ("script", "outcome", "told"),
    [
        pytest.param(failing(404), "http_4xx", "scripted failure 404", id="404"),
        pytest.param(failing(429), "http_429", "scripted failure 429", id="429"),
        pytest.param(failing(500), "http_5xx", "scripted failure 500", id="500"),
        pytest.param(html, "content_type", "text/html", id="html"),
        pytest.param(cut, "truncated", "truncated", id="cut"),
        pytest.param(silent, "timeout_first_byte", "timeout_first_byte", id="silent"),
    ],
)
def test_no_request_succeeds(command: Command, tmp_path: Path, script: Any, outcome: str, told: str) -> None:
    with ScriptedServer(script, get=models("m")) as server:
        done = command(
            *("run", "--base-url", server.url, "--num-prompts", "4", "--max-concurrency", "2"),
            *("--first-token-timeout", "0.4", *SMALL),
        )
    assert done.returncode == 1, done.stderr
    assert told in done.stdout + done.stderr
    assert rows(tmp_path, "SELECT DISTINCT outcome FROM request") == [(outcome,)]
    if script is cut:
        assert rows(tmp_path, "SELECT DISTINCT events FROM request") == [(2,)]  # what came is kept


def test_a_closed_loop_gives_up_when_its_first_twenty_requests_fail(command: Command, tmp_path: Path) -> None:
    with ScriptedServer(failing(500), get=models("m")) as server:
        done = command(
            "run", "--base-url", server.url, "--num-prompts", "5000", "--max-concurrency", "4", *SMALL
        )
    assert done.returncode == 1
    [(tried,)] = rows(tmp_path, "SELECT count(*) FROM request")
    assert 20 <= tried < 100


@pytest.mark.parametrize("status", [401, 403])
def test_refused_key(command: Command, tmp_path: Path, status: int) -> None:
    body = {
        "error": {
            "message": "Incorrect API key provided: sk-very-secret-0123456789",
            "code": "invalid_api_key",
        }
    }
    refusal = answer(status, body)
    with ScriptedServer(lambda request: refusal, get={"/v1/models": refusal}) as server:
        done = command(
            *("run", "--base-url", server.url, "--num-prompts", "4", "--api-key-env", "SCRIPTED_KEY", *SMALL),
            env={"SCRIPTED_KEY": "sk-very-secret-0123456789"},
        )
    assert done.returncode == 2, done.stderr
    assert "SCRIPTED_KEY" in done.stderr
    assert "sk-very-secret" not in done.stdout + done.stderr
    assert server.requests == []
    for file in tmp_path.rglob("*"):
        assert file.is_dir() or b"sk-very-secret" not in file.read_bytes(), file


def test_a_key_is_sent_and_kept_nowhere(command: Command, tmp_path: Path) -> None:
    def tell_tale(request: Request) -> Iterable[Step]:
        if int(request.id.rsplit("-", 1)[1]) % 2:
            return answer(500, {"error": {"message": f"you sent {request.headers['authorization']}"}})
        return healthy(request)

    with ScriptedServer(tell_tale, get=models("m")) as server:
        done = command(
            *(
                "run",
                "--base-url",
                server.url,
                "--num-prompts",
                "6",
                "--max-concurrency",
                "1",
                "--save-result",
            ),
            *("--save-detailed", "--save-text", "--api-key-env", "SCRIPTED_KEY", *SMALL),
            env={"SCRIPTED_KEY": "sk-very-secret-0123456789"},
        )
    assert done.returncode == 4, done.stderr
    assert {request.headers["authorization"] for request in server.requests} == {
        "Bearer sk-very-secret-0123456789"
    }
    assert "sk-very-secret" not in done.stdout + done.stderr
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(files) == 2
    for file in files:
        assert b"sk-very-secret" not in file.read_bytes(), file


def test_unknown_model(command: Command, tmp_path: Path) -> None:
    with ScriptedServer(healthy, get=models("alpha", "beta")) as server:
        done = command("run", "--base-url", server.url, "--num-prompts", "2", *SMALL)
    assert done.returncode == 2
    assert "alpha" in done.stderr
    assert "beta" in done.stderr
    assert server.requests == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--request-rate", "0"), "request rate"),
        (("--request-rate", "-1"), "request rate"),
        (("--request-rate", "nan"), "request rate"),
        (("--max-concurrency", "0"), "concurrency"),
        (("--max-concurrency", "-3"), "concurrency"),
        (("--num-prompts", "0"), "num-prompts"),
        (("--no-such-flag",), "no-such-flag"),
        (("--max-concurency", "3"), "--max-concurrency"),
        (("--backend", "vlm"), "vllm"),
        (("--base-url", "ftp://127.0.0.1:1"), "http"),
        (("--base-url", "http://127.0.0.1:99999"), "99999"),
    ],
)
def test_wrong_usage(command: Command, tmp_path: Path, arguments: tuple[str, ...], told: str) -> None:
    with ScriptedServer(healthy, get=models("m")) as server:
        done = command("run", "--base-url", server.url, *SMALL, *arguments)
    assert done.returncode == 2, done.stderr
    assert told.lower() in done.stderr.lower().replace("_", "-")
    assert server.requests == []
    assert not list(tmp_path.rglob("*.llmbench"))


def test_too_few_file_descriptors(command: Command, tmp_path: Path) -> None:
    with ScriptedServer(healthy, get=models("m")) as server:
        done = command(
            *("run", "--base-url", server.url, "--num-prompts", "800", "--max-concurrency", "800", *SMALL),
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256)),
        )
    assert done.returncode == 2, done.stderr
    assert "256" in done.stderr
    assert "ulimit" in done.stderr
    assert server.requests == []


def test_file_descriptors_that_run_out(command: Command, tmp_path: Path) -> None:
    """An open loop has no plan to compare with the limit: the class must say that it was this machine's fault, and
    twenty thousand connections that cannot be opened must not hold up those that can."""
    with simulator(None, "--fixed", "--ttft-ms", "4000", "--itl-ms", "10") as url:
        done = command(
            *("run", "--base-url", url, "--num-prompts", "20000", "--request-rate", "8000", "--no-progress"),
            *("--random-input-len", "4", "--random-output-len", "1"),
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (400, 400)),
            timeout=90,
        )
    assert done.returncode == 4, done.stderr
    counts = dict(rows(tmp_path, "SELECT outcome, count(*) FROM request GROUP BY outcome"))
    assert counts.keys() == {"ok", "client_limit"}
    assert sum(counts.values()) == 20000
    assert counts["ok"] > 200


def test_results_that_cannot_be_written(command: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    with ScriptedServer(healthy, get=models("m")) as server:
        done = command(
            "run", "--base-url", server.url, "--num-prompts", "2", "--result-dir", "file/results", *SMALL
        )
    assert done.returncode == 74, done.stderr
    assert "file/results" in done.stderr
    assert server.requests == []


@pytest.mark.parametrize(("allowed", "code"), [("0.01", 4), ("0.6", 0)])
def test_some_requests_fail(command: Command, tmp_path: Path, allowed: str, code: int) -> None:
    def every_other(request: Request) -> Iterable[Step]:
        return failing(500)(request) if request.number % 2 else healthy(request)

    with ScriptedServer(every_other, get=models("m")) as server:
        done = command(
            *("run", "--base-url", server.url, "--num-prompts", "10", "--max-concurrency", "1"),
            *("--max-error-rate", allowed, *SMALL),
        )
    assert done.returncode == code, done.stderr
    counts = rows(tmp_path, "SELECT outcome, count(*) FROM request GROUP BY outcome ORDER BY outcome")
    assert counts == [("http_5xx", 5), ("ok", 5)]


def test_a_proxy_in_the_environment_is_not_used(command: Command, tmp_path: Path) -> None:
    nowhere = "http://127.0.0.1:9"
    with ScriptedServer(healthy, get=models("m")) as server:
        done = command(
            *("run", "--base-url", server.url, "--num-prompts", "2", "--max-concurrency", "1", *SMALL),
            env={"http_proxy": nowhere, "ALL_PROXY": nowhere, "HTTP_PROXY": nowhere},
        )
    assert done.returncode == 0, done.stderr
    assert len(server.requests) == 2
    assert os.environ.get("http_proxy") != nowhere
