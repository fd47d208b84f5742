"""One point of a sweep against a server that is ready: emptied caches, the closed loop, its files."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from llmbench import launchers
from llmbench.errors import ConfigError, LlmbenchError, NoRequestSucceededError, ServerUnreachableError
from llmbench.sweep_file import read_json, response_details, write_json
from llmbench.sweep_plan import RESET_PATHS, PlannedPoint, SweepSpec
from llmbench.sweep_point import SweepPoint

if TYPE_CHECKING:
    from llmbench.endpoint import Endpoint
    from llmbench.results import Result
    from llmbench.workloads import Workload


@dataclass(frozen=True)
class Target:
    """Where the requests of a point go."""

    endpoints: tuple[Endpoint, ...]
    server: launchers.LaunchPlan | None = None
    """How it was started, where we started it."""

    @property
    def metrics(self) -> bool | tuple[str, ...]:
        """Where the server counts what it did: a started one as it was told to, a running one as its backend has it."""
        if self.server is None:
            return True
        return tuple(each.metrics_url for each in self.server.commands if each.metrics_url)


Measure = Callable[[SweepSpec, PlannedPoint, Target, Callable[[Mapping[str, Any]], None]], SweepPoint]
"""Measures one point, writes its result file and returns what the file holds."""


class PointInterruptedError(LlmbenchError):
    """The point was cut off; what was measured lies in its .llmbench file, and it does not count as done."""

    exit_code = 130

    def __init__(self, path: Path | None = None, signum: int | None = None) -> None:
        super().__init__(f"what was measured until then is in {path}" if path else "nothing was measured")
        self.signum = signum


def result_path(spec: SweepSpec, point: PlannedPoint) -> Path:
    """Where a point's JSON goes: repeats in directories of their own, so that every directory is one whole sweep."""
    return result_dir_of(spec, point.repeat) / point.combination.file_name


def result_dir_of(spec: SweepSpec, repeat: int) -> Path:
    return spec.result_dir if repeat == 1 else spec.result_dir / f"repeat{repeat}"


def reset_caches(endpoints: Sequence[Endpoint]) -> None:
    """Asks every server to forget the prefixes it has kept. Raises ConfigError where it will not."""
    from llmbench import preflight

    for endpoint in endpoints:
        path = endpoint.full_path(RESET_PATHS[endpoint.preset.name])
        connection = preflight.open_connection(endpoint, timeout_s=30.0)
        try:
            connection.request("POST", path, headers=dict(endpoint.wire_headers()))
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            raise ServerUnreachableError(f"{endpoint.origin}{path}: {error}") from None
        finally:
            connection.close()
        if status // 100 != 2:
            hint = (
                "vLLM offers it when started with VLLM_SERVER_DEV_MODE=1"
                if endpoint.preset.name.startswith("vllm")
                else "leave --reset_cache out"
            )
            raise ConfigError(f"{endpoint.origin}{path} answered {status}, the cache was not emptied: {hint}")


def measure_with(run_options: Mapping[str, Any]) -> Measure:
    """A `Measure` that runs the engine, with further options for `llmbench.run`."""

    def measure(
        spec: SweepSpec,
        point: PlannedPoint,
        target: Target,
        on_progress: Callable[[Mapping[str, Any]], None],
    ) -> SweepPoint:
        return measure_point(spec, point, target, on_progress, run_options)

    return measure


def measure_point(
    spec: SweepSpec,
    point: PlannedPoint,
    target: Target,
    on_progress: Callable[[Mapping[str, Any]], None],
    run_options: Mapping[str, Any],
) -> SweepPoint:
    """Runs the closed loop of one point and writes NAME.llmbench and NAME.json."""
    from llmbench import load, runner, workloads

    combination = point.combination
    # The measured lengths are the seed's at every point, for the warm-up takes the last prompts; the words are the
    # point's own, so that none of its prompts is in the server's prefix cache.
    lengths = workloads.normal(
        combination.prompt_length,
        combination.gen_length,
        point.warmup_requests + point.num_requests,
        input_var=spec.prompt_length_var,
        output_var=spec.max_new_tokens_var,
        max_input=spec.max_prompt_length,
        seed=spec.seed,
    )
    workload = workloads.synthetic(
        lengths.prompt_tokens,
        lengths.output_tokens,
        seed=point.seed,
        name="normal",
        parameters=lengths.parameters,
    )
    result = runner.run(
        target.endpoints if len(target.endpoints) > 1 else target.endpoints[0],
        workload,
        load.closed(combination.num_clients, ramp_s=point.ramp_s, ramp_random=True),
        num_requests=point.num_requests,
        warmup_requests=point.warmup_requests,
        stream=spec.stream,
        ignore_eos=spec.ignore_eos,
        sampling={"temperature": spec.temperature, "top_p": spec.top_p}
        | ({"n": spec.n} if spec.n != 1 else {}),
        seed=spec.seed,
        result_dir=result_dir_of(spec, point.repeat),
        result_filename=combination.file_stem(),
        save_result=False,
        progress=False,
        on_progress=on_progress,
        scrape_metrics=target.metrics,
        shared_server=target.server is None,
        server=target.server.to_dict() if target.server else None,
        **({"num_gpus": combination.tp_size * combination.num_replicas} | dict(run_options)),
    )
    return keep(
        spec,
        point,
        target,
        result,
        workload,
        save_text=bool(run_options.get("save_text")),
    )


def keep(
    spec: SweepSpec,
    point: PlannedPoint,
    target: Target,
    result: Result,
    workload: Workload,
    *,
    save_text: bool = False,
) -> SweepPoint:
    """Writes a finished measurement in the sweep's own form and reads it back. Raises PointInterruptedError for one
    that was cut off, and NoRequestSucceededError for one with nothing to keep: neither counts as done."""
    if result.interrupted:
        raise PointInterruptedError(result.path, result.interrupted_by)
    if not result.summary.completed:
        raise NoRequestSucceededError(f"no request succeeded{_most_common(result)}")
    path = result_path(spec, point)
    write_json(
        path,
        combination=point.combination,
        args=spec.args()
        | {
            "num_requests": point.num_requests,
            "repeat": point.repeat,
            "prompts_at_limit": int(
                (workload.prompt_tokens[: point.num_requests] >= spec.max_prompt_length).sum()
            ),
            **(target.server.options.to_dict() if target.server else {"server_args": []}),
            "endpoint": target.endpoints[0].to_dict(),
        },
        details=response_details(
            result.requests,
            result.events.offsets,
            result.events.times_ns,
            start_unix_ns=result.start_unix_ns or 0,
            streamed=spec.stream,
            prompts=cast(Sequence[str], workload.prompts) if save_text else None,
            texts=result.texts if save_text else None,
        ),
        llmbench=result.to_json()["llmbench"],
        duration_s=result.summary.duration_s,
    )
    return read_json(path)


def _most_common(result: Result) -> str:
    """ ": 31 × connect_refused (Connection refused), 1 × truncated"."""
    ordered = sorted(result.errors.items(), key=lambda item: -item[1])
    told = [
        f"{count} × {name}" + (f" ({result.error_messages[name]})" if result.error_messages.get(name) else "")
        for name, count in ordered[:3]
    ]
    return ": " + ", ".join(told) if told else ""
