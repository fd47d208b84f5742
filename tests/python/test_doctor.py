"""`llmbench doctor` and `llmbench backends`: what is there."""

from __future__ import annotations

import json
import socket

import pytest

from llmbench.backends import BACKENDS
from llmbench.cli import doctor, main


def test_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    said = capsys.readouterr().out
    for name in ("llmbench", "python", "cpu", "open_files", "numpy", "pandas"):
        assert name in said
    assert socket.gethostname() not in said.split()


def test_doctor_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {"machine", "packages", "advice"}


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
