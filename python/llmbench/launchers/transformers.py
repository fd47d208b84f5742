"""Hugging Face transformers: `transformers serve`, an OpenAI-style server."""

from __future__ import annotations

from llmbench.launchers.launcher import HOST, Launcher, LaunchOptions, Program, Replica
from llmbench.launchers.programs import python_program
from llmbench.servers import ServerCommand


def _find(options: LaunchOptions) -> Program:
    return python_program(
        options,
        title="transformers",
        package="transformers",
        module=("transformers.cli.transformers", "serve"),
        binary="transformers",
        binary_words=("serve",),
        others=("torch", "fastapi", "uvicorn"),
        install="pip install 'transformers[serving]'",
    )


def _command(replica: Replica) -> ServerCommand:
    # Which model is loaded says each request: older versions take none here.
    return replica.command(
        *replica.program.argv,
        *("--host", HOST, "--port", replica.port),
        ready="/v1/models",
        ready_status=0,
    )


LAUNCHER = Launcher(
    kind="transformers",
    title="transformers",
    backends=("openai-chat",),
    find=_find,
    command=_command,
    ignores=("tp_size", "max_ragged_batch_size"),
    served_model=lambda settings, options: options.model_path or settings.model,
)
