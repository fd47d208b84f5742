"""Where the results of sweeps lie, and which there are: a directory per backend, `<out_json_dir>_<backend>/`, formerly
`<log_dir>/<backend>/`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from llmbench.combination import Combination
from llmbench.errors import ConfigError
from llmbench.sweep_file import read_json
from llmbench.sweep_point import SweepPoint

__all__ = ["ResultFile", "find_points", "result_dirs"]


@dataclass(frozen=True, order=True)
class ResultFile:
    """A result that was found and not yet read; the model stands as in the file's name."""

    directory: Path
    combination: Combination

    @property
    def path(self) -> Path:
        return self.directory / self.combination.file_name

    def read(self, *, count_tokens: Callable[[str], int] | None = None) -> SweepPoint:
        return read_json(self.path, count_tokens=count_tokens)


def find_points(directories: Iterable[str | os.PathLike[str]]) -> list[ResultFile]:
    """The results lying in the given directories, by directory as given, then by combination.

    Other files are passed over. Raises ConfigError for a directory that does not exist or cannot be listed.
    """
    found: list[ResultFile] = []
    for directory in directories:
        directory = Path(directory)
        found.extend(sorted(ResultFile(directory, combination) for combination in _combinations(directory)))
    return found


def result_dirs(
    log_dir: str | os.PathLike[str] = "./results",
    *,
    backends: Sequence[str] = (),
    data_dirs: Sequence[str | os.PathLike[str]] = (),
) -> list[Path]:
    """Where the results to plot are.

    `backends` are looked for as `<log_dir>_<backend>/` and, older, `<log_dir>/<backend>/`; `data_dirs` are
    taken as they are, or under `log_dir`. With neither, every directory of these forms that holds a result is
    taken, and `log_dir` itself. Raises ConfigError when something named is not there, or when there is
    nothing at all.
    """
    log_dir = Path(log_dir)
    found: list[Path] = []
    for data_dir in data_dirs:
        candidates = [Path(data_dir), log_dir / data_dir]
        existing = [path for path in candidates if path.is_dir()]
        if not existing:
            nor = "" if candidates[1] == candidates[0] else f" (nor {candidates[1]})"
            raise ConfigError(f"--data_dirs: there is no directory {candidates[0]}{nor}")
        found.append(existing[0])
    for backend in backends:
        candidates = [log_dir.with_name(f"{log_dir.name}_{backend}"), log_dir / backend]
        existing = [path for path in candidates if path.is_dir()]
        if not existing:
            present = ", ".join(map(str, _all_result_dirs(log_dir))) or "none"
            raise ConfigError(
                f"--backend {backend}: there is no {candidates[0]}/ nor {candidates[1]}/; "
                f"result directories here: {present}"
            )
        found.extend(existing)
    if not data_dirs and not backends:
        found = _all_result_dirs(log_dir)
        if not found:
            raise ConfigError(
                f"no results under {log_dir}_*/, {log_dir}/*/ or {log_dir}/; "
                "name their directories with --data_dirs, or run python -m llmbench.run_benchmark first"
            )
    return list(dict.fromkeys(found))


def _combinations(directory: Path) -> list[Combination]:
    try:
        names = [entry.name for entry in directory.iterdir()]
    except OSError as error:
        raise ConfigError(
            f"cannot list the result directory {directory}: {error.strerror or error}"
        ) from error
    parsed = (Combination.parse(name) for name in names if name.endswith(".json"))
    return [combination for combination in parsed if combination is not None]


def _all_result_dirs(log_dir: Path) -> list[Path]:
    beside = log_dir.parent.glob(f"{_glob_escape(log_dir.name)}_*") if log_dir.name else []
    inside = log_dir.iterdir() if log_dir.is_dir() else []
    candidates = [*sorted(beside), log_dir, *sorted(inside)]
    return [path for path in candidates if path.is_dir() and os.access(path, os.R_OK) and _combinations(path)]


def _glob_escape(name: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", name)
