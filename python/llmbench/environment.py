"""The machine a measurement was made on: what decides a client's timing, and nothing that identifies its owner."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any


def collect() -> dict[str, Any]:
    """Versions, processor, kernel and limits; a thing that this machine does not tell is None."""
    import numpy as np

    from llmbench import _core

    return {
        "llmbench": _core.__version__,
        "python": platform.python_version(),
        "implementation": sys.implementation.name,
        "numpy": np.__version__,
        "system": platform.system(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "cores_usable": len(os.sched_getaffinity(0)),
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "clock_source": _read("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        "cgroup_cpus": _cgroup_cpus(),
        "cgroup_memory_bytes": _cgroup_memory(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "load_average": round(os.getloadavg()[0], 2),
    }


@dataclass(frozen=True)
class CpuCounters:
    """What the kernel counts against this machine and this process group; the difference of two readings
    is evidence."""

    throttled_periods: int | None
    steal_ticks: int
    total_ticks: int

    @classmethod
    def read(cls) -> CpuCounters:
        fields = _fields("/proc/stat", "cpu")
        # user nice system idle iowait irq softirq steal; guest time is in user already.
        return cls(_throttled_periods(), fields[7] if len(fields) > 7 else 0, sum(fields[:8]))

    def since(self, before: CpuCounters) -> dict[str, Any]:
        """`throttled_periods` and the machine's `steal_share` between two readings."""
        ticks = self.total_ticks - before.total_ticks
        throttled = None
        if self.throttled_periods is not None and before.throttled_periods is not None:
            throttled = self.throttled_periods - before.throttled_periods
        return {
            "throttled_periods": throttled,
            "steal_share": (self.steal_ticks - before.steal_ticks) / ticks if ticks > 0 else None,
        }


def _read(path: str | Path) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip() or None
    except OSError:
        return None


def _fields(path: str, name: str) -> list[int]:
    for line in (_read(path) or "").splitlines():
        key, *values = line.split()
        if key == name:
            return [int(value) for value in values]
    return []


def _cpu_model() -> str | None:
    for line in (_read("/proc/cpuinfo") or "").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model", "Processor"):
            return value.strip()
    return None


CGROUPS, CGROUPS_V1 = Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/cpu")


def _cgroup_directories() -> list[Path]:
    """This process's cgroup (version 2, or the cpu controller of version 1) and those it lies in, innermost first. A
    container may see its own under the root only."""
    found: list[Path] = []
    for line in (_read("/proc/self/cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root = CGROUPS
        elif "cpu" in controllers.split(","):
            root = CGROUPS_V1
        else:
            continue
        own = root / path.lstrip("/")
        found += [own, *(each for each in own.parents if each.is_relative_to(root))]
    return list(dict.fromkeys([*found, CGROUPS, CGROUPS_V1]))


def _throttled_periods() -> int | None:
    """Whoever set the limit: of this cgroup and of all that it lies in."""
    counts = [_fields(str(each / "cpu.stat"), "nr_throttled") for each in _cgroup_directories()]
    told = [count[0] for count in counts if count]
    return sum(told) if told else None


def _cgroup_cpus() -> float | None:
    """The least that any of them allows."""
    limits = [limit for each in _cgroup_directories() if (limit := _cpus_of(each)) is not None]
    return min(limits, default=None)


def _cpus_of(directory: Path) -> float | None:
    limit = _read(directory / "cpu.max")
    if limit is not None:
        quota, period = limit.split()
        return None if quota == "max" else int(quota) / int(period)
    quota_us, period_us = (_read(directory / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
    if quota_us is None or period_us is None or int(quota_us) < 0:
        return None
    return int(quota_us) / int(period_us)


def _cgroup_memory() -> int | None:
    memory = Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")
    for path in [*(directory / "memory.max" for directory in _cgroup_directories()), memory]:
        limit = _read(path)
        if limit is not None:
            # Version 1 says "no limit" with the largest page-aligned number.
            return None if limit == "max" or int(limit) >= 1 << 62 else int(limit)
    return None
