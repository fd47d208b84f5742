"""A measurement's result: its summary, verdict and raw rows, and the files it is kept in.

NAME.llmbench is one SQLite database with everything; NAME.json holds the summary under the keys of vLLM's
`bench serve`.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import math
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from llmbench import secrecy
from llmbench.errors import MissingExtraError, ResultsError
from llmbench.request_rows import ABSENT_NS, PHASES, TOKEN_SOURCES
from llmbench.verdict import Verdict

if TYPE_CHECKING:
    from llmbench._core import RecordTable

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Interval:
    """The 95 % interval of one number, in its unit; docs/metrics.md says how it is made."""

    low: float | None = None
    high: float | None = None
    """None where the run does not tell; `reason` says why."""
    n_eff: float = 0.0
    """The independent values that the run's are worth."""
    supported: bool = False
    needs_requests: int | None = None
    """How many requests like these would support a percentile."""
    excursions: int | None = None
    """The separate stretches above a percentile, counted where requests hang together."""
    reason: str | None = None

    @property
    def half_width(self) -> float | None:
        return None if self.low is None or self.high is None else (self.high - self.low) / 2

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Interval:
        return cls(**{name: stored[name] for name in cls.__dataclass_fields__ if name in stored})


@dataclass(frozen=True)
class Distribution:
    """One latency in milliseconds: `.mean`, `.median`, `.p99`, …; None where there is no value."""

    n: int
    mean: float | None = None
    median: float | None = None
    std: float | None = None
    min: float | None = None
    max: float | None = None
    percentiles: Mapping[float, float | None] = field(default_factory=dict)
    intervals: Mapping[str, Interval] = field(default_factory=dict)

    def interval(self, name: str) -> Interval | None:
        """The 95 % interval of `mean`, `median`, `p99`, …; None where none was computed."""
        return self.intervals.get(f"p{name[1:].replace('_', '.')}" if name[:1] == "p" else name)

    def percentile(self, percent: float) -> float | None:
        """One of the percentiles that were computed."""
        try:
            return self.percentiles[float(percent)]
        except KeyError:
            known = ", ".join(percent_name(each) for each in self.percentiles) or "none"
            raise AttributeError(f"no {percent_name(percent)} in this summary: there are {known}") from None

    def __getattr__(self, name: str) -> float | None:
        if name.startswith("p") and name[1:].replace("_", ".").replace(".", "", 1).isdigit():
            return self.percentile(float(name[1:].replace("_", ".")))
        raise AttributeError(f"a distribution has no {name!r}")

    def __getitem__(self, name: str) -> float | None:
        value: float | None = getattr(self, name)
        return value


class Summary:
    """Every number of a run: `summary["ttft"].p99` in ms, `summary.completed`, `summary.output_throughput`, …"""

    def __init__(self, stored: Mapping[str, Any]) -> None:
        self._stored = dict(stored)
        percents = [float(each) for each in stored.get("percents", ())]
        self.intervals = {
            key: Interval.from_dict(each) for key, each in (stored.get("intervals") or {}).items()
        }
        """95 % intervals by the keys of the flat JSON: p99_ttft_ms, request_throughput, …"""
        self.latencies = {
            name: _distribution(each, percents, _intervals_of(name, percents, self.intervals))
            for name, each in stored.get("latency_ms", {}).items()
        }
        """By name: ttft, tpot, itl, icl, e2el, ttft_from_schedule, client_lag, …"""
        self.with_failures = {
            name: _distribution(each, percents) for name, each in stored.get("with_failures_ms", {}).items()
        }
        """Percentiles in which every failed or cut request counts as endless."""

    def __getitem__(self, name: str) -> Distribution:
        try:
            return self.latencies[name]
        except KeyError:
            raise KeyError(f"no latency {name!r}: there are {', '.join(self.latencies)}") from None

    def __contains__(self, name: object) -> bool:
        return name in self.latencies

    def __iter__(self) -> Iterator[str]:
        return iter(self.latencies)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self._stored[name]
        except KeyError:
            raise AttributeError(f"a summary has no {name!r}: there are {', '.join(self._stored)}") from None

    def __dir__(self) -> list[str]:
        return sorted([*super().__dir__(), *self._stored])

    def __repr__(self) -> str:
        return f"Summary({self._stored.get('completed')} completed, {self._stored.get('failed')} failed)"

    def get(self, name: str, default: Any = None) -> Any:
        return self._stored.get(name, default)

    def to_dict(self) -> dict[str, Any]:
        return dict(self._stored)


