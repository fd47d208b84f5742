"""Servers that llmbench starts: each in a process group of its own, waited for by polling, ended to the last process.

A guard process (`server_guard.py`) leads the group and ends the server when the process that started it is gone,
however that ended. Beside it a record on disk (`server_records.py`) names every running server.
"""

from __future__ import annotations

import atexit
import http.client
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from llmbench import secrecy
from llmbench.errors import ResultsError, ServerStartError
from llmbench.processes import boot_id, process_start
from llmbench.server_records import TOKEN_VARIABLE, ServerRecord, end_all, end_own

_POLL_S = 0.05


@dataclass(frozen=True)
class ServerCommand:
    """What to start and where it will answer. Plain data: building one starts nothing."""

    name: str
    argv: tuple[str, ...]
    url: str
    """Where requests go once the server is ready."""
    ready_urls: tuple[str, ...]
    """Ready means that a GET on each of these is answered with `ready_status`."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Added to the environment of this process."""
    ready_status: int = 200
    """0: any answer that is no server error."""
    metrics_url: str | None = None
    """Where it tells its Prometheus metrics."""

    def to_dict(self) -> dict[str, Any]:
        """What a result stores; secrets are blanked."""
        return {
            "url": self.url,
            "argv": list(redacted_argv(self.argv)),
            "env": secrecy.redact(dict(self.env)),
        }


class Server:
    """A server started by this process. A context manager; `stop` and an exit of the process end it too."""

    def __init__(
        self, command: ServerCommand, process: subprocess.Popen[bytes], record: ServerRecord, log_offset: int
    ):
        self.command = command
        self.record = record
        self.url = command.url
        self.log_path = Path(record.log)
        self._process = process
        self._log_offset = log_offset
        self._stopped = False

    @classmethod
    def start(
        cls,
        command: ServerCommand,
        log_path: Path,
        *,
        deployment: str = "",
        settings: Mapping[str, Any] | None = None,
        detached: bool = False,
        group: str = "",
    ) -> Server:
        """Starts the process; its output goes to the end of `log_path`. Does not wait for it to be ready."""
        _check_program(command)
        record = ServerRecord(
            token=uuid.uuid4().hex,
            name=command.name,
            deployment=deployment,
            url=command.url,
            log=str(log_path.absolute()),
            argv=redacted_argv(command.argv),
            settings=dict(settings or {}),
            group=group,
            owner_pid=os.getpid(),
            owner_start=process_start(os.getpid()),
            boot_id=boot_id(),
            host=socket.gethostname(),
            detached=detached,
        )
        environment = os.environ | command.env | {TOKEN_VARIABLE: record.token}
        try:
            log = log_path.open("ab")
        except OSError as error:
            raise ResultsError(
                f"the server's log {log_path} cannot be written: {error.strerror}; choose another --out_json_dir"
            ) from error
        with log:
            offset = log.tell()
            # The record comes first: were we killed right after the start, the token would still find the server.
            atexit.unregister(end_own)
            atexit.register(end_own)
            record.write()
            try:
                process = subprocess.Popen(
                    command.argv if detached else (*_guard(), *command.argv),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    start_new_session=True,
                )
            except OSError as error:
                record.forget()
                raise ServerStartError(
                    f"the server {command.name} could not be started: {command.argv[0]}: {error.strerror}"
                ) from error
            except BaseException:  # a Ctrl-C in the middle of it
                record.end()
                raise
        record = replace(record, pgid=process.pid, leader_start=process_start(process.pid))
        record.write()
        return cls(command, process, record, offset)

    @property
    def pid(self) -> int:
        return self._process.pid

    def exit_code(self) -> int | None:
        """None while the server's first process lives."""
        return self._process.poll()

    def wait_ready(
        self,
        timeout_s: float,
        cancelled: Callable[[], bool] = lambda: False,
        *,
        since: float | None = None,
    ) -> None:
        """Returns once every ready URL answers as it should. Raises ServerStartError, with the log's last lines, when
        the server ends before that or the time (from `since`, by the monotonic clock) is over."""
        deadline = (time.monotonic() if since is None else since) + timeout_s
        waiting_for = list(self.command.ready_urls)
        answer = "nothing"
        while waiting_for and not cancelled():
            code = self.exit_code()
            if code is not None:
                raise ServerStartError(
                    f"the server {self.command.name} {_how_ended(code)} before it was ready{self._log_advice()}"
                )
            answer = _answer_of(waiting_for[0])
            if _is_ready(answer, self.command.ready_status):
                waiting_for.pop(0)
            elif time.monotonic() >= deadline:
                raise ServerStartError(
                    f"the server {self.command.name} was not ready after {timeout_s:g} s ({waiting_for[0]} answered "
                    f"{answer}); allow it longer with --server_timeout{self._log_advice()}"
                )
            else:
                time.sleep(_POLL_S)

    def death(self) -> str:
        """How the server ended and what it said last; "" while it lives."""
        code = self.exit_code()
        if code is None:
            return ""
        tail = self.log_tail()
        last = f"; the last lines of {self.log_path}:\n{tail}" if tail else ""
        return f"the server {_how_ended(code)}{last}"

    def log_tail(self, lines: int = 12) -> str:
        """The last lines that this server wrote, without control characters."""
        try:
            with self.log_path.open("rb") as log:
                size = log.seek(0, os.SEEK_END)
                log.seek(max(self._log_offset, size - 65536))
                text = log.read().decode(errors="replace")
        except OSError:
            return ""
        shown = [
            "".join(c for c in line if c.isprintable() or c == "\t") for line in text.splitlines()[-lines:]
        ]
        return "\n".join(shown).strip("\n")

    @property
    def stoppable(self) -> bool:
        """False once stopped, and in a forked child of its owner."""
        return not self._stopped and self.record.owner_pid == os.getpid()

    def stop(self, grace_s: float = 10.0) -> None:
        """Ends every process of the server. Safe to call again."""
        if not self.stoppable:
            return
        try:
            self.record.end(grace_s)
        finally:
            self._stopped = True
            self._process.poll()

    def detach(self) -> None:
        """Lets a detached server go: it stays when this process ends, and `stop` on its record ends it."""
        self._process.returncode = 0  # not ours to wait for any more

    def _log_advice(self) -> str:
        tail = self.log_tail()
        if not tail:
            return f"; its log {self.log_path} is empty"
        return f"; the last lines of {self.log_path}:\n{tail}"

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class Deployment:
    """One or several servers that serve the same model side by side: started, waited for and ended as one."""

    def __init__(self, started: Sequence[Server]) -> None:
        self.servers = tuple(started)

    @classmethod
    def start(
        cls,
        commands: Sequence[ServerCommand],
        log_dir: Path,
        stem: str,
        *,
        deployment: str = "",
        settings: Mapping[str, Any] | None = None,
        detached: bool = False,
    ) -> Deployment:
        """Starts all of them at once; of several, each has a log of its own. Does not wait for them to be ready."""
        started: list[Server] = []
        try:
            for number, command in enumerate(commands, 1):
                name = f"{stem}-{number}" if len(commands) > 1 else stem
                started.append(
                    Server.start(
                        command,
                        log_dir / f"{name}.log",
                        deployment=deployment,
                        settings=settings,
                        detached=detached,
                        group=started[0].record.token if started else "",
                    )
                )
        except BaseException:
            cls(started).stop()
            raise
        return cls(started)

    @property
    def urls(self) -> tuple[str, ...]:
        return tuple(server.url for server in self.servers)

    def wait_ready(self, timeout_s: float, cancelled: Callable[[], bool] = lambda: False) -> None:
        """Returns once all are ready; raises ServerStartError as soon as one has ended, or the time is over."""
        since = time.monotonic()

        def ended_elsewhere() -> bool:
            return cancelled() or any(server.exit_code() is not None for server in self.servers)

        for server in self.servers:
            server.wait_ready(timeout_s, ended_elsewhere, since=since)
        for server in self.servers:
            if server.exit_code() is not None:
                server.wait_ready(0.0)  # says how it ended

    def death(self) -> str:
        """How the first one that ended did, and what it said last; "" while all live."""
        return next((told for told in (server.death() for server in self.servers) if told), "")

    def stop(self, grace_s: float = 10.0) -> None:
        """Ends every process of all of them. Safe to call again."""
        own = [server for server in self.servers if server.stoppable]
        try:
            end_all([server.record for server in own], grace_s)
        finally:
            for server in own:
                server.stop(0.0)

    def detach(self) -> None:
        for server in self.servers:
            server.detach()

    def __enter__(self) -> Deployment:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def redacted_argv(argv: Sequence[str]) -> tuple[str, ...]:
    """The words of a command, values of secret-looking flags blanked: `--api-key K`, `--hf-token=K`, `TOKEN=K`."""
    shown: list[str] = []
    blank_next = False
    for word in argv:
        if blank_next and not word.startswith("--"):
            shown.append(secrecy.REDACTED)
            blank_next = False
            continue
        name, equals, _ = word.partition("=")
        secret = secrecy.is_secret_name(re.sub(r"^-+", "", name))
        blank_next = secret and not equals and word.startswith("-")
        shown.append(f"{name}={secrecy.REDACTED}" if secret and equals else secrecy.redact_url(word))
    return tuple(shown)


