"""What is checked before a run: that the server answers, accepts the key and has the model. At most one
GET is sent, more only while waiting for a server to come up and to tell what a wrong one is; never a generation."""

from __future__ import annotations

import base64
import errno
import http.client
import json
import os
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from llmbench import _core, recognition, secrecy
from llmbench.backends import get
from llmbench.endpoint import Endpoint
from llmbench.errors import ConfigError, LlmbenchError, ServerUnreachableError
from llmbench.http2 import Http2Connection, NotHttp2Error

_SHOWN_MODELS = 20
_LARGEST_ANSWER = 8 << 20
_EXCERPT = 8 << 10
_ANY_MODEL = "llmbench-sim"
"""What the simulated server lists when it was given no name: it answers to any."""


@dataclass(frozen=True)
class ServerFacts:
    """What the server said about itself."""

    model: str | None
    """The model to ask for: the one given, or else the first the server lists."""
    models: tuple[str, ...] = ()
    software: str | None = None
    """The Server header."""
    context_length: int | None = None
    """The model's max_model_len, where the list has it."""


def check(endpoint: Endpoint, *, timeout_s: float = 10.0, wait_ready_s: float = 0.0) -> ServerFacts:
    """Asks the preset's model list or health path once; with `wait_ready_s`, again until the server is ready.

    Raises ServerUnreachableError, and ConfigError where the address, the key or the model is wrong.
    """
    endpoint = endpoint.authorized()
    deadline = time.monotonic() + wait_ready_s
    pause = 0.1
    while True:
        try:
            return _ask(endpoint, timeout_s)
        except _NotReadyError as error:
            left = deadline - time.monotonic()
            if left <= 0:
                waited = f" (waited {wait_ready_s:g} s)" if wait_ready_s else ""
                raise ServerUnreachableError(f"{error}{waited}") from None
            time.sleep(min(pause, left))
            pause = min(pause * 1.5, 1.0)


class _NotReadyError(ServerUnreachableError):
    """What may pass when the server comes up."""


def _ask(endpoint: Endpoint, timeout_s: float) -> ServerFacts:
    preset = endpoint.preset
    wanted = preset.models_path or preset.health_path
    if wanted is None:
        _connect(endpoint, timeout_s)
        return ServerFacts(endpoint.model)
    path = endpoint.page_path(endpoint.named(wanted))
    url = endpoint.origin + path
    status, headers, body = _get(endpoint, path, url, timeout_s)
    software = headers.get("server")
    if status in (401, 403):
        raise ConfigError(_key_message(endpoint, url, status))
    if status in (404, 405, 501):
        # Not every server lists its models or its health: the run itself will tell.
        _check_not_another(endpoint, timeout_s)
        if endpoint.model is None and endpoint.names_model and preset.default_model is None:
            raise ConfigError(f"{url} answered {status}: the server lists no models, name one with --model")
        return ServerFacts(endpoint.model, software=software)
    if 300 <= status < 400:
        raise ConfigError(
            f"{url} redirects to {secrecy.redact_url(headers.get('location', 'nowhere'))}: "
            "give that address, redirects are not followed"
        )
    if status == 503:
        raise _NotReadyError(
            f"{url} answered 503, the server is not ready: --wait-ready SECONDS waits for it"
        )
    # `transformers serve` lists the hub's cache, and cannot where there is none: it serves all the same.
    if status == 500 and preset.models_path and endpoint.model and _is_healthy(endpoint, timeout_s):
        return ServerFacts(endpoint.model, software=software)
    if status == 429 or status >= 500:
        raise _NotReadyError(f"{url} answered {status}: {_excerpt(endpoint, body)}")
    if preset.models_path is None and status == preset.health_status:
        return ServerFacts(endpoint.model, software=software)
    if status >= 400:
        _check_not_another(endpoint, timeout_s)
        raise ConfigError(f"{url} answered {status}: {_excerpt(endpoint, body)}")
    if preset.models_path is None:
        return ServerFacts(endpoint.model, software=software)
    return _chosen(endpoint, url, headers, body, timeout_s)


def _is_healthy(endpoint: Endpoint, timeout_s: float) -> bool:
    path = endpoint.page_path("/health")
    try:
        return _get(endpoint, path, endpoint.origin + path, timeout_s)[0] == 200
    except LlmbenchError:
        return False


