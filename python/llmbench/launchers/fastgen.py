"""DeepSpeed-FastGen: a persistent deployment of DeepSpeed-MII, with or without its REST gateway."""

from __future__ import annotations

import json
from pathlib import Path

from llmbench.errors import ConfigError
from llmbench.launchers import gpus
from llmbench.launchers.launcher import HOST, Launcher, LaunchOptions, Program, Replica
from llmbench.launchers.programs import python_program
from llmbench.servers import ServerCommand
from llmbench.sweep_plan import ServerSettings

_SCRIPT = Path(__file__).parent / "scripts" / "mii_server.py"
_FP6 = "wf6af16"
_MEETINGS_APART = 100
"""Ports between those where the ranks of one replica meet and those of the next: MII's own, and no setting."""


def _find(options: LaunchOptions) -> Program:
    found = python_program(
        options,
        title="DeepSpeed-MII",
        package="deepspeed-mii",
        imported="mii",
        module=(),
        others=("deepspeed", "torch", "transformers"),
        install="pip install deepspeed-mii",
    )
    python = found.python or found.argv[0]
    return Program((python, str(_SCRIPT)), found.versions, python)


def _ports(settings: ServerSettings) -> int:
    """Its balancer, a port for each rank, one for the requests of each replica, our health port, the gateway, and where
    the ranks of each replica meet."""
    near = 1 + settings.num_replicas * settings.tp_size + settings.num_replicas + 2
    return near + 1 + _MEETINGS_APART * (settings.num_replicas - 1)


def _command(replica: Replica) -> ServerCommand:
    settings, rest = replica.settings, replica.backend == "fastgen-rest"
    ranks = settings.num_replicas * settings.tp_size
    requests = replica.port + 1 + ranks
    health = requests + settings.num_replicas
    gateway, meeting = health + 1, health + 2
    # Requests go to the gateway where that is what is measured, and else to the balancer.
    told = Replica(
        settings, replica.options, replica.program, replica.backend, gateway if rest else replica.port
    )
    return told.command(
        *replica.program.argv,
        *("--model", replica.model, "--deployment", replica.options.deployment),
        *("--tensor-parallel", settings.tp_size, "--replicas", settings.num_replicas),
        *("--max-ragged-batch-size", settings.max_ragged_batch_size),
        *(
            "--port",
            replica.port,
            "--torch-dist-port",
            meeting,
            "--zmq-port",
            requests,
            "--health-port",
            health,
        ),
        *_device_map(replica),
        *(("--rest-port", gateway) if rest else ()),
        *(("--quantization-mode", _FP6) if settings.fp6 else ()),
        ready_urls=(f"http://{HOST}:{health}/health",),
    )


def _device_map(replica: Replica) -> tuple[str, ...]:
    """MII counts the machine's GPUs and passes over CUDA_VISIBLE_DEVICES, so that it is told what that says."""
    settings, given = replica.settings, replica.options.env.get(gpus.VARIABLE)
    seen = gpus.chosen(given)
    if seen is None:
        return ()
    if not all(name.isdigit() for name in seen):
        raise ConfigError(
            f"DeepSpeed-MII takes GPUs by number, and {gpus.VARIABLE} has {','.join(seen)}: write their numbers"
        )
    groups = gpus.groups(settings.num_replicas, settings.tp_size, seen)
    return ("--device-map", json.dumps([[int(name) for name in group] for group in groups]))


LAUNCHER = Launcher(
    kind="fastgen",
    title="DeepSpeed-MII",
    backends=("fastgen", "fastgen-grpc", "fastgen-rest"),
    find=_find,
    command=_command,
    gpu=lambda _options, _program: True,
    balances=True,
    fp6=True,
    ports=_ports,
)
