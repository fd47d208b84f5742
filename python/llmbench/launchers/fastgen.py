"""DeepSpeed-FastGen: a persistent deployment of DeepSpeed-MII, with or without its REST gateway."""

from __future__ import annotations

from pathlib import Path

from llmbench.launchers.launcher import HOST, Launcher, LaunchOptions, Program, Replica
from llmbench.launchers.programs import python_program
from llmbench.servers import ServerCommand
from llmbench.sweep_plan import ServerSettings

_SCRIPT = Path(__file__).parent / "scripts" / "mii_server.py"
_FP6 = "wf6af16"


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
    """Its balancer, a port for each rank, one for the ranks of each replica to meet, our health port, the gateway."""
    return 1 + settings.num_replicas * settings.tp_size + settings.num_replicas + 2


def _command(replica: Replica) -> ServerCommand:
    settings, rest = replica.settings, replica.backend == "fastgen-rest"
    ranks = settings.num_replicas * settings.tp_size
    meeting = replica.port + 1 + ranks
    health = meeting + settings.num_replicas
    gateway = health + 1
    # Requests go to the gateway where that is what is measured, and else to the balancer.
    told = Replica(
        settings, replica.options, replica.program, replica.backend, gateway if rest else replica.port
    )
    return told.command(
        *replica.program.argv,
        *("--model", replica.model, "--deployment", replica.options.deployment),
        *("--tensor-parallel", settings.tp_size, "--replicas", settings.num_replicas),
        *("--max-ragged-batch-size", settings.max_ragged_batch_size),
        *("--port", replica.port, "--torch-dist-port", meeting, "--health-port", health),
        *(("--rest-port", gateway) if rest else ()),
        *(("--quantization-mode", _FP6) if settings.fp6 else ()),
        ready_urls=(f"http://{HOST}:{health}/health",),
    )


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
