"""Leads the process group of a server that llmbench started, and ends it when its owner is gone.

    python -I -S server_guard.py OWNER COMMAND…

`OWNER` is the process that started this one. The guard ends as the server does, with its code or by its signal. Should
the owner end first (a SIGKILL, an exhausted memory), all processes of the server are ended, politely at first. Should
the guard itself be killed, the kernel ends the server's first process, and the record on disk names the rest.

Only the standard library's lightest modules: this runs beside every measurement.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys

_PR_SET_PDEATHSIG = 1
_POLITE = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_LOOK_AGAIN_MS = 200


def main(owner: int, command: list[str]) -> int:
    # The group is told of a stop as a whole: the server ends, and then so do we.
    for signum in _POLITE:
        signal.signal(signum, signal.SIG_IGN)
    server = _start(command)
    code = _wait(owner, server)
    if code is None:
        _end_all()
        return 0
    if code < 0:
        _die_of(-code)
    return code


def _start(command: list[str]) -> int:
    prctl = ctypes.CDLL(None).prctl
    guard = os.getpid()
    # One thread, so that a fork is safe and the signal below is tied to the process, not to a passing thread.
    server = os.fork()
    if server:
        return server
    try:
        for signum in _POLITE:
            signal.signal(signum, signal.SIG_DFL)
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() == guard:
            os.execvp(command[0], command)
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())
    os._exit(127)


def _wait(owner: int, server: int) -> int | None:
    """The server's exit code, negative for a signal; None when the owner ended before it."""
    watched = select.poll()
    patience_ms = None
    for pid in (owner, server):
        try:
            watched.register(os.pidfd_open(pid), select.POLLIN)
        except (AttributeError, OSError):  # it has ended, or this kernel has no such thing: look now and then
            patience_ms = _LOOK_AGAIN_MS
    while True:
        ended, status = os.waitpid(server, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if os.getppid() != owner:
            return None
        watched.poll(patience_ms)


def _end_all() -> None:
    """Everything with this server's token, and its group, but not ourselves."""
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120
    from llmbench import server_records

    record = server_records.find(os.environ[server_records.TOKEN_VARIABLE])
    if record is not None:
        record.end()


def _die_of(signum: int) -> None:
    """Ends as the server did, without a core dump of our own."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if signum not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(signum, signal.SIG_DFL)
    os.kill(os.getpid(), signum)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
