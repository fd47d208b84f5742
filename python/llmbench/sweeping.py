"""The sweep: every server setting, and for each started server every client setting, measured and kept.

`sweep()` is the job of `python -m llmbench.run_benchmark` from Python. A point that has its result file is not measured
again, so a sweep that was stopped goes on where it was.
"""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any

from llmbench import launchers, server_records, servers
from llmbench.combination import Combination
from llmbench.errors import (
    ClientLimitError,
    ConfigError,
    LlmbenchError,
    NoRequestSucceededError,
    ResultsError,
    ServerStartError,
    ServerUnreachableError,
)
from llmbench.interrupts import EXIT_CODES
from llmbench.result_paths import check_directory
from llmbench.sweep_file import read_json
from llmbench.sweep_measurement import (
    Measure,
    PointInterruptedError,
    Target,
    measure_with,
    reset_caches,
    result_path,
)
from llmbench.sweep_outcome import PointOutcome
from llmbench.sweep_plan import PlannedPoint, PlannedServer, ServerSettings, SweepSpec, differences, plan
from llmbench.sweep_point import SweepPoint
from llmbench.sweep_result import SweepResult

if TYPE_CHECKING:
    from llmbench.endpoint import Endpoint
    from llmbench.gates import Gate
    from llmbench.sweep_display import SweepDisplay


class SweepStoppedError(LlmbenchError):
    """A cause that concerns every further point."""

    def __init__(self, cause: LlmbenchError) -> None:
        super().__init__(str(cause))
        self.cause = cause


def sweep(
    endpoint: Endpoint | str | Sequence[Endpoint | str] | None = None,
    *,
    backend: str | None = None,
    server: str | None = None,
    server_command: str | None = None,
    server_binary: str | None = None,
    server_python: str | None = None,
    server_args: Sequence[str] = (),
    server_env: Mapping[str, str] | None = None,
    model_path: str | None = None,
    server_timeout: float = 600.0,
    quiet: bool = False,
    run_options: Mapping[str, Any] | None = None,
    slo: Sequence[str] = (),
    **settings: Any,
) -> SweepResult:
    """Measures every combination of server and client settings, and returns all points.

    Without an `endpoint` the backend's server (the simulated one, unless a `backend` is named) is started once per
    server setting and stopped again, whatever happens; `server`, `server_command` and the rest say which and how, as
    docs/servers.md has it. With an endpoint (an `Endpoint`, or a URL with `backend`; several are replicas), the server
    is taken as it runs, and its settings only label the results.

    `settings` are the flags of `python -m llmbench.run_benchmark` by name and with the same defaults: `model`,
    `tp_size`, `max_ragged_batch_size`, `num_replicas`, `fp6`, `mean_prompt_length`, `mean_max_new_tokens`,
    `num_clients` (a number or a list each), `num_requests`, `max_prompt_length`, `prompt_length_var`,
    `max_new_tokens_var`, `warmup`, `stream`, `seed`, `temperature`, `top_p`, `n`, `ignore_eos`, `deployment_name`,
    `out_json_dir`, `overwrite_results`, `order`, `repeats`, `reset_cache`. `slo` are limits such as "p99_ttft_ms<=500"
    under each of which `result.choices` names the best point. `server_args` go to the started server, `run_options` to
    `llmbench.run` (`goodput`, `idle_timeout`, …).

    Results lie in `<out_json_dir>_<backend>/`. Interrupted (Ctrl-C), it stops the server and returns what there is.
    What keeps every point from being measured is raised; once there is a point, it is the result's `error`.

        result = lb.sweep(num_clients=[1, 2, 4, 8], mean_prompt_length=500, mean_max_new_tokens=32, stream=True)
        result.plot.throughput_latency()
    """
    from llmbench.endpoint import Endpoint as EndpointType
    from llmbench.gates import Gate
    from llmbench.sweep_display import SweepDisplay

    given = [endpoint] if isinstance(endpoint, (str, EndpointType)) else list(endpoint or ())
    endpoints = [
        EndpointType(each, backend=backend or "openai", model=settings.get("model"))
        if isinstance(each, str)
        else each
        for each in given
    ]
    first = endpoints[0] if endpoints else None
    name = first.preset.name if first is not None else backend or "sim"
    if backend is not None and name != backend:
        raise ConfigError(f"backend {backend!r} is not the endpoint's, which is {name!r}: leave it out")
    model = settings.pop("model", None) or (first.model if first is not None else None)
    served = served_model(first) if first is not None and model is None else None
    if endpoints:
        settings.setdefault("num_replicas", len(endpoints))
    spec = SweepSpec.of(
        backend=name, model=model, served_model=served, client_only=bool(endpoints), **settings
    )
    result = execute(
        spec,
        endpoints,
        measure=measure_with(run_options or {}),
        launch_options=launchers.LaunchOptions(
            kind=server,
            binary=server_binary,
            python=server_python,
            command=server_command,
            args=tuple(server_args),
            env=dict(server_env or {}),
            model_path=model_path,
            deployment=spec.deployment_name,
            resettable=spec.reset_cache,
        ),
        server_timeout_s=server_timeout,
        max_error_rate=(run_options or {}).get("max_error_rate", 0.01),
        gates=[Gate.parse(each) for each in slo],
        display=SweepDisplay(quiet=quiet),
    )
    if result.error is not None and not any(point.done for point in result.points):
        raise result.error
    return result


