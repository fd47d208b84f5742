"""Hugging Face's Text Generation Inference: `text-generation-launcher`."""

from __future__ import annotations

import tempfile
from pathlib import Path

from llmbench.launchers.launcher import HOST, Launcher, LaunchOptions, Program, Replica
from llmbench.launchers.programs import native_program
from llmbench.servers import ServerCommand


def _find(options: LaunchOptions) -> Program:
    return native_program(
        options,
        title="Text Generation Inference",
        binary="text-generation-launcher",
        install="it comes as a container, in which llmbench can run",
    )


def _command(replica: Replica) -> ServerCommand:
    settings = replica.settings
    # The shards' socket and the two further ports have fixed defaults, which several replicas would share.
    shards = Path(tempfile.gettempdir()) / f"llmbench-tgi-{replica.port}"
    return replica.command(
        *replica.program.argv,
        *("--model-id", replica.model, "--hostname", HOST, "--port", replica.port),
        *("--num-shard", settings.tp_size, "--max-batch-size", settings.max_ragged_batch_size),
        *("--shard-uds-path", shards, "--master-port", replica.port + 1),
        # Versions that do not know the flag ignore the variable.
        env={"PROMETHEUS_PORT": str(replica.port + 2)},
        metrics_url=f"{replica.url}/metrics",
    )


LAUNCHER = Launcher(
    kind="tgi",
    title="Text Generation Inference",
    backends=("tgi",),
    find=_find,
    command=_command,
    ports=lambda _settings: 3,
)
