"""Where a run's files go: NAME.llmbench, NAME.json beside it, and how NAME is found."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from llmbench.errors import ConfigError, ResultsError


def check_directory(directory: Path, *, flag: str = "--result-dir") -> None:
    """Makes the directory and proves that a file can be written there; `flag` is what names another."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise ResultsError(
            f"cannot write results to {directory}: {error.strerror or error}; choose another {flag}"
        ) from None


@contextlib.contextmanager
def claimed(directory: Path, filename: str | None, default_name: str) -> Iterator[Path]:
    """The path of NAME.llmbench; given up again by a run that never came to write anything."""
    path = _explicit_path(directory, filename) if filename else _new_path(directory, default_name)
    try:
        yield path
    except BaseException:
        with contextlib.suppress(OSError):
            if path.stat().st_size == 0:
                path.unlink()
        raise


@contextlib.contextmanager
def temporary() -> Iterator[Path]:
    """Of a run of which nothing is to be kept."""
    with tempfile.TemporaryDirectory(prefix="llmbench-") as directory:
        yield Path(directory) / "run.llmbench"


def json_beside(path: Path) -> Path:
    """NAME.json."""
    return path.with_name(path.name.removesuffix(".llmbench") + ".json")


def name_of(*parts: str | None) -> str:
    """A name from texts that may come from a server."""
    return "-".join(filter(None, (_safe(part) for part in parts if part)))


def _explicit_path(directory: Path, name: str) -> Path:
    """The file of that name, which may exist and is replaced; an ending .llmbench or .json is left out."""
    stem = name.removesuffix(".llmbench").removesuffix(".json")
    path = directory / f"{stem}.llmbench"
    if not Path(stem).name or "\0" in name:
        raise ConfigError(f"--result-filename {name!r} is no file name")
    check_directory(path.parent)
    return path


def _new_path(directory: Path, name: str) -> Path:
    """A file that did not exist, claimed so that no other run takes its name."""
    for number in range(1, 10_000):
        path = directory / f"{name}{f'-{number}' if number > 1 else ''}.llmbench"
        try:
            with path.open("xb"):
                return path
        except FileExistsError:
            continue
        except OSError as error:
            raise ResultsError(f"cannot create {path}: {error.strerror or error}") from None
    raise ResultsError(
        f"{directory} holds ten thousand results named {name}: choose another --label or --result-dir"
    )


def _safe(part: str) -> str:
    """A piece of a file name from text that may come from a server."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", part).strip("._-")[:80]
