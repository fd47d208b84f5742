"""What a server says of itself at /metrics: read before, during and after a run.

The difference of its counters is held against the rows: a client that has counted every request and token, on a server
that nobody else used, has the same totals. `Watch` reads the page; `parse` is Prometheus' text format.
"""

from __future__ import annotations

import http.client
import math
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from llmbench.errors import ResultsError

PERIOD_S = 1.0
"""Between two samples during a run."""
TIMEOUT_S = 5.0
"""For one page."""
_SETTLE_S = 3.0
"""How long a server is given after the last answer to count it."""
_LOOK_AGAIN_S = 0.05
_LARGEST_PAGE = 16 << 20


COUNTERS = ("requests", "prompt_tokens", "output_tokens")
GAUGES = ("running", "waiting", "kv_usage")


@dataclass(frozen=True)
class Sample:
    """One line of a page: a name, its labels and a value."""

    name: str
    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True)
class Names:
    """What one kind of server calls things. Each is a sum over the names that the page has, and over all labels."""

    prefix: str
    """How its names begin."""
    requests: tuple[str, ...] = ()
    prompt_tokens: tuple[str, ...] = ()
    output_tokens: tuple[str, ...] = ()
    running: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    kv_usage: tuple[str, ...] = ()
    """A share of 1; the first name that the page has."""
    counts_cached: bool = True
    """Whether prompt tokens from the prefix cache are in its prompt tokens."""
    exact: bool = False
    """Whether its counters were seen to equal the usage it reports, so that a difference is an error."""
    where: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """For a name that stands for several things: the label and value to take."""

    @classmethod
    def of(cls, names: Mapping[str, str]) -> Names:
        """Of a template: our word → the server's name."""
        known: dict[str, Any] = {
            key: (str(name),) for key, name in names.items() if key in (*COUNTERS, *GAUGES)
        }
        return cls("", **known)


KINDS: dict[str, Names] = {
    "vllm": Names(
        "vllm:",
        requests=("vllm:request_success_total",),
        # Newer versions count the cached part apart, older ones in the first.
        prompt_tokens=("vllm:prompt_tokens_total", "vllm:prompt_tokens_cached_total"),
        output_tokens=("vllm:generation_tokens_total",),
        running=("vllm:num_requests_running",),
        waiting=("vllm:num_requests_waiting", "vllm:num_requests_swapped"),
        kv_usage=("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"),
        exact=True,
    ),
    "sglang": Names(
        "sglang:",
        requests=("sglang:num_requests_total",),
        prompt_tokens=("sglang:prompt_tokens_total",),
        output_tokens=("sglang:generation_tokens_total",),
        running=("sglang:num_running_reqs",),
        waiting=("sglang:num_queue_reqs",),
        kv_usage=("sglang:token_usage",),
    ),
    "tgi": Names(
        "tgi_",
        requests=("tgi_request_success",),
        prompt_tokens=("tgi_request_input_length_sum",),
        output_tokens=("tgi_request_generated_tokens_sum",),
        running=("tgi_batch_current_size",),
        waiting=("tgi_queue_size",),
    ),
    "llamacpp": Names(
        "llamacpp:",
        prompt_tokens=("llamacpp:prompt_tokens_total",),
        output_tokens=("llamacpp:tokens_predicted_total",),
        running=("llamacpp:requests_processing",),
        waiting=("llamacpp:requests_deferred",),
        kv_usage=("llamacpp:kv_cache_usage_ratio",),
        counts_cached=False,
        exact=True,
    ),
    "triton": Names(
        "nv_trt_llm_",
        running=("nv_trt_llm_request_metrics",),
        kv_usage=("nv_trt_llm_kv_cache_block_metrics",),
        where={
            "nv_trt_llm_request_metrics": ("request_type", "active"),
            "nv_trt_llm_kv_cache_block_metrics": ("kv_cache_block_type", "fraction"),
        },
    ),
    "jetstream": Names(
        "jetstream_",
        requests=("jetstream_request_success_count_total",),
        prompt_tokens=("jetstream_request_input_length_sum",),
        output_tokens=("jetstream_request_output_length_sum",),
        waiting=("jetstream_prefill_backlog_size",),
    ),
}
"""By kind of server, found by how the names on its page begin."""

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(,?)')
_ESCAPES = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}


