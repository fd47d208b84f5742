"""Any command: `--server-command "CMD … {model} {port} {tp}"`, split as a shell would and run without one."""

from __future__ import annotations

import difflib
import shlex
import string

from llmbench.errors import ConfigError
from llmbench.launchers.launcher import HOST, Launcher, LaunchOptions, Program, Replica
from llmbench.launchers.programs import executable
from llmbench.servers import ServerCommand

PLACEHOLDERS = {
    "model": "the model's name",
    "model_path": "what to load: --model_path, else the model's name",
    "port": "the port to listen on",
    "host": "the address to listen on",
    "tp": "--tp_size",
    "replicas": "--num_replicas; with it one process serves all of them, without it each has a process",
    "replica": "which of the replicas this process is, from 0",
    "batch": "--max_ragged_batch_size",
}


def _find(options: LaunchOptions) -> Program:
    """The command's own program; its words are filled in later."""
    words = split(options.command or "")
    return Program((executable(words[0], "--server-command"),))


def split(command: str) -> list[str]:
    """The words of a command. Raises ConfigError for one that cannot be split or has unknown placeholders."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ConfigError(
            f"--server-command {command!r} cannot be split into words: {str(error).lower()}"
        ) from None
    if not words:
        raise ConfigError("--server-command is empty: give the command that starts a server")
    used = {name for word in words for name in _placeholders(word)}
    unknown = sorted(used - PLACEHOLDERS.keys())
    if unknown:
        near = difflib.get_close_matches(unknown[0], PLACEHOLDERS, n=1)
        known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
        hint = f"did you mean {{{near[0]}}}?" if near else f"there are {known}"
        raise ConfigError(
            f"--server-command has an unknown placeholder {{{unknown[0]}}}: {hint} (a brace itself is written twice)"
        )
    if "port" not in used:
        raise ConfigError("--server-command has no {port}: the server must listen where llmbench asks")
    return words


def balances(options: LaunchOptions) -> bool:
    """Whether the command starts all replicas itself."""
    return "replicas" in {name for word in split(options.command or "") for name in _placeholders(word)}


def _placeholders(word: str) -> list[str]:
    try:
        return [name for _, name, _, _ in string.Formatter().parse(word) if name is not None]
    except ValueError as error:
        raise ConfigError(
            f"--server-command: {word!r} is no template: {str(error).lower()} (a brace itself is written twice)"
        ) from None


def _command(replica: Replica) -> ServerCommand:
    from llmbench import backends

    settings = replica.settings
    values = {
        "model": settings.model,
        "model_path": replica.model,
        "port": replica.port,
        "host": HOST,
        "tp": settings.tp_size,
        "replicas": settings.num_replicas,
        "replica": replica.number,
        "batch": settings.max_ragged_batch_size,
    }
    words = [_filled(word, values) for word in split(replica.options.command or "")]
    preset = backends.get(replica.backend)
    ready = preset.health_path or preset.models_path
    status = preset.health_status if preset.health_path else 200
    if ready is None or "$" in ready:
        ready, status = "/", 0
    metrics = (
        f"{replica.url}{preset.metrics_path}" if preset.metrics_path and not preset.metrics_port else None
    )
    return replica.command(*words, ready=ready, ready_status=status, metrics_url=metrics)


def _filled(word: str, values: dict[str, object]) -> str:
    """`{port}` → 8000. Conversions and formats have no use here and are left to plain text."""
    return "".join(
        text + ("" if name is None else str(values[name]))
        for text, name, _, _ in string.Formatter().parse(word)
    )


LAUNCHER = Launcher(
    kind="command",
    title="the given command",
    backends=(),
    find=_find,
    command=_command,
    splits_on_cpu=True,
    fp6=True,
)