def _guard() -> tuple[str, ...]:
    """The command that a server's own is put behind. Without site-packages it starts in a few milliseconds."""
    script = Path(__file__).with_name("server_guard.py")
    return (sys.executable, "-I", "-S", str(script), str(os.getpid()))


def _check_program(command: ServerCommand) -> None:
    """Says what is wrong with the program before anything is started."""
    program = command.argv[0]
    path = command.env.get("PATH", os.environ.get("PATH"))
    if shutil.which(program, path=path) is None:
        found = os.sep in program and Path(program).exists()
        reason = "it is not executable" if found else "No such file or directory"
        raise ServerStartError(f"the server {command.name} could not be started: {program}: {reason}")


def _is_ready(answer: str, wanted: int) -> bool:
    return answer == str(wanted) or (wanted == 0 and answer.isdigit() and int(answer) < 500)


def _how_ended(code: int) -> str:
    return f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"


def _answer_of(url: str) -> str:
    """The status of one GET, or what kept it from having one."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        # Readiness says nothing secret, and a certificate that does not fit is the measurement's to report.
        connection = http.client.HTTPSConnection(
            host, port, timeout=2, context=ssl._create_unverified_context()
        )
    else:
        connection = http.client.HTTPConnection(host, port, timeout=2)
    try:
        connection.request("GET", parts.path or "/")
        return str(connection.getresponse().status)
    except OSError as error:
        return error.strerror or str(error) or type(error).__name__
    except http.client.HTTPException as error:
        return type(error).__name__
    finally:
        connection.close()