def recognize(endpoint: Endpoint, timeout_s: float = 10.0) -> recognition.Seen | None:
    """Which server answers there, by a few GETs; None when nothing tells."""

    def get(path: str) -> tuple[int, bytes] | None:
        full = endpoint.page_path(path)
        try:
            status, _, body = _get(endpoint, full, endpoint.origin + full, timeout_s)
        except LlmbenchError:
            return None
        return status, body

    return recognition.recognize(get)


def explain_answers(endpoint: Endpoint, path: str, body: bytes, timeout_s: float = 10.0) -> str | None:
    """One line about what answers there, for a run whose every answer was unreadable: by one more answer,
    else by what the server tells about itself. None where nothing tells that it is another kind of server."""
    preset = endpoint.preset
    status, answer = (0, b"") if preset.encode is not None else _beginning(endpoint, path, body, timeout_s)
    formats = _core.guess_wire_format(answer)
    if preset.wire_format in formats:
        return None  # it is the right one, and something else is wrong
    name = recognition.preset_of_format(formats[0]) if formats else None
    if name is not None:
        return f"the answers look like those of {get(name).description}: did you mean --backend {name}?"
    seen = recognize(endpoint, timeout_s)
    if seen is None or seen.software.speaks(preset):
        return None
    if seen.software.preset == "openai" and preset.encode is None and status not in (404, 405):
        return None  # many servers have OpenAI's model list beside paths of their own, and none beside gRPC
    return seen.explain(preset)


def _beginning(endpoint: Endpoint, path: str, body: bytes, timeout_s: float) -> tuple[int, bytes]:
    """The status and the first bytes of the answer to one request, or 0 and none."""
    headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
    connection = open_connection(endpoint, timeout_s)
    status, found = 0, b""
    try:
        connection.request(endpoint.preset.method, path, body, headers | dict(endpoint.wire_headers()))
        response = connection.getresponse()
        status = response.status
        while len(found) < _EXCERPT and (part := response.read1(_EXCERPT - len(found))):
            found += part
    except (OSError, http.client.HTTPException):
        pass  # what came so far may tell
    finally:
        connection.close()
    return status, found


def _check_not_another(endpoint: Endpoint, timeout_s: float) -> None:
    """Raises ConfigError where a server of another kind answers."""
    seen = recognize(endpoint, timeout_s)
    if seen is not None and not seen.software.speaks(endpoint.preset):
        raise ConfigError(f"{endpoint.origin}: {seen.explain(endpoint.preset)}")


def _chosen(
    endpoint: Endpoint, url: str, headers: dict[str, str], body: bytes, timeout_s: float
) -> ServerFacts:
    preset, software = endpoint.preset, headers.get("server")
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    found = list(_at(answer, preset.models_at))
    if not found and not _is_empty_list(answer, preset.models_at):
        _check_not_another(endpoint, timeout_s)
        if "html" in headers.get("content-type", "") or body.lstrip()[:1] == b"<":
            raise ConfigError(f"{url} answered with an HTML page, not with an API: check host, port and path")
        raise ConfigError(
            f"{url} did not answer with a model list but with {_excerpt(endpoint, body)}: "
            f"check the port, and whether --backend {preset.name} ({preset.description}) is right"
        )
    names = tuple(name for name in found if isinstance(name, str))
    model = endpoint.model
    if model is None:
        if not names and endpoint.names_model and preset.default_model is None:
            raise ConfigError(f"{url} lists no models: name one with --model")
        model = names[0] if names else None
    elif names and endpoint.names_model and not _listed(model, names) and not _is_cache(answer):
        shown = ", ".join(names[:_SHOWN_MODELS])
        more = f" and {len(names) - _SHOWN_MODELS} more" if len(names) > _SHOWN_MODELS else ""
        raise ConfigError(f"the server has no model {model!r}; it has {_printable(shown)}{more}")
    context = None
    if preset.context_at is not None:
        # Where it stands beside the name, it is that model's; elsewhere the server has one model.
        beside = list(_at(answer, preset.context_at, preset.models_at, model))
        context = next((each for each in beside if isinstance(each, int)), None)
    return ServerFacts(model, names, software, context)


def _listed(model: str, names: tuple[str, ...]) -> bool:
    """Ollama lists `m` as `m:latest`; the simulated server without a name takes any."""
    return model in names or f"{model}:latest" in names or names == (_ANY_MODEL,)