def parse(text: str) -> list[Sample]:
    """The samples of a page in Prometheus' text format or OpenMetrics. A line that is neither is passed over."""
    found = []
    for line in text.splitlines():
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        name = _NAME.match(line)
        if name is None:
            continue
        labels: dict[str, str] = {}
        end = name.end()
        if line[end : end + 1] == "{":
            end += 1
            while label := _LABEL.match(line, end):
                labels[label[1]] = re.sub(r"\\.", lambda m: _ESCAPES.get(m[0], m[0]), label[2])
                end = label.end()
            while line[end : end + 1].isspace():
                end += 1
            if line[end : end + 1] != "}":
                continue
            end += 1
        words = line[end:].split()  # the value; a time and an exemplar may follow
        if not words:
            continue
        try:
            value = float(words[0])
        except ValueError:
            continue
        found.append(Sample(name[0], labels, value))
    return found


@dataclass(frozen=True)
class Reading:
    """What one page says, in our words."""

    kind: str
    unix_ns: int
    values: Mapping[str, float]
    """By COUNTERS and GAUGES, those that the page has."""

    @classmethod
    def of(cls, samples: Sequence[Sample], unix_ns: int, names: Names | None = None) -> Reading | None:
        """None for a page of no kind of server that we know."""
        kind = "template"
        if names is None:
            kind = next(
                (
                    kind
                    for kind, each in KINDS.items()
                    if any(sample.name.startswith(each.prefix) for sample in samples)
                ),
                "",
            )
            if not kind:
                return None
            names = KINDS[kind]
        totals: dict[str, float] = {}
        for sample in samples:
            label = names.where.get(sample.name)
            if label is None or sample.labels.get(label[0]) == label[1]:
                totals[sample.name] = totals.get(sample.name, 0.0) + sample.value
        values = {}
        for what in (*COUNTERS, *GAUGES):
            present = [totals[name] for name in getattr(names, what) if name in totals]
            if present:
                values[what] = present[0] if what == "kv_usage" else sum(present)
        return cls(kind, unix_ns, {name: value for name, value in values.items() if math.isfinite(value)})