@dataclass(frozen=True)
class Events:
    """The times of all output-carrying events. Those of request i are `[offsets[i], offsets[i + 1])`."""

    offsets: npt.NDArray[np.int64]
    times_ns: npt.NDArray[np.int64]
    tokens: npt.NDArray[np.uint32]
    """Tokens in each event, 0 where the server did not say."""
    flags: npt.NDArray[np.uint8]

    def of(self, i: int) -> npt.NDArray[np.int64]:
        """Times of request i's events."""
        return self.times_ns[self.offsets[i] : self.offsets[i + 1]]


@dataclass(frozen=True)
class SteadyState:
    """The longest time in which requests in flight and the token rate only fluctuated; docs/metrics.md says how it
    is found."""

    begin_s: float
    """Since the run's start; so is the end."""
    end_s: float
    summary: Summary
    """Of the requests sent, and the tokens and completions that came, within."""

    def __str__(self) -> str:
        return f"{self.begin_s:.0f} s to {self.end_s:.0f} s"


@dataclass(frozen=True)
class Replica:
    """One of several endpoints of a run, and what it did. Rates are over the run's duration."""

    url: str
    requests: int
    share: float | None
    """Of the run's requests."""
    completed: int
    failed: int
    cut: int
    output_tokens: int
    request_throughput: float | None
    output_throughput: float | None
    in_flight_mean: float | None
    """Requests in flight, over time."""
    latencies: Mapping[str, Distribution]
    """ttft and e2el, in milliseconds: mean, median, p50, p99, with intervals."""

    def __getitem__(self, name: str) -> Distribution:
        return self.latencies[name]

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Replica:
        plain = {name: stored.get(name) for name in cls.__dataclass_fields__ if name != "latencies"}
        known = {key: Interval.from_dict(each) for key, each in (stored.get("intervals") or {}).items()}
        latencies = {}
        for name, each in (stored.get("latency_ms") or {}).items():
            percents = [float(key[1:]) for key in each if key[:1] == "p"]
            values = {
                "n": each["n"],
                "mean": each["mean"],
                "median": each.get("p50"),
                "percentiles": [each[percent_name(percent)] for percent in percents],
            }
            latencies[name] = _distribution(values, percents, _intervals_of(name, percents, known))
        return cls(**plain, latencies=latencies)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Imbalance:
    """How far the replicas' values of one number are apart."""

    max_over_mean: float | None
    """1 when all are equal; None where fewer than two replicas have the number."""
    cv: float | None
    """Coefficient of variation: their standard deviation over their mean."""


class Replicas(tuple[Replica, ...]):
    """The endpoints of a run that had several, in the order given, and how evenly the load met them."""

    balancing: str
    imbalance: Mapping[str, Imbalance]
    """Of `requests`, `in_flight_mean` and `p50_ttft_ms`."""

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Replicas:
        made = cls(Replica.from_dict(each) for each in stored["endpoints"])
        made.balancing = stored.get("balancing") or ""
        made.imbalance = {
            name: Imbalance(each.get("max_over_mean"), each.get("cv"))
            for name, each in (stored.get("imbalance") or {}).items()
        }
        return made


