"""SGLang: `python -m sglang.launch_server`."""

from __future__ import annotations

from llmbench.launchers.launcher import HOST, Launcher, LaunchOptions, Program, Replica
from llmbench.launchers.programs import python_program
from llmbench.servers import ServerCommand


def _find(options: LaunchOptions) -> Program:
    return python_program(
        options,
        title="SGLang",
        package="sglang",
        module=("sglang.launch_server",),
        install="pip install 'sglang[all]'",
    )


def _needs_gpu(options: LaunchOptions, _: Program) -> bool:
    return not any(word in ("cpu", "--device=cpu") for word in options.args)


def _command(replica: Replica) -> ServerCommand:
    settings = replica.settings
    return replica.command(
        *replica.program.argv,
        *("--model-path", replica.model, "--served-model-name", settings.model),
        *("--host", HOST, "--port", replica.port, "--tp-size", settings.tp_size),
        *("--chunked-prefill-size", settings.max_ragged_batch_size),
        *("--max-running-requests", settings.max_ragged_batch_size),
        "--enable-metrics",
        metrics_url=f"{replica.url}/metrics",
    )


LAUNCHER = Launcher(
    kind="sglang",
    title="SGLang",
    backends=("sglang",),
    find=_find,
    command=_command,
    gpu=_needs_gpu,
    splits_on_cpu=True,
)