class Watch:
    """Reads the metrics of a server, or of several replicas, before, during and after the `with` block.

    A server that does not answer, or whose page is of no kind that we know, is no error: `counted` says so. `connect`
    makes the connection to an address, where that takes more than the address. `shared`: others may use the server
    meanwhile, so that it may count more than this client.
    """

    def __init__(
        self,
        urls: Sequence[str],
        headers: Mapping[str, str] | None = None,
        names: Names | None = None,
        period_s: float = PERIOD_S,
        connect: Callable[[str], http.client.HTTPConnection] | None = None,
        shared: bool = False,
    ) -> None:
        self.urls = tuple(urls)
        self.headers = dict(headers or {})
        self.names = names
        self.period_s = period_s
        self.connect = connect or connection_to
        self.shared = shared
        self.before: list[Reading] | None = None
        self.after: list[Reading] | None = None
        self.problem = ""
        self.readings: list[tuple[int, Reading]] = []
        """Number of the replica and what it said, in the order of time."""
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Watch:
        if self.urls:
            self.before = self._read_all()
        if self.before is not None:
            self._thread = threading.Thread(target=self._sample, name="llmbench-metrics", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join(TIMEOUT_S + 1)
            if error is None:
                self.after = self._settled()

    def counted(self) -> dict[str, Any] | None:
        """What the server counted during the block; None when it was not asked."""
        if not self.urls:
            return None
        if self.before is None or self.after is None:
            return {"absent": self.problem or "the run was abandoned"}
        first, last = _sum(self.before), _sum(self.after)
        found: dict[str, Any] = {"kind": self.after[0].kind, "urls": list(self.urls)}
        found["reset"] = any(
            after.values[name] < before.values[name]
            for before, after in zip(self.before, self.after, strict=True)
            for name in COUNTERS
            if name in before.values and name in after.values
        )
        for name in COUNTERS:
            if name in last:
                found[name] = round(last[name] - first.get(name, 0.0))
        if self.shared:
            found["shared"] = True
            # What runs before and after us is somebody else's.
            found["busy"] = _busy(self.before) or _busy(self.after)
        return found

    def samples(self, start_unix_ns: int) -> list[tuple[int, str, str, float]]:
        """Rows of the `sample` table: time since the run's start, source, name and value. Counters run from the start
        of the run."""
        if self.before is None:
            return []
        rows = []
        for number, reading in self.readings:
            source = "server" if len(self.urls) == 1 else f"server-{number}"
            for name, value in reading.values.items():
                base = self.before[number].values.get(name, 0.0) if name in COUNTERS else 0.0
                rows.append((reading.unix_ns - start_unix_ns, source, name, value - base))
        return rows

    def _sample(self) -> None:
        while not self._over.wait(self.period_s):
            for number, url in enumerate(self.urls):
                reading = self._read(url)
                if reading is not None:
                    self.readings.append((number, reading))

    def _settled(self) -> list[Reading] | None:
        """The last readings: taken again until nothing runs any more and nothing changes. Where others were at work
        before, that may be never, and a note needs no exact end."""
        busy_with_others = self.shared and _busy(self.before or ())
        deadline = time.monotonic() + (_LOOK_AGAIN_S if busy_with_others else _SETTLE_S)
        last = self._read_all()
        while last is not None and time.monotonic() < deadline:
            time.sleep(_LOOK_AGAIN_S)
            again = self._read_all()
            if again is None:
                return last
            idle = not _busy(again)
            same = [each.values for each in again] == [each.values for each in last]
            last = again
            if idle and same:
                break
        if last is not None:
            self.readings.extend(enumerate(last))
        return last

    def _read_all(self) -> list[Reading] | None:
        found = []
        for url in self.urls:
            reading = self._read(url)
            if reading is None:
                return None
            found.append(reading)
        return found

    def _read(self, url: str) -> Reading | None:
        try:
            status, body = fetch(url, self.headers, self.connect)
        except (OSError, http.client.HTTPException) as error:
            self.problem = f"{url}: {getattr(error, 'strerror', None) or str(error) or type(error).__name__}"
            return None
        if status != 200:
            self.problem = f"{url} answered {status}"
            return None
        reading = Reading.of(parse(body), time.time_ns(), self.names)
        if reading is None:
            self.problem = f"{url} has no metrics of a server that llmbench knows"
        return reading


def connection_to(url: str) -> http.client.HTTPConnection:
    """Straight to the server, without proxies."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(parts.hostname or "", parts.port, timeout=TIMEOUT_S)


def fetch(
    url: str,
    headers: Mapping[str, str] | None = None,
    connect: Callable[[str], http.client.HTTPConnection] = connection_to,
) -> tuple[int, str]:
    """One GET, without following redirects."""
    parts = urlsplit(url)
    connection = connect(url)
    try:
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", path or "/", headers={"Accept": "text/plain", **(headers or {})})
        response = connection.getresponse()
        return response.status, response.read(_LARGEST_PAGE).decode(errors="replace")
    finally:
        connection.close()


def store(path: Path, rows: Sequence[tuple[int, str, str, float]]) -> None:
    """Adds rows to the `sample` table of a result file."""
    if not rows:
        return
    try:
        with closing(sqlite3.connect(path)) as database, database:
            database.executemany("INSERT INTO sample(t_ns, source, name, value) VALUES (?, ?, ?, ?)", rows)
    except sqlite3.Error as error:
        raise ResultsError(
            f"cannot write {path}: {error}; free some space or use another --result-dir"
        ) from None


def _busy(readings: Sequence[Reading]) -> bool:
    """Whether something runs or waits on one of the replicas."""
    return any(reading.values.get(name) for reading in readings for name in ("running", "waiting"))


def _sum(readings: Sequence[Reading]) -> dict[str, float]:
    totals: dict[str, float] = {}
    for reading in readings:
        for name, value in reading.values.items():
            totals[name] = totals.get(name, 0.0) + value
    return totals