def execute(
    spec: SweepSpec,
    endpoints: Sequence[Endpoint] = (),
    *,
    measure: Measure,
    display: SweepDisplay,
    launch_options: launchers.LaunchOptions | None = None,
    started_endpoint: Endpoint | None = None,
    server_timeout_s: float = 600.0,
    max_error_rate: float = 0.01,
    gates: Sequence[Gate] = (),
) -> SweepResult:
    """Carries out the plan of `spec`. Raises for what is wrong before the first point; `SweepResult` tells the rest.

    `endpoints` are the replicas of a running server. `started_endpoint` is what a started server is spoken to with, all
    but its address: headers, a key, a path.
    """
    if not endpoints and spec.client_only:
        raise ConfigError(
            f"the backend {spec.backend} needs the address of a running server: --openai_api_url URL"
        )
    replicas = tuple(
        dataclasses.replace(each, model=spec.model) if each.model is None else each for each in endpoints
    )
    options = launch_options or launchers.LaunchOptions(deployment=spec.deployment_name)
    with signals_as_interrupts() as caught:
        execution = _Execution(
            spec,
            replicas,
            measure,
            display,
            options,
            started_endpoint,
            server_timeout_s,
            max_error_rate,
            caught,
            tuple(gates),
        )
        execution.prepare()
        check_directory(spec.result_dir, flag="--out_json_dir")
        for record in server_records.end_orphans():
            display.note(
                f"ended a server left behind by a killed sweep: {record.name}, process group {record.pgid}"
            )
        return execution.run()


