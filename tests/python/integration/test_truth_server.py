"""The ground-truth server of the benchmarks: what it sends, what it notes, and that it judges itself."""

from __future__ import annotations

import http.client
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from harness import run_command
from support.command import Command
from truth_server import Times, TruthServer
from truth_server.server import program

pytestmark = pytest.mark.integration


def post(url: str, path: str = "/v1/completions", **body: Any) -> tuple[int, str]:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
    asked = {"model": "m", "stream": True, "stream_options": {"include_usage": True}, **body}
    connection.request("POST", path, json.dumps(asked), {"X-Request-Id": "r-7"})
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    return response.status, text


def events(text: str) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    assert lines.pop() == "[DONE]"
    return [json.loads(line) for line in lines]


def served(tmp_path: Path, path: str = "/v1/completions", **flags: object) -> tuple[list[Any], TruthServer]:
    with TruthServer(tmp_path / "log", None, ttft_ms=5, itl_ms=1, tokens=8, late_ms=1e6, **flags) as server:
        status, text = post(server.url, path)
    assert status == 200
    return events(text), server


@pytest.mark.parametrize(
    ("path", "text"), [("/v1/completions", ("text",)), ("/v1/chat/completions", ("delta", "content"))]
)
def test_a_stream(tmp_path: Path, path: str, text: tuple[str, ...]) -> None:
    *tokens, usage = served(tmp_path, path)[0]
    if "chat" in path:
        assert tokens.pop(0)["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    said = []
    for token in tokens:
        value = token["choices"][0]
        for key in text:
            value = value[key]
        said.append(value)
    assert said == [" the"] * 8
    assert [token["choices"][0]["finish_reason"] for token in tokens] == [None] * 7 + ["length"]
    assert usage["choices"] == []
    assert usage["usage"] == {"prompt_tokens": 8, "completion_tokens": 8, "total_tokens": 16}


def test_usage_is_sent_where_it_is_asked_for(tmp_path: Path) -> None:
    with TruthServer(tmp_path / "log", None, ttft_ms=0, tokens=1) as server:
        text = post(server.url, stream_options=None)[1]
    assert [event.get("usage") for event in events(text)] == [None]


def test_what_is_no_stream_is_refused_and_models_are_listed(tmp_path: Path) -> None:
    with TruthServer(tmp_path / "log") as server:
        assert post(server.url, stream=False)[0] == 404
        assert post(server.url, "/v1/embeddings")[0] == 404
        connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=30)
        for path in ("/v1/models", "/health"):
            connection.request("GET", path)
            response = connection.getresponse()
            assert response.status == 200
            assert json.loads(response.read())["data"][0]["id"] == "m"
        connection.close()
    assert server.written == []


def test_the_log(tmp_path: Path) -> None:
    _, server = served(tmp_path)
    [entry] = map(json.loads, server.log.read_text().splitlines())
    assert entry["request_id"] == "r-7"
    assert entry["tokens"] == [1] * 8
    [written] = server.written
    planned = [written.received_ns + (5 + i) * 1_000_000 for i in range(8)]
    assert all(
        at >= due for at, due in zip(written.event_ns, planned, strict=True)
    )  # late it may be, early never
    summary = server.summary
    assert (summary["requests"], summary["complete"], summary["aborted"], summary["events"]) == (1, 1, 0, 8)
    assert summary["ttft_ms"]["mean"] == pytest.approx(Times.of(server.written).ttft_mean, abs=1e-3)


@pytest.mark.parametrize(
    ("flags", "check"),
    [
        ({"fault": "u2028"}, lambda tokens: tokens[2]["choices"][0]["text"] == " a\u2028b"),
        ({"fault": "error"}, lambda tokens: len(tokens) == 6 and tokens[5]["error"]["code"] == 500),
        ({"finish": "alone"}, lambda tokens: tokens[8]["choices"][0]["text"] == "" and len(tokens) == 10),
    ],
)
def test_faults(tmp_path: Path, flags: dict[str, str], check: Any) -> None:
    assert check(served(tmp_path, **flags)[0])


def test_a_role_delta_at_once_is_no_token(tmp_path: Path) -> None:
    tokens, server = served(tmp_path, "/v1/chat/completions", fault="role")
    assert tokens[0]["choices"][0]["delta"]["role"] == "assistant"
    [written] = server.written
    assert len(written.event_ns) == 8


def test_all_streams_share_a_rate(tmp_path: Path, command: Command) -> None:
    with TruthServer(tmp_path / "log", None, ttft_ms=0, events_per_s=5000, tokens=100, late_ms=1e6) as server:
        done = command(*measured(server.url, tmp_path, streams=20, tokens=100))
        assert done.returncode == 0, done.stderr
    assert [len(each.event_ns) for each in server.written] == [100] * 20
    first = min(each.received_ns for each in server.written)
    last = max(each.event_ns[-1] for each in server.written)
    assert last - first >= 1999 / 5000 * 1e9  # never faster


def test_llmbench_counts_every_token(tmp_path: Path, command: Command) -> None:
    with TruthServer(tmp_path / "log", None, ttft_ms=30, itl_ms=5, tokens=32, late_ms=1e6) as server:
        done = command(*measured(server.url, tmp_path, streams=50, tokens=32))
        assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "run.json").read_text())
    true = Times.of(server.written)
    assert (report["completed"], report["total_output_tokens"]) == (true.requests, true.events) == (50, 1600)
    # Generous: the point is that both clocks are one, not how fast this machine is today.
    assert abs(report["mean_ttft_ms"] - true.ttft_mean) < 20
    assert abs(report["mean_itl_ms"] - true.itl_mean) < 2


def measured(url: str, directory: Path, *, streams: int, tokens: int) -> list[str]:
    return [
        *run_command(url, directory)[3:],
        *("--model", "m", "--num-prompts", str(streams), "--max-concurrency", str(streams), "--ignore-eos"),
        *("--random-input-len", "8", "--random-output-len", str(tokens), "--workers", "1", "--save-result"),
    ]


def test_a_plan_that_was_not_kept_is_an_error(tmp_path: Path) -> None:
    with TruthServer(tmp_path / "log", None, ttft_ms=0, tokens=1, late_ms=-1) as server:
        post(server.url)
    assert server.summary["kept_its_plan"] is False
    assert server.exit_code == 1


@pytest.mark.parametrize("arguments", [["--nonsense", "1"], ["--port"]])
def test_flags_it_does_not_know_are_refused(arguments: list[str]) -> None:
    done = subprocess.run([program(), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--ttft-ms 50" in done.stderr


def test_it_ends_with_a_client_gone_in_the_middle(tmp_path: Path) -> None:
    with TruthServer(tmp_path / "log", None, ttft_ms=1, itl_ms=1, tokens=1000, late_ms=1e6) as server:
        connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=30)
        connection.request("POST", "/v1/completions", '{"stream": true}')
        connection.getresponse().read(300)
        connection.close()
        assert post(server.url, stream=False)[0] == 404  # it goes on serving
    assert server.summary["complete"] == 0
    assert server.summary["requests"] == 1
