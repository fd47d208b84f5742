"""The processes of this machine, as the kernel shows them in /proc."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def process_start(pid: int) -> int:
    """When a process started, in kernel ticks since boot; 0 if there is none."""
    try:
        return int(_stat_fields(Path(f"/proc/{pid}/stat").read_bytes())[19])
    except (OSError, IndexError, ValueError):
        return 0


def boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def all_processes() -> Iterator[tuple[int, str, int]]:
    """Process id, state letter and group of every process."""
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit():
            try:
                fields = _stat_fields((directory / "stat").read_bytes())
                yield int(directory.name), fields[0].decode(), int(fields[2])
            except (OSError, IndexError, ValueError):
                continue  # it ended meanwhile


def environment_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


def _stat_fields(stat: bytes) -> list[bytes]:
    """The fields of /proc/PID/stat after the command, which may hold blanks and brackets itself."""
    return stat[stat.rindex(b")") + 2 :].split()
