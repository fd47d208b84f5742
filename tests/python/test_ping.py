"""`llmbench ping`: one request, event by event."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.scripted_server import (
    EVENT_STREAM,
    LAST_CHUNK,
    ScriptedServer,
    answer,
    chunk,
    head,
    healthy,
    models,
)

from llmbench.backends import BACKENDS
from llmbench.cli import main
from llmbench.cli.ping import can_report


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(healthy, get=models("m")) as started:
        yield started


def test_every_event_is_shown(
    server: ScriptedServer,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["ping", "--base-url", server.url, "--output-len", "3", "--prompt", "Why?"]) == 0
    said = capsys.readouterr().out
    for told in (
        f"{server.url} (openai), model m",
        "outcome ok, HTTP 200",
        "first token",
        "event 3",
        "3 output tokens",
    ):
        assert told in said
    assert "text: ' t0 t1 t2'" in said
    assert server.requests[0].json["prompt"] == "Why?"
    assert list(tmp_path.iterdir()) == []


def test_json(server: ScriptedServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ping", "--base-url", server.url, "--output-len", "3", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert len(told["events"]) == told["output_tokens"] == 3
    assert told["times_ms"]["request sent"] == 0
    times = [event["at_ms"] for event in told["events"]]
    assert times == sorted(times)
    assert told["finish_reason"] == "length"


def test_a_failure_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    broken = answer(500, {"error": {"message": "it\x1b broke"}})
    with ScriptedServer(lambda request: broken, get=models("m")) as server:
        assert main(["ping", "--base-url", server.url]) == 1
    said = capsys.readouterr().out
    assert "http_5xx" in said
    assert "it broke" in said or "it  broke" in said
    assert "\x1b" not in said


def test_no_stream(capsys: pytest.CaptureFixture[str]) -> None:
    whole = answer(
        200,
        {
            "choices": [{"index": 0, "text": "hello", "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 2, "completion_tokens": 1},
        },
    )
    with ScriptedServer(lambda request: whole, get=models("m")) as server:
        assert main(["ping", "--base-url", server.url, "--no-stream"]) == 0
    assert server.requests[0].json["stream"] is False
    said = capsys.readouterr().out
    assert "text: 'hello'" in said
    assert "first token" not in said


def test_raw_bytes_on_request(
    server: ScriptedServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "sk-hidden-1")
    arguments = ["--output-len", "3", "--raw", "--api-key-env", "MY_KEY", "--header", "X-Plain=seen"]
    assert main(["ping", "--base-url", server.url, *arguments]) == 0
    said = capsys.readouterr().out
    first, second = (request.json for request in server.requests)
    assert first == second
    assert server.requests[1].headers["authorization"] == "Bearer sk-hidden-1"
    assert '> {"model":"m","prompt":"Say hello."' in said
    assert "> X-Plain: seen" in said
    assert "< 200 OK" in said
    assert r"data: {\"id\"" in said or r"data: {" in said
    assert "data: [DONE]" in said
    assert "hidden" not in said


def test_what_the_backend_can_report_is_told(
    server: ScriptedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ping", "--base-url", server.url, "--output-len", "3"]) == 0
    said = capsys.readouterr().out
    assert "openai can report TTFT, exact tokens (usage), finish reasons, cached tokens, metrics" in said
    assert "3 output tokens (counted by usage)" in said
    assert can_report(BACKENDS["aml"]) == (
        "cannot report TTFT, exact tokens, finish reasons, cached tokens, metrics"
    )


def test_keys_of_a_command_go_along(server: ScriptedServer, capsys: pytest.CaptureFixture[str]) -> None:
    command = shlex.join([sys.executable, "-c", "print('X-Team: hidden-2')"])
    assert main(["ping", "--base-url", server.url, "--output-len", "3", "--auth-command", command]) == 0
    assert server.requests[0].headers["x-team"] == "hidden-2"
    assert "hidden-2" not in capsys.readouterr().out


def test_a_server_of_another_kind_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    """Its model list is as it should be, and its answers are another protocol's."""
    event = b'data: {"index":1,"token":{"id":1,"text":" a","logprob":-1,"special":false},"generated_text":null}\n\n'
    steps = [head(200, EVENT_STREAM), chunk(event), LAST_CHUNK]
    with ScriptedServer(lambda request: steps, get=models("m")) as server:
        assert main(["ping", "--base-url", server.url]) == 1
    assert "did you mean --backend tgi?" in capsys.readouterr().out
