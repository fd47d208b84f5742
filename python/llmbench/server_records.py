"""The record on disk of every running server that llmbench started: process group, start time and a token in its
environment, so that whoever asks later can end exactly that one, should all that watched over it have been killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from llmbench.errors import ResultsError
from llmbench.processes import all_processes, boot_id, environment_of, process_start

TOKEN_VARIABLE = "LLMBENCH_SERVER_TOKEN"
STATE_VARIABLE = "LLMBENCH_STATE_DIR"
_POLL_S = 0.05


@dataclass(frozen=True)
class ServerRecord:
    """What is on disk about a running server: enough to end it and nothing else, whoever asks."""

    token: str
    name: str
    deployment: str
    url: str
    log: str
    argv: tuple[str, ...]
    settings: dict[str, Any]
    owner_pid: int
    owner_start: int
    """Kernel ticks at which the owner started: a process id alone may have been given out again."""
    boot_id: str
    detached: bool
    """Left running on purpose, by `start`; otherwise it should not outlive its owner."""
    host: str = ""
    group: str = ""
    """The token of the first of several servers that were started as one."""
    pgid: int = 0
    """0 between the writing of the record and the start of the process."""
    leader_start: int = 0

    @property
    def path(self) -> Path:
        return state_dir() / f"{self.token}.json"

    def write(self) -> None:
        """Atomic: a reader sees the whole record or none."""
        path = self.path
        temporary = path.with_suffix(".tmp")
        try:
            temporary.write_text(json.dumps(asdict(self), indent=1) + "\n")
            temporary.replace(path)
        except OSError as error:
            raise ResultsError(
                f"cannot keep track of the started server in {path.parent}: {error.strerror or error}; "
                f"name another directory in {STATE_VARIABLE}"
            ) from error

    def forget(self) -> None:
        self.path.unlink(missing_ok=True)

    def is_orphan(self) -> bool:
        """True when the server should have ended with its owner, or ended with an earlier boot of this machine."""
        if self.host != socket.gethostname():
            return False  # a home directory can be shared: that machine sees to its own
        if self.boot_id != boot_id():
            return True
        return not self.detached and process_start(self.owner_pid) != self.owner_start

    def processes(self) -> list[int]:
        """The living processes of this server: its group, as long as the leader is the one that was started, and all
        that carry its token, even if they have left the group."""
        if self.boot_id != boot_id():
            return []
        mark = f"{TOKEN_VARIABLE}={self.token}".encode()
        leader_lives = self.pgid > 0 and process_start(self.pgid) == self.leader_start
        found = []
        for pid, state, group in all_processes():
            if state in "ZX" or pid == os.getpid():
                continue
            if (leader_lives and group == self.pgid) or mark in environment_of(pid):
                found.append(pid)
        return found

    def end(self, grace_s: float = 10.0) -> None:
        """Ends every process of the server, politely for `grace_s`, and forgets the record. Interrupted in between
        (a second Ctrl-C), it ends them by force before the interrupt goes on its way."""
        end_all([self], grace_s)


def records() -> list[ServerRecord]:
    """Every server on record for this user, oldest first. A record whose server is gone is not forgotten here."""
    found = []
    for path in sorted(state_dir().glob("*.json"), key=_modified):
        with contextlib.suppress(OSError, ValueError, TypeError, LookupError):  # gone meanwhile, or not ours
            values = json.loads(path.read_text())
            found.append(ServerRecord(**values | {"argv": tuple(values["argv"])}))
    return found


def find(token: str) -> ServerRecord | None:
    return next((record for record in records() if record.token == token), None)


def running(deployment: str) -> list[ServerRecord]:
    """The detached servers of a deployment that live; records of those that do not are forgotten."""
    found = []
    for record in records():
        if record.detached and record.deployment == deployment:
            if record.processes():
                found.append(record)
            else:
                record.forget()
    return found


def end_all(ended: Sequence[ServerRecord], grace_s: float = 10.0) -> None:
    """Ends all processes of these servers, politely for `grace_s` and then by force, and forgets their records."""
    try:
        _signal_until_gone(ended, signal.SIGTERM, grace_s)
    finally:
        _signal_until_gone(ended, signal.SIGKILL, 5.0)
        for record in ended:
            record.forget()


def end_own() -> None:
    """Ends what this process started and should not leave behind, also when it was interrupted while starting it."""
    me = (os.getpid(), process_start(os.getpid()))
    end_all(
        [
            record
            for record in records()
            if not record.detached and (record.owner_pid, record.owner_start) == me
        ]
    )


def end_orphans() -> list[ServerRecord]:
    """Ends the servers whose owner was killed before it could, and returns those that were still running."""
    orphans = [record for record in records() if record.is_orphan()]
    running_still = [record for record in orphans if record.processes()]
    end_all(orphans)
    return running_still


def _signal_until_gone(ended: Sequence[ServerRecord], signum: signal.Signals, patience_s: float) -> None:
    deadline = time.monotonic() + patience_s
    told: set[int] = set()
    while living := [pid for record in ended for pid in record.processes()]:
        for pid in living:
            if pid not in told:
                told.add(pid)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signum)
        if time.monotonic() >= deadline:
            return
        time.sleep(_POLL_S)


def state_dir() -> Path:
    """Where records live: LLMBENCH_STATE_DIR, else the user's state directory, else a temporary one."""
    if given := os.environ.get(STATE_VARIABLE):
        choices = [Path(given)]
    else:
        home = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")  # noqa: PTH111 (may lack a home)
        choices = [
            Path(home) / "llmbench" / "servers",
            Path(tempfile.gettempdir()) / f"llmbench-{os.getuid()}",
        ]
    for choice in choices:
        with contextlib.suppress(OSError):
            choice.mkdir(mode=0o700, parents=True, exist_ok=True)
            if choice.stat().st_uid == os.getuid() and os.access(choice, os.W_OK | os.X_OK):
                return choice
    raise ResultsError(
        f"no directory to keep track of started servers in: tried {', '.join(map(str, choices))}; "
        f"name a writable one in {STATE_VARIABLE}"
    )


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
