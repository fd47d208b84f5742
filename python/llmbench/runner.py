"""`run`: from an endpoint, a workload and a load to a result.

The engine's threads do the work; this module prepares what they need, waits for them without holding
Python up, and turns the rows they leave into a summary, a verdict and files.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import logging
import math
import os
import re
import resource
import secrets
import signal
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from llmbench import (
    _core,
    ceilings,
    environment,
    evaluation,
    preflight,
    progress,
    results,
    retokenizing,
    secrecy,
    server_metrics,
    workloads,
)
from llmbench.endpoint import Endpoint
from llmbench.errors import (
    ClientLimitError,
    ConfigError,
    EngineError,
    LlmbenchError,
    ResultsError,
    ServerUnreachableError,
)
from llmbench.interrupts import Interrupts
from llmbench.load import Load
from llmbench.options import METRICS, OnProgress, RunOptions
from llmbench.precision import Target, Watch
from llmbench.results import SCHEMA_VERSION, Result
from llmbench.workloads import TokenizerLike, Workload

_WAIT_S = 0.1
"""A signal is seen within this time: Python runs handlers between two waits."""
_PROGRESS_S = 0.25
_WARM_OPEN_LOOP = 64
"""Connections opened beforehand where no limit says how many will be needed."""
_DESCRIPTORS_BESIDE = 64
"""Files, sockets and pipes that are no connection of the engine."""

_UNREADABLE = {
    "schema",
    "bad_event",
    "content_type",
    "empty_stream",
    "truncated_no_done",
    "protocol",
    "http_4xx",
    "http_status",
}
"""Failures that a server of another kind would cause."""

_forked = False


def _after_fork() -> None:
    global _forked
    _forked = True


os.register_at_fork(after_in_child=_after_fork)


def run(
    endpoint: Endpoint | Sequence[Endpoint],
    workload: Workload,
    load: Load,
    *,
    num_requests: int | None = None,
    duration: float | None = None,
    warmup_requests: int = 0,
    warmup_duration: float = 0,
    cooldown_duration: float = 0,
    goodput: Mapping[str, float] | None = None,
    percentiles: Sequence[float] = (50, 90, 95, 99),
    percentile_metrics: Sequence[str] = METRICS,
    itl: str = "token",
    steady_state: bool = False,
    connect: str = "pooled",
    balancing: str = "round-robin",
    workers: int = 1,
    connect_timeout: float = 10,
    first_token_timeout: float = 0,
    idle_timeout: float = 120,
    request_timeout: float = 0,
    drain: float = 5,
    retries: int = 0,
    ignore_eos: bool = False,
    sampling: Mapping[str, Any] | None = None,
    stream: bool = True,
    seed: int = 0,
    label: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    result_dir: str | PathLike[str] = "results",
    result_filename: str | None = None,
    save: bool = True,
    save_result: bool = False,
    save_detailed: bool = False,
    save_text: bool = False,
    progress: bool | None = None,
    on_progress: OnProgress | None = None,
    max_error_rate: float = 0.01,
    num_gpus: int | None = None,
    gpu_cost_per_hour: float | None = None,
    machine_cost: float | None = None,
    wait_ready: float = 0,
    until_ci: str | None = None,
    scrape_metrics: bool | Sequence[str] = False,
    shared_server: bool = False,
    server: Mapping[str, Any] | None = None,
    tokenizer: TokenizerLike = None,
) -> Result:
    """Measures `endpoint` under `load` with the requests of `workload`, and returns the result.

    Several endpoints are replicas of one server: `balancing` says which one a request goes to, "round-robin",
    "random" (by the seed), "least-in-flight" or "sticky" (in a closed loop each slot has its replica, else each
    prompt). `Result.replicas` compares them.

    Sends `num_requests` (by default as many as the workload or the load has), or for `duration` seconds. Times are in
    seconds, goodput limits in ms. `warmup_requests`, what is sent in `warmup_duration` before the measurement, and
    what is sent in the load's last `cooldown_duration` seconds do not count.

    Writes `result_dir`/NAME.llmbench unless `save` is false, and NAME.json with `save_result`. `steady_state` shows
    the latencies of the steady part beside the whole run's. `on_progress` is called about four times a second with
    live numbers; `progress` shows a bar (by default in a terminal and in a notebook).

    With `until_ci`, such as "ttft_p99:3%", the run ends as soon as the 95 % interval of that number is narrow enough,
    and at the latest when `num_requests` or `duration` is spent; the result's `summary.until_ci` says which.

    `tokenizer` counts the tokens of answers whose server does not; their texts are kept only with `save_text`.

    With `scrape_metrics` the server's own /metrics are read before and after the run and once a second meanwhile: true
    reads where the backend has them, or give the addresses. Its counters must agree with the requests and tokens that
    were measured, or the run is INVALID; with `shared_server`, what others did to it meanwhile is a warning instead.
    `server` is what else is known of the server, kept with the result.

    The first Ctrl-C stops sending, waits up to `drain` seconds for running requests and returns a result whose
    `.interrupted` is true; the second raises KeyboardInterrupt at once, and the file is valid all the same.
    """
    options = {
        name: value for name, value in locals().items() if name not in ("endpoint", "workload", "load")
    }
    return _Measurement(endpoint, workload, load, RunOptions(**options)).execute()


async def arun(
    endpoint: Endpoint | Sequence[Endpoint], workload: Workload, load: Load, **options: Any
) -> Result:
    """`run` inside a running asyncio loop, which goes on meanwhile. Cancelling the task stops the run at once."""
    measurement = _Measurement(endpoint, workload, load, RunOptions(**options))
    finished = asyncio.get_running_loop().run_in_executor(None, measurement.execute)
    with Interrupts(measurement.stop, measurement.cancel) as interrupts:
        measurement.watch(interrupts)
        try:
            return await asyncio.shield(finished)
        except asyncio.CancelledError:
            measurement.cancel()
            with contextlib.suppress(LlmbenchError, KeyboardInterrupt):
                await asyncio.shield(finished)
            raise


class _Measurement:
    """One call of `run`, its steps in order."""

    def __init__(
        self,
        endpoint: Endpoint | Sequence[Endpoint],
        workload: Workload,
        load: Load,
        options: RunOptions,
    ) -> None:
        if _forked:
            raise EngineError(
                "the engine cannot be used in a forked child of a process that loaded it: "
                "start the process with multiprocessing's spawn method"
            )
        if options.connect == "sticky" and load.open_loop:
            raise ConfigError('connect "sticky" ties connections to slots: it needs a closed loop')
        endpoints = _replicas(endpoint)
        endpoint = endpoints[0]
        num_requests = options.num_requests
        if num_requests is None and options.duration is None:
            num_requests = load.num_requests or len(workload)
        _check_cooldown(options.cooldown_duration, load, num_requests)
        if load.arrival == "trace" and load.num_requests is not None:
            num_requests = min(num_requests or load.num_requests, load.num_requests)
        self.endpoints = endpoints
        self.endpoint = endpoint
        """The first: all have its preset and its extra body."""
        self.workload = workload
        self.load = load
        self.target = Target.parse(options.until_ci) if options.until_ci else None
        percentiles = tuple(options.percentiles)
        if self.target and self.target.percent and self.target.percent not in percentiles:
            percentiles += (self.target.percent,)
        self.options = replace(options, num_requests=num_requests, percentiles=percentiles)
        if not options.stream and not endpoint.preset.whole:
            raise ConfigError(f"the backend {endpoint.preset.name} always streams: leave --no-stream out")
        self.streamed = options.stream and endpoint.preset.streams
        self.tokenizer = workloads.load_tokenizer(options.tokenizer)
        """Counts the answers that the server does not count; where their texts are kept, the others for comparison."""
        if (endpoint.preset.counts and not options.save_text) or endpoint.preset.reports == "none":
            self.tokenizer = None
        self.server = preflight.ServerFacts(endpoint.model)
        self._key_warning: str | None = None
        self._first_body = b""
        self._engine: _core.Run | None = None
        self._wanted = ""
        self._interrupts: Interrupts | None = None
        self._precise = False

    def execute(self) -> Result:
        if self.options.save:
            _check_directory(Path(self.options.result_dir))
        self._check_descriptors()
        self._preflight()
        with self._result_file() as path:
            machine = environment.collect()
            stored = {
                "status": "running",
                "schema_version": SCHEMA_VERSION,
                "version": _core.__version__,
                "config": self.config(),
                "environment": machine,
                "start_unix_ns": time.time_ns(),
            }
            engine = self._make_engine(path, stored)
            cpu_before = environment.CpuCounters.read()
            with self._metrics() as metrics:
                signum = self._run(engine, path)
            client, failure = self._finish(engine)
            if self._precise and signum is None:
                client |= {"interrupted": False, "stopped_because": "until-ci"}
            client |= environment.CpuCounters.read().since(cpu_before)
            client["ceiling"] = self._ceiling(machine)
            client["server_counters"] = metrics.counted()
            if self.options.save and failure is None:
                samples = metrics.samples(client.get("start_unix_ns", stored["start_unix_ns"]))
                server_metrics.store(path, samples)
            return self._result(path, stored, client, signum, failure)

    def stop(self) -> None:
        """Stops sending and lets running requests finish, from any thread, also before the engine started."""
        self._demand("stop")

    def cancel(self) -> None:
        self._demand("cancel")

    def watch(self, interrupts: Interrupts) -> None:
        """Takes the signal from interrupts that another thread receives."""
        self._interrupts = interrupts

    def config(self) -> dict[str, Any]:
        """What a result stores about how it was made; secrets are blanked."""
        return {
            "endpoint": self.endpoint.to_dict(),
            "endpoints": [
                {
                    **endpoint.to_dict(),
                    # As the rows have it.
                    "name": secrecy.redact_url(
                        endpoint.origin + endpoint.path_for(self.streamed, self.server.model)
                    ),
                }
                for endpoint in self.endpoints
            ],
            "model": self.server.model,
            "server": {
                "software": self.server.software,
                "context_length": self.server.context_length,
                **secrecy.redact(dict(self.options.server or {})),
            },
            "workload": self.workload.to_dict(),
            "load": self.load.to_dict(),
            **self.options.to_dict(),
            "metadata": secrecy.redact(dict(self.options.metadata or {})),
            "sampling": secrecy.redact(dict(self.options.sampling or {})),
        }

    def core_config(self) -> _core.RunConfig:
        """The plan in the core's terms, without request bodies and files."""
        load, options = self.load, self.options
        config = _core.RunConfig()
        config.endpoints = [self._core_endpoint(endpoint) for endpoint in self.endpoints]
        config.balancing = options.balancing
        config.wire_format = self.endpoint.preset.wire_format
        rules = self.endpoint.answer_rules
        config.wire_rules = json.dumps(rules) if rules else ""
        config.streamed = self.streamed
        config.http2 = self.endpoint.speaks_http2
        config.streams_per_connection = self.endpoint.streams_per_connection
        config.order = self.workload.order
        config.seed = options.seed
        config.request_id_prefix = f"{secrets.token_hex(6)}-"
        load.apply(config, options.num_requests or 0)
        config.num_requests = options.num_requests or 0
        config.duration_s = float(options.duration or 0)
        config.warmup_requests = options.warmup_requests
        config.warmup_duration_s = float(options.warmup_duration)
        config.connect = options.connect
        config.warm_connections = self._warm_connections()
        config.workers = options.workers
        config.connect_timeout_s = float(options.connect_timeout)
        config.first_token_timeout_s = float(options.first_token_timeout)
        config.idle_timeout_s = float(options.idle_timeout)
        config.request_timeout_s = float(options.request_timeout)
        config.drain_s = float(options.drain)
        config.retries = options.retries
        config.save_text = options.save_text or self.tokenizer is not None
        config.model = self.server.model or ""
        config.secrets = list(self.secrets())
        if not load.open_loop:
            config.abort_after_failures = max(20, load.max_concurrency or 0)
        return config

    def secrets(self) -> tuple[str, ...]:
        """Every secret value of every endpoint."""
        return tuple(dict.fromkeys(each for endpoint in self.endpoints for each in endpoint.secrets()))

    # The steps

    def _preflight(self) -> None:
        """Asks every endpoint; all must serve the model that the first one is asked for."""
        planned_s = self._planned_s()
        self.endpoints = tuple(endpoint.authorized(planned_s or 0.0) for endpoint in self.endpoints)
        self.endpoint = self.endpoints[0]
        self._key_warning = next(
            filter(None, (each.expiry_warning(planned_s) for each in self.endpoints)), None
        )
        if self._key_warning:
            logging.getLogger("llmbench").warning(self._key_warning)
        for number, endpoint in enumerate(self.endpoints):
            server = preflight.check(
                endpoint if number == 0 else replace(endpoint, model=endpoint.model or self.server.model),
                timeout_s=self.options.connect_timeout or 10.0,
                wait_ready_s=self.options.wait_ready,
            )
            if number == 0:
                self.server = server

    def _planned_s(self) -> float | None:
        """How long the load will last, as far as that is known."""
        if self.options.duration is not None:
            return self.options.warmup_duration + self.options.duration
        rate, planned = self.load.rate, self.options.num_requests
        return planned / rate if rate and planned and math.isfinite(rate) else None

    def _metrics(self) -> server_metrics.Watch:
        """Reads the server's own metrics, where that was asked for."""
        asked, shared = self.options.scrape_metrics, self.options.shared_server
        if not isinstance(asked, bool):
            return server_metrics.Watch(tuple(asked), shared=shared)
        pages = {endpoint.metrics_url: endpoint for endpoint in self.endpoints if asked}
        names = self.endpoint.preset.metrics_names

        def connect(url: str) -> http.client.HTTPConnection:
            # As requests go: over the same socket or proxy, with the same trust; its port may be another.
            beside = replace(pages[url], url="://".join(urlsplit(url)[:2]))
            return preflight.open_connection(beside, server_metrics.TIMEOUT_S)

        return server_metrics.Watch(
            [url for url in pages if url],
            dict(self.endpoint.wire_headers()),
            server_metrics.Names.of(names) if names else None,
            connect=connect,
            shared=shared,
        )

    def _core_endpoint(self, endpoint: Endpoint) -> _core.Endpoint:
        core = _core.Endpoint()
        core.scheme, core.host, core.port = endpoint.scheme, endpoint.host, endpoint.port
        core.path = endpoint.path_for(self.streamed, self.server.model)
        core.method = endpoint.preset.method
        core.headers = endpoint.wire_headers()
        core.unix_socket = endpoint.unix_socket or ""
        core.proxy = endpoint.proxy or ""
        core.ca_file = endpoint.ca_file or ""
        core.insecure = endpoint.insecure
        return core

    def _warm_connections(self) -> int:
        """How many connections are opened before the clock starts."""
        if self.options.connect == "new":
            return 0
        planned = self.options.num_requests
        most = (
            self.load.max_concurrency
            or (planned if self.load.arrival == "burst" else None)
            or _WARM_OPEN_LOOP
        )
        return min(most, planned) if planned else most

    def _check_descriptors(self) -> None:
        """Raises the soft limit of open files to the hard one; refuses a plan that needs more."""
        connections = self.load.max_concurrency or self._warm_connections()
        needed = connections + self.options.workers * 4 + _DESCRIPTORS_BESIDE
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft == resource.RLIM_INFINITY or soft >= needed:
            return
        if hard != resource.RLIM_INFINITY and hard < needed:
            raise ClientLimitError(
                f"the plan needs {needed} open files and this process may have {hard}: "
                f"raise the limit with ulimit -n {needed}, or lower the concurrency"
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed if hard == resource.RLIM_INFINITY else hard, hard))

    @contextlib.contextmanager
    def _result_file(self) -> Iterator[Path]:
        """The path of NAME.llmbench; a temporary one when nothing is to be kept."""
        if not self.options.save:
            with tempfile.TemporaryDirectory(prefix="llmbench-") as directory:
                yield Path(directory) / "run.llmbench"
            return
        results_to, name = Path(self.options.result_dir), self.options.result_filename
        path = _explicit_path(results_to, name) if name else _new_path(results_to, self._default_name())
        try:
            yield path
        except BaseException:
            # A name claimed by a run that never came to write anything.
            with contextlib.suppress(OSError):
                if path.stat().st_size == 0:
                    path.unlink()
            raise

    def _default_name(self) -> str:
        parts = (
            self.options.label,
            self.endpoint.preset.name,
            self.server.model,
            time.strftime("%Y%m%d-%H%M%S"),
        )
        return "-".join(filter(None, (_safe(part) for part in parts if part)))

    def _make_engine(self, path: Path, stored: Mapping[str, Any]) -> _core.Run:
        config = self.core_config()
        bodies = self.workload.bodies(
            self.endpoint.preset,
            model=self.server.model,
            stream=self.streamed,
            ignore_eos=self.options.ignore_eos,
            sampling=self.options.sampling,
            extra_body=self.endpoint.extra_body,
            seed=self.options.seed,
            deployment=self.endpoint.deployment,
        )
        self._first_body = bodies[0]
        config.workload = _core.Workload(
            bodies,
            self.workload.prompt_tokens,
            self.workload.output_tokens,
            self._repeated_prompts(),
        )
        config.result_path = str(path)
        config.run_json = results.json_text(stored)
        with _core_errors(self.secrets()):
            engine = _core.Run(config)
        # The summary of the file that was replaced.
        _json_path(path).unlink(missing_ok=True)
        return engine

    def _repeated_prompts(self) -> list[str] | None:
        """The prompts, for formats whose answers begin with them."""
        if not (self.endpoint.preset.repeats_prompt or self.endpoint.wire_rules.get("strip_prompt")):
            return None
        return [prompt if isinstance(prompt, str) else "" for prompt in self.workload.prompts]

    def _run(self, engine: _core.Run, path: Path) -> int | None:
        """Starts the engine and waits for its end; returns the signal that ended it early."""
        options = self.options
        display = progress.display(
            options.progress, options.num_requests, options.duration, self.load.describe()
        )
        interrupts = self._interrupts or Interrupts(self.stop, self.cancel)
        with contextlib.nullcontext() if self._interrupts else interrupts:
            try:
                with _core_errors(self.secrets()):
                    engine.start()
                self._engine = engine
                if self._wanted:
                    self._demand(self._wanted)
                with display, self._until_precise(path):
                    self._watch(engine, display, interrupts)
            except KeyboardInterrupt:
                self._abandon(engine)
                raise
        return interrupts.signum

    def _until_precise(self, path: Path) -> contextlib.AbstractContextManager[object]:
        """Watches for the target of `until_ci`, where there is one, while the run goes on."""
        if self.target is None:
            return contextlib.nullcontext()
        return Watch(path, self.target, self._stop_precise)

    def _stop_precise(self) -> None:
        # A signal may have stopped the run already, which then counts.
        self._precise = not self._wanted
        self.stop()

    def _watch(self, engine: _core.Run, display: progress.Display, interrupts: Interrupts) -> None:
        shown = 0.0
        while True:
            try:
                over = engine.wait(_WAIT_S)
                now = time.monotonic()
                if over or now - shown >= _PROGRESS_S:
                    shown = now
                    snapshot = self._snapshot(engine)
                    display.update(snapshot)
                    if self.options.on_progress is not None:
                        self.options.on_progress(snapshot)
                if over:
                    return
            except KeyboardInterrupt:
                # Raised by a handler that is not ours: a notebook's, say. Ours has already counted its signal.
                if interrupts.cancelled:
                    raise
                interrupts.note(signal.SIGINT)

    def _snapshot(self, engine: _core.Run) -> dict[str, Any]:
        snapshot = engine.snapshot()
        snapshot.setdefault("planned", self.options.num_requests)
        snapshot["duration_s"] = self.options.duration
        snapshot["stopping"] = bool(self._wanted)
        return snapshot

    def _finish(self, engine: _core.Run) -> tuple[dict[str, Any], ResultsError | None]:
        try:
            return dict(engine.finish()), None
        except _core.CoreError as error:
            return {}, ResultsError(str(error))

    def _ceiling(self, machine: Mapping[str, Any]) -> dict[str, Any] | None:
        """What the last self-test on this machine found, where it holds."""
        if any(endpoint.scheme != "http" for endpoint in self.endpoints):
            return {"absent": "the self-test is of plain HTTP, and TLS costs more"}
        known = ceilings.cached(machine)
        return {**known.to_dict(), "cores": machine.get("cores_usable")} if known is not None else None

    def _result(
        self,
        path: Path,
        stored: dict[str, Any],
        client: dict[str, Any],
        signum: int | None,
        failure: ResultsError | None,
    ) -> Result:
        config, save = stored["config"], self.options.save
        client = secrecy.scrub(client, self.secrets())
        try:
            if self.tokenizer is not None:
                client["retokenized"] = retokenizing.compare_counts(path, self.tokenizer)
                retokenizing.count_answers(path, self.tokenizer, keep_texts=self.options.save_text)
            results.blank_secrets(path, self.secrets())
            # Without a file the rows stay in memory, events and all.
            table = None if save else results.load_table(path)
            summary, verdict, messages = evaluation.evaluate(
                path if table is None else table, config, client, self._notes(client)
            )
            if window := summary.get("measure_window"):
                results.mark_cooldown(path, window["end_s"])
                table = None if save else results.load_table(path)
        except ResultsError as error:
            raise failure or error from None
        if not summary["completed"] and summary["errors"].keys() & _UNREADABLE:
            messages = self._explained(messages, summary["errors"])
        interrupted = signum is not None or bool(client.get("interrupted"))
        stored |= {
            "status": "interrupted" if interrupted else "finished",
            "interrupted_by": signum,
            "start_unix_ns": client.get("start_unix_ns", stored["start_unix_ns"]),
            "summary": summary,
            "verdict": verdict.to_dict(),
            "client": client,
            "error_messages": messages,
        }
        result = Result(
            path=path if save else None,
            config=config,
            summary=results.finite(summary),
            verdict=verdict,
            client=client,
            environment=stored["environment"],
            status=stored["status"],
            interrupted_by=signum,
            start_unix_ns=stored["start_unix_ns"],
            error_messages=stored["error_messages"],
            table=table,
        )
        try:
            if failure is not None:
                raise failure
            if save:
                results.write_run(path, stored)
            if self.options.save_result:
                result.save_json(
                    _json_path(path), detailed=self.options.save_detailed, texts=self.options.save_text
                )
        except ResultsError as error:
            error.result = result
            raise
        return result

    def _abandon(self, engine: _core.Run) -> None:
        """The second Ctrl-C: ends everything, and leaves a valid file behind."""
        engine.cancel()
        with contextlib.suppress(_core.CoreError, LlmbenchError, KeyboardInterrupt):
            if engine.wait(2.0):
                engine.finish()

    def _explained(self, messages: dict[str, str], errors: Iterable[str]) -> dict[str, str]:
        """The messages of a run without any success, which failed by these classes, with what answered instead of the
        server that was named."""
        reason = preflight.explain_answers(
            self.endpoint, self.endpoint.path_for(self.streamed, self.server.model), self._first_body
        )
        if reason is None:
            return messages
        reason = secrecy.scrub(reason, self.secrets())
        return {
            name: f"{reason} ({said})" if name in _UNREADABLE and said else said or reason
            for name, said in (dict.fromkeys(errors, "") | messages).items()
        }

    def _notes(self, client: Mapping[str, Any]) -> list[str]:
        notes = [self._key_warning] if self._key_warning else []
        if any(endpoint.insecure and endpoint.scheme == "https" for endpoint in self.endpoints):
            notes.append("the server's certificate was not verified (--insecure)")
        if self.options.stream and not self.streamed:
            notes.append(
                f"the backend {self.endpoint.preset.name} answers in one piece: latencies are of whole answers, "
                "without a TTFT"
            )
        if not self.streamed and self.tokenizer is None and self.endpoint.preset.reports == "tokenizer":
            notes.append(
                f"the backend {self.endpoint.preset.name} does not count tokens: --tokenizer counts the answers"
            )
        if client.get("stopped_because") == "all-failed":
            notes.append("the run was ended early: its first requests all failed")
        else:
            notes += [
                f"{endpoint.display_url} never answered: its first requests all failed"
                for endpoint, given_up in zip(self.endpoints, client.get("given_up") or (), strict=False)
                if given_up
            ]
        planned, warmup = self.options.num_requests or 0, self.options.warmup_requests
        again = planned + warmup - len(self.workload)
        if warmup and again > 0 and planned <= len(self.workload):
            notes.append(
                f"{min(again, warmup)} prompts of the warm-up were measured again: make more prompts"
            )
        return notes

    def _demand(self, what: str) -> None:
        # Called from signal handlers, which may interrupt the thread that holds the lock: no waiting for it.
        if what == "cancel" or not self._wanted:
            self._wanted = what
        engine = self._engine
        if engine is None:
            return
        if what == "cancel":
            engine.cancel()
        else:
            engine.stop()


