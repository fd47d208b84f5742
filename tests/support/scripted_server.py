"""A loopback server that says exactly what a script tells it to, byte by byte, right or wrong.

A script is a function from a `Request` to the steps of its answer, usually a generator:

    def script(request):
        yield head(200, EVENT_STREAM)
        yield chunk(completion(" hello", request.id))
        yield Pause(0.1)
        yield RESET

    with ScriptedServer(script) as server:
        run against server.url, then read server.requests

Bytes are written as they are, in one write each. The other steps pause, stall, close and reset. The functions
below the server make the parts of a well-formed OpenAI answer, so that a script states only what is odd
about it. Every connection has a thread; a few hundred are fine.
"""

from __future__ import annotations

import contextlib
import json
import random
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any


@dataclass(frozen=True)
class Pause:
    """Writes nothing for so long."""

    seconds: float


@dataclass(frozen=True)
class Act:
    """A step that ends the connection: RESET, CLOSE or STALL."""

    name: str


RESET = Act("reset")  # RST, whatever was still to be sent
CLOSE = Act("close")  # FIN, then no more
STALL = Act("stall")  # nothing more until the peer closes or the server stops
Step = bytes | Pause | Act


@dataclass(frozen=True)
class Request:
    """One request as it was read from the wire."""

    number: int  # in order of arrival at this server, from 0
    connection: int  # number of its connection, from 0
    position: int  # how many requests this connection had carried before
    method: str
    path: str
    headers: dict[str, str]  # names in lower case
    body: bytes
    received_s: float = field(compare=False)  # time.monotonic()

    @property
    def id(self) -> str:
        return self.headers.get("x-request-id", "")

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Script = Callable[[Request], Iterable[Step]]


