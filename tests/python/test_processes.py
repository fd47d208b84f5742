"""What the kernel tells of processes."""

from __future__ import annotations

import os
import subprocess
import sys

from llmbench import processes


def test_this_process_is_among_all_with_its_group() -> None:
    found = {pid: (state, group) for pid, state, group in processes.all_processes()}
    state, group = found[os.getpid()]
    assert state in "RS"
    assert group == os.getpgrp()


def test_a_start_belongs_to_one_process_and_ends_with_it() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert processes.process_start(child.pid) >= processes.process_start(os.getpid()) > 0
        child.communicate(b"\n")
    assert processes.process_start(child.pid) == 0


def test_an_environment_is_that_of_the_start() -> None:
    environment = {**os.environ, "MARK": "a b=c"}
    with subprocess.Popen(
        [sys.executable, "-c", "print(flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert b"MARK=a b=c\0" in processes.environment_of(child.pid)
        child.communicate(b"\n")
    assert processes.environment_of(child.pid) == b""


def test_a_command_may_hold_what_separates_fields() -> None:
    assert processes._stat_fields(b"12 (a) b) c) S 1 12 12 0") == [b"S", b"1", b"12", b"12", b"0"]


def test_the_boot_has_a_name() -> None:
    assert processes.boot_id() == processes.boot_id() != ""
