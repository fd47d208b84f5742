"""`--http2` before and beside a run: whatever is asked of the server goes over HTTP/2 too, since there are servers that
speak nothing else."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.scripted_server import CLOSE, ScriptedServer, answer, models
from support.tls import server_context

import llmbench as lb
from llmbench import preflight, sim
from llmbench.cli import main
from llmbench.errors import ConfigError

pytestmark = pytest.mark.integration
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class OnlyHttp2:
    """Stands before a server and lets connections through that begin as HTTP/2 does, maybe inside TLS; it closes
    all others."""

    def __init__(self, behind: str, tls: ssl.SSLContext | None = None) -> None:
        host, _, port = behind.rpartition("//")[2].partition(":")
        self._behind = (host, int(port))
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self.turned_away = 0
        self.let_in = 0

    def __enter__(self) -> OnlyHttp2:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            client.settimeout(30)
            stack.callback(client.close)
            if self._tls is not None:
                client = stack.enter_context(self._tls.wrap_socket(client, server_side=True))
                assert isinstance(client, ssl.SSLSocket)
                if client.selected_alpn_protocol() != "h2":
                    self.turned_away += 1
                    return
            begin = b""
            while len(begin) < len(PREFACE) and (part := client.recv(len(PREFACE) - len(begin))):
                begin += part
            if begin != PREFACE:
                self.turned_away += 1
                return
            self.let_in += 1
            server = stack.enter_context(socket.create_connection(self._behind, timeout=30))
            server.sendall(begin)
            back = threading.Thread(target=self._pump, args=(server, client), daemon=True)
            back.start()
            self._pump(client, server)

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while part := source.recv(65536):
                sink.sendall(part)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


@pytest.fixture(params=["plain", "tls"])
def only_http2(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[OnlyHttp2, dict[str, Any]]]:
    """A server that speaks nothing but HTTP/2, and what an endpoint needs to reach it."""
    tls, options = None, {"http2": True}
    if request.param == "tls":
        tls = server_context(tmp_path / "ca.pem")
        tls.set_alpn_protocols(["h2"])
        options["ca_file"] = str(tmp_path / "ca.pem")
    with sim.Server(ttft_ms=3, itl_ms=1, model="m") as server, OnlyHttp2(server.url, tls) as front:
        yield front, options


def measured(url: str, **options: Any) -> lb.Result:
    backend = options.pop("backend", "vllm")
    return lb.run(
        lb.Endpoint(url, backend=backend, **options.pop("endpoint", {})),
        lb.workloads.random(input_tokens=4, output_tokens=3, n=6),
        lb.load.closed(concurrency=2),
        save=False,
        progress=False,
        **options,
    )


def test_a_server_that_speaks_nothing_else(only_http2: tuple[OnlyHttp2, dict[str, Any]]) -> None:
    front, options = only_http2
    result = measured(front.url, endpoint=options, scrape_metrics=True)
    assert (result.summary.completed, result.summary.failed) == (6, 0), result.error_messages
    assert result.config["model"] == "m"  # as its model list has it
    assert result.client["server_counters"]["requests"] == 6
    assert front.turned_away == 0


def test_a_model_that_is_not_there(only_http2: tuple[OnlyHttp2, dict[str, Any]]) -> None:
    front, options = only_http2
    with pytest.raises(ConfigError, match="has no model 'other'; it has m"):
        preflight.check(lb.Endpoint(front.url, backend="vllm", model="other", **options))


def test_ping(only_http2: tuple[OnlyHttp2, dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    front, options = only_http2
    trust = ["--ca-file", options["ca_file"]] if "ca_file" in options else []
    asked = ["--backend", "vllm", "--output-len", "3", "--raw"]
    assert main(["ping", "--base-url", front.url, "--http2", *trust, *asked]) == 0
    said = capsys.readouterr().out
    assert "outcome ok, HTTP 200" in said
    assert "3 output tokens" in said
    assert "< 200 OK" in said
    assert "data: [DONE]" in said
    assert front.turned_away == 0
    assert front.let_in == 3  # the model list, the request, the request once more


def test_without_the_flag_it_is_turned_away(only_http2: tuple[OnlyHttp2, dict[str, Any]]) -> None:
    front, options = only_http2
    with pytest.raises(lb.errors.ServerUnreachableError):
        preflight.check(lb.Endpoint(front.url, **{**options, "http2": False}))
    assert (front.turned_away, front.let_in) == (1, 0)


@pytest.mark.parametrize("secure", [False, True])
def test_a_server_that_knows_no_http2(secure: bool, tmp_path: Path) -> None:
    tls = server_context(tmp_path / "ca.pem") if secure else None
    ca_file = str(tmp_path / "ca.pem") if secure else None
    with ScriptedServer(lambda request: [*answer(400, {}), CLOSE], tls=tls, get=models("m")) as server:
        with pytest.raises(ConfigError, match="leave --http2 out"):
            preflight.check(lb.Endpoint(server.url, http2=True, ca_file=ca_file))
        # Of a connection's preface a server of HTTP/1.1 makes a request.
        assert [request.method for request in server.requests] == ([] if secure else ["PRI"])


def test_another_server_than_the_preset_says() -> None:
    with (
        sim.Server(ttft_ms=3, itl_ms=1, dialect="tgi") as server,
        OnlyHttp2(server.url) as front,
        pytest.raises(ConfigError, match="did you mean --backend tgi"),
    ):
        measured(front.url, backend="sglang", endpoint={"http2": True})


def test_large_answers_and_large_requests() -> None:
    """Beyond the windows that HTTP/2 begins with."""
    with sim.Server(ttft_ms=1, itl_ms=0.1, model="m" * 100_000) as server:
        facts = preflight.check(lb.Endpoint(server.url, http2=True))
        assert facts.model == "m" * 100_000
        with contextlib.closing(preflight.open_connection(lb.Endpoint(server.url, http2=True), 10)) as asked:
            body = b'{"prompt":"' + b"a " * 200_000 + b'"}'
            asked.request("POST", "/v1/completions", body, {"Content-Type": "application/json"})
            response = asked.getresponse()
            assert response.status == 200, response.read()
            assert b"choices" in response.read()
            asked.request("GET", "/nowhere")  # a second one, over the same object
            assert asked.getresponse().status == 404


def test_a_connection_that_is_closed_within_the_answer() -> None:
    closes = [CLOSE]
    with (
        ScriptedServer(lambda request: answer(200, {}), on_connect=lambda number: closes) as server,
        pytest.raises(lb.errors.LlmbenchError, match="closed without a response"),
    ):
        preflight.check(lb.Endpoint(server.url, http2=True))
