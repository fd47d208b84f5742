"""HTTP/2 for questions beside a run, as a connection of the standard library's: the core frames, a socket of
`http.client`'s carries the bytes. Nothing here is timed."""

from __future__ import annotations

import http.client
import io
import ssl
from collections.abc import Iterable, Mapping
from typing import Any

from llmbench import _core

_READ_BYTES = 65536
_OF_CONNECTIONS = ("connection", "host", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade")
"""Header fields that have no place in HTTP/2."""


class NotHttp2Error(http.client.HTTPException):
    """The server does not speak HTTP/2, or breaks its rules."""


class Http2Connection(http.client.HTTPConnection):
    """Speaks HTTP/2 over what `over` connects to: by prior knowledge, or over TLS by agreement, which the context of
    `over` has to offer. Each request has a connection of its own."""

    def __init__(self, over: http.client.HTTPConnection, scheme: str, authority: str) -> None:
        super().__init__(over.host, over.port, timeout=over.timeout)
        self._over = over
        self._scheme = scheme
        self._authority = authority
        self._exchange: _core.Http2Exchange | None = None

    def connect(self) -> None:
        self._over.connect()
        self.sock = self._over.sock
        if isinstance(self.sock, ssl.SSLSocket) and self.sock.selected_alpn_protocol() != "h2":
            agreed = self.sock.selected_alpn_protocol() or "nothing"
            self.close()
            raise NotHttp2Error(f"the server does not agree to HTTP/2 (ALPN: {agreed})")

    def close(self) -> None:
        self._exchange = None
        self.sock = None
        self._over.close()

    def request(
        self,
        method: str,
        url: str,
        body: Any = None,
        headers: Mapping[str, Any] = {},
        *,
        encode_chunked: bool = False,
    ) -> None:
        """`body` is bytes or None."""
        if self._exchange is not None:
            self.close()
        if self.sock is None:
            self.connect()
        fields = [
            (":method", method),
            (":scheme", self._scheme),
            (":authority", self._authority),
            (":path", url),
            *((name.lower(), str(value)) for name, value in headers.items()),
        ]
        if body:
            fields.append(("content-length", str(len(body))))
        self._exchange = _core.Http2Exchange(
            [(name, value) for name, value in fields if name not in _OF_CONNECTIONS], bytes(body or b"")
        )
        self.sock.sendall(self._exchange.take_output())

    def getresponse(self) -> http.client.HTTPResponse:
        if self._exchange is None:
            raise http.client.ResponseNotReady("no request was sent")
        response = http.client.HTTPResponse(_Answer(self.sock, self._exchange))  # type: ignore[arg-type]
        response.begin()
        return response


class _Answer(io.RawIOBase):
    """A response as HTTP/1.1 would have it: a head, and a body to the end of the stream."""

    def __init__(self, sock: Any, exchange: _core.Http2Exchange) -> None:
        self._sock = sock
        self._exchange = exchange
        self._ready = b""
        self._begun = False

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            if self._exchange.status and not self._begun:
                self._begun = True
                self._ready = _head(self._exchange.status, self._exchange.fields)
            self._ready += self._exchange.take_body() if self._begun else b""
            if self._ready:
                break
            if self._exchange.over:
                if self._exchange.error:
                    raise NotHttp2Error(self._exchange.error)
                return 0
            self._receive()
        size = min(len(buffer), len(self._ready))
        buffer[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size

    def _receive(self) -> None:
        received = self._sock.recv(_READ_BYTES)
        if received:
            self._exchange.receive(received)
        else:
            self._exchange.close()
        if answer := self._exchange.take_output():
            self._sock.sendall(answer)


def _head(status: int, fields: Iterable[tuple[str, str]]) -> bytes:
    reason = http.client.responses.get(status, "")
    lines = [f"HTTP/1.1 {status} {reason}"]
    lines += [f"{name}: {value}" for name, value in fields if name not in _OF_CONNECTIONS]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1")
