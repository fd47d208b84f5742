"""The compiled core. Times are nanoseconds; a missing time is -2**63 and a missing count -1."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__version__: str
OUTCOMES: tuple[str, ...]
"""Outcome names by code, `ok` first."""
ABSENT_NS: int

class CoreError(RuntimeError):
    """Base of what the core raises; `.code` is one of config, unreachable, limit, results."""

    code: str

class Workload:
    """Ready-made request bodies, copied once."""

    def __init__(
        self,
        bodies: Sequence[bytes],
        prompt_tokens: npt.ArrayLike,
        asked_tokens: npt.ArrayLike,
        prompts: Sequence[str | None] | None = None,
    ) -> None: ...
    def __len__(self) -> int: ...

class Endpoint:
    """Plain attributes; see `llmbench/engine/endpoint.h` for the meaning of each."""

    scheme: str  # http or https
    host: str
    port: int
    path: str
    method: str
    headers: list[tuple[str, str]]
    unix_socket: str
    proxy: str
    ca_file: str
    insecure: bool

    def __init__(self) -> None: ...

class RunConfig:
    """Plain attributes; see `llmbench/engine/run.h` for the meaning of each."""

    # where to
    endpoints: list[Endpoint]  # assign a list: what is read is a copy
    balancing: str  # round-robin, random, least-in-flight, sticky
    # what
    wire_format: str  # a name of wire_formats()
    wire_rules: str  # a JSON object of rules that replace the format's; for `template` all of them; "": none
    streamed: bool
    workload: Workload
    order: str  # in-order, shuffled, with-replacement
    seed: int
    request_id_prefix: str
    # when
    arrival: str  # closed, burst, constant, poisson, gamma, trace
    rate: float
    burstiness: float
    trace_ns: npt.ArrayLike
    ramp: str  # none, linear, exponential
    ramp_start_rate: float
    ramp_requests: int
    closed_ramp_s: float
    closed_ramp_random: bool
    max_concurrency: int  # 0: no limit
    num_requests: int  # 0: until duration_s is over
    duration_s: float  # 0: until num_requests are done
    warmup_requests: int
    warmup_duration_s: float
    # how
    connect: str  # pooled, new, sticky
    warm_connections: int  # opened before the clock starts
    http2: bool  # gRPC has it always
    streams_per_connection: int  # of HTTP/2, at most
    workers: int
    connect_timeout_s: float
    first_token_timeout_s: float
    idle_timeout_s: float
    request_timeout_s: float
    drain_s: float
    retries: int
    abort_after_failures: int  # stop when the first this many requests have all failed; 0: never
    # results
    result_path: str
    run_json: str
    save_text: bool
    model: str  # stored beside each request
    secrets: list[str]  # blanked where a server repeats them in an error

    def __init__(self) -> None: ...

class Run:
    """One measurement: threads start in `start` and have ended when `wait` has returned True."""

    def __init__(self, config: RunConfig) -> None: ...
    def start(self) -> None:
        """Resolves the name, checks limits, connects, starts. Raises CoreError."""
    def wait(self, timeout_s: float) -> bool:
        """Waits without the GIL; True once the run is over."""
    def snapshot(self) -> dict[str, Any]:
        """Live numbers: elapsed_s, planned, started, sent, completed, failed, in_flight, waiting, output_events,
        bytes_in, phase, ttft_p50_ms, ttft_p99_ms (None before the first), worker_busy (0 to 1, the busiest
        worker)."""
    def stop(self) -> None:
        """Stops sending and lets running requests finish for up to drain_s."""
    def cancel(self) -> None:
        """Ends everything now; running requests are recorded as cut."""
    def finish(self) -> dict[str, Any]:
        """After the run is over: closes the result file and returns the client's evidence: start_unix_ns, interrupted,
        stopped_because, address, given_up (a bool per endpoint), connections, resolve_ms, workers: [{cpu_s, wall_s,
        run_queue_s, ...}], read_lateness_ms, merged_width_ms, clock_uncertainty_ns, clock_steps, stalls, process_cpu_s.
        Raises CoreError("results")."""
    def digest(self) -> RunDigest | None:
        """After `finish`, once: what `RunDigest` makes of the result file, from memory; None for a run with more rows
        than are kept there."""

class RecordTable:
    """All rows of a result."""

    @staticmethod
    def load(path: str, salvage: bool = False) -> RecordTable:
        """Reads a finished, running or killed result; with salvage also a damaged one, as far as it goes."""
    @property
    def damage(self) -> str:
        """What salvage could not read, "" when everything was whole."""
    @property
    def endpoints(self) -> list[str]:
        """Names behind the `endpoint` numbers of the rows."""
    @property
    def models(self) -> list[str]:
        """Names behind the `model` numbers of the rows."""
    @property
    def requests(self) -> npt.NDArray[np.void]:
        """Read-only structured array, one row per request in schedule order; a view."""
    @property
    def event_offsets(self) -> npt.NDArray[np.int64]: ...
    @property
    def event_times_ns(self) -> npt.NDArray[np.int64]: ...
    @property
    def event_tokens(self) -> npt.NDArray[np.uint32]: ...
    @property
    def event_flags(self) -> npt.NDArray[np.uint8]: ...
    @property
    def errors(self) -> list[str]:
        """Error messages, one per request, or [] when nothing failed."""
    @property
    def texts(self) -> list[str]: ...

def summarize(
    table: RecordTable,
    percents: Sequence[float] = ...,
    goodput: Mapping[str, float] = ...,
    goodput_from_schedule: bool = False,
    ignore_eos: bool = False,
    window_ns: tuple[int, int] | None = None,
    threads: int = 0,
) -> dict[str, Any]:
    """The fields of `RunSummary` (llmbench/aggregate/run_summary.h) as a dict; NaN becomes None. Its `intervals`
    go by the keys of the flat JSON: {low, high, n_eff, supported, needs_requests, excursions, reason}. `threads` of
    0: one per processor; the result is the same for any number."""

class RunDigest:
    """A run's rows, and of its events what summaries are made of: read once from a file, summarized as often as
    wanted, without ever holding the events. Raises CoreError("results")."""

    def __init__(self, path: str) -> None: ...
    @property
    def rows(self) -> RecordTable:
        """The rows, without events and texts."""
    def summarize(
        self,
        percents: Sequence[float] = ...,
        goodput: Mapping[str, float] = ...,
        goodput_from_schedule: bool = False,
        ignore_eos: bool = False,
        window_ns: tuple[int, int] | None = None,
        threads: int = 0,
    ) -> dict[str, Any]:
        """As `summarize` of a table. Only a window that is not one of whole seconds from the first request on makes it
        read the file again."""

def percentiles(values: npt.ArrayLike, percents: Sequence[float]) -> npt.NDArray[np.float64]: ...
def percentile_intervals(series: npt.ArrayLike, percents: Sequence[float]) -> list[dict[str, Any]]:
    """The 95 % intervals of `percentiles` of values in the order in which their requests were sent, as in
    `summarize`."""

class Histogram:
    """Mergeable log-linear histogram of nanoseconds, relative error at most 0.1 %."""

    def __init__(self) -> None: ...
    def record(self, values_ns: npt.ArrayLike) -> None: ...
    def merge(self, other: Histogram) -> None: ...
    def percentile(self, percent: float) -> int: ...
    @property
    def count(self) -> int: ...
    @property
    def mean(self) -> float: ...
    @property
    def min(self) -> int: ...
    @property
    def max(self) -> int: ...

def plan_offsets(config: RunConfig, n: int) -> npt.NDArray[np.int64]:
    """Planned send times of the first n requests, nanoseconds from the start of the load."""

def draw_items(config: RunConfig, n: int) -> npt.NDArray[np.uint32]:
    """Which workload item each of the first n requests sends."""

def wire_formats() -> list[dict[str, Any]]:
    """Every wire format: name, and of all but `template` framing, streams, always_streams, counts (usage,
    cumulative, token_ids, none), finish_reasons, end."""

def check_wire_rules(wire_format: str, wire_rules: str) -> None:
    """Raises CoreError, which says what is wrong with the rules."""

def guess_wire_format(answer: bytes, /) -> list[str]:
    """The wire formats an answer of these bytes looks like, likeliest first."""

class Http2Exchange:
    """One request and its response over an HTTP/2 connection of their own, from bytes to bytes."""

    def __init__(self, fields: Sequence[tuple[str, str]], body: bytes) -> None:
        """Pseudo-header fields first, names in lower case."""
    def receive(self, data: bytes, /) -> None: ...
    def close(self) -> None:
        """The connection has ended."""
    def take_output(self) -> bytes:
        """What is to be sent."""
    def take_body(self) -> bytes:
        """The body that came since the last call."""
    @property
    def status(self) -> int:
        """0 before the response's head came."""
    @property
    def fields(self) -> list[tuple[str, str]]: ...
    @property
    def over(self) -> bool:
        """The response is whole, or will not become so."""
    @property
    def error(self) -> str:
        """Why it will not; empty otherwise."""

class SimServer:
    """The simulated LLM server, serving from threads of its own until stopped. docs/simulator.md has the
    `options`."""

    def __init__(self, options: Mapping[str, Any]) -> None: ...
    def start(self) -> list[int]:
        """Binds and serves; returns the ports, one per replica. Raises CoreError."""
    def wait(self, timeout_s: float) -> bool: ...
    def stop(self) -> None: ...
    @property
    def urls(self) -> list[str]: ...
    @property
    def description(self) -> str:
        """The model and the mode, for a line of output."""

def sim_options() -> list[dict[str, Any]]:
    """Every option of the simulated server: name, kind (bool, int, float, str), default, choices, group, help."""
