"""The GPUs of this machine, and which of them a replica gets."""

from __future__ import annotations

import os
from pathlib import Path

from llmbench.errors import ClientLimitError

VARIABLE = "CUDA_VISIBLE_DEVICES"


def visible() -> tuple[str, ...]:
    """The names of the GPUs that a server started here would see, as CUDA_VISIBLE_DEVICES writes them: what that
    variable says, where it is set, else the indices of all there are."""
    named = chosen()
    return tuple(str(index) for index in range(present())) if named is None else named


def chosen(given: str | None = None) -> tuple[str, ...] | None:
    """The GPUs that CUDA_VISIBLE_DEVICES names, in our environment unless `given`; None where it is not set."""
    given = os.environ.get(VARIABLE) if given is None else given
    if given is None:
        return None
    # CUDA ignores what follows the first invalid entry, and -1 is the usual one.
    names = [name.strip() for name in given.split(",")]
    end = next((i for i, name in enumerate(names) if name in ("", "-1")), len(names))
    return tuple(names[:end])


def present() -> int:
    """How many GPUs the kernel drivers show: NVIDIA's, else AMD's. Files only, nothing is started."""
    nvidia = _entries("/proc/driver/nvidia/gpus")
    if nvidia:
        return len(nvidia)
    devices = [
        path for path in _entries("/dev") if path.name.startswith("nvidia") and path.name[6:].isdigit()
    ]
    if devices:
        return len(devices)
    # A node of the KFD topology without a GPU id is a processor.
    return sum(
        _text(node / "gpu_id") not in ("", "0") for node in _entries("/sys/class/kfd/kfd/topology/nodes")
    )


def names() -> list[str]:
    """The models of NVIDIA GPUs, for the record."""
    found = []
    for directory in _entries("/proc/driver/nvidia/gpus"):
        for line in _text(directory / "information").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "Model":
                found.append(value.strip())
    return found


def driver() -> str | None:
    """The version of NVIDIA's driver."""
    words = _text(Path("/proc/driver/nvidia/version")).split()
    return next((word for word in words if word.count(".") >= 1 and word.replace(".", "").isdigit()), None)


def groups(replicas: int, tp_size: int, seen: tuple[str, ...]) -> list[tuple[str, ...]]:
    """`tp_size` neighbouring GPUs for each replica. Raises ClientLimitError where there are too few."""
    if replicas * tp_size > len(seen):
        wanted = f"{replicas} × {tp_size}" if replicas > 1 else str(tp_size)
        have = f"{VARIABLE} shows" if VARIABLE in os.environ else "this machine has"
        raise ClientLimitError(
            f"--tp_size {tp_size} with --num_replicas {replicas} needs {wanted} GPUs and {have} {len(seen)}: "
            "lower one of the two"
        )
    return [seen[number * tp_size : (number + 1) * tp_size] for number in range(replicas)]


def _entries(directory: str) -> list[Path]:
    try:
        return sorted(Path(directory).iterdir())
    except OSError:
        return []


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
