"""A measurement's result: its summary, verdict and raw rows, and the files it is kept in.

NAME.llmbench is one SQLite database with everything; NAME.json holds the summary under the keys of vLLM's
`bench serve`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from llmbench import evaluation, report, result_json, result_storage
from llmbench.errors import MissingExtraError, ResultsError
from llmbench.request_rows import ABSENT_NS, PHASES, TOKEN_SOURCES, Events
from llmbench.summary import Replicas, SteadyState, Summary
from llmbench.verdict import Verdict

if TYPE_CHECKING:
    from llmbench._core import RecordTable


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
    """One measurement: `summary` (its numbers), `verdict` (whether to trust them), `requests` and `events` (the raw
    rows), `plot` (figures). A notebook shows it as a table.

    Rows and events are read from the file when they are first asked for, and raise ResultsError where it is gone.
    """

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
        """Every setting of the run, keys redacted."""
        self.summary = Summary(summary)
        """Latencies in milliseconds by name, `summary["ttft"].p99`; all else as attributes, `summary.completed`."""
        self.verdict = verdict
        """Whether the numbers can be trusted: `.status`, `.reasons`, `.warnings`, `.evidence`."""
        self.client = client
        """What the engine and the kernel reported about the client itself."""
        self.environment = environment
        """The client's machine, kernel and versions."""
        self.status = status
        """finished, interrupted, or unfinished for a file whose run was killed."""
        self.interrupted_by = interrupted_by
        """The signal's number, for an interrupted run."""
        self.start_unix_ns = start_unix_ns
        """The wall clock when the load began; all other times count from then."""
        self.error_messages: Mapping[str, str] = error_messages or {}
        """The most frequent message of each class of failure."""
        self.plot = Plots(self)
        """Figures: `result.plot.latency_cdf()`; matplotlib's Axes in, Axes out."""
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
        return result_storage.load_table(self.path)

    @property
    def requests(self) -> npt.NDArray[np.void]:
        """One row per request in schedule order, warm-up first; a read-only view. Columns are documented
        in docs/results.md."""
        return self.table.requests

    @cached_property
    def events(self) -> Events:
        """Times of output events in nanoseconds, request i's at offsets[i]:offsets[i + 1], with their token counts and
        flags; read-only views."""
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
        return result_json.flat(self, detailed=detailed, texts=texts)

    def save_json(self, path: str | PathLike[str], *, detailed: bool = False, texts: bool = False) -> Path:
        """Writes `to_json()` to a temporary name beside `path`, then renames it."""
        return result_storage.write_json(Path(path), self.to_json(detailed=detailed, texts=texts))

    def report(self, width: int = 80) -> str:
        """The tables of the terminal as text."""
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
        return report.html(self)


def load_result(path: str | PathLike[str]) -> Result:
    """A result from its .llmbench or .json file; of a run that was killed, everything up to its last second.

    A .json file alone has the summary and no rows. Raises ResultsError for a file that is missing, damaged or newer
    than this llmbench.
    """
    file = Path(path)
    if not file.exists():
        raise ResultsError(f"no result at {file}")
    if file.is_dir():
        raise ResultsError(f"{file} is a directory: name a .llmbench or .json file in it")
    if file.suffix == ".json":
        return _from_json(file)
    return _from_database(file)


def _from_json(path: Path) -> Result:
    stored = result_json.read(path)
    try:
        return Result(**stored)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ResultsError(f"{path} is a damaged result: {error}") from None


def _from_database(path: Path) -> Result:
    stored = result_storage.read_run(path)
    if not stored:
        raise ResultsError(f"{path} is not a result file: its run row is empty")
    try:
        return _of_run_row(path, stored)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ResultsError(f"{path}: its run row is damaged: {error}") from None


def _of_run_row(path: Path, stored: Mapping[str, Any]) -> Result:
    if int(stored.get("schema_version", 0)) > result_storage.SCHEMA_VERSION:
        raise ResultsError(
            f"{path} was written by a newer llmbench ({stored.get('version')}): update this one"
        )
    table = None
    if "summary" not in stored:
        # The run was killed before its end: its rows still tell everything but the client's own account.
        table = result_storage.load_table(path)
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
