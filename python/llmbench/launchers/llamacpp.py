"""llama.cpp: `llama-server`, or the same server inside the Python package xllamacpp."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

from llmbench.errors import ConfigError
from llmbench.launchers.launcher import HOST, Launcher, LaunchOptions, Program, Replica
from llmbench.launchers.programs import executable, native_program, versions_in
from llmbench.servers import ServerCommand

_SCRIPT = Path(__file__).parent / "scripts" / "llamacpp_server.py"


def _find(options: LaunchOptions) -> Program:
    if options.python is None and (options.binary is not None or shutil.which("llama-server")):
        return native_program(
            options, title="llama.cpp", binary="llama-server", install="build or download it"
        )
    if options.python is None and importlib.util.find_spec("xllamacpp") is None:
        raise ConfigError(
            f"llama.cpp is not installed here (no llama-server on PATH and no package xllamacpp in {sys.executable}): "
            "install one of them, or name where it is with --server-binary or --server-python"
        )
    python = executable(options.python, "--server-python") if options.python else sys.executable
    versions = versions_in(python, ("xllamacpp",))
    if "xllamacpp" not in versions:
        raise ConfigError(
            f"llama.cpp is not installed for {python} (no package xllamacpp): pip install xllamacpp there, or name a "
            "llama-server with --server-binary"
        )
    return Program((python, str(_SCRIPT)), versions, python)


def _command(replica: Replica) -> ServerCommand:
    settings = replica.settings
    if settings.tp_size > 1 and replica.gpus is None:
        raise ConfigError(
            f"--tp_size {settings.tp_size}: llama.cpp splits a model over GPUs only, and there is none: use --tp_size 1"
        )
    path = Path(replica.model).expanduser()
    on_disk = path.suffix == ".gguf" or path.exists()
    if on_disk and not path.is_file():
        raise ConfigError(f"the model file {path} does not exist: give a GGUF file with --model_path")
    if not on_disk and replica.program.python is not None:
        raise ConfigError(
            f"the model {replica.model} is no file, and xllamacpp loads nothing else: name a GGUF file in --model_path"
        )
    return replica.command(
        *replica.program.argv,
        *(("--model", path) if on_disk else ("--hf-repo", replica.model)),
        *("--alias", settings.model, "--host", HOST, "--port", replica.port, "--metrics"),
        *("--batch-size", settings.max_ragged_batch_size),
        *(("--n-gpu-layers", 999) if replica.gpus else ()),
        *(("--split-mode", "row") if settings.tp_size > 1 else ()),
        metrics_url=f"{replica.url}/metrics",
    )


LAUNCHER = Launcher(
    kind="llamacpp",
    title="llama.cpp",
    backends=("llamacpp",),
    find=_find,
    command=_command,
)