class Plots:
    """The figures of one result: `result.plot.NAME(...)` is `llmbench.plots.NAME`, given this result."""

    def __init__(self, result: Result) -> None:
        self._result = result

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name not in self.__dir__():
            raise AttributeError(
                f"there is no figure {name!r} of a single result, but {', '.join(self.__dir__())}; "
                "llmbench.plots.throughput_latency and its like draw sweeps"
            )
        figure = getattr(importlib.import_module(f"llmbench.plots.{name}"), name)
        return lambda *args, **kwargs: figure(self._result, *args, **kwargs)

    def __dir__(self) -> list[str]:
        from llmbench.plots import RESULT_FIGURES

        return sorted(RESULT_FIGURES)


class Result:
    """One measurement. Rows and events are read from the file when they are first asked for."""

    def __init__(
        self,
        *,
        path: Path | None,
        config: Mapping[str, Any],
        summary: Mapping[str, Any],
        verdict: Verdict,
        client: Mapping[str, Any],
        environment: Mapping[str, Any],
        status: str = "finished",
        interrupted_by: int | None = None,
        start_unix_ns: int | None = None,
        error_messages: Mapping[str, str] | None = None,
        table: RecordTable | None = None,
    ) -> None:
        self.path = path
        """The .llmbench file; None when nothing was kept."""
        self.config = config
        self.summary = Summary(summary)
        self.verdict = verdict
        self.client = client
        """What the engine and the kernel reported about the client itself."""
        self.environment = environment
        self.status = status
        """finished, interrupted, or unfinished for a file whose run was killed."""
        self.interrupted_by = interrupted_by
        """The signal's number, for an interrupted run."""
        self.start_unix_ns = start_unix_ns
        self.error_messages: Mapping[str, str] = error_messages or {}
        """The most frequent message of each class of failure."""
        self.plot = Plots(self)
        self._kept_table = table

    @property
    def interrupted(self) -> bool:
        return self.status == "interrupted"

    @property
    def errors(self) -> dict[str, int]:
        """Failures by class."""
        return dict(self.summary.get("errors") or {})

    @property
    def steady_state(self) -> SteadyState | None:
        """The steady part; `.summary.steady_state_absent_because` says why there is none."""
        stored = self.summary.get("steady_state")
        if not stored:
            return None
        return SteadyState(float(stored["begin_s"]), float(stored["end_s"]), Summary(stored["summary"]))

    @property
    def replicas(self) -> Replicas | None:
        """Each endpoint's part, where there were several."""
        stored = self.summary.get("replicas")
        return Replicas.from_dict(stored) if stored else None

    @property
    def json_path(self) -> Path | None:
        """NAME.json, where it was written."""
        beside = (
            self.path.with_name(self.path.name.removesuffix(".llmbench") + ".json") if self.path else None
        )
        return beside if beside is not None and beside.exists() else None

    @cached_property
    def table(self) -> RecordTable:
        """All rows, in the core."""
        if self._kept_table is not None:
            return self._kept_table
        if self.path is None:
            raise ResultsError(
                "this result has no rows: it was loaded from a summary without its .llmbench file"
            )
        return load_table(self.path)

    @property
    def requests(self) -> npt.NDArray[np.void]:
        """One row per request in schedule order, warm-up first; a read-only view. Columns are documented
        in docs/results.md."""
        return self.table.requests

    @cached_property
    def events(self) -> Events:
        table = self.table
        return Events(table.event_offsets, table.event_times_ns, table.event_tokens, table.event_flags)

    @property
    def texts(self) -> list[str]:
        """Generated texts, one per request, for a run with save_text."""
        return self.table.texts

    def to_pandas(self) -> Any:
        """The requests as a pandas.DataFrame: missing times and counts are NaN, names are text."""
        try:
            import pandas as pd
        except ImportError:
            raise MissingExtraError("pandas", "Result.to_pandas()") from None
        rows = self.requests
        frame = pd.DataFrame(
            {name: _readable(name, rows[name]) for name in rows.dtype.names or () if name != "reserved"}
        )
        errors = self.table.errors
        frame["error"] = errors if errors else ""
        return frame.set_index("id")

    def to_json(self, *, detailed: bool = False, texts: bool = False) -> dict[str, Any]:
        """The flat dict of NAME.json: vLLM's keys, and everything else under `llmbench`. Holds no NaN."""
        from llmbench import result_json

        return result_json.flat(self, detailed=detailed, texts=texts)

    def save_json(self, path: str | PathLike[str], *, detailed: bool = False, texts: bool = False) -> Path:
        """Writes `to_json()` to a temporary name beside `path`, then renames it."""
        return write_json(Path(path), self.to_json(detailed=detailed, texts=texts))

    def report(self, width: int = 80) -> str:
        """The tables of the terminal as text."""
        from llmbench import report

        return report.text(self, width)

    def __repr__(self) -> str:
        summary = self.summary
        ttft = summary.latencies.get("ttft")
        parts = [
            self.verdict.status,
            f"{summary.get('completed')} completed",
            f"{summary.get('failed')} failed",
        ]
        if ttft is not None and ttft.median is not None:
            parts.append(f"TTFT p50 {ttft.median:.1f} ms")
        if summary.get("output_throughput"):
            parts.append(f"{summary.output_throughput:.1f} tokens/s")
        return f"<Result {', '.join(parts)}{', interrupted' if self.interrupted else ''}>"

    def _repr_html_(self) -> str:
        from llmbench import report

        return report.html(self)


