"""What the figures of a sweep are drawn from: the results of several directories, matched by their settings.

A result set is one setting of (model, TP, ragged batch, replicas, prompt, generation); it has a series per
directory that measured it, and a series has a point per number of clients. A figure over TP sizes or replicas leaves
these free: its set holds all of them.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any

from llmbench.combination import Combination
from llmbench.errors import ConfigError, ResultsError
from llmbench.plots.plot_config import PlotConfig, read_plot_config
from llmbench.result_dirs import ResultFile, find_points
from llmbench.sweep_file import read_json
from llmbench.sweep_point import SweepPoint

Source = str | PathLike[str] | SweepPoint
Sources = Source | Iterable[Source] | Mapping[str, Source | Iterable[Source]]
Warn = Callable[[str], None]
CountTokens = Callable[[str], int]

_SETTINGS = ("model", "tp_size", "max_ragged_batch_size", "num_replicas", "prompt_length", "gen_length")


@dataclass(frozen=True)
class Series:
    """The points of one directory, by TP size, replicas and clients."""

    label: str
    points: tuple[SweepPoint, ...]
    config: PlotConfig = field(default_factory=PlotConfig)


@dataclass(frozen=True)
class ResultSet:
    """All series of one setting. `num_clients` of its combination means nothing, nor does what was left free."""

    combination: Combination
    series: tuple[Series, ...]
    """Those of one directory, or of one label, each."""

    @property
    def stem(self) -> str:
        return self.combination.set_stem()

    @property
    def points(self) -> list[SweepPoint]:
        return [point for series in self.series for point in series.points]

    @property
    def file_model(self) -> str:
        """The model as it stands in file names."""
        return self.combination.model.replace("/", "_")

    def detail(self, *more: str) -> str:
        """The setting as the line below a title has it, what was left free left out."""
        setting = self.combination
        parts = [f"Prompt: {setting.prompt_length} tokens", f"Generation: {setting.gen_length} tokens"]
        if setting.tp_size:
            parts.append(f"TP: {setting.tp_size}")
        if setting.num_replicas > 1:
            parts.append(f"{setting.num_replicas} replicas")
        return " · ".join([*parts, *more])

    @property
    def model(self) -> str:
        """The model as the results spell it, slash and all."""
        return self.series[0].points[0].combination.model


def load_result_sets(
    directories: Sequence[Path],
    warn: Warn,
    *,
    free: Sequence[str] = (),
    count_tokens: CountTokens | None = None,
) -> list[ResultSet]:
    """Every setting found in the directories, by name.

    `free`: settings, such as `tp_size`, in which the points of one set may differ. `count_tokens`: see `read_json`.
    A result that cannot be read is left out with a warning, and so is said which setting is missing where.
    Raises ConfigError when no directory holds a result, ResultsError when not one can be read.
    """
    files = find_points(directories)
    if not files:
        raise ConfigError(f"no results in {', '.join(map(str, directories))}")
    configs = {directory: read_plot_config(directory) for directory in directories}
    labels = _labels(directories)
    _warn_of_missing(files, directories, warn)
    by_setting: dict[Combination, dict[Path, list[ResultFile]]] = {}
    for file in files:
        setting = _setting_of(file.combination, free)
        by_setting.setdefault(setting, {}).setdefault(file.directory, []).append(file)

    sets, last_error = [], None
    for setting, by_directory in sorted(by_setting.items()):
        series = []
        for directory, of_directory in by_directory.items():
            points = []
            for file in of_directory:
                try:
                    points.append(file.read(count_tokens=count_tokens))
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


def _setting_of(combination: Combination, free: Sequence[str]) -> Combination:
    """The combination with one spelling of the model and 0 for what may differ."""
    model = combination.model.replace("/", "_")
    return replace(combination, model=model, num_clients=0, **dict.fromkeys(free, 0))


def _warn_of_missing(files: Sequence[ResultFile], directories: Sequence[Path], warn: Warn) -> None:
    where: dict[Combination, set[Path]] = {}
    for file in files:
        where.setdefault(_setting_of(file.combination, ()), set()).add(file.directory)
    for setting, found in sorted(where.items()):
        missing = [str(directory) for directory in directories if directory not in found]
        if missing:
            warn(f"{setting.set_stem()} is not in {', '.join(missing)}")


def result_set(
    sources: Sources,
    select: Mapping[str, Any],
    *,
    free: Sequence[str] = (),
    count_tokens: CountTokens | None = None,
) -> ResultSet:
    """The one result set of a figure that is drawn in Python.

    `sources`: result directories, result files, or points already read; a mapping gives a label to each
    series. Points that are not from a directory make one series. `select` narrows the settings down
    (`tp_size=4`), `free` and `count_tokens` are those of `load_result_sets`. Raises ConfigError, which lists the
    settings there are, unless one is left.
    """
    unknown = [name for name in select if name not in _SETTINGS]
    if unknown:
        raise ConfigError(f"unknown setting {unknown[0]!r}; the settings are {', '.join(_SETTINGS)}")
    series: list[Series] = []
    if isinstance(sources, Mapping):
        for label, source in sources.items():
            one = _series_of(_listed(source), count_tokens)
            points = tuple(point for part in one for point in part.points)
            config = one[0].config if len(one) == 1 else PlotConfig()
            series.append(Series(label, points, config))
    else:
        series = _series_of(_listed(sources), count_tokens)

    wanted = dict(select)
    if isinstance(wanted.get("model"), str):
        wanted["model"] = wanted["model"].replace("/", "_")
    there: set[Combination] = set()
    by_setting: dict[Combination, list[Series]] = {}
    for whole in series:
        parts: dict[Combination, list[SweepPoint]] = {}
        for point in whole.points:
            exact = _setting_of(point.combination, ())
            there.add(_setting_of(point.combination, [name for name in free if name not in wanted]))
            if all(getattr(exact, name) == value for name, value in wanted.items()):
                parts.setdefault(_setting_of(point.combination, free), []).append(point)
        for setting, points_of in parts.items():
            by_setting.setdefault(setting, []).append(
                replace(whole, points=tuple(sorted(points_of, key=_order)))
            )
    if len(by_setting) != 1:
        listed = "; ".join(sorted(setting.set_stem() for setting in there)) or "none"
        asked = ", ".join(f"{name}={value!r}" for name, value in select.items()) or "no setting chosen"
        differing = {name: sorted({getattr(each, name) for each in by_setting}) for name in _SETTINGS}
        choice = ", ".join(
            f"{name}={' or '.join(map(repr, values))}"
            for name, values in differing.items()
            if len(values) > 1
        )
        raise ConfigError(
            f"a figure shows one setting, and {len(by_setting)} fit ({asked}); "
            f"choose {choice or 'by ' + ', '.join(_SETTINGS)} from: {listed}"
        )
    setting, chosen = by_setting.popitem()
    return ResultSet(setting, tuple(chosen))


def _order(point: SweepPoint) -> tuple[int, int, int]:
    return point.combination.tp_size, point.combination.num_replicas, point.combination.num_clients


def _listed(sources: Source | Iterable[Source]) -> list[Source]:
    return [sources] if isinstance(sources, (str, PathLike, SweepPoint)) else list(sources)


def _series_of(sources: Sequence[Source], count_tokens: CountTokens | None) -> list[Series]:
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
            points = tuple(file.read(count_tokens=count_tokens) for file in find_points([directory]))
            if not points:
                raise ConfigError(f"no results in {directory}")
            series.append(Series(config.label or labels[directory], points, config))
        else:
            single.append(read_json(source, count_tokens=count_tokens))
    if single:
        backends = {point.backend for point in single}
        series.append(Series(backends.pop() or "results" if len(backends) == 1 else "results", tuple(single)))
    return series


def file_name(pattern: str, results: ResultSet, among: Sequence[ResultSet]) -> str:
    """`pattern`, such as "p95_{model}_tp{tp_size}", with the set's settings filled in.

    What the pattern lacks is appended: more replicas than one, and the ragged batch size where sets `among` which the
    file stands differ in nothing else.
    """
    setting = results.combination
    name = pattern.format(**{**vars(setting), "model": results.file_model})
    alike = [replace(each.combination, max_ragged_batch_size=setting.max_ragged_batch_size) for each in among]
    if "{max_ragged_batch_size}" not in pattern and alike.count(setting) > 1:
        name += f"_b{setting.max_ragged_batch_size}"
    if "{num_replicas}" not in pattern and setting.num_replicas > 1:
        name += f"_r{setting.num_replicas}"
    return name


def streamed_only(results: ResultSet, warn: Warn) -> ResultSet | None:
    """The points with token times, and None where there are none; what is left out is warned of."""
    kept = []
    for series in results.series:
        points = tuple(point for point in series.points if point.streamed)
        if len(points) < len(series.points):
            warn(f"{series.label}: left out what was measured without --stream: it has no token times")
        if points:
            kept.append(replace(series, points=points))
    return ResultSet(results.combination, tuple(kept)) if kept else None


def verdict_note(points: Iterable[SweepPoint]) -> str:
    """The verdicts, counted, for a caption; empty where nobody judged."""
    verdicts = [point.verdict for point in points if point.verdict is not None]
    bad = [verdict for verdict in verdicts if verdict != "VALID"]
    if not bad:
        return "all VALID" if verdicts else ""
    names = ", ".join(f"{bad.count(name)} {name}" for name in dict.fromkeys(bad))
    return f"{len(verdicts) - len(bad)} VALID, {names} (hollow)"


def is_sound(point: SweepPoint) -> bool:
    """Whether its marker is filled."""
    return point.verdict in (None, "VALID")


def warn_in_python(message: str) -> None:
    warnings.warn(message, stacklevel=3)


def warn_on_stderr(message: str) -> None:
    print(f"warning: {message}", file=sys.stderr)
