"""Servers behind TLS: trusted by a CA file, refused otherwise, and never mixed up with something else."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.command import Command
from support.scripted_server import ScriptedServer, healthy, models
from support.tls import server_context

SMALL = (
    *("--model", "m", "--num-prompts", "8", "--max-concurrency", "2", "--no-progress"),
    *("--random-input-len", "4", "--random-output-len", "4"),
)


@pytest.fixture
def ca_file(tmp_path: Path) -> Path:
    return tmp_path / "ca.pem"


def test_trusted_by_its_ca_file(command: Command, ca_file: Path) -> None:
    with ScriptedServer(healthy, tls=server_context(ca_file), get=models("m")) as server:
        done = command("run", "--base-url", server.url, "--ca-file", str(ca_file), *SMALL)
    assert done.returncode == 0, done.stderr
    assert len(server.requests) == 8


def test_insecure_is_said(command: Command, ca_file: Path) -> None:
    with ScriptedServer(healthy, tls=server_context(ca_file), get=models("m")) as server:
        done = command("run", "--base-url", server.url, "--insecure", *SMALL)
    assert done.returncode == 0, done.stderr
    assert len(server.requests) == 8
    assert "insecure" in (done.stdout + done.stderr).lower()


@pytest.mark.parametrize(
    ("names", "expired", "trusted", "told"),
    [
        pytest.param((), False, False, "--ca-file", id="unknown CA"),
        pytest.param(("elsewhere.example",), False, True, "localhost", id="another host"),
        pytest.param((), True, True, "expired", id="expired"),
    ],
)
def test_a_certificate_that_cannot_be_trusted(
    command: Command, ca_file: Path, names: tuple[str, ...], expired: bool, trusted: bool, told: str
) -> None:
    context = server_context(ca_file, *names, expired=expired)
    with ScriptedServer(healthy, tls=context, get=models("m")) as server:
        flags = ("--ca-file", str(ca_file)) if trusted else ()
        done = command("run", "--base-url", server.url, *flags, *SMALL)
    assert done.returncode == 1, done.stdout + done.stderr
    assert told in done.stderr
    assert server.requests == []


def test_https_to_a_server_that_speaks_http(command: Command) -> None:
    with ScriptedServer(healthy, get=models("m")) as server:
        done = command("run", "--base-url", server.url.replace("http:", "https:"), *SMALL)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "http" in done.stderr
    assert server.requests == []


def test_http_to_a_server_that_speaks_https(command: Command, ca_file: Path) -> None:
    with ScriptedServer(healthy, tls=server_context(ca_file), get=models("m")) as server:
        done = command("run", "--base-url", server.url.replace("https:", "http:"), *SMALL)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "https" in done.stderr
    assert server.requests == []


def test_a_ca_file_that_is_not_there(command: Command, ca_file: Path) -> None:
    with ScriptedServer(healthy, tls=server_context(ca_file), get=models("m")) as server:
        done = command("run", "--base-url", server.url, "--ca-file", "no/such/file.pem", *SMALL)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "no/such/file.pem" in done.stderr
