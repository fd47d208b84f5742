"""Every fault a server can cause, on every preset it can occur on: its own class, and none of it on its neighbours.

One run per preset meets them all, a request each, with a healthy request between any two. What a fault looks like
depends on how the preset's server writes an answer (support/dresses.py), so that a new preset is covered as soon as its
wire format has a dress.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.dresses import COUNT, DRESSES, JSON_TYPE, Dress, compact, models_answer
from support.dresses import sse as sse_frame
from support.scripted_server import (
    CLOSE,
    LAST_CHUNK,
    RESET,
    STALL,
    Pause,
    Request,
    ScriptedServer,
    Step,
    answer,
    chunk,
    head,
)
from support.tls import server_context

import llmbench as lb
from llmbench import sim
from llmbench.backends import BACKENDS
from llmbench.preflight import ServerFacts

TEXTS = [" t0", " t1", " t2", " t3"]
GRPC = "fastgen-grpc"
"""Comes over HTTP/2 and is tested with it."""
PRESETS = [name for name, preset in BACKENDS.items() if preset.wire_format not in (GRPC, "template")]


def test_every_wire_format_has_a_dress() -> None:
    """A new preset must not stay out of this matrix."""
    formats = {preset.wire_format for preset in BACKENDS.values()} - {GRPC, "template"}
    assert formats <= DRESSES.keys()


@dataclass(frozen=True)
class Server:
    """What a preset's server sends to one request."""

    dress: Dress
    streamed: bool
    request: Request

    def pieces(self) -> list[bytes]:
        if self.streamed:
            return self.dress.pieces(self.request, TEXTS)
        return [self.document()]

    def document(self) -> bytes:
        return compact(self.dress.document(self.request, "".join(TEXTS)))

    def whole(self) -> bytes:
        """The body of a healthy answer."""
        return b"".join(self.pieces()) + self.tail()

    def one(self) -> bytes:
        """The JSON of the third event, or of the document."""
        if self.dress.piece is None or not self.streamed:
            return self.document()
        return compact(self.dress.piece(self.request, TEXTS[2], "".join(TEXTS[:3]), 3))

    def tail(self) -> bytes:
        """What follows the last text."""
        return self.dress.ending(TEXTS) if self.streamed else b""

    def raw(self, payload: bytes) -> bytes:
        return self.dress.frame(payload) if self.streamed else payload

    def headers(self) -> dict[str, str]:
        return (
            self.dress.headers
            if self.streamed
            else {"Content-Type": JSON_TYPE, "Transfer-Encoding": "chunked"}
        )

    def type(self) -> dict[str, str]:
        """The headers, less the framing of the body."""
        return {name: value for name, value in self.headers().items() if name == "Content-Type"}

    def begun(self, *then: Step) -> Iterator[Step]:
        """Two texts of a stream, or the first half of a document; then something."""
        yield head(200, self.headers())
        if self.streamed:
            for piece in self.pieces()[:2]:
                yield chunk(piece)
        else:
            document = self.document()
            yield chunk(document[: len(document) // 2])
        yield from then

    def broken(self, payload: bytes) -> Iterator[Step]:
        """Two texts and then this as the next event; of a document it is all there is."""
        if self.streamed:
            return self.begun(chunk(self.raw(payload)), LAST_CHUNK)
        return self.in_chunks(payload)

    def healthy(self) -> Iterator[Step]:
        """A chunk an event."""
        return self.in_chunks(*self.pieces(), self.tail())

    def in_chunks(self, *bodies: bytes) -> Iterator[Step]:
        yield head(200, self.headers())
        for body in bodies:
            if body:
                yield chunk(body)
        yield LAST_CHUNK


Script = Callable[[Server], Iterable[Step]]
NOTHING, BEGUN, ALL = 0, 2, 4
"""How many output events are kept."""


@dataclass(frozen=True)
class Fault:
    row: int
    """In the matrix of faults that docs/faults.md tells of."""
    script: Script
    outcome: str
    events: int = NOTHING
    applies: Callable[[Dress, bool], bool] = lambda dress, streamed: True
    attempts: int = 1
    untimed: bool = False
    """It is an answer in one piece, so that there is no TTFT."""


def message(text: str) -> Any:
    return {"error": {"message": text, "type": "test", "code": "c"}}


def slow(server: Server) -> Iterator[Step]:
    """A byte every tenth of a second, for ever."""
    yield from server.begun()
    while True:
        yield Pause(0.1)
        yield chunk(b" ")


def healthy_for_ever(server: Server) -> Iterator[Step]:
    yield head(200, server.headers())
    tokens = 0
    while True:
        tokens += 1
        texts = [" t"] * min(tokens, 3)
        yield chunk(server.dress.pieces(server.request, texts)[-1])
        yield Pause(0.1)


def surrogate(server: Server) -> Iterable[Step]:
    return server.in_chunks(server.whole().replace(b" t1", b"\\ud83d"))


def is_streamed(dress: Dress, streamed: bool) -> bool:
    return streamed


def is_sse(dress: Dress, streamed: bool) -> bool:
    return streamed and dress.frame is sse_frame


def has_terminal_event(dress: Dress, streamed: bool) -> bool:
    return streamed and not dress.at_end_of_body


def has_text(dress: Dress, streamed: bool) -> bool:
    return b" t1" in compact(dress.document(_ANY, " t1"))


_ANY = Request(0, 0, 0, "POST", "/", {}, b'{"prompt":""}', 0.0)
MANY_HEADERS = {f"X-{i}": "0123456789" for i in range(20_000)}  # 340 KiB
SOME_HEADERS = {f"X-{i}": "v" for i in range(8_000)}  # 80 KiB

FAULTS: dict[str, Fault] = {
    "closes without a byte": Fault(6, lambda s: [CLOSE], "empty_reply"),
    "resets before headers": Fault(7, lambda s: [RESET], "reset_before_headers"),
    "resets in the middle": Fault(8, lambda s: s.begun(Pause(0.05), RESET), "reset_mid_stream", BEGUN),
    "closes inside a chunked body": Fault(9, lambda s: s.begun(CLOSE), "truncated", BEGUN),
    "closes before Content-Length": Fault(
        10,
        lambda s: [head(200, {**s.type(), "Content-Length": "99999"}) + b"".join(s.pieces()[:2]), CLOSE],
        "truncated",
        BEGUN,
    ),
    "ends without its terminal event": Fault(
        11, lambda s: s.begun(LAST_CHUNK), "truncated_no_done", BEGUN, has_terminal_event
    ),
    "closes without length and terminal event": Fault(
        11,
        lambda s: [head(200, s.type()) + b"".join(s.pieces()[:2]), CLOSE],
        "truncated_no_done",
        BEGUN,
        has_terminal_event,
    ),
    "says nothing": Fault(13, lambda s: [STALL], "timeout_first_byte"),
    "stalls after the second text": Fault(14, lambda s: s.begun(STALL), "timeout_idle", BEGUN),
    "a byte at a time, for ever": Fault(15, slow, "timeout_total", BEGUN),
    "never ends": Fault(16, healthy_for_ever, "timeout_total", -1, has_terminal_event),
    "garbage": Fault(20, lambda s: [b"SSH-2.0-OpenSSH_9.2p1\r\n\r\n", CLOSE], "protocol"),
    "an unknown version": Fault(21, lambda s: [b"HTTP/3.7 200 OK\r\n\r\n", CLOSE], "protocol"),
    "status 999": Fault(22, lambda s: answer(999, "what?"), "http_status"),
    "204": Fault(24, lambda s: [head(204)], "empty_stream"),
    "an empty body": Fault(24, lambda s: [head(200, {**s.type(), "Content-Length": "0"})], "empty_stream"),
    "a redirect": Fault(25, lambda s: answer(307, b"", {"Location": "http://127.0.0.1:1/"}), "redirect"),
    "a negative length": Fault(26, lambda s: [head(200, {"Content-Length": "-1"}), CLOSE], "protocol"),
    "two lengths": Fault(
        27,
        lambda s: [head(200, {"Content-Length": "5"})[:-2] + b"Content-Length: 6\r\n\r\nhello!", CLOSE],
        "protocol",
    ),
    "a chunk size that is no number": Fault(
        28, lambda s: s.begun(b"zz\r\nhello\r\n", CLOSE), "protocol", BEGUN
    ),
    "300 KiB of header": Fault(
        30, lambda s: [head(200, {**s.type(), "X": "a" * 300 * 1024})], "header_too_large"
    ),
    "20 000 headers": Fault(31, lambda s: [head(200, {**s.type(), **MANY_HEADERS})], "header_too_large"),
    "gzip nobody asked for": Fault(
        32, lambda s: answer(200, b"\x1f\x8b\x08", {"Content-Encoding": "gzip"}), "content_encoding"
    ),
    "a broken encoding": Fault(
        33, lambda s: answer(200, b"", {"Content-Encoding": "br"}), "content_encoding"
    ),
    "an event of 17 MiB": Fault(
        35,
        lambda s: s.begun(chunk(b"data: " * s.streamed + b"x" * (17 << 20)), CLOSE),
        "event_too_large",
        BEGUN,
    ),
    "invalid UTF-8": Fault(
        39, lambda s: s.broken(s.one().replace(b" t", b"\xff\xfe")), "sse_json_invalid", BEGUN, has_text
    ),
    "malformed JSON": Fault(41, lambda s: s.broken(s.one().replace(b":", b" ", 1)), "bad_event", BEGUN),
    "JSON of another shape": Fault(42, lambda s: s.broken(b'{"unheard_of":{"a":1}}'), "schema", BEGUN),
    "an error in mid stream": Fault(
        43,
        lambda s: s.broken(compact(s.dress.failure("it broke"))),
        "server_error_event",
        BEGUN,
    ),
    "an error as a string": Fault(
        43, lambda s: s.broken(b'{"error":"it broke"}'), "server_error_event", BEGUN
    ),
    "an error document with 200": Fault(43, lambda s: answer(200, message("it broke")), "server_error_event"),
    "an HTML page": Fault(47, lambda s: answer(200, "<html>It works!</html>"), "content_type"),
    "status 429": Fault(50, lambda s: answer(429, message("slow down"), {"Retry-After": "1"}), "http_429"),
    "status 503": Fault(51, lambda s: answer(503, message("loading")), "http_503"),
    "status 500": Fault(52, lambda s: answer(500, message("oops")), "http_5xx"),
    "status 500 in HTML": Fault(52, lambda s: answer(500, "<h1>Internal Server Error</h1>"), "http_5xx"),
    "status 500, empty": Fault(52, lambda s: answer(500, b""), "http_5xx"),
    "status 401": Fault(53, lambda s: answer(401, message("key")), "http_4xx"),
    "status 404": Fault(54, lambda s: answer(404, {"detail": "no such model"}), "http_4xx"),
    "status 413": Fault(55, lambda s: answer(413, {"detail": "too long"}), "http_4xx"),
    # What is odd but legal.
    "read to the end": Fault(11, lambda s: [head(200, s.type()), s.whole(), CLOSE], "ok", ALL),
    "one request per connection": Fault(
        18,
        lambda s: [
            head(200, {**s.type(), "Connection": "close", "Content-Length": str(len(s.whole()))}) + s.whole(),
            CLOSE,
        ],
        "ok",
        ALL,
    ),
    "HTTP/1.0": Fault(
        19, lambda s: [head(200, s.type()).replace(b"HTTP/1.1", b"HTTP/1.0") + s.whole(), CLOSE], "ok", ALL
    ),
    "three 100-continues": Fault(
        23, lambda s: [b"HTTP/1.1 100 Continue\r\n\r\n" * 3, *s.healthy()], "ok", ALL
    ),
    "trailers": Fault(
        29, lambda s: [head(200, s.headers()), chunk(s.whole()), b"0\r\nX-Trailer: yes\r\n\r\n"], "ok", ALL
    ),
    "8 000 headers": Fault(
        31, lambda s: [head(200, {**s.headers(), **SOME_HEADERS}), chunk(s.whole()), LAST_CHUNK], "ok", ALL
    ),
    "CRLF, a byte order mark, a comment": Fault(
        36,
        lambda s: s.in_chunks(b"\xef\xbb\xbf: ping\r\n\r\n" + s.whole().replace(b"\n", b"\r\n")),
        "ok",
        ALL,
        is_sse,
    ),
    "every byte by itself": Fault(
        37, lambda s: [bytes([b]) for b in head(200, s.headers()) + chunk(s.whole()) + LAST_CHUNK], "ok", ALL
    ),
    "everything in one packet": Fault(
        38, lambda s: [head(200, s.headers()) + chunk(s.whole()) + LAST_CHUNK], "ok", ALL
    ),
    "a text of 10 MiB in one event": Fault(
        34, lambda s: s.in_chunks(s.whole().replace(b" t1", b" t1" + b"x" * (10 << 20))), "ok", ALL, has_text
    ),
    "data behind the terminal event": Fault(
        44, lambda s: s.in_chunks(*s.pieces(), s.tail(), s.pieces()[0]), "ok", ALL, has_terminal_event
    ),
    "a lone surrogate escape": Fault(40, surrogate, "ok", ALL, has_text),
    "an answer that is not streamed": Fault(
        46, lambda s: answer(200, s.document()), "ok", NOTHING, lambda dress, streamed: streamed, untimed=True
    ),
}


def of_preset(name: str) -> dict[str, Fault]:
    preset = BACKENDS[name]
    dress = DRESSES[preset.wire_format]
    return {what: fault for what, fault in FAULTS.items() if fault.applies(dress, preset.streams)}


def number(request: Request) -> int:
    return int(request.id.rsplit("-", 1)[1])


def preflight(name: str) -> dict[str, Iterable[Step]]:
    """What the preset asks for before a run, answered."""
    preset = BACKENDS[name]
    answers: dict[str, Iterable[Step]] = {}
    if preset.models_path is not None:
        answers[preset.models_path] = answer(200, models_answer(preset.models_at, "m"))
    if preset.health_path is not None:
        answers[preset.with_names(preset.health_path, model="m")] = answer(preset.health_status, {})
    return answers


def serving(name: str, script: Script) -> ScriptedServer:
    """The preset's server, all its answers by the script."""
    preset = BACKENDS[name]
    dress = DRESSES[preset.wire_format]
    return ScriptedServer(lambda request: script(Server(dress, preset.streams, request)), get=preflight(name))


def run(name: str, server: ScriptedServer, directory: Path, requests: int, **options: Any) -> lb.Result:
    return lb.run(
        lb.Endpoint(server.url, backend=name, model="m", api_key="secret"),
        lb.workloads.random(input_tokens=4, output_tokens=options.pop("output_tokens", COUNT), n=requests),
        lb.load.closed(concurrency=options.pop("concurrency", 8)),
        result_dir=directory,
        **options,
    )


def outcomes(result: lb.Result) -> list[str]:
    """In schedule order."""
    return [lb._core.OUTCOMES[code] for code in result.requests["outcome"]]


@pytest.mark.parametrize("name", PRESETS)
def test_every_fault_has_its_class(name: str, tmp_path: Path) -> None:
    preset = BACKENDS[name]
    dress = DRESSES[preset.wire_format]
    faults = list(of_preset(name).items())

    def script(server: Server) -> Iterable[Step]:
        nth, is_faulty = divmod(number(server.request), 2)
        return faults[nth][1].script(server) if is_faulty else server.healthy()

    with serving(name, script) as server:
        result = run(
            *(name, server, tmp_path, 2 * len(faults)),
            connect="new",
            first_token_timeout=1 if preset.streams else 0,  # what comes in one piece has no first token
            idle_timeout=1,
            request_timeout=2.5,
        )
    rows = result.requests
    seen = outcomes(result)
    events = ALL if preset.streams else NOTHING
    wrong = {}
    for nth, (what, fault) in enumerate(faults):
        for i, outcome, kept in ((2 * nth, "ok", events), (2 * nth + 1, fault.outcome, fault.events)):
            row = rows[i]
            untimed = fault.untimed and i % 2 == 1
            expected: tuple[Any, ...] = (outcome, NOTHING if untimed else min(kept, events), 1)
            got: tuple[Any, ...] = (
                seen[i],
                int(row["events"]) if kept >= 0 else kept,
                int(row["attempts"]),
            )
            if outcome == "ok":
                # Counted by the server where it counts, and timed where it streams.
                expected += (COUNT if dress.counts else None, preset.streams and not untimed)
                got += (int(row["output_tokens"]) if dress.counts else None, bool(row["first_token_ns"] >= 0))
            if got != expected:
                wrong[f"{what}{'' if i % 2 else ': the healthy request before it'}"] = (got, expected)
    assert wrong == {}


@pytest.mark.parametrize("name", PRESETS)
def test_a_keep_alive_race_is_not_the_servers_fault(name: str, tmp_path: Path) -> None:
    """Row 17: a reused connection that closes before any byte of the answer is replaced, once."""

    def script(server: Server) -> Iterable[Step]:
        return [CLOSE] if server.request.position == 1 else server.healthy()

    with serving(name, script) as server:
        result = run(name, server, tmp_path, 3, concurrency=1)
    assert outcomes(result) == ["ok"] * 3
    assert list(result.requests["attempts"]) == [1, 2, 2]
    assert [number(request) for request in server.requests] == [0, 1, 1, 2, 2]


@pytest.mark.parametrize("name", PRESETS)
def test_a_server_that_stops_reading(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 12: the request never gets away whole."""
    monkeypatch.setattr("llmbench.preflight.check", lambda *args, **options: ServerFacts("m"))
    never_reads = ScriptedServer(
        lambda request: [], on_connect=lambda number: [Pause(30)], receive_bytes=4096
    )
    with never_reads as server:
        result = lb.run(
            lb.Endpoint(server.url, backend=name, model="m", api_key="secret", deployment="d"),
            lb.workloads.from_prompts(["word " * (2 << 20)], output_tokens=4),
            lb.load.closed(concurrency=1),
            num_requests=1,
            idle_timeout=0.5,
            save=False,
        )
    assert outcomes(result) == ["timeout_send"]
    assert 0 < int(result.requests["bytes_out"][0]) < 10 << 20


def with_usage(piece: bytes, dress: Dress, tokens: int) -> bytes:
    """An event of OpenAI's that says how many tokens there were so far, as its servers do when asked to."""
    event = json.loads(piece.removeprefix(b"data: "))
    return dress.event({**event, "usage": {"prompt_tokens": 1, "completion_tokens": tokens}})


COUNTED_TWICE = [
    name
    for name in PRESETS
    if BACKENDS[name].wire_format in ("openai-completions", "openai-chat", "tgi", "sglang", "llamacpp")
]
"""Whose servers can tell how many tokens each event holds, and how many there were in all."""


@pytest.mark.parametrize("name", COUNTED_TWICE)
def test_usage_that_disagrees_with_what_was_counted(name: str, tmp_path: Path) -> None:
    """Row 48: both are kept, and the run says that they disagree."""
    preset = BACKENDS[name]
    claimed = 2 * COUNT + 1

    def script(server: Server) -> Iterable[Step]:
        pieces, tail = server.pieces(), server.tail()
        if preset.wire_format.startswith("openai"):
            pieces = [with_usage(piece, server.dress, i + 1) for i, piece in enumerate(pieces)]
        if not number(server.request) % 2:
            return server.in_chunks(*pieces, tail)
        wrong, right = (
            [
                f'"{key}":{count}'.encode()
                for key in ("completion_tokens", "generated_tokens", "tokens_predicted")
            ]
            for count in (claimed, COUNT)
        )
        # TGI's last event is the one that tells.
        bodies = [b"".join(pieces[:-1]), pieces[-1], tail]
        last = 1 if preset.wire_format == "tgi" else 2
        for told, meant in zip(wrong, right, strict=True):
            bodies[last] = bodies[last].replace(meant, told)
        return server.in_chunks(*bodies)

    with serving(name, script) as server:
        result = run(name, server, tmp_path, 4)
    assert outcomes(result) == ["ok"] * 4
    assert list(result.requests["output_tokens"]) == [COUNT, claimed] * 2
    assert [int(held.sum()) for held in tokens_of_requests(result)] == [COUNT] * 4
    assert (result.summary.usage_checked, result.summary.usage_apart) == (4, 2)
    assert result.verdict.status == "INVALID"
    assert any("2 of 4 answers hold another number of tokens" in reason for reason in result.verdict.reasons)


def tokens_of_requests(result: lb.Result) -> Iterator[Any]:
    """What the events of each request say they hold, in schedule order."""
    events = result.events
    for i in range(len(result.requests)):
        yield events.tokens[events.offsets[i] : events.offsets[i + 1]]


COUNTING = [name for name in PRESETS if DRESSES[BACKENDS[name].wire_format].counts]


@pytest.mark.parametrize("name", COUNTING)
def test_answers_shorter_than_was_asked_for(name: str, tmp_path: Path) -> None:
    """Row 49: the run says so, and what to do about it."""
    asked = 3 * COUNT
    with serving(name, Server.healthy) as server:
        short = run(name, server, tmp_path, 4, output_tokens=asked)
        whole = run(name, server, tmp_path, 4)
    assert list(short.requests["output_tokens"]) == [COUNT] * 4
    assert list(short.requests["asked_tokens"]) == [asked] * 4
    told = [warning for warning in short.verdict.warnings if "4 of 4 answers ended before" in warning]
    assert len(told) == 1
    assert "--ignore-eos" in told[0]
    assert not any("ended before" in warning for warning in whole.verdict.warnings)


@pytest.fixture(scope="module")
def full_backlog() -> Iterator[str]:
    """Row 3: an address that takes no more connections and does not say so."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    waiting = []
    for _ in range(8):
        waiting.append(socket.socket())
        waiting[-1].setblocking(False)
        waiting[-1].connect_ex(listener.getsockname())
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    for each in (*waiting, listener):
        each.close()


@dataclass(frozen=True)
class Address:
    """Where a connection comes to nothing."""

    row: int
    url: str
    outcome: str
    told: str
    """Before a run; nothing where that takes as long as the time-out of the question that is asked then."""
    ca_file: Path | None = None
    connect_timeout: float = 10
    http2_outcome: str | None = None
    """Where HTTP/2 ends otherwise."""
    http2_told: str | None = None


@pytest.fixture(scope="module")
def addresses(full_backlog: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Address]]:
    def never(request: Request) -> Iterable[Step]:
        raise AssertionError("a request came through")

    def behind_tls(
        *names: str, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, **options: bool
    ) -> tuple[str, Path]:
        ca_file = tmp_path_factory.mktemp("ca") / "ca.pem"
        context = server_context(ca_file, *names, **options)
        context.maximum_version = newest
        context.set_alpn_protocols(["h2", "http/1.1"])
        return stack.enter_context(ScriptedServer(never, tls=context)).url, ca_file

    with contextlib.ExitStack() as stack:
        with socket.create_server(("127.0.0.1", 0)) as closed:
            nobody = f"http://127.0.0.1:{closed.getsockname()[1]}"
        trusted, ca_file = behind_tls()
        expired, expired_ca = behind_tls(expired=True)
        elsewhere, elsewhere_ca = behind_tls("elsewhere.example")
        mutual, mutual_ca = behind_tls(client_certificate=True)
        mutual_12, mutual_12_ca = behind_tls(client_certificate=True, newest=ssl.TLSVersion.TLSv1_2)
        refusal = [b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", CLOSE]
        plain = stack.enter_context(ScriptedServer(never, on_connect=lambda number: refusal)).url
        silent = stack.enter_context(ScriptedServer(never, on_connect=lambda number: [STALL])).url
        simulated = stack.enter_context(sim.Server(ttft_ms=1, itl_ms=1)).url
        yield [
            Address(1, nobody, "connect_refused", "is the server up"),
            Address(3, full_backlog, "timeout_connect", "", connect_timeout=0.3),
            Address(56, expired, "tls_expired", "expired", expired_ca),
            Address(57, elsewhere, "tls_verify", "localhost", elsewhere_ca),
            Address(57, trusted, "tls_verify", "--ca-file"),
            Address(58, plain.replace("http:", "https:"), "tls_handshake", "speak http[?]"),
            Address(
                58, silent.replace("http:", "https:"), "tls_handshake", "speak http[?]", connect_timeout=0.3
            ),
            Address(58, simulated.replace("http:", "https:"), "tls_handshake", "speak http[?]"),
            Address(59, mutual, "tls_client_cert", "client certificate", mutual_ca),
            Address(59, mutual_12, "tls_client_cert", "client certificate", mutual_12_ca),
            Address(60, trusted.replace("https:", "http:"), "reset_before_headers", "https", ca_file),
        ]


@pytest.mark.parametrize(
    ("name", "http2"), [*((name, False) for name in PRESETS), *((name, True) for name in [*PRESETS, GRPC])]
)
def test_a_connection_that_comes_to_nothing(
    name: str, http2: bool, addresses: list[Address], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before a run it is one error that says what to do; in a run, when the server only then turned so, a class."""

    def attempt(address: Address) -> lb.Result:
        ca_file = str(address.ca_file) if address.ca_file else None
        return lb.run(
            lb.Endpoint(address.url, backend=name, model="m", ca_file=ca_file, http2=http2),
            lb.workloads.random(input_tokens=4, output_tokens=4, n=1),
            lb.load.closed(concurrency=1),
            connect_timeout=address.connect_timeout,
            save=False,
        )

    asks = bool(BACKENDS[name].models_path or BACKENDS[name].health_path)
    for address in addresses:
        # Whoever asks nothing connects to a TLS server like to any other.
        if address.told and (asks or address.row not in (59, 60)):
            told = (http2 and address.http2_told) or address.told
            with pytest.raises(lb.errors.LlmbenchError, match=told):
                attempt(address)

    monkeypatch.setattr("llmbench.preflight.check", lambda *args, **options: ServerFacts("m"))
    seen = {address: outcomes(attempt(address)) for address in addresses}
    assert seen == {address: [(http2 and address.http2_outcome) or address.outcome] for address in addresses}
