"""Hugging Face transformers: `transformers serve`, an OpenAI-style server."""

from __future__ import annotations

import re

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
    return replica.command(
        *replica.program.argv,
        *_preloaded(replica),
        *("--host", HOST, "--port", replica.port),
        # Not the model list: it is of the hub's cache, and an error where there is none. Older versions answer 404.
        ready="/health",
        ready_status=0,
    )


def _preloaded(replica: Replica) -> tuple[str, ...]:
    """Loads the model before it is ready, and keeps it; else the first request does, and idle minutes unload it."""
    version = tuple(
        int(part) for part in re.findall(r"\d+", replica.program.versions.get("transformers", ""))[:2]
    )
    if version >= (5, 5):
        return (replica.model,)
    return ("--force-model", replica.model) if version >= (4, 55) else ()


LAUNCHER = Launcher(
    kind="transformers",
    title="transformers",
    backends=("openai-chat",),
    find=_find,
    command=_command,
    ignores=("tp_size", "max_ragged_batch_size"),
    max_tokens_field="max_tokens",
    served_model=lambda settings, options: options.model_path or settings.model,
)
