"""What a launcher is: how one kind of server is found on this machine, what it needs, and which command starts it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from llmbench import secrecy
from llmbench.errors import ConfigError
from llmbench.servers import ServerCommand, redacted_argv
from llmbench.sweep_plan import ServerSettings

HOST = "127.0.0.1"
"""Where started servers listen: a measurement of one's own machine is nobody else's to join."""


@dataclass(frozen=True)
class LaunchOptions:
    """What a user says about starting a server, beside the settings that are swept."""

    kind: str | None = None
    """Which launcher, where it is not the backend's own."""
    binary: str | None = None
    python: str | None = None
    command: str | None = None
    """A command with placeholders instead of any launcher's."""
    args: tuple[str, ...] = ()
    """Further arguments of the server; the last one wins, so they override ours."""
    env: Mapping[str, str] = field(default_factory=dict)
    model_path: str | None = None
    """What the server loads, where that is not the model's name: a directory, a GGUF file, a Triton repository."""
    port: int | None = None
    """Of the first process; the next ones have those that follow. None: free ones."""
    ready_path: str | None = None
    """Asked until it answers 200, instead of the launcher's own."""
    deployment: str = "benchmark-deployment"
    resettable: bool = False
    """Whether it will be asked to empty its prefix cache, which some offer only when told to at their start."""

    def to_dict(self) -> dict[str, Any]:
        """What a result stores; secrets are blanked."""
        return {
            "server": self.kind,
            "server_binary": self.binary,
            "server_python": self.python,
            "server_command": self.command and " ".join(redacted_argv(self.command.split())),
            "server_args": list(redacted_argv(self.args)),
            "server_env": secrecy.redact(dict(self.env)),
            "model_path": self.model_path,
        }


@dataclass(frozen=True)
class Program:
    """A server's program on this machine."""

    argv: tuple[str, ...]
    """What starts it, before any flag."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Of the packages in its own interpreter, or of the binary."""
    python: str | None = None
    """The interpreter that runs it, where it is one."""


@dataclass(frozen=True)
class Replica:
    """One process to start."""

    settings: ServerSettings
    options: LaunchOptions
    program: Program
    backend: str
    port: int
    number: int = 0
    """0 for the first of several."""
    of: int = 1
    """How many processes there are in all."""
    gpus: tuple[str, ...] | None = None
    """The devices this process may see; None where it is not ours to say."""

    @property
    def model(self) -> str:
        """What the server loads."""
        return self.options.model_path or self.settings.model

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def command(
        self,
        *words: object,
        ready: str = "/health",
        env: Mapping[str, str] | None = None,
        ready_status: int = 200,
        ready_urls: tuple[str, ...] | None = None,
        metrics_url: str | None = None,
    ) -> ServerCommand:
        """The command of `words` and the user's further arguments, ready when `ready` answers."""
        devices = {} if self.gpus is None else {"CUDA_VISIBLE_DEVICES": ",".join(self.gpus)}
        if self.options.ready_path is not None:
            ready, ready_status, ready_urls = self.options.ready_path, 200, None
        return ServerCommand(
            name=self.describe(),
            argv=(*map(str, words), *self.options.args),
            url=self.url,
            ready_urls=ready_urls or (f"{self.url}{ready}",),
            ready_status=ready_status,
            env={**devices, **(env or {}), **self.options.env},
            metrics_url=metrics_url,
        )

    def describe(self) -> str:
        which = f", number {self.number + 1}" if self.of > 1 else ""
        return f"{self.settings.model} ({self.settings.describe()}{which})"


Command: TypeAlias = Callable[[Replica], ServerCommand]


@dataclass(frozen=True)
class Launcher:
    """One kind of server."""

    kind: str
    title: str
    """For people: "vLLM"."""
    backends: tuple[str, ...]
    """The presets whose server this is. The first is the one it is best measured with."""
    find: Callable[[LaunchOptions], Program]
    """Finds the program; raises ConfigError with the remedy where it is not there."""
    command: Command
    gpu: Callable[[LaunchOptions, Program], bool] = lambda _options, _program: False
    """Whether it cannot do without a GPU."""
    splits_on_cpu: bool = False
    """Whether tensor parallelism works without GPUs."""
    balances: bool = False
    """Whether one process serves all replicas, with a balancer of its own."""
    uses_gpus: bool = True
    ignores: tuple[str, ...] = ()
    """The server settings it has no flag for: they only label the results."""
    fp6: bool = False
    served_model: Callable[[ServerSettings, LaunchOptions], str] = lambda settings, _options: settings.model
    """What requests name as their model."""
    max_tokens_field: str | None = None
    """What it calls the asked length, where not all of its versions know the preset's name for that."""
    ports: Callable[[ServerSettings], int] = lambda _settings: 1
    """How many ports in a row a process takes."""

    def check(self, settings: ServerSettings) -> None:
        """Raises ConfigError for settings that this kind of server cannot have on any machine."""
        if settings.fp6 and not self.fp6:
            raise ConfigError(
                f"--fp6: {self.title} has no 6-bit weights that llmbench can ask for: leave it out, or name its own "
                "quantisation in --server_args"
            )
        if settings.tp_size > 1 and "tp_size" in self.ignores:
            raise ConfigError(
                f"--tp_size {settings.tp_size}: {self.title} cannot split a model over GPUs: use --tp_size 1"
            )
