"""How each kind of server is started: what was asked for → the processes that serve it. A file per kind.

    launch = launchers.prepare("vllm", LaunchOptions())        # finds the program, and what it needs
    plan = launch.plan(ServerSettings("m", tp_size=2, ...))    # the commands, on free ports
    with servers.Deployment.start(plan.commands, …): ...

Nothing here starts a server; docs/servers.md says what each kind is started with.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmbench import secrecy
from llmbench.backends import BACKENDS, Backend
from llmbench.errors import ConfigError
from llmbench.launchers import command, fastgen, gpus, llamacpp, sglang, sim, tgi, transformers, triton, vllm
from llmbench.launchers.launcher import Launcher, LaunchOptions, Program, Replica
from llmbench.ports import free_port_block, free_ports
from llmbench.servers import ServerCommand
from llmbench.sweep_plan import ServerSettings

__all__ = ["LAUNCHERS", "Launch", "LaunchOptions", "LaunchPlan", "kind_of", "prepare"]

LAUNCHERS: dict[str, Launcher] = {
    module.LAUNCHER.kind: module.LAUNCHER
    for module in (vllm, fastgen, sglang, tgi, triton, llamacpp, transformers, sim, command)
}
"""By kind, which is what --server names; `command` is what --server-command gives."""

_TOLD = (
    "CUDA_",
    "VLLM_",
    "SGLANG_",
    "NCCL_",
    "HF_",
    "OMP_",
    "GGML_",
    "LLAMA_",
    "TORCH",
    "TRITON_",
    "DS_",
    "HIP_",
)
"""Inherited variables that change how a server runs, by how they begin: they are kept with the result."""


@dataclass(frozen=True)
class LaunchPlan:
    """What would be started for one server setting."""

    kind: str
    commands: tuple[ServerCommand, ...]
    """One process each."""
    model: str
    """What requests name as their model."""
    options: LaunchOptions
    program: Program

    @property
    def urls(self) -> tuple[str, ...]:
        return tuple(each.url for each in self.commands)

    def preset_for(self, preset: Backend) -> Backend:
        """The preset with what this server calls things, where the user has changed nothing of it."""
        name = LAUNCHERS[self.kind].max_tokens_field
        return (
            dataclasses.replace(preset, max_tokens_field=name)
            if name and preset == BACKENDS.get(preset.name)
            else preset
        )

    def to_dict(self) -> dict[str, Any]:
        """What a result stores about the server; secrets are blanked."""
        inherited = {name: value for name, value in sorted(os.environ.items()) if name.startswith(_TOLD)}
        return {
            "kind": self.kind,
            "versions": dict(self.program.versions),
            "processes": [each.to_dict() for each in self.commands],
            "environment": secrecy.redact(inherited),
            "gpus": gpus.names(),
            "gpu_driver": gpus.driver(),
            "model_path": self.options.model_path,
        }


@dataclass(frozen=True)
class Launch:
    """A kind of server whose program was found on this machine."""

    backend: str
    launcher: Launcher
    program: Program
    options: LaunchOptions

    @property
    def kind(self) -> str:
        return self.launcher.kind

    def check(self, settings: ServerSettings) -> None:
        """Raises ConfigError for what this machine or this kind of server cannot do, before anything is started."""
        self.plan(settings)

    def plan(self, settings: ServerSettings) -> LaunchPlan:
        """The commands for these settings, on ports that are free now. Raises ConfigError like `check`."""
        launcher = self.launcher
        launcher.check(settings)
        processes = 1 if launcher.balances else settings.num_replicas
        devices = self._devices(settings)
        width = launcher.ports(settings)
        if self.options.port is not None:
            ports = [self.options.port + number * width for number in range(processes)]
        elif width == 1:
            ports = free_ports(processes)
        else:
            ports = [free_port_block(width) for _ in range(processes)]
        commands = tuple(
            launcher.command(
                Replica(
                    settings,
                    self.options,
                    self.program,
                    self.backend,
                    port,
                    number,
                    processes,
                    devices[number] if devices is not None else None,
                )
            )
            for number, port in enumerate(ports)
        )
        return LaunchPlan(
            self.kind, commands, launcher.served_model(settings, self.options), self.options, self.program
        )

    def _devices(self, settings: ServerSettings) -> list[tuple[str, ...]] | None:
        """The GPUs of each replica; None where there are none to hand out."""
        launcher = self.launcher
        if not launcher.uses_gpus or gpus.VARIABLE in self.options.env:
            return None
        seen = gpus.visible()
        if not seen and (settings.tp_size == 1 or launcher.splits_on_cpu):
            return None
        groups = gpus.groups(settings.num_replicas, settings.tp_size, seen)
        # A server that balances hands them out itself, from those that are visible.
        return None if launcher.balances else groups


def kind_of(backend: str, options: LaunchOptions) -> str | None:
    """Which launcher starts the server of this preset; None when llmbench starts none for it unasked."""
    if options.command is not None:
        return command.LAUNCHER.kind
    if options.kind is not None:
        return options.kind
    own = [
        each.kind for each in LAUNCHERS.values() if backend in each.backends and each.kind != "transformers"
    ]
    return own[0] if own else None


def prepare(backend: str, options: LaunchOptions) -> Launch:
    """Finds the program that serves `backend`. Raises ConfigError, naming what is missing and the remedy, for a server
    that cannot be started on this machine."""
    kind = kind_of(backend, options)
    if options.command is not None and options.kind not in (None, "command"):
        raise ConfigError(f"--server {options.kind} and --server-command exclude each other: leave one out")
    if kind == "command" and options.command is None:
        raise ConfigError(
            "--server command needs the command itself: --server-command 'CMD … {model} {port} {tp}'"
        )
    if kind is None:
        raise ConfigError(
            f"the backend {backend} needs the address of a running server (--base-url URL), or a server to start "
            f"(--server {'|'.join(name for name in LAUNCHERS if name != 'command')}, or --server-command)"
        )
    if kind not in LAUNCHERS:
        near = difflib.get_close_matches(kind, LAUNCHERS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(LAUNCHERS)}"
        raise ConfigError(f"unknown --server {kind!r}: {hint}")
    launcher = LAUNCHERS[kind]
    if kind == "command":
        launcher = dataclasses.replace(launcher, balances=command.balances(options))
    program = launcher.find(options)
    if launcher.gpu(options, program) and not gpus.visible() and gpus.VARIABLE not in options.env:
        hidden = f" ({gpus.VARIABLE} hides them)" if gpus.present() else ""
        raise ConfigError(
            f"{launcher.title}{_version(program.versions)} needs a GPU with CUDA, and this machine has none{hidden}: "
            "start it where there is one, and give its address with --base-url"
        )
    return Launch(backend, launcher, program, options)


def _version(versions: Mapping[str, str]) -> str:
    """ " 0.32.0": of the server itself, which is told right after its interpreter's."""
    own = [version for name, version in versions.items() if name != "python"]
    return f" {own[0]}" if own else ""
