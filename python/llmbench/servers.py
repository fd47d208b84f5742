"""Servers that llmbench starts: each in a process group of its own, waited for by polling, ended to the last process.

A guard process (`server_guard.py`) leads the group and ends the server when the process that started it is gone,
however that ended. Beside it a record on disk names every running server (process group, start time and a token in its
environment), so that a later command can end exactly that one, should the guard have been killed too.
"""

from __future__ import annotations

import atexit
import contextlib
import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from llmbench import secrecy
from llmbench.errors import ResultsError, ServerStartError

TOKEN_VARIABLE = "LLMBENCH_SERVER_TOKEN"
STATE_VARIABLE = "LLMBENCH_STATE_DIR"
_POLL_S = 0.05
_LOWEST_PORT = 10_000


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
        for pid, state, group in _all_processes():
            if state in "ZX" or pid == os.getpid():
                continue
            if (leader_lives and group == self.pgid) or mark in _environment(pid):
                found.append(pid)
        return found

    def end(self, grace_s: float = 10.0) -> None:
        """Ends every process of the server, politely for `grace_s`, and forgets the record. Interrupted in between
        (a second Ctrl-C), it ends them by force before the interrupt goes on its way."""
        end_all([self], grace_s)


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


def end_all(ended: Sequence[ServerRecord], grace_s: float = 10.0) -> None:
    """Ends all processes of these servers, politely for `grace_s` and then by force, and forgets their records."""
    try:
        _signal_until_gone(ended, signal.SIGTERM, grace_s)
    finally:
        _signal_until_gone(ended, signal.SIGKILL, 5.0)
        for record in ended:
            record.forget()


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


def free_ports(n: int, host: str = "127.0.0.1") -> list[int]:
    """Ports that nothing listens on at the moment, chosen by the kernel, all different."""
    with contextlib.ExitStack() as stack:
        taken = [stack.enter_context(socket.socket()) for _ in range(n)]
        for each in taken:
            each.bind((host, 0))
        return [each.getsockname()[1] for each in taken]


def free_port_block(n: int, host: str = "127.0.0.1") -> int:
    """The first of `n` consecutive ports that nothing listens on at the moment, below those that connections get."""
    chance = random.SystemRandom()
    for _ in range(256):
        first = chance.randrange(_LOWEST_PORT, _first_ephemeral_port() - n)
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for port in range(first, first + n):
                taken = stack.enter_context(socket.socket())
                # As servers do it: connections of the past that still linger there are no hindrance.
                taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                taken.bind((host, port))
            return first
    raise ServerStartError(f"found no {n} free ports in a row on {host}: name the first in --server_port")


def _first_ephemeral_port() -> int:
    try:
        first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        first = 0
    # A machine may give out nearly all: then there is no better place than any.
    return first if first > 2 * _LOWEST_PORT else 65536


def process_start(pid: int) -> int:
    """When a process started, in kernel ticks since boot; 0 if there is none."""
    try:
        return int(_stat_fields(Path(f"/proc/{pid}/stat").read_bytes())[19])
    except (OSError, IndexError, ValueError):
        return 0


def boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


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


def _all_processes() -> Iterator[tuple[int, str, int]]:
    """Process id, state letter and group of every process."""
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit():
            try:
                fields = _stat_fields((directory / "stat").read_bytes())
                yield int(directory.name), fields[0].decode(), int(fields[2])
            except (OSError, IndexError, ValueError):
                continue  # it ended meanwhile


def _stat_fields(stat: bytes) -> list[bytes]:
    """The fields of /proc/PID/stat after the command, which may hold blanks and brackets itself."""
    return stat[stat.rindex(b")") + 2 :].split()


def _environment(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


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
