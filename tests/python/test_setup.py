"""tools/setup-system, with the machine's own commands replaced: what is installed, and what is said instead."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
Machine = Callable[..., tuple[int, str, str]]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Runs the script where `installed` packages are there; gives its status, its output and apt's log."""

    def run(installed: str, *, root: bool, sudo: bool) -> tuple[int, str, str]:
        log = tmp_path / "apt.log"
        commands = {
            "id": f"echo {0 if root else 1000}",
            "sudo": f'[ "$1" = -n ] && shift; {"true" if sudo else "exit 1"}; "$@"',
            "dpkg-query": f'case " {installed} " in *" ${{@: -1}} "*) echo "ii ";; *) exit 1;; esac',
            "apt-get": f'echo "$DEBIAN_FRONTEND $*" >>{log}',
        }
        for name, body in commands.items():
            path = tmp_path / name
            path.write_text(f"#!/usr/bin/env bash\n{body}\n")
            path.chmod(0o755)
        done = subprocess.run(
            [ROOT / "tools" / "setup-system"],
            env={"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "PYTHON": sys.executable},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.returncode, done.stdout + done.stderr, log.read_text() if log.exists() else ""

    return run


@pytest.fixture
def everything(machine: Machine) -> str:
    """All packages the script asks for, as it tells somebody who may install none."""
    status, output, log = machine("", root=False, sudo=False)
    assert status == 2
    assert log == ""
    line = re.search(
        r"^  sudo apt-get update && sudo apt-get install -y --no-install-recommends (.+)$", output, re.M
    )
    assert line, output
    return line[1]


def test_it_asks_for_every_library_that_cmake_wants(everything: str) -> None:
    cmake = (ROOT / "cmake" / "Dependencies.cmake").read_text()
    wanted = set(re.findall(r"\b(lib[a-z0-9-]+-dev)\b", cmake))
    assert wanted
    assert wanted <= set(everything.split())


@pytest.mark.parametrize("root", [True, False])
def test_a_machine_with_everything_is_left_alone(machine: Machine, everything: str, root: bool) -> None:
    assert machine(everything, root=root, sudo=False) == (0, "", "")


@pytest.mark.parametrize(("root", "sudo"), [(True, False), (False, True)])
def test_only_what_is_missing_is_installed(machine: Machine, everything: str, root: bool, sudo: bool) -> None:
    status, output, log = machine(everything.replace("libabsl-dev", ""), root=root, sudo=sudo)
    assert status == 0
    assert "installing libabsl-dev" in output
    update, install = log.splitlines()
    assert update.startswith("noninteractive ")
    assert update.endswith(" update")
    assert install.endswith(" install -y --no-install-recommends libabsl-dev")