def _replicas(endpoint: Endpoint | Sequence[Endpoint]) -> tuple[Endpoint, ...]:
    """The endpoints of a run, which must be asked alike: every request could go to each."""
    endpoints = (endpoint,) if isinstance(endpoint, Endpoint) else tuple(endpoint)
    if not endpoints:
        raise ConfigError("a run needs an endpoint")
    first = endpoints[0]
    for each in endpoints:
        if not isinstance(each, Endpoint):
            raise ConfigError(f"an Endpoint is wanted, not {each!r}")
        if each.ca_file is not None and not Path(each.ca_file).is_file():
            raise ConfigError(f"no CA file {each.ca_file}")
        for name in ("preset", "model", "extra_body", "deployment"):
            if getattr(each, name) != getattr(first, name):
                what = {"preset": "backend", "extra_body": "extra body"}.get(name, name)
                raise ConfigError(
                    f"{each.display_url} has another {what} than {first.display_url}: the endpoints of one run are "
                    "replicas and get the same requests; measure different servers one after the other"
                )
    urls = [each.url for each in endpoints]
    for each in endpoints:
        if urls.count(each.url) > 1:
            raise ConfigError(f"the endpoint {each.display_url} was given twice: name each replica once")
    return endpoints


def _check_cooldown(seconds: float, load: Load, num_requests: int | None) -> None:
    """Refuses one that leaves nothing of a load whose length its rate tells."""
    if not (seconds and num_requests and load.rate) or load.ramp != "none":
        return
    if seconds >= num_requests / load.rate:
        raise ConfigError(
            f"a cool-down of {seconds:g} s leaves nothing of {num_requests} requests at {load.rate:g} requests/s, "
            f"which are sent within {num_requests / load.rate:.3g} s: make it shorter, or --num-prompts more"
        )


