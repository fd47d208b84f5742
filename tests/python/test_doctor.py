"""`llmbench doctor` and `llmbench backends`: what is there."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmbench import server_records, servers
from llmbench.backends import BACKENDS
from llmbench.cli import doctor, main


def test_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    said = capsys.readouterr().out
    for name in ("llmbench", "python", "cpu", "open_files", "numpy", "pandas"):
        assert name in said
    told = [line.split()[0] for line in said.splitlines() if not line.startswith(("note", "server"))]
    assert len(told) == len(set(told))
    assert re.search(r"^memory +\d+\.\d GiB$", said, re.MULTILINE)
    assert socket.gethostname() not in said.split()


def test_doctor_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {"machine", "packages", "servers", "advice"}


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv(server_records.STATE_VARIABLE, str(tmp_path / "state"))
    yield
    server_records.end_all(server_records.records(), grace_s=0)


def test_servers_are_listed_and_those_left_behind_ended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sleeper = (sys.executable, "-c", "import time; time.sleep(600)")
    started = [
        servers.Server.start(
            servers.ServerCommand(name, sleeper, "http://127.0.0.1:1", ()),
            tmp_path / "server.log",
            deployment="d",
            detached=name == "kept",
        )
        for name in ("kept", "owned", "orphan")
    ]
    orphan = started[2].record
    dataclasses.replace(
        orphan, owner_start=orphan.owner_start + 1
    ).write()  # its owner's id was given out again
    assert main(["doctor"]) == 0
    said = capsys.readouterr().out
    assert (
        "kept at http://127.0.0.1:1, running, `python -m llmbench.run_benchmark stop --deployment_name d`"
        in said
    )
    assert f"owned at http://127.0.0.1:1, in use by process {os.getpid()}" in said
    assert "orphan at http://127.0.0.1:1, left behind by a killed command and ended now" in said
    assert [record.name for record in server_records.records()] == ["kept", "owned"]
    assert [bool(server.record.processes()) for server in started] == [True, True, False]
    for server in started:
        server.stop(grace_s=0)


def test_a_missing_package_is_named_with_its_remedy(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_version", lambda name: None if name in ("rich", "pandas") else "1")
    assert main(["doctor"]) == 2
    said = capsys.readouterr().out
    assert "llmbench[pandas]" in said
    assert "pip install llmbench" in said


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"cores_usable": 1}, "one processor core"),
        ({"cgroup_cpus": 0.5}, "0.5 of a core"),
        ({"governor": "powersave"}, "powersave"),
        ({"load_average": 9.0}, "busy"),
    ],
)
def test_advice(changes: dict[str, object], told: str) -> None:
    machine = {"cores_usable": 8, "cgroup_cpus": None, "governor": None, "load_average": 0.1}
    assert list(doctor._advice(machine, 1 << 20)) == []
    assert told in " ".join(doctor._advice(machine | changes, 1 << 20))
    assert "100 open files" in " ".join(doctor._advice(machine, 100))


def test_backends(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backends"]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in BACKENDS)
    assert main(["backends", "--json"]) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == list(BACKENDS)
