"""`llmbench ping`: one request, event by event."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.scripted_server import ScriptedServer, answer, healthy, models

from llmbench.cli import main


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