def _check_directory(directory: Path) -> None:
    """Makes the directory and proves that a file can be written there."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise ResultsError(
            f"cannot write results to {directory}: {error.strerror or error}; choose another --result-dir"
        ) from None


def _explicit_path(directory: Path, name: str) -> Path:
    """The file of that name, which may exist and is replaced; an ending .llmbench or .json is left out."""
    stem = name.removesuffix(".llmbench").removesuffix(".json")
    path = directory / f"{stem}.llmbench"
    if not Path(stem).name or "\0" in name:
        raise ConfigError(f"--result-filename {name!r} is no file name")
    _check_directory(path.parent)
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


def _json_path(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(".llmbench") + ".json")


def _safe(part: str) -> str:
    """A piece of a file name from text that may come from a server."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", part).strip("._-")[:80]


@contextlib.contextmanager
def _core_errors(known_secrets: tuple[str, ...]) -> Iterator[None]:
    """The core's errors as those of llmbench.errors."""
    try:
        yield
    except _core.CoreError as error:
        kind = {
            "config": ConfigError,
            "unreachable": ServerUnreachableError,
            "limit": ClientLimitError,
            "results": ResultsError,
        }.get(getattr(error, "code", ""), EngineError)
        raise kind(secrecy.scrub(str(error), known_secrets)) from None
