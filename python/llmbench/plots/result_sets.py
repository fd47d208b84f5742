"""What the figures of a sweep are drawn from: the results of several directories, matched by their settings.

A result set is one setting of (model, TP, ragged batch, replicas, prompt, generation); it has a series per
directory that measured it, and a series has a point per number of clients.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any

from llmbench.combination import Combination, ResultFile, SweepPoint, find_points, read_json
from llmbench.errors import ConfigError, ResultsError
from llmbench.plots.plot_config import PlotConfig, read_plot_config

Source = str | PathLike[str] | SweepPoint
Warn = Callable[[str], None]

_SETTINGS = ("model", "tp_size", "max_ragged_batch_size", "num_replicas", "prompt_length", "gen_length")


@dataclass(frozen=True)
class Series:
    """The points of one directory, from the fewest clients to the most."""

    label: str
    points: tuple[SweepPoint, ...]
    config: PlotConfig = field(default_factory=PlotConfig)


@dataclass(frozen=True)
class ResultSet:
    """All series of one setting. `num_clients` of its combination means nothing."""

    combination: Combination
    series: tuple[Series, ...]

    @property
    def stem(self) -> str:
        return self.combination.set_stem()

    @property
    def model(self) -> str:
        """The model as the results spell it, slash and all."""
        return self.series[0].points[0].combination.model


def load_result_sets(directories: Sequence[Path], warn: Warn) -> list[ResultSet]:
    """Every setting found in the directories, by name.

    A result that cannot be read is left out with a warning, and so is said which setting is missing where.
    Raises ConfigError when no directory holds a result, ResultsError when not one can be read.
    """
    files = find_points(directories)
    if not files:
        raise ConfigError(f"no results in {', '.join(map(str, directories))}")
    configs = {directory: read_plot_config(directory) for directory in directories}
    labels = _labels(directories)
    by_setting: dict[Combination, dict[Path, list[ResultFile]]] = {}
    for file in files:
        setting = replace(file.combination, num_clients=0)
        by_setting.setdefault(setting, {}).setdefault(file.directory, []).append(file)
    _warn_of_missing(by_setting, directories, warn)

    sets, last_error = [], None
    for setting, by_directory in sorted(by_setting.items()):
        series = []
        for directory, of_directory in by_directory.items():
            points = []
            for file in of_directory:
                try:
                    points.append(file.read())
                except ResultsError as error:
                    warn(f"left out: {error}")
                    last_error = error
            if points:
                label = configs[directory].label or labels[directory]
                series.append(Series(label, tuple(points), configs[directory]))
        if series:
            sets.append(ResultSet(setting, tuple(series)))
    if not sets and last_error is not None:
        raise last_error
    return sets


def _labels(directories: Sequence[Path]) -> dict[Path, str]:
    """The directories' names, with as many of their parents as it takes to tell them apart."""
    full = {directory: directory.resolve().parts for directory in directories}
    labels: dict[Path, str] = {}
    for directory, parts in full.items():
        others = [other for path, other in full.items() if path != directory and other != parts]
        count = 1
        while count < len(parts) and any(other[-count:] == parts[-count:] for other in others):
            count += 1
        labels[directory] = "/".join(part.strip("/") for part in parts[-count:]) or str(directory)
    return labels


def _warn_of_missing(
    by_setting: Mapping[Combination, Mapping[Path, Any]], directories: Sequence[Path], warn: Warn
) -> None:
    for setting, by_directory in sorted(by_setting.items()):
        missing = [str(directory) for directory in directories if directory not in by_directory]
        if missing:
            warn(f"{setting.set_stem()} is not in {', '.join(missing)}")


def result_set(
    sources: Source | Iterable[Source] | Mapping[str, Source | Iterable[Source]], select: Mapping[str, Any]
) -> ResultSet:
    """The one result set of a figure that is drawn in Python.

    `sources`: result directories, result files, or points already read; a mapping gives a label to each
    series. Points that are not from a directory make one series. `select` narrows the settings down
    (`tp_size=4`). Raises ConfigError, which lists the settings there are, unless one is left.
    """
    unknown = [name for name in select if name not in _SETTINGS]
    if unknown:
        raise ConfigError(f"unknown setting {unknown[0]!r}; the settings are {', '.join(_SETTINGS)}")
    series: list[Series] = []
    if isinstance(sources, Mapping):
        for label, source in sources.items():
            one = _series_of([source] if _is_source(source) else list(source))  # type: ignore[list-item, arg-type]
            points = tuple(point for part in one for point in part.points)
            config = one[0].config if len(one) == 1 else PlotConfig()
            series.append(Series(label, points, config))
    else:
        series = _series_of([sources] if _is_source(sources) else list(sources))  # type: ignore[list-item, arg-type]

    by_setting: dict[Combination, list[Series]] = {}
    for whole in series:
        parts: dict[Combination, list[SweepPoint]] = {}
        for point in whole.points:
            model = point.combination.model.replace("/", "_")
            setting = replace(point.combination, model=model, num_clients=0)
            parts.setdefault(setting, []).append(point)
        for setting, points_of in parts.items():
            ordered = tuple(sorted(points_of, key=lambda point: point.combination.num_clients))
            by_setting.setdefault(setting, []).append(replace(whole, points=ordered))
    wanted = dict(select)
    if isinstance(wanted.get("model"), str):
        wanted["model"] = wanted["model"].replace("/", "_")
    chosen = [
        setting
        for setting in by_setting
        if all(getattr(setting, name) == value for name, value in wanted.items())
    ]
    if len(chosen) != 1:
        there = "; ".join(sorted(setting.set_stem() for setting in by_setting)) or "none"
        asked = ", ".join(f"{name}={value!r}" for name, value in select.items()) or "no setting chosen"
        raise ConfigError(
            f"a figure shows one setting, and {len(chosen)} fit ({asked}); "
            f"choose by {', '.join(_SETTINGS)} from: {there}"
        )
    return ResultSet(chosen[0], tuple(by_setting[chosen[0]]))


def _is_source(value: Any) -> bool:
    return isinstance(value, (str, PathLike, SweepPoint))


def _series_of(sources: Sequence[Source]) -> list[Series]:
    directories = [
        Path(source) for source in sources if not isinstance(source, SweepPoint) and Path(source).is_dir()
    ]
    labels = _labels(directories)
    series: list[Series] = []
    single: list[SweepPoint] = []
    for source in sources:
        if isinstance(source, SweepPoint):
            single.append(source)
        elif Path(source).is_dir():
            directory = Path(source)
            config = read_plot_config(directory)
            points = tuple(file.read() for file in find_points([directory]))
            if not points:
                raise ConfigError(f"no results in {directory}")
            series.append(Series(config.label or labels[directory], points, config))
        else:
            single.append(read_json(source))
    if single:
        backends = {point.backend for point in single}
        series.append(Series(backends.pop() or "results" if len(backends) == 1 else "results", tuple(single)))
    return series


def warn_on_stderr(message: str) -> None:
    print(f"warning: {message}", file=sys.stderr)