class _Execution:
    def __init__(
        self,
        spec: SweepSpec,
        endpoints: tuple[Endpoint, ...],
        measure: Measure,
        display: SweepDisplay,
        launch_options: launchers.LaunchOptions,
        started_endpoint: Endpoint | None,
        server_timeout_s: float,
        max_error_rate: float,
        caught: CaughtSignal,
        gates: tuple[Gate, ...],
    ) -> None:
        self.spec = spec
        self.endpoints = endpoints
        """The replicas of a running server; none where one is started."""
        self.measure = measure
        self.display = display
        self.launch_options = launch_options
        self.started_endpoint = started_endpoint
        self.server_timeout_s = server_timeout_s
        self.max_error_rate = max_error_rate
        self.caught = caught
        self.gates = gates
        self.planned = plan(spec)
        self.outcomes: dict[PointId, PointOutcome] = {}
        self.launch: launchers.Launch | None = None
        self.impossible: dict[ServerSettings, ConfigError] = {}

    def prepare(self) -> None:
        """Finds what is to be started, before anything is: raises ConfigError where this machine lacks it, or where no
        setting of the sweep is possible on it."""
        if self.endpoints or not any(self._pending(server) for server in self.planned):
            return
        self.launch = launchers.prepare(self.spec.backend, self.launch_options)
        for key in self.launch.launcher.ignores:
            values = getattr(self.spec, key)
            if len(values) > 1:
                raise ConfigError(
                    f"--{key} {' '.join(map(str, values))}: {self.launch.launcher.title} has no such setting, so there "
                    f"is nothing to compare: give one value, which labels the results"
                )
        for server in self.planned:
            try:
                self.launch.check(server.settings)
            except ConfigError as error:
                self.impossible[server.settings] = error
        if len(self.impossible) == len(self.planned):
            raise self.impossible[self.planned[0].settings]

    def _pending(self, server: PlannedServer) -> bool:
        return self.spec.overwrite_results or not all(
            result_path(self.spec, point).exists() for point in server.points
        )

    def run(self) -> SweepResult:
        error: LlmbenchError | None = None
        interrupted = False
        total = sum(len(server.points) for server in self.planned)
        with self.display.running(self.spec, total):
            try:
                for server in self.planned:
                    self._take_existing(server)
                for server in self.planned:
                    pending = [point for point in server.points if point_id(point) not in self.outcomes]
                    if pending:
                        self._measure_server(server, pending)
            except SweepStoppedError as stopped:
                error = stopped.cause
            except LlmbenchError as failed:  # a ResultsError of the state or log files, say
                error = failed
            except KeyboardInterrupt:
                interrupted = True
                forget_interrupt()
            # However they were measured, they are told in the order of the flags.
            points = tuple(
                self.outcomes.get(point_id(point)) or self._outcome(point, "not run")
                for server in plan(dataclasses.replace(self.spec, order="grid"))
                for point in server.points
            )
            result = SweepResult(self.spec, points, error, interrupted, self.caught.signum, self.gates)
            self.display.finished(result)
        return result

    def _take_existing(self, server: PlannedServer) -> None:
        if self.spec.overwrite_results:
            return
        for point in server.points:
            path = result_path(self.spec, point)
            if not path.exists():
                continue
            try:
                result = read_json(path)
            except ResultsError as error:
                self.display.note(f"{error}; it is measured again")
                continue
            changed = differences(result.args, self.spec, point)
            reason = f"measured with {'; '.join(changed)}" if changed else ""
            self._finish(point, "existing", result=result, reason=reason)

    def _measure_server(self, planned: PlannedServer, pending: Sequence[PlannedPoint]) -> None:
        if self.endpoints:
            for point in pending:
                self._measure_point(point, Target(self.endpoints), None)
            return
        if why := self.impossible.get(planned.settings):
            for point in pending:
                self._finish(point, "skipped", reason=str(why) if point is pending[0] else "as above")
            return
        remaining = list(pending)
        while remaining:
            # A server that died is started again for the next point: what killed it may have been this point's load.
            try:
                server, target = self._start(planned)
                with server:
                    while True:
                        self._measure_point(remaining.pop(0), target, server)
                        if not remaining or server.death():
                            break
            except ServerStartError as error:
                for point in remaining:
                    reason = str(error) if point is remaining[0] else "no server, as above"
                    self._finish(point, "failed", reason=reason, exit_code=error.exit_code)
                return

    def _start(self, planned: PlannedServer) -> tuple[servers.Deployment, Target]:
        settings = planned.settings
        # A damaged result is found late to be none: then this is the first server that is needed.
        launch = self.launch or launchers.prepare(self.spec.backend, self.launch_options)
        started = launch.plan(settings)
        self.display.server_starting(settings)
        server = servers.Deployment.start(
            started.commands,
            self.spec.result_dir,
            f"server-{settings.file_stem()}",
            deployment=self.spec.deployment_name,
            settings=settings.to_dict(),
        )
        try:
            server.wait_ready(self.server_timeout_s)
        except BaseException:
            server.stop()
            raise
        return server, Target(self._endpoints_of(started), started)

    def _endpoints_of(self, started: launchers.LaunchPlan) -> tuple[Endpoint, ...]:
        from llmbench.endpoint import Endpoint as EndpointType

        base = self.started_endpoint or EndpointType("http://127.0.0.1", backend=self.spec.backend)
        return tuple(
            dataclasses.replace(
                base,
                url=url,
                model=started.model,
                backend=started.preset_for(base.preset),
                deployment=base.deployment or started.options.deployment,
            )
            for url in started.urls
        )

    def _measure_point(self, point: PlannedPoint, target: Target, server: servers.Deployment | None) -> None:
        self.display.point_starting(point)
        try:
            if self.spec.reset_cache:
                reset_caches(target.endpoints)
            result = self.measure(self.spec, point, target, self.display.progress)
        except (PointInterruptedError, KeyboardInterrupt) as error:
            reason = str(error) or "nothing was measured"
            self._finish(point, "interrupted", reason=reason)
            if isinstance(error, PointInterruptedError) and error.signum != signal.SIGINT:
                self.caught.signum = self.caught.signum or error.signum
            raise KeyboardInterrupt from error
        except LlmbenchError as error:
            died = server.death() if server else ""
            if not died and _concerns_all(error, started=server is not None):
                # Told once, at the end, as what stopped the sweep.
                self.outcomes[point_id(point)] = self._outcome(
                    point, "failed", reason=str(error), exit_code=error.exit_code
                )
                raise SweepStoppedError(error) from error
            self._finish(point, "failed", reason=died or str(error), exit_code=error.exit_code)
            return
        if died := server.death() if server else "":
            # What was measured up to its end is no measurement of this setting.
            result_path(self.spec, point).unlink(missing_ok=True)
            self._finish(point, "failed", reason=died, exit_code=NoRequestSucceededError.exit_code)
            return
        self._finish(point, "measured", result=result, exit_code=_exit_code_of(result, self.max_error_rate))

    def _outcome(self, point: PlannedPoint, state: str, **more: Any) -> PointOutcome:
        return PointOutcome(
            point.combination, state, result_path(self.spec, point), repeat=point.repeat, **more
        )

    def _finish(self, point: PlannedPoint, state: str, **more: Any) -> None:
        outcome = self._outcome(point, state, **more)
        self.outcomes[point_id(point)] = outcome
        self.display.point_finished(outcome)