def _is_cache(answer: Any) -> bool:
    """Whether that is what `transformers serve` finds in the hub's cache: it also serves directories, and what it can
    download. Each entry is owned by its name's first half."""
    entries = answer.get("data") if isinstance(answer, dict) else None
    return isinstance(entries, list) and all(
        isinstance(each, dict)
        and isinstance(name := each.get("id"), str)
        and each.get("owned_by") == (name.partition("/")[0] if "/" in name else "")
        for each in entries
    )


def _at(answer: Any, pointer: str, names_at: str = "", name: str | None = None) -> Iterator[Any]:
    """What the pointer finds, `-` standing for every element of a list; with `name`, only in the element that has
    it at `names_at`."""
    prefix, several, rest = pointer.partition("/-")
    head = _step(answer, prefix)
    if not several:
        yield from [] if head is None else [head]
        return
    shared, _, name_rest = names_at.partition("/-")
    for each in head if isinstance(head, list) else []:
        if name is not None and shared == prefix and _step(each, name_rest) not in (name, f"{name}:latest"):
            continue
        value = _step(each, rest)
        if value is not None:
            yield value


def _step(value: Any, pointer: str) -> Any:
    for key in pointer.split("/")[1:]:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _is_empty_list(answer: Any, pointer: str) -> bool:
    prefix, several, _ = pointer.partition("/-")
    return bool(several) and isinstance(_step(answer, prefix), list)


def _key_message(endpoint: Endpoint, url: str, status: int) -> str:
    if endpoint.api_key is None:
        given = [name for name, _ in endpoint.wire_headers() if secrecy.is_secret_name(name)]
        if given:
            return f"{url} answered {status}, the key was not accepted: check the header {given[0]}"
        return (
            f"{url} answered {status}, the server wants a key: "
            f"{f'set {endpoint.preset.key_env}, or ' if endpoint.preset.key_env else ''}"
            "name a variable with --api-key-env, a file with --api-key-file"
        )
    where = f" ({_source(endpoint.api_key_name)})" if endpoint.api_key_name else ""
    return f"{url} answered {status}, the key was not accepted: check API key{where}"


def _source(name: str) -> str:
    """Where a key came from: a flag, a file or an environment variable."""
    return name if name.startswith("-") else f"file {name}" if "/" in name or "." in name else f"env {name}"


def _excerpt(endpoint: Endpoint, body: bytes) -> str:
    text = body[:2048].decode("utf-8", "replace")
    try:
        error = json.loads(body).get("error")
        text = error["message"] if isinstance(error, dict) else error if isinstance(error, str) else text
    except (ValueError, AttributeError, KeyError):
        pass
    text = " ".join(secrecy.scrub(_printable(str(text)), endpoint.secrets()).split())
    return repr(text[:200]) if text else "an empty body"


def _printable(text: str) -> str:
    """A server's words without what a terminal would act on."""
    return "".join(character if character.isprintable() or character == " " else " " for character in text)


