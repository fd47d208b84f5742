"""The simulated server, whose own front balances over its replicas."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from llmbench.launchers.launcher import Launcher, LaunchOptions, Program, Replica
from llmbench.servers import ServerCommand


def _find(_: LaunchOptions) -> Program:
    from llmbench import __version__

    return Program((sys.executable, "-m", "llmbench", "sim"), {"llmbench": __version__}, sys.executable)


def _command(replica: Replica) -> ServerCommand:
    settings = replica.settings
    return replica.command(
        *replica.program.argv,
        *("--port", replica.port, "--model", settings.model, "--replicas", settings.num_replicas),
        *("--tensor-parallel-size", settings.tp_size),
        # The ragged batch size bounds the tokens of a batch and its sequences, as DeepSpeed-MII has it.
        *("--max-num-batched-tokens", settings.max_ragged_batch_size),
        *("--max-num-seqs", settings.max_ragged_batch_size),
        *(("--weight-bits", 6) if settings.fp6 else ()),
        *(("--front",) if settings.num_replicas > 1 else ()),
        env={"PYTHONPATH": _python_path()},
        metrics_url=f"{replica.url}/metrics",
    )


def _python_path() -> str:
    """The child must find the package where we found it, whatever was done to sys.path."""
    home = str(Path(__file__).absolute().parents[2])
    paths = [home, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return os.pathsep.join(dict.fromkeys(paths))


LAUNCHER = Launcher(
    kind="sim",
    title="the simulated server",
    backends=("sim",),
    find=_find,
    command=_command,
    splits_on_cpu=True,
    balances=True,
    uses_gpus=False,
    fp6=True,
)