def load_result(path: str | PathLike[str]) -> Result:
    """A result from its .llmbench or .json file; of a run that was killed, everything up to its last second."""
    file = Path(path)
    if not file.exists():
        raise ResultsError(f"no result at {file}")
    if file.suffix == ".json":
        from llmbench import result_json

        return result_json.load(file)
    return _from_database(file)


def load_table(path: Path) -> RecordTable:
    from llmbench import _core

    try:
        return _core.RecordTable.load(str(path))
    except _core.CoreError as error:
        raise ResultsError(str(error)) from None


def read_run(path: Path) -> dict[str, Any]:
    """The `run` row of a .llmbench file."""
    try:
        with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
            row = database.execute("SELECT json FROM run").fetchone()
    except sqlite3.Error as error:
        raise ResultsError(f"{path} is not a result file: {error}") from None
    try:
        stored = json.loads(row[0], parse_constant=lambda name: None) if row else {}
    except (ValueError, RecursionError) as error:
        raise ResultsError(f"{path}: its run row is damaged: {error}") from None
    return stored if isinstance(stored, dict) else {}


def write_run(path: Path, stored: Mapping[str, Any]) -> None:
    """Rewrites the `run` row."""
    text = json_text(stored)
    try:
        with contextlib.closing(sqlite3.connect(path)) as database, database:
            if database.execute("UPDATE run SET json = ?", (text,)).rowcount == 0:
                database.execute("INSERT INTO run(json) VALUES (?)", (text,))
    except sqlite3.Error as error:
        raise _unwritable(path, error) from None


def blank_secrets(path: Path, secrets: tuple[str, ...]) -> None:
    """Blanks secrets that a server repeated in its answers, so that their bytes are nowhere in the file."""
    if not secrets:
        return
    try:
        with contextlib.closing(sqlite3.connect(path)) as database, database:
            database.execute("PRAGMA secure_delete = ON")
            places = [("request", "error")]
            if database.execute("SELECT 1 FROM sqlite_master WHERE name = 'text'").fetchone():
                places.append(("text", "text"))
            for table, column in places:
                for secret in secrets:
                    database.execute(
                        f"UPDATE {table} SET {column} = replace({column}, ?, ?) WHERE instr({column}, ?)",
                        (secret, secrecy.REDACTED, secret),
                    )
    except sqlite3.Error as error:
        raise _unwritable(path, error) from None


def mark_cooldown(path: Path, from_s: float) -> None:
    """Gives the requests from there on, of the load's cool-down, their phase."""
    try:
        with contextlib.closing(sqlite3.connect(path)) as database, database:
            database.execute(
                "UPDATE request SET phase = 'cooldown' WHERE phase != 'warmup' AND ifnull(sent_ns, scheduled_ns) >= ?",
                (round(from_s * 1e9),),
            )
    except sqlite3.Error as error:
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: sqlite3.Error) -> ResultsError:
    return ResultsError(f"cannot write {path}: {error}; free some space or use another --result-dir")