# One GET over the standard library


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, host: str, timeout: float) -> None:
        super().__init__(host, timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _get(endpoint: Endpoint, path: str, url: str, timeout_s: float) -> tuple[int, dict[str, str], bytes]:
    connection = open_connection(endpoint, timeout_s or None)
    try:
        connection.request(
            "GET",
            path,
            headers={
                "Accept": "application/json",
                "Accept-Encoding": "identity",
                **dict(endpoint.wire_headers()),
            },
        )
        response = connection.getresponse()
        body = response.read(_LARGEST_ANSWER)
        return response.status, {name.lower(): value for name, value in response.getheaders()}, body
    except (OSError, http.client.HTTPException) as error:
        raise _explained(endpoint, url, error, timeout_s) from None
    finally:
        connection.close()


def _connect(endpoint: Endpoint, timeout_s: float) -> None:
    """Opens a connection and closes it, for servers that have no page to ask for."""
    connection = open_connection(endpoint, timeout_s or None)
    try:
        connection.connect()
    except (OSError, http.client.HTTPException) as error:
        raise _explained(endpoint, endpoint.origin, error, timeout_s) from None
    finally:
        connection.close()


def open_connection(endpoint: Endpoint, timeout_s: float | None) -> http.client.HTTPConnection:
    """A connection to where the endpoint says, made when first used, as `http.client` has them.

    It speaks HTTP/2 where `--http2` asks for that. A server of gRPC has no pages: who asks it for some wants to know
    what else answers there, which HTTP/1.1 does.
    """
    connection = _http1_connection(endpoint, timeout_s)
    if not endpoint.http2:
        return connection
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    usual = endpoint.port == (443 if endpoint.scheme == "https" else 80)
    return Http2Connection(connection, endpoint.scheme, host if usual else f"{host}:{endpoint.port}")


def _http1_connection(endpoint: Endpoint, timeout_s: float | None) -> http.client.HTTPConnection:
    if endpoint.unix_socket is not None:
        return _UnixConnection(endpoint.unix_socket, endpoint.host, timeout_s)  # type: ignore[arg-type]
    host, port = endpoint.host, endpoint.port
    proxy = (
        urlsplit(endpoint.proxy if "://" in endpoint.proxy else f"http://{endpoint.proxy}")
        if endpoint.proxy
        else None
    )
    if proxy is not None:
        host, port = proxy.hostname or "", proxy.port or 1080
    connection: http.client.HTTPConnection
    if endpoint.scheme == "https":
        connection = http.client.HTTPSConnection(
            host, port, timeout=timeout_s, context=_tls_context(endpoint)
        )
    else:
        connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
    if proxy is not None:
        login = {}
        if proxy.username is not None:
            pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
            login["Proxy-Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode('ascii')}"
        connection.set_tunnel(endpoint.host, endpoint.port, login)
    return connection


def _tls_context(endpoint: Endpoint) -> ssl.SSLContext:
    context = _trusting_context(endpoint)
    if endpoint.speaks_http2:
        context.set_alpn_protocols(["h2"] if endpoint.http2 else ["h2", "http/1.1"])
    return context


def _trusting_context(endpoint: Endpoint) -> ssl.SSLContext:
    if endpoint.insecure:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    try:
        return ssl.create_default_context(cafile=endpoint.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"the CA file {endpoint.ca_file} cannot be used: {error}") from None


_CERTIFICATE_WANTED = ("SSLV3_ALERT_HANDSHAKE_FAILURE", "TLSV13_ALERT_CERTIFICATE_REQUIRED")


def _explained(endpoint: Endpoint, url: str, error: Exception, timeout_s: float) -> LlmbenchError:
    """The error as one line that says what to do."""
    at = f"the socket {endpoint.unix_socket}" if endpoint.unix_socket else url
    if endpoint.proxy:
        at += f" through the proxy {secrecy.redact_url(endpoint.proxy)}"
    if isinstance(error, socket.gaierror):
        return _NotReadyError(f"cannot find the host {endpoint.host!r}: check the name ({error.strerror})")
    if isinstance(error, ssl.SSLCertVerificationError):
        hint = "--ca-file FILE names a certificate to trust"
        if "expired" in error.verify_message:
            hint = "renew it"
        return ServerUnreachableError(
            f"{at}: the server's certificate is refused, {error.verify_message}: {hint}"
        )
    if isinstance(error, ssl.SSLError):
        hint = ""
        if error.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"):
            hint = ": does the server speak http?"
        elif isinstance(error, ssl.SSLEOFError):
            hint = (
                ": does the server speak http? Or does it want a client certificate? None can be given: put a proxy "
                "in front"
            )
        elif error.reason in _CERTIFICATE_WANTED:
            hint = ": does the server want a client certificate? None can be given: put a proxy in front"
        return ServerUnreachableError(f"{at}: no TLS connection ({error.reason or error}){hint}")
    if isinstance(error, ConnectionRefusedError | FileNotFoundError):
        return _NotReadyError(f"no server at {at}, connection refused: is the server up?")
    if isinstance(error, TimeoutError) and "handshake" in str(error):
        return ServerUnreachableError(
            f"{at}: no answer to the TLS handshake within {timeout_s:g} s: does the server speak http?"
        )
    if isinstance(error, TimeoutError):
        return _NotReadyError(
            f"{at} did not answer within {timeout_s:g} s: is the server up, and the port right?"
        )
    if isinstance(error, NotHttp2Error):
        return ConfigError(f"{at}: {error}: leave --http2 out, or give the port that speaks it")
    if isinstance(error, http.client.RemoteDisconnected | ConnectionResetError | BrokenPipeError):
        hint = ": try https" if endpoint.scheme == "http" else ""
        return _NotReadyError(f"{at} closed the connection without an answer{hint}")
    if isinstance(error, http.client.HTTPException):
        # Such a server may be speaking TLS, or something else entirely.
        return ConfigError(f"{at} does not speak HTTP ({type(error).__name__}): check the port, or try https")
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return LlmbenchError(f"this machine has no file descriptors left: {os.strerror(error.errno)}")
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return _NotReadyError(f"cannot reach {at}: {reason}")