def served_model(endpoint: Endpoint) -> str:
    """What a running server calls its model, or the first of several. Asks it; raises like a run that cannot begin."""
    from llmbench import preflight

    model = preflight.check(endpoint).model
    if model is None:
        raise ConfigError(f"{endpoint.display_url}: the server does not tell its model's name: give --model")
    return model


@dataclass
class CaughtSignal:
    signum: int | None = None


@contextlib.contextmanager
def signals_as_interrupts() -> Iterator[CaughtSignal]:
    """SIGTERM and SIGHUP end a sweep as Ctrl-C does, servers stopped and results kept; their number is remembered.

    Only where the process has left them as they were: a notebook or a daemon may have its own ways, and under nohup the
    hang-up stays ignored.
    """
    caught = CaughtSignal()

    def interrupt(signum: int, _: FrameType | None) -> None:
        caught.signum = signum
        raise KeyboardInterrupt

    replaced = []
    if threading.current_thread() is threading.main_thread():
        replaced = [
            each for each in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(each) is signal.SIG_DFL
        ]
    for each in replaced:
        signal.signal(each, interrupt)
    try:
        yield caught
    except KeyboardInterrupt:
        forget_interrupt()
        if caught.signum is None:
            raise
        raise SystemExit(EXIT_CODES[signal.Signals(caught.signum)]) from None
    finally:
        for each in replaced:
            signal.signal(each, signal.SIG_DFL)


def forget_interrupt() -> None:
    """After a KeyboardInterrupt was dealt with. Where it struck inside an exec() of text (a dataclass being made, in an
    import), CPython would end a `python -m` by SIGINT, whatever its exit code; the next such exec() takes that back."""
    exec("")


PointId = tuple[Combination, int]


def point_id(point: PlannedPoint) -> PointId:
    return point.combination, point.repeat


def _exit_code_of(result: SweepPoint, max_error_rate: float) -> int:
    """4 when more requests failed than allowed, else 0."""
    errors = result.llmbench.get("errors")
    failed = sum(errors.values()) if isinstance(errors, Mapping) else 0
    return 4 if failed > max_error_rate * (failed + result.completed) else 0


def _concerns_all(error: LlmbenchError, *, started: bool) -> bool:
    """Whether further points would fail for the same reason."""
    if isinstance(error, ResultsError):
        return True
    if isinstance(error, ClientLimitError):
        return False  # a point with fewer clients may still fit
    if isinstance(error, ConfigError):
        return True
    return isinstance(error, ServerUnreachableError) and not started
