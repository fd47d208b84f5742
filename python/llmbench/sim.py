"""The simulated LLM server as a child process.

    with lb.sim.Server(ttft_ms=50, itl_ms=10) as server:      # every token at its planned time
        ...
    with lb.sim.Server(model="meta-llama/Llama-3.1-8B-Instruct", gpu="H100", replicas=2) as server:
        ...                                                   # the continuous-batching model
    with lb.sim.Server(ttft_ms=50, dialect="tgi") as server:  # another server's paths and words
        ...

docs/simulator.md describes the options; a keyword argument bears the option's name.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
import weakref
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from llmbench import _core
from llmbench.errors import ConfigError, ServerUnreachableError

__all__ = ["Server"]

_START_S = 30.0
_STOP_S = 5.0


class Server:
    """A running simulated server.

    It serves when the constructor returns, and ends with `stop`, with the `with` block, with this object or with this
    process, whichever is first.
    """

    def __init__(self, **options: Any) -> None:
        options = {"port": 0, **{name: _plain(value) for name, value in options.items()}}
        _check(options)
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  (closed with this object)
        weakref.finalize(self, self._errors.close)
        reading, writing = os.pipe()
        try:
            self._process = subprocess.Popen(
                _command(options, writing),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                env=_environment(),
                pass_fds=(writing,),
                start_new_session=True,  # a Ctrl-C of ours is not one of its
            )
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        self._stop = weakref.finalize(self, _end, self._process)
        try:
            ready = json.loads(self._read_ready(reading))
        except BaseException:
            self._stop()
            raise
        self.ports: list[int] = ready["ports"]
        self.urls: list[str] = ready["urls"]

    @property
    def url(self) -> str:
        """The first replica's."""
        return self.urls[0]

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def errors(self) -> str:
        """What the process has written to its standard error."""
        return os.pread(self._errors.fileno(), 1 << 20, 0).decode(errors="replace").strip()

    def stop(self) -> None:
        """Ends the process; when it returns, the truth log is complete. More than once is fine."""
        self._stop()

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<llmbench.sim.Server {' '.join(self.urls)} {'running' if self.running else 'stopped'}>"

    def _read_ready(self, reading: int) -> str:
        """What the child tells once it listens: all of it, or an error with its own words."""
        deadline = time.monotonic() + _START_S
        with os.fdopen(reading, "rb") as pipe:
            text = b""
            while select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))[0]:
                part = os.read(pipe.fileno(), 65536)
                if part:
                    text += part
                    continue
                if text:
                    return text.decode()
                code = self._process.wait()
                message = self.errors().removeprefix("llmbench sim: ") or f"it ended with exit code {code}"
                raise ConfigError(message) if code == 2 else ServerUnreachableError(message)
        raise ServerUnreachableError(f"llmbench sim was not ready within {_START_S:g} s: {self.errors()}")


def _plain(value: object) -> object:
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _check(options: dict[str, Any]) -> None:
    """Tells what is wrong with the options here and now, not from a child process."""
    try:
        _core.SimServer(options)
    except _core.CoreError as error:
        raise ConfigError(str(error)) from None


def _command(options: dict[str, Any], ready_fd: int) -> list[str]:
    command = [sys.executable, "-m", "llmbench", "sim", "--die-with-parent", "--ready-fd", str(ready_fd)]
    for name, value in options.items():
        flag = name.replace("_", "-")
        if value is None:
            continue
        if isinstance(value, bool):
            command.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            command.append(f"--{flag}={value}")
    return command


def _environment() -> dict[str, str]:
    """The child must find the package where we found it, whatever was done to sys.path."""
    home = str(Path(__file__).absolute().parents[1])
    paths = [home, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}


def _end(process: subprocess.Popen[bytes]) -> None:
    """The child leads a process group of its own; all of it ends."""
    if process.poll() is not None:
        return
    for signum in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signum)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_S)
            return
