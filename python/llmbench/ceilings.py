"""How much this machine's client can take: measured by `llmbench selftest`, kept per machine and version, and
held against the load of every later run.

The ceiling is 0.85 / (worker CPU time per event, or per request): at that rate a worker is 85 % busy.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

BUSY = 0.85
"""The share of a core that a worker may use before its times suffer."""

_KEY = ("cpu", "cores", "kernel", "llmbench")
"""What of the environment a ceiling belongs to."""


@dataclass(frozen=True)
class Ceiling:
    """What one worker pays for an event and for a request, and what follows from that."""

    event_s: float
    """Worker CPU seconds per output event."""
    request_s: float
    """Worker CPU seconds per request, without its events."""
    scaling: float | None = None
    """CPU per event of one worker ÷ that of one of several; None when not measured."""

    @property
    def events_per_s(self) -> float:
        """Of one worker that does nothing else."""
        return BUSY / self.event_s

    @property
    def requests_per_s(self) -> float:
        """Of one worker that does nothing else."""
        return BUSY / self.request_s

    def of_cores(self, cores: int) -> tuple[float, float]:
        """Events/s and requests/s of a worker on each of so many cores."""
        workers = cores * (min(1.0, self.scaling or 1.0) if cores > 1 else 1.0)
        return self.events_per_s * workers, self.requests_per_s * workers

    def share(self, events_per_s: float, requests_per_s: float, workers: int, cores: int) -> float:
        """A load as a share of what so many workers can take: both kinds of work add up."""
        events, requests = self.of_cores(max(1, min(workers, cores)))
        return events_per_s / events + requests_per_s / requests

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: object) -> Ceiling | None:
        """None for anything that is no ceiling: a cache is not to be trusted."""
        if not isinstance(stored, Mapping):
            return None
        values = {each.name: stored.get(each.name) for each in fields(cls)}
        scaling = values["scaling"]
        if not (_positive(values["event_s"]) and _positive(values["request_s"])):
            return None
        if scaling is not None and not _positive(scaling):
            return None
        return cls(**values)  # type: ignore[arg-type]


def cache_directory() -> Path:
    """What is kept to be found again, under XDG_CACHE_HOME."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or "")
    # A relative path is to be ignored, says the XDG specification.
    home = base if base.is_absolute() else Path("~/.cache").expanduser()
    return home / "llmbench"


def cache_path(environment: Mapping[str, Any]) -> Path:
    """Where the self-test of this machine and version is kept."""
    digest = hashlib.sha256(json.dumps(machine_key(environment)).encode()).hexdigest()[:16]
    return cache_directory() / f"selftest-{digest}.json"


def machine_key(environment: Mapping[str, Any]) -> dict[str, Any]:
    """The processor, its cores, the kernel and the version of llmbench."""
    return {name: environment.get(name) for name in _KEY}


def cached_selftest(environment: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the last self-test found here; None when there was none, or its file cannot be used."""
    try:
        stored = json.loads(cache_path(environment).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    # The name is a digest: the file says itself whose it is.
    if not isinstance(stored, dict) or stored.get("machine") != machine_key(environment):
        return None
    return stored if Ceiling.from_dict(stored.get("ceiling")) is not None else None


def cached(environment: Mapping[str, Any]) -> Ceiling | None:
    """The ceiling that the last self-test found on this machine with this version."""
    return Ceiling.from_dict((cached_selftest(environment) or {}).get("ceiling"))


def _positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")