def json_text(stored: Mapping[str, Any]) -> str:
    return json.dumps(finite(stored), ensure_ascii=False, allow_nan=False)


def write_json(path: Path, content: Mapping[str, Any]) -> Path:
    """Whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(content, file, ensure_ascii=False, allow_nan=False, indent=1)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise ResultsError(f"cannot write {path}: {error.strerror or error}") from None
    return path


def finite(value: Any) -> Any:
    """A copy of plain data as JSON can hold it: NaN and infinities become None, NumPy's numbers Python's."""
    if isinstance(value, Mapping):
        return {str(key): finite(each) for key, each in value.items()}
    if isinstance(value, np.ndarray):
        return finite(value.tolist())
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def percent_name(percent: float) -> str:
    """p99, p99.9."""
    return f"p{percent:g}"


def _intervals_of(
    metric: str, percents: Sequence[float], intervals: Mapping[str, Interval]
) -> dict[str, Interval]:
    names = ["mean", "median", *(percent_name(each) for each in percents)]
    return {name: intervals[f"{name}_{metric}_ms"] for name in names if f"{name}_{metric}_ms" in intervals}


def _distribution(
    stored: Mapping[str, Any], percents: Sequence[float], intervals: Mapping[str, Interval] | None = None
) -> Distribution:
    values = stored.get("percentiles") or ()
    return Distribution(
        n=int(stored.get("n") or 0),
        mean=stored.get("mean"),
        median=stored.get("median"),
        std=stored.get("std"),
        min=stored.get("min"),
        max=stored.get("max"),
        percentiles=dict(zip(percents, values, strict=False)),
        intervals=intervals or {},
    )


def _from_database(path: Path) -> Result:
    stored = read_run(path)
    if not stored:
        raise ResultsError(f"{path} is not a result file: its run row is empty")
    try:
        return _of_run_row(path, stored)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ResultsError(f"{path}: its run row is damaged: {error}") from None


def _of_run_row(path: Path, stored: Mapping[str, Any]) -> Result:
    if int(stored.get("schema_version", 0)) > SCHEMA_VERSION:
        raise ResultsError(
            f"{path} was written by a newer llmbench ({stored.get('version')}): update this one"
        )
    table = None
    if "summary" not in stored:
        # The run was killed before its end: its rows still tell everything but the client's own account.
        from llmbench import evaluation

        table = load_table(path)
        stored = evaluation.of_torn(stored, table)
    return Result(
        path=path,
        config=stored.get("config", {}),
        summary=stored["summary"],
        verdict=Verdict.from_dict(stored.get("verdict", {})),
        client=stored.get("client", {}),
        environment=stored.get("environment", {}),
        status=stored.get("status", "finished"),
        interrupted_by=stored.get("interrupted_by"),
        start_unix_ns=stored.get("start_unix_ns"),
        error_messages=stored.get("error_messages", {}),
        table=table,
    )


def _readable(name: str, column: npt.NDArray[Any]) -> Any:
    """One column of the requests with absent values as NaN and codes as names."""
    if name == "phase":
        return np.array(PHASES)[column]
    if name == "outcome":
        from llmbench import _core

        return np.array(_core.OUTCOMES)[column]
    if name == "token_source":
        return np.array(TOKEN_SOURCES)[column]
    if column.dtype.kind == "S":
        return np.char.decode(column, "utf-8", "replace")
    if name.endswith("_ns") and column.dtype.kind == "i" and (column == ABSENT_NS).any():
        return np.where(column == ABSENT_NS, np.nan, column)
    if (
        column.dtype == np.int32
        and name not in ("endpoint", "model", "worker", "attempts", "status")
        and (column == -1).any()
    ):
        return np.where(column == -1, np.nan, column)
    return column.copy()
