"""Triton with a model repository of the user's, such as one of TensorRT-LLM engines."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from llmbench.ceilings import cache_directory
from llmbench.errors import ConfigError
from llmbench.launchers.launcher import HOST, Launcher, LaunchOptions, Program, Replica
from llmbench.launchers.programs import executable, native_program, versions_in
from llmbench.servers import ServerCommand

_HOME = Path("/opt/tritonserver")
_STUB = "triton_python_backend_stub"
_ENGINE = "tensorrt_llm"
"""The model that every rank loads; the rest of the repository is the first rank's."""


def _find(options: LaunchOptions) -> Program:
    """`--server-binary`, on PATH, where the containers have it, or inside the package nvidia-pytriton."""
    if options.binary is None and shutil.which("tritonserver") is None:
        if (_HOME / "bin" / "tritonserver").exists():
            return Program((str(_HOME / "bin" / "tritonserver"),), _container_version())
        if options.python is not None:
            return _bundled(executable(options.python, "--server-python"))
        if importlib.util.find_spec("pytriton") is not None:
            return _bundled(sys.executable)
    program = native_program(
        options,
        title="Triton",
        binary="tritonserver",
        install="it comes as a container, in which llmbench can run, or with pip install nvidia-pytriton",
        version_flag=None,
    )
    return Program(program.argv, _container_version())


def _bundled(python: str) -> Program:
    """The tritonserver that nvidia-pytriton carries."""
    versions = versions_in(python, ("nvidia-pytriton",))
    if "nvidia-pytriton" not in versions:
        raise ConfigError(
            f"{python} has no package nvidia-pytriton: pip install it there, or name another with --server-binary"
        )
    where = "import importlib.util as u; print(u.find_spec('pytriton').submodule_search_locations[0])"
    done = subprocess.run([python, "-c", where], stdout=subprocess.PIPE, text=True, check=False)
    home = Path(done.stdout.strip()) / "tritonserver"
    binary = executable(str(home / "bin" / "tritonserver"), "--server-python")
    backends = _backends(home, versions["python"], versions["nvidia-pytriton"])
    return Program((binary, f"--backend-directory={backends}"), versions, python)


def _backends(home: Path, python: str, version: str) -> Path:
    """The package's backends with the stub of one Python among them: it keeps a stub of every Python elsewhere."""
    minor = ".".join(python.split(".")[:2])
    stub = home / "python_backend_stubs" / minor / _STUB
    if not stub.exists():
        return home / "backends"  # as later versions may have it
    digest = hashlib.sha256(f"{home} {version}".encode()).hexdigest()[:16]
    made = cache_directory() / f"triton-{digest}-python{minor}"
    # Kept, since a server may be left running; made aside, since several may be started at once.
    with tempfile.TemporaryDirectory(dir=_there(made.parent), prefix=f"{made.name}-") as directory:
        (aside := Path(directory) / "backends" / "python").mkdir(parents=True)
        for file in (*(home / "backends" / "python").iterdir(), stub):
            (aside / file.name).symlink_to(file)
        with contextlib.suppress(OSError):  # it is there already
            aside.parent.rename(made)
    return made


def _there(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def _container_version() -> dict[str, str]:
    told = os.environ.get("TRITON_SERVER_VERSION")
    if told is None and (_HOME / "TRITON_VERSION").is_file():
        told = (_HOME / "TRITON_VERSION").read_text().strip()
    return {"tritonserver": told} if told else {}


def _command(replica: Replica) -> ServerCommand:
    if replica.options.model_path is None:
        raise ConfigError(
            "the server triton serves a model repository: name its directory with --model_path, and the model in it "
            "with --model"
        )
    first, *others = [_rank(replica, rank) for rank in range(replica.settings.tp_size)]
    words = first
    if others:
        mpirun = shutil.which("mpirun")
        if mpirun is None:
            raise ConfigError(
                f"--tp_size {replica.settings.tp_size}: Triton runs a rank per GPU under mpirun, which is not on PATH: "
                "install it, or use --tp_size 1"
            )
        words = [mpirun, *(["--allow-run-as-root"] if os.geteuid() == 0 else []), "-n", "1", *first]
        for other in others:
            words += [":", "-n", "1", *other]
    return replica.command(
        *words,
        ready_urls=(f"{replica.url}/v2/health/ready",),
        metrics_url=f"http://{HOST}:{replica.port + 2}/metrics",
        env=_interpreter(replica.program),
    )


def _interpreter(program: Program) -> dict[str, str]:
    """Models in Python find the packages of the interpreter that is first on PATH: the one that the server is in."""
    if program.python is None:
        return {}
    return {"PATH": os.pathsep.join(filter(None, (str(Path(program.python).parent), os.environ.get("PATH"))))}


def _rank(replica: Replica, rank: int) -> list[str]:
    """Each rank has shared memory of its own; all but the first load the engine alone and take no requests."""
    words = [*replica.program.argv, f"--model-repository={replica.options.model_path}"]
    words += [f"--http-address={HOST}", f"--http-port={replica.port}"]
    words += [f"--grpc-address={HOST}", f"--grpc-port={replica.port + 1}"]
    words += [f"--metrics-address={HOST}", f"--metrics-port={replica.port + 2}"]
    words += ["--disable-auto-complete-config"] if replica.settings.tp_size > 1 else []
    words += [f"--backend-config=python,shm-region-prefix-name=llmbench{replica.port}_{rank}_"]
    if rank:
        words += ["--model-control-mode=explicit", f"--load-model={_ENGINE}"]
    return words


LAUNCHER = Launcher(
    kind="triton",
    title="Triton",
    backends=("tensorrt_llm_triton",),
    find=_find,
    command=_command,
    splits_on_cpu=True,
    ignores=("max_ragged_batch_size",),
    ports=lambda _settings: 3,
)
