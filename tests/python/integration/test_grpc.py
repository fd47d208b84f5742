"""FastGen's gRPC and HTTP/2 against the simulated server: counts and times by its truth log, failures by class."""

from __future__ import annotations

import json
import socket
import sqlite3
import ssl
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.scripted_server import ScriptedServer, healthy, models
from support.tls import server_context

import llmbench as lb
from llmbench import sim
from llmbench.preflight import ServerFacts

TOKENS = 24


def measure(
    url: str, where: Path, *, clients: int = 4, requests: int = 8, backend: str = "fastgen", **endpoint: Any
) -> Any:
    return lb.run(
        lb.Endpoint(url, backend=backend, model="m", **endpoint),
        lb.workloads.random(input_tokens=8, output_tokens=TOKENS, n=requests, seed=1),
        lb.load.closed(concurrency=clients),
        result_dir=where,
        progress=False,
    )


def truth_of(path: Path) -> dict[int, dict[str, Any]]:
    """Rows of the truth log by request number."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return {int(row["request_id"].split("-", 1)[1]): row for row in rows}


def assert_all_failed(where: Path, outcome: str, said: str) -> None:
    (file,) = where.glob("*.llmbench")
    with closing(sqlite3.connect(file)) as database:
        failures = set(database.execute("SELECT outcome, error FROM request"))
    assert {one for one, _ in failures} == {outcome}
    assert all(said in error for _, error in failures), failures


@pytest.mark.parametrize(("clients", "streams"), [(1, 100), (50, 10), (200, 100)])
def test_tokens_and_times_are_the_servers(tmp_path: Path, clients: int, streams: int) -> None:
    log = tmp_path / "truth.jsonl"
    with sim.Server(ttft_ms=40, itl_ms=10, dialect="fastgen-grpc", truth=str(log)) as server:
        result = measure(
            server.url, tmp_path, clients=clients, requests=2 * clients, streams_per_connection=streams
        )
    rows, truth = result.requests, truth_of(log)
    assert len(rows) == 2 * clients
    assert (rows["status"] == 200).all()
    errors_ms = []
    for row in rows:
        true = truth[int(row["id"])]
        assert row["output_tokens"] == sum(true["tokens"]) == TOKENS
        assert row["prompt_tokens"] == true["prompt_tokens"]
        assert row["events"] == len(true["event_ns"])
        errors_ms.append(
            (row["first_token_ns"] - row["sent_ns"] - true["event_ns"][0] + true["received_ns"]) / 1e6
        )
    assert -1 < np.median(errors_ms) < 20  # generous: other tests may have the machine
    assert len(set(rows["connection"])) == -(-clients // streams)


def test_a_call_that_is_not_streamed(tmp_path: Path) -> None:
    with sim.Server(ttft_ms=5, itl_ms=1, dialect="fastgen-grpc") as server:
        result = lb.run(
            lb.Endpoint(server.url, backend="fastgen", model="m"),
            lb.workloads.random(input_tokens=8, output_tokens=TOKENS, n=4, seed=1),
            lb.load.closed(concurrency=2),
            stream=False,
            result_dir=tmp_path,
            progress=False,
        )
    assert (result.requests["output_tokens"] == TOKENS).all()
    assert (result.requests["events"] == 0).all()


@pytest.mark.parametrize(
    ("fault", "outcome", "said"),
    [
        ("500", "server_error_event", "grpc-status 2 UNKNOWN"),
        ("429", "server_error_event", "grpc-status 8 RESOURCE_EXHAUSTED"),
        ("404", "server_error_event", "grpc-status 12 UNIMPLEMENTED"),
        ("503", "server_error_event", "grpc-status 14 UNAVAILABLE"),
        ("reset-mid", "reset_mid_stream", "INTERNAL_ERROR"),
        ("eof-mid", "truncated", "without a grpc-status"),
        ("schema", "schema", "response (1): missing"),
        ("html", "content_type", "not application/grpc"),
        ("reset-early", "reset_before_headers", "INTERNAL_ERROR"),
    ],
)
def test_what_goes_wrong_has_its_class(tmp_path: Path, fault: str, outcome: str, said: str) -> None:
    with sim.Server(ttft_ms=5, itl_ms=1, dialect="fastgen-grpc", faults=f"{fault}=1") as server:
        measure(server.url, tmp_path)
    assert_all_failed(tmp_path, outcome, said)


def test_a_server_that_goes_away_loses_no_request(tmp_path: Path) -> None:
    with sim.Server(ttft_ms=5, itl_ms=1, dialect="fastgen-grpc", keep_alive_requests=5) as server:
        result = measure(server.url, tmp_path, requests=40)
    assert (result.requests["output_tokens"] == TOKENS).all()
    assert len(set(result.requests["connection"])) > 1


def test_a_server_of_http_1(tmp_path: Path) -> None:
    """One that answers a preface of HTTP/2 with an error of HTTP/1.1."""
    listener = socket.create_server(("127.0.0.1", 0))

    def refuse() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                client.recv(4096)
                client.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    threading.Thread(target=refuse, daemon=True).start()
    try:
        measure(f"http://127.0.0.1:{listener.getsockname()[1]}", tmp_path)
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
    assert_all_failed(tmp_path, "protocol", 'does not speak HTTP/2: it answered "HTTP/1.1 400')


@pytest.fixture
def certificate(tmp_path: Path) -> dict[str, str]:
    """Files of a server's certificate and of the CA that made it."""
    trustme = pytest.importorskip("trustme")
    ca = trustme.CA()
    leaf = ca.issue_cert("127.0.0.1", "localhost")
    files = {name: str(tmp_path / f"{name}.pem") for name in ("ca", "cert", "key")}
    ca.cert_pem.write_to_path(files["ca"])
    leaf.private_key_pem.write_to_path(files["key"])
    for index, blob in enumerate(leaf.cert_chain_pems):
        blob.write_to_path(files["cert"], append=index > 0)
    return files


def test_http2_over_tls(tmp_path: Path, certificate: dict[str, str]) -> None:
    with sim.Server(
        ttft_ms=5, itl_ms=1, model="m", tls_cert=certificate["cert"], tls_key=certificate["key"]
    ) as server:
        result = measure(
            server.url,
            tmp_path,
            backend="vllm",
            http2=True,
            ca_file=certificate["ca"],
            clients=8,
            requests=16,
        )
    rows = result.requests
    assert (rows["output_tokens"] == TOKENS).all()
    assert len(set(rows["connection"])) == 1


def test_http2_without_tls(tmp_path: Path) -> None:
    with sim.Server(ttft_ms=5, itl_ms=1, model="m") as server:
        result = measure(server.url, tmp_path, backend="vllm", http2=True, clients=8, requests=16)
    assert (result.requests["output_tokens"] == TOKENS).all()
    assert len(set(result.requests["connection"])) == 1


def test_a_server_that_agrees_to_no_http2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that did when it was asked before the run."""
    monkeypatch.setattr("llmbench.preflight.check", lambda *args, **options: ServerFacts("m"))
    context: ssl.SSLContext = server_context(tmp_path / "ca.pem")
    with ScriptedServer(healthy, tls=context, get=models("m")) as server:
        measure(server.url, tmp_path, backend="vllm", http2=True, ca_file=str(tmp_path / "ca.pem"))
    assert_all_failed(tmp_path, "protocol", "does not agree to HTTP/2")