class ScriptedServer:
    """Serves from threads of its own between `__enter__` and `__exit__`.

    GET requests are answered from `get` (path → steps), else with 404, and are not counted in `requests`.
    `on_connect` may close, reset or stall a connection before its first request. `idle_s` is drawn after each
    answer: a connection idle for that long is closed, as servers do on their own; None keeps it open.
    """

    def __init__(
        self,
        script: Script,
        *,
        tls: ssl.SSLContext | None = None,
        get: dict[str, Iterable[Step]] | None = None,
        on_connect: Callable[[int], Iterable[Step]] | None = None,
        idle_s: Callable[[], float | None] | None = None,
        backlog: int = 512,
        receive_bytes: int | None = None,
    ) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self.idle_closes = 0
        self.errors: list[BaseException] = []  # of the script, which is a defect of the test
        self._script = script
        self._tls = tls
        self._get = get or {}
        self._on_connect = on_connect
        self._idle_s = idle_s
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._sockets: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=backlog)
        if receive_bytes is not None:  # inherited by its connections, which else take many megabytes unread
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://{'localhost' if tls else '127.0.0.1'}:{self.port}"

    def __enter__(self) -> ScriptedServer:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept
        self._listener.close()
        with self._lock:
            open_sockets = list(self._sockets)
        for open_socket in open_sockets:
            with contextlib.suppress(OSError):
                open_socket.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        if self.errors and error is None:
            raise self.errors[0]

    def _start(self, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                number = self.connections
                self.connections += 1
                self._sockets.add(accepted)
            self._start(self._serve, accepted, number)

    def _serve(self, plain: socket.socket, number: int) -> None:
        peer = plain
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._on_connect is not None and not self._play(peer, self._on_connect(number)):
                return
            if self._tls is not None:
                peer = self._tls.wrap_socket(plain, server_side=True)
                with self._lock:
                    self._sockets.discard(plain)
                    self._sockets.add(peer)
            self._exchange(peer, number)
        except OSError:
            pass  # the client went away, or the server is being stopped
        except BaseException as error:  # told in __exit__
            self.errors.append(error)
        finally:
            with self._lock:
                self._sockets.discard(plain)
                self._sockets.discard(peer)
            with contextlib.suppress(OSError):
                peer.close()
            plain.close()

    def _exchange(self, peer: socket.socket, connection: int) -> None:
        buffered = bytearray()
        position = 0
        while not self._stopping.is_set():
            idle_s = self._idle_s() if self._idle_s is not None and position > 0 else None
            try:
                request = self._read(peer, buffered, connection, position, idle_s)
            except TimeoutError:
                with self._lock:
                    self.idle_closes += 1
                self._finish(peer)
                return
            if request is None:
                return
            if request.method == "GET":
                steps = self._get.get(request.path, answer(404, {"error": {"message": "not found"}}))
            else:
                steps = self._script(request)
            if not self._play(peer, steps):
                return
            position += 1

    def _read(
        self, peer: socket.socket, buffered: bytearray, connection: int, position: int, idle_s: float | None
    ) -> Request | None:
        peer.settimeout(idle_s)
        while (end := buffered.find(b"\r\n\r\n")) < 0:
            got = peer.recv(65536)
            if not got:
                return None
            peer.settimeout(None)  # only the wait for the first byte is idleness
            buffered += got
        first, *lines = buffered[:end].decode("latin-1").split("\r\n")
        method, path, _ = first.split(" ")
        headers = {name.strip().lower(): value.strip() for name, value in (x.split(":", 1) for x in lines)}
        length = int(headers.get("content-length", "0"))
        while len(buffered) < end + 4 + length:
            got = peer.recv(65536)
            if not got:
                return None
            buffered += got
        received_s = time.monotonic()
        body = bytes(buffered[end + 4 : end + 4 + length])
        del buffered[: end + 4 + length]
        with self._lock:
            number = len(self.requests)
            request = Request(number, connection, position, method, path, headers, body, received_s)
            if method != "GET":
                self.requests.append(request)
        return request

    def _play(self, peer: socket.socket, steps: Iterable[Step]) -> bool:
        """Does the steps; False when the connection is over."""
        for step in steps:
            if isinstance(step, bytes):
                peer.sendall(step)
            elif isinstance(step, Pause):
                if self._stopping.wait(step.seconds):
                    return False
            elif step is STALL:
                self._hold(peer)
                return False
            elif step is CLOSE:
                self._finish(peer)
                return False
            elif step is RESET:
                _reset(peer)
                return False
        return True

    def _hold(self, peer: socket.socket) -> None:
        peer.settimeout(0.1)
        while not self._stopping.is_set():
            try:
                if not peer.recv(65536):
                    return
            except TimeoutError:
                continue

    @staticmethod
    def _finish(peer: socket.socket) -> None:
        if isinstance(peer, ssl.SSLSocket):
            with contextlib.suppress(OSError):
                peer.settimeout(0)  # send close_notify, do not wait for the client's
                peer.unwrap()
        with contextlib.suppress(OSError):
            peer.shutdown(socket.SHUT_WR)


def _reset(peer: socket.socket) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    # An SSLSocket's close is a plain close of the descriptor, which with this linger is a reset.
    peer.close()


# The parts of an answer.

EVENT_STREAM = {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"}
LAST_CHUNK = b"0\r\n\r\n"
DONE = b"data: [DONE]\n\n"
REASONS = {200: "OK", 204: "No Content", 307: "Temporary Redirect", 400: "Bad Request", 401: "Unauthorized"}


def head(status: int = 200, headers: dict[str, str] | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Status')}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def event(value: Any) -> bytes:
    """One server-sent event holding JSON."""
    return b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n"


def completion(text: str, request_id: str = "c", finish_reason: str | None = None, **more: Any) -> bytes:
    """One event of a completions stream."""
    choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": finish_reason}
    return event({"id": request_id, "object": "text_completion", "model": "m", "choices": [choice], **more})


def usage(prompt_tokens: int, completion_tokens: int, request_id: str = "c") -> bytes:
    """The usage event of a completions stream."""
    counts = {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }
    return event(
        {"id": request_id, "object": "text_completion", "model": "m", "choices": [], "usage": counts}
    )


def answer(status: int, body: Any, headers: dict[str, str] | None = None) -> list[bytes]:
    """A whole answer with Content-Length; a body that is neither bytes nor str is sent as JSON."""
    kind = "application/json"
    if isinstance(body, str):
        body, kind = body.encode(), "text/html"
    elif not isinstance(body, bytes):
        body = json.dumps(body).encode()
    return [head(status, {"Content-Type": kind, "Content-Length": str(len(body)), **(headers or {})}) + body]


def models(*names: str) -> dict[str, Iterable[Step]]:
    """The `get` argument of a server that lists these models."""
    data = [{"id": name, "object": "model"} for name in names]
    return {"/v1/models": answer(200, {"object": "list", "data": data}), "/health": answer(200, {})}


def stream(
    texts: Iterable[str], request: Request, gap_s: float = 0, prompt_tokens: int = 1
) -> Iterator[Step]:
    """A healthy completions stream: one event per text, usage, [DONE]."""
    yield head(200, EVENT_STREAM)
    count = 0
    for text in texts:
        if gap_s and count:
            yield Pause(gap_s)
        yield chunk(completion(text, request.id))
        count += 1
    tail = completion("", request.id, finish_reason="length") + usage(prompt_tokens, count, request.id)
    yield chunk(tail + DONE)
    yield LAST_CHUNK


def asked_tokens(request: Request) -> int:
    return int(request.json["max_tokens"])


def healthy(request: Request) -> Iterator[Step]:
    """As many tokens as were asked for, at once."""
    return stream((f" t{i}" for i in range(asked_tokens(request))), request)


def echo(request: Request) -> Iterator[Step]:
    """The request's own id, letter by letter, then its prompt: an answer that belongs to nobody else."""
    words = [*request.id, "|", str(request.json["prompt"])]
    return stream(words, request)


def random_idle(seed: int, shortest_s: float, longest_s: float) -> Callable[[], float]:
    """Draws how long a connection may idle, for `idle_s`; the same seed gives the same times in order."""
    generator = random.Random(seed)
    lock = threading.Lock()

    def draw() -> float:
        with lock:
            return generator.uniform(shortest_s, longest_s)

    return draw
