"""`run`: from an endpoint, a workload and a load to a result.

The engine's threads do the work. A plan says beforehand what they will do, `Running` waits for them, and a conclusion
is drawn from the rows they leave.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from llmbench import _core, ceilings, environment, result_paths, result_storage, server_metrics
from llmbench.conclusion import conclude
from llmbench.endpoint import Endpoint
from llmbench.errors import EngineError, LlmbenchError
from llmbench.interrupts import Interrupts
from llmbench.load import Load
from llmbench.options import METRICS, OnProgress, RunOptions
from llmbench.results import Result
from llmbench.run_plan import RunPlan
from llmbench.running import Running
from llmbench.token_counts import TokenizerLike
from llmbench.workloads import Workload

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

    Requests that fail are part of the result, also when all do. Raises ConfigError for settings that cannot be,
    ClientLimitError where this machine's limits are below the plan, ServerUnreachableError where no server answers, and
    ResultsError where the files cannot be written; its `result` holds what was measured.
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
    running = measurement.running
    finished = asyncio.get_running_loop().run_in_executor(None, measurement.execute)
    with Interrupts(running.stop, running.cancel) as interrupts:
        running.take_signals_from(interrupts)
        try:
            return await asyncio.shield(finished)
        except asyncio.CancelledError:
            running.cancel()
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
        self.plan = RunPlan(endpoint, workload, load, options)
        self.running = Running(self.plan)

    def execute(self) -> Result:
        plan = self.plan
        if plan.options.save:
            result_paths.check_directory(Path(plan.options.result_dir))
        plan.check_descriptors()
        plan.ask_servers()
        with self._result_file() as path:
            machine = environment.collect()
            stored = {
                "status": "running",
                "schema_version": result_storage.SCHEMA_VERSION,
                "version": _core.__version__,
                "config": plan.config(),
                "environment": machine,
                "start_unix_ns": time.time_ns(),
            }
            self._prepare(path, stored)
            cpu_before = environment.CpuCounters.read()
            with plan.metrics() as metrics:
                signum = self._run(path)
            client, failure = self.running.finish()
            client |= environment.CpuCounters.read().since(cpu_before)
            client["ceiling"] = _ceiling(plan, machine)
            client["server_counters"] = metrics.counted()
            digest = None
            if plan.options.save and failure is None:
                digest = self.running.digest()
                samples = metrics.samples(client.get("start_unix_ns", stored["start_unix_ns"]))
                server_metrics.store(path, samples)
            return conclude(plan, path, stored, client, signum, failure, digest)

    def _run(self, path: Path) -> int | None:
        try:
            return self.running.run(path)
        except KeyboardInterrupt:
            if not self.plan.options.save:
                raise
            raise KeyboardInterrupt(f"what was measured until then is in {path}") from None

    def _result_file(self) -> contextlib.AbstractContextManager[Path]:
        plan, options = self.plan, self.plan.options
        if not options.save:
            return result_paths.temporary()
        now = time.strftime("%Y%m%d-%H%M%S")
        name = result_paths.name_of(options.label, plan.endpoint.preset.name, plan.server.model, now)
        return result_paths.claimed(Path(options.result_dir), options.result_filename, name)

    def _prepare(self, path: Path, stored: Mapping[str, Any]) -> None:
        config = self.plan.core_config()
        config.workload = self.plan.core_workload()
        config.result_path = str(path)
        config.run_json = result_storage.json_text(stored)
        self.running.prepare(config)
        # The summary of the file that was replaced.
        result_paths.json_beside(path).unlink(missing_ok=True)


def _ceiling(plan: RunPlan, machine: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the last self-test on this machine found, where it holds."""
    if any(endpoint.scheme != "http" for endpoint in plan.endpoints):
        return {"absent": "the self-test is of plain HTTP, and TLS costs more"}
    known = ceilings.cached(machine)
    return {**known.to_dict(), "cores": machine.get("cores_usable")} if known is not None else None
