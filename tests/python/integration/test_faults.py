"""Every way an answer can go wrong, each beside healthy neighbours on the same connections.

Odd requests meet the fault and even ones do not: it must get its own class and leave the rest alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.scripted_server import (
    CLOSE,
    DONE,
    EVENT_STREAM,
    LAST_CHUNK,
    RESET,
    STALL,
    Pause,
    Request,
    ScriptedServer,
    Step,
    answer,
    asked_tokens,
    chunk,
    completion,
    event,
    head,
    healthy,
    models,
    usage,
)

import llmbench as lb

Fault = Callable[[Request], Iterable[Step]]


def of(*steps: Step) -> Fault:
    return lambda request: steps


def whole(request: Request) -> bytes:
    """Four tokens, the finish reason and usage, unframed."""
    events = b"".join(completion(f" t{i}", request.id) for i in range(4))
    return events + completion("", request.id, finish_reason="length") + usage(1, 4, request.id)


def split(data: bytes) -> Iterator[bytes]:
    """Every byte for itself."""
    return (data[i : i + 1] for i in range(len(data)))


def framed(data: bytes) -> list[Step]:
    return [head(200, EVENT_STREAM), chunk(data), LAST_CHUNK]


def begun(*then: Step) -> Fault:
    """Two tokens, then something."""

    def script(request: Request) -> Iterator[Step]:
        yield head(200, EVENT_STREAM)
        yield chunk(completion(" a", request.id))
        yield chunk(completion(" b", request.id))
        yield from then

    return script


STREAM = {"Content-Type": "text/event-stream"}
OK = b"HTTP/1.1 200 OK\r\n"
GZIP = {"Content-Encoding": "gzip"}
CUDA = event({"error": {"message": "CUDA error", "code": 500}})
BAD_UTF8 = b'data: {"choices":[{"index":0,"text":"\xff\xfe"}]}\n\n'


def message(text: str) -> dict[str, object]:
    return {"error": {"message": text}}


FAULTS: dict[str, tuple[Fault, str, int]] = {
    # what happens: script, outcome, output events kept
    "closes without a byte": (of(CLOSE), "empty_reply", 0),
    "resets before headers": (of(RESET), "reset_before_headers", 0),
    "resets in the middle": (begun(Pause(0.05), RESET), "reset_mid_stream", 2),
    "closes inside a chunked body": (begun(CLOSE), "truncated", 2),
    "closes before Content-Length": (of(head(200, {**STREAM, "Content-Length": "9"}), CLOSE), "truncated", 0),
    "says nothing": (of(STALL), "timeout_first_byte", 0),
    "stalls after the second token": (begun(STALL), "timeout_idle", 2),
    "garbage": (of(b"SSH-2.0-OpenSSH_9.2p1\r\n\r\n", CLOSE), "protocol", 0),
    "an unknown version": (of(b"HTTP/3.7 200 OK\r\n\r\n", CLOSE), "protocol", 0),
    "a negative length": (of(OK + b"Content-Length: -1\r\n\r\n", CLOSE), "protocol", 0),
    "two lengths": (of(OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", CLOSE), "protocol", 0),
    "a chunk size that is no number": (begun(b"zz\r\nhello\r\n", CLOSE), "protocol", 2),
    "300 KiB of header": (of(head(200, {**STREAM, "X": "a" * 300 * 1024}), CLOSE), "header_too_large", 0),
    "an empty body": (of(head(200, {**STREAM, "Content-Length": "0"})), "empty_stream", 0),
    "204": (of(head(204)), "empty_stream", 0),
    "a redirect": (of(*answer(307, b"", {"Location": "http://127.0.0.1:1/"})), "redirect", 0),
    "an HTML page": (of(*answer(200, "<html>It works!</html>")), "content_type", 0),
    "gzip nobody asked for": (of(*answer(200, b"\x1f\x8b\x08", GZIP)), "content_encoding", 0),
    "status 429": (of(*answer(429, message("slow down"), {"Retry-After": "1"})), "http_429", 0),
    "status 503": (of(*answer(503, message("loading"))), "http_503", 0),
    "status 500": (of(*answer(500, message("oops"))), "http_5xx", 0),
    "status 413": (of(*answer(413, {"detail": "too long"})), "http_4xx", 0),
    "status 999": (of(*answer(999, "what?")), "http_status", 0),
    "an error in mid stream": (begun(chunk(CUDA), LAST_CHUNK), "server_error_event", 2),
    "half an object": (begun(chunk(b'data: {"choices":[{"te\n\n' + DONE), LAST_CHUNK), "bad_event", 2),
    "invalid UTF-8": (begun(chunk(BAD_UTF8 + DONE), LAST_CHUNK), "sse_json_invalid", 2),
    "JSON of another shape": (begun(chunk(event([1, 2]) + DONE), LAST_CHUNK), "schema", 2),
    "neither [DONE] nor a reason": (begun(LAST_CHUNK), "truncated_no_done", 2),
}


@pytest.mark.parametrize(("script", "outcome", "events"), FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_has_its_own_class(tmp_path: Path, script: Fault, outcome: str, events: int) -> None:
    def every_other(request: Request) -> Iterable[Step]:
        return script(request) if odd(request) else healthy(request)

    with ScriptedServer(every_other, get=models("m")) as server:
        result = run(server, tmp_path, requests=6, connect="new", first_token_timeout=0.5, idle_timeout=0.5)
    requests = result.requests
    assert outcomes(result) == ["ok", outcome] * 3
    assert list(requests["events"]) == [4, events] * 3  # what came is kept
    assert list(requests["attempts"]) == [1] * 6
    assert (result.summary.completed, result.summary.failed) == (3, 3)


def surrogate(events: bytes) -> bytes:
    return events.replace(b" t1", b"\\ud83d")


def separators(events: bytes) -> bytes:
    return events.replace(b" t1", "\u2028\u0085".encode())


def windows(events: bytes) -> bytes:
    return b"\xef\xbb\xbf: ping\r\n\r\n" + events.replace(b"\n", b"\r\n")


def extended(events: bytes) -> list[bytes]:
    return [part.replace(b"\r\n", b";name=value\r\n", 1) for part in (chunk(events), LAST_CHUNK)]


ACCEPTED: dict[str, Callable[[bytes], Iterable[Step]]] = {
    # what is odd: the four events, finish and usage to the steps of an answer
    "HTTP/1.0, to the end": lambda e: [
        b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n",
        e,
        CLOSE,
    ],
    "no length": lambda e: [head(200, STREAM), e + DONE, CLOSE],
    "no [DONE] but a finish reason": lambda e: framed(e),
    "[DONE] twice": lambda e: framed(e + DONE + DONE),
    "three 100-continues": lambda e: [b"HTTP/1.1 100 Continue\r\n\r\n" * 3, *framed(e + DONE)],
    "trailers": lambda e: [head(200, EVENT_STREAM), chunk(e + DONE), b"0\r\nX-Trailer: yes\r\n\r\n"],
    "chunk extensions": lambda e: [head(200, EVENT_STREAM), *extended(e + DONE)],
    "every byte by itself": lambda e: split(b"".join(framed(e + DONE))),
    "CRLF, a byte order mark, a comment": lambda e: framed(windows(e + DONE)),
    "no space after data:": lambda e: framed((e + DONE).replace(b"data: ", b"data:")),
    "a lone surrogate escape": lambda e: framed(surrogate(e + DONE)),
    "line separators inside the text": lambda e: framed(separators(e + DONE)),
}


@pytest.mark.parametrize("steps", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_what_is_odd_but_legal_is_an_ordinary_answer(
    tmp_path: Path, steps: Callable[[bytes], Iterable[Step]]
) -> None:
    with ScriptedServer(lambda request: steps(whole(request)), get=models("m")) as server:
        result = run(server, tmp_path, requests=4)
    requests = result.requests
    assert outcomes(result) == ["ok"] * 4
    assert list(requests["events"]) == [4] * 4
    assert list(requests["output_tokens"]) == [4] * 4
    assert list(requests["attempts"]) == [1] * 4


def test_an_answer_that_is_not_streamed(tmp_path: Path) -> None:
    def script(request: Request) -> Iterable[Step]:
        count = {"prompt_tokens": 1, "completion_tokens": 4, "total_tokens": 5}
        return answer(
            200, {"choices": [{"index": 0, "text": " a b c d", "finish_reason": "length"}], "usage": count}
        )

    with ScriptedServer(script, get=models("m")) as server:
        result = run(server, tmp_path, requests=3)
    assert result.summary.completed == 3
    assert result.summary["ttft"] is None or result.summary["ttft"].mean is None  # never the whole latency
    assert result.summary["e2el"].mean > 0
    assert list(result.requests["output_tokens"]) == [4] * 3


def test_slow_neighbours_do_not_move_anyone_elses_times(tmp_path: Path) -> None:
    """Half of the requests trickle in byte by byte; the other half must look as they do alone."""

    def script(request: Request) -> Iterator[Step]:
        if not odd(request):
            yield from healthy(request)
            return
        yield head(200, EVENT_STREAM)
        for byte in split(chunk(completion(" slow", request.id)) * 3):
            yield byte
            yield Pause(0.005)
        yield STALL

    with ScriptedServer(script, get=models("m")) as server:
        result = run(server, tmp_path, requests=40, concurrency=20, request_timeout=1.5)
        arrived = {number(request): request.received_s for request in server.requests}
    requests = result.requests
    by_id = {int(row["id"]): row for row in requests}
    assert Counter(outcomes(result)) == {"ok": 20, "timeout_total": 20}
    assert len(arrived) == 40
    # A healthy answer is written at once: a client held up by its neighbours would show it in the median.
    healthy_ms = sorted((by_id[i]["end_ns"] - by_id[i]["sent_ns"]) / 1e6 for i in range(0, 40, 2))
    assert healthy_ms[10] < 200


def outcomes(result: Any) -> list[str]:
    """In schedule order."""
    return [lb._core.OUTCOMES[code] for code in result.requests["outcome"]]


def number(request: Request) -> int:
    return int(request.id.rsplit("-", 1)[1])


def odd(request: Request) -> bool:
    return number(request) % 2 == 1


def run(
    server: ScriptedServer, directory: Path, *, requests: int, concurrency: int = 1, **options: Any
) -> Any:
    """A closed loop of requests for four tokens each."""
    return lb.run(
        lb.Endpoint(server.url, backend="openai", model="m"),
        lb.workloads.random(input_tokens=4, output_tokens=4, n=requests),
        lb.load.closed(concurrency=concurrency),
        result_dir=directory,
        **options,
    )


def test_what_was_asked_is_what_the_server_read(tmp_path: Path) -> None:
    with ScriptedServer(healthy, get=models("m")) as server:
        run(server, tmp_path, requests=5, sampling={"temperature": 0.5}, ignore_eos=True)
    assert [number(request) for request in server.requests] == list(range(5))
    for request in server.requests:
        assert (request.method, request.path) == ("POST", "/v1/completions")
        assert request.headers["host"] == f"127.0.0.1:{server.port}"
        assert request.headers["content-type"] == "application/json"
        assert request.headers["accept-encoding"] == "identity"
        assert request.headers["user-agent"].startswith("llmbench/")
        assert int(request.headers["content-length"]) == len(request.body)
        assert asked_tokens(request) == 4
        assert request.json["temperature"] == 0.5
        assert request.json["ignore_eos"] is True
        assert request.json["stream_options"] == {"include_usage": True}
    assert len({request.json["prompt"] for request in server.requests}) == 5
    assert server.connections <= 2  # one for the model list, one for the run
