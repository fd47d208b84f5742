"""vLLM: `vllm serve`, and its old demo server for the preset `vllm-generate`."""

from __future__ import annotations

import os

from llmbench.launchers.launcher import HOST, Launcher, LaunchOptions, Program, Replica
from llmbench.launchers.programs import python_program
from llmbench.servers import ServerCommand

_BIND = "VLLM_CPU_OMP_THREADS_BIND"
_DEV_MODE = "VLLM_SERVER_DEV_MODE"
"""With it vLLM takes a POST to /reset_prefix_cache."""


def _find(options: LaunchOptions) -> Program:
    return python_program(
        options,
        title="vLLM",
        package="vllm",
        module=("vllm.entrypoints.cli.main", "serve"),
        binary="vllm",
        binary_words=("serve",),
        install="pip install vllm",
    )


def _needs_gpu(options: LaunchOptions, program: Program) -> bool:
    version = program.versions.get("vllm")
    return version is not None and not _on_cpu(options, program)


def _on_cpu(options: LaunchOptions, program: Program) -> bool:
    """A build for CPUs, TPUs or another accelerator says so in its version: 0.32.0+cpu."""
    return "+" in program.versions.get("vllm", "").replace("+cu", "") or "cpu" in options.args


def _command(replica: Replica) -> ServerCommand:
    settings = replica.settings
    legacy = replica.backend == "vllm-generate"
    words = (
        (replica.program.python or "python3", "-m", "vllm.entrypoints.api_server", "--model", replica.model)
        if legacy
        else (*replica.program.argv, replica.model)
    )
    return replica.command(
        *words,
        *("--served-model-name", settings.model, "--host", HOST, "--port", replica.port),
        *("--tensor-parallel-size", settings.tp_size),
        # As DeepSpeed-MII has it, one number bounds the tokens of a batch and its sequences.
        *("--max-num-batched-tokens", settings.max_ragged_batch_size),
        *("--max-num-seqs", settings.max_ragged_batch_size),
        *(() if legacy else ("--enable-prompt-tokens-details",)),
        env=_binding(replica) | ({_DEV_MODE: "1"} if replica.options.resettable else {}),
        metrics_url=None if legacy else f"{replica.url}/metrics",
    )


def _binding(replica: Replica) -> dict[str, str]:
    """On CPUs vLLM gives each rank a NUMA node, of which there may be too few: cores of its own for every rank."""
    settings = replica.settings
    ranks = settings.tp_size * settings.num_replicas
    if "+cpu" not in replica.program.versions.get("vllm", "") or ranks == 1 or _BIND in os.environ:
        return {}
    cores = sorted(os.sched_getaffinity(0))
    each = max(1, len(cores) // ranks)
    parts = []
    for rank in range(replica.number * settings.tp_size, (replica.number + 1) * settings.tp_size):
        first = rank * each % len(cores)
        parts.append(",".join(map(str, cores[first : first + each])))
    return {_BIND: "|".join(parts)}


LAUNCHER = Launcher(
    kind="vllm",
    title="vLLM",
    backends=("vllm", "vllm-chat", "vllm-generate"),
    find=_find,
    command=_command,
    gpu=_needs_gpu,
    splits_on_cpu=True,
)
