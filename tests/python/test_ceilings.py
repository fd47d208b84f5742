"""What a client can take, kept per machine, and a load held against it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llmbench import ceilings
from llmbench.ceilings import Ceiling

MACHINE = {"cpu": "a processor", "cores": 4, "kernel": "6.1", "llmbench": "0.1.0", "load_average": 3.0}
CEILING = Ceiling(event_s=8.5e-6, request_s=85e-6)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def keep(content: Any, environment: dict[str, Any] = MACHINE) -> Path:
    path = ceilings.cache_path(environment)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_ceiling_is_what_fits_into_a_busy_core() -> None:
    assert CEILING.events_per_s == pytest.approx(100_000)
    assert CEILING.requests_per_s == pytest.approx(10_000)


@pytest.mark.parametrize(
    ("scaling", "cores", "events_per_s"),
    [(None, 1, 100_000), (None, 4, 400_000), (0.9, 4, 360_000), (0.9, 1, 100_000), (1.2, 2, 200_000)],
)
def test_cores_add_up_as_far_as_workers_scale(scaling: float | None, cores: int, events_per_s: float) -> None:
    ceiling = Ceiling(CEILING.event_s, CEILING.request_s, scaling)
    assert ceiling.of_cores(cores) == (pytest.approx(events_per_s), pytest.approx(events_per_s / 10))


@pytest.mark.parametrize(
    ("events", "requests", "workers", "cores", "share"),
    [
        (0, 0, 1, 4, 0.0),
        (50_000, 0, 1, 4, 0.5),
        (0, 5000, 1, 4, 0.5),
        (50_000, 2500, 1, 4, 0.75),
        (50_000, 2500, 3, 4, 0.25),
        # More workers than cores do not help, and no worker at all is one.
        (50_000, 0, 8, 2, 0.25),
        (50_000, 0, 0, 0, 0.5),
    ],
)
def test_a_load_as_a_share(events: float, requests: float, workers: int, cores: int, share: float) -> None:
    assert CEILING.share(events, requests, workers, cores) == pytest.approx(share)


@pytest.mark.parametrize(
    "stored",
    [
        None,
        [],
        "ceiling",
        {},
        {"event_s": 1e-6},
        {"event_s": 0, "request_s": 1e-5},
        {"event_s": -1e-6, "request_s": 1e-5},
        {"event_s": "fast", "request_s": 1e-5},
        {"event_s": True, "request_s": 1e-5},
        {"event_s": float("inf"), "request_s": 1e-5},
        {"event_s": float("nan"), "request_s": 1e-5},
        {"event_s": 1e-6, "request_s": 1e-5, "scaling": 0},
        {"absent": "TLS"},
    ],
)
def test_what_is_no_ceiling_is_none(stored: object) -> None:
    assert Ceiling.from_dict(stored) is None


def test_a_ceiling_comes_back_from_its_dict() -> None:
    for ceiling in (CEILING, Ceiling(1e-6, 2e-6, 0.95)):
        assert Ceiling.from_dict(json.loads(json.dumps(ceiling.to_dict()))) == ceiling


def test_the_cache_is_per_machine_and_version(cache: Path) -> None:
    path = keep({"machine": ceilings.machine_key(MACHINE), "ceiling": CEILING.to_dict()})
    assert path.parent == cache / "llmbench"
    assert ceilings.cached(MACHINE) == CEILING
    assert ceilings.cached({**MACHINE, "load_average": 0.1}) == CEILING
    for name in ("cpu", "cores", "kernel", "llmbench"):
        assert ceilings.cached({**MACHINE, name: "another"}) is None


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "\0",
        {"machine": {}, "ceiling": CEILING.to_dict()},
        {"machine": ceilings.machine_key(MACHINE)},
        {"machine": ceilings.machine_key(MACHINE), "ceiling": {"event_s": 0}},
    ],
)
def test_a_damaged_cache_is_no_cache(content: Any) -> None:
    keep(content)
    assert ceilings.cached(MACHINE) is None
    assert ceilings.cached_selftest(MACHINE) is None


@pytest.mark.parametrize("base", [None, "", "relative/path"])
def test_without_a_usable_xdg_directory_the_home_holds_the_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, base: str | None
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    if base is None:
        monkeypatch.delenv("XDG_CACHE_HOME")
    else:
        monkeypatch.setenv("XDG_CACHE_HOME", base)
    assert ceilings.cache_path(MACHINE).parent == tmp_path / ".cache" / "llmbench"
