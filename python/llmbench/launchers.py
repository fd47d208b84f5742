"""How each kind of server is started: the settings of one server → the command that runs it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from llmbench.errors import ConfigError
from llmbench.servers import ServerCommand, free_ports
from llmbench.sweep_plan import ServerSettings

Launcher = Callable[[ServerSettings, int, Sequence[str], bool], ServerCommand]
"""(settings, port, further arguments of the server, whether it may outlive us) → command."""


def command_of(
    backend: str, settings: ServerSettings, server_args: Sequence[str] = (), *, detached: bool = False
) -> ServerCommand:
    """The command for a server of this backend on a free port. Raises ConfigError for one we cannot start."""
    check_startable(backend)
    return LAUNCHERS[backend](settings, free_ports(1)[0], server_args, detached)


def check_startable(backend: str) -> None:
    if backend not in LAUNCHERS:
        raise ConfigError(
            f"llmbench does not start {backend} servers, only {', '.join(LAUNCHERS)}: start it yourself and give its "
            "address with --base-url"
        )


def _sim(settings: ServerSettings, port: int, server_args: Sequence[str], detached: bool) -> ServerCommand:
    # The ragged batch size bounds the tokens of a batch and its sequences, as DeepSpeed-MII has it.
    options = {
        "--port": port,
        "--model": settings.model,
        "--replicas": settings.num_replicas,
        "--tensor-parallel-size": settings.tp_size,
        "--max-num-batched-tokens": settings.max_ragged_batch_size,
        "--max-num-seqs": settings.max_ragged_batch_size,
    }
    argv = [
        sys.executable,
        "-m",
        "llmbench",
        "sim",
        *(str(word) for pair in options.items() for word in pair),
    ]
    if settings.fp6:
        argv += ["--weight-bits", "6"]
    if settings.num_replicas > 1:
        argv.append("--front")
    if not detached:
        argv.append("--die-with-parent")
    url = f"http://127.0.0.1:{port}"
    return ServerCommand(
        name=f"sim ({settings.describe()})",
        argv=(*argv, *server_args),
        url=url,
        ready_urls=(f"{url}/health",),
        env={"PYTHONPATH": _python_path()},
    )


def _python_path() -> str:
    """The child must find the package where we found it, whatever was done to sys.path."""
    home = str(Path(__file__).resolve().parents[1])
    paths = [home, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return os.pathsep.join(dict.fromkeys(paths))


LAUNCHERS: dict[str, Launcher] = {"sim": _sim}
