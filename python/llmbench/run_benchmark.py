"""`python -m llmbench.run_benchmark`, the same as `llmbench sweep`: server settings × client settings.

    python -m llmbench.run_benchmark --tp_size 1 2 --num_clients 1 2 4 8 --stream

starts the simulated server for each server setting, measures every client setting and keeps one result per combination
in results_sim/. With `--backend openai --base-url URL` a running server is measured instead. Stopped at any moment, the
same command goes on where it was.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llmbench.cli import flags
from llmbench.cli.sweep_flags import parser
from llmbench.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from llmbench.endpoint import Endpoint
    from llmbench.launchers import LaunchOptions
    from llmbench.sweep_display import SweepDisplay
    from llmbench.sweep_plan import SweepSpec
    from llmbench.sweep_presets import NamedSweep

_SETTINGS = (
    "backend",
    "model",
    "tp_size",
    "max_ragged_batch_size",
    "num_replicas",
    "fp6",
    "mean_prompt_length",
    "mean_max_new_tokens",
    "num_clients",
    "max_prompt_length",
    "num_requests",
    "prompt_length_var",
    "max_new_tokens_var",
    "warmup",
    "stream",
    "seed",
    "temperature",
    "top_p",
    "n",
    "ignore_eos",
    "deployment_name",
    "out_json_dir",
    "overwrite_results",
    "client_only",
    "order",
    "repeats",
    "reset_cache",
)
_RUN_OPTIONS = (
    "workers",
    "balancing",
    "connect",
    "connect_timeout",
    "first_token_timeout",
    "idle_timeout",
    "request_timeout",
    "drain",
    "retries",
    "max_error_rate",
    "save_text",
    "gpu_cost_per_hour",
    "machine_cost",
)
_URL_PATHS = ("/v1/completions", "/v1/chat/completions")


def main(argv: Sequence[str] | None = None, prog: str = "python -m llmbench.run_benchmark") -> int:
    """Runs the command and returns its exit code; raises LlmbenchError for what is wrong before the first point."""
    args = parser(prog).parse_args(sys.argv[1:] if argv is None else argv)
    # Not argparse's `choices`: it would complain of the value that follows a misspelled flag, and not of the flag.
    if args.action not in (None, "start", "stop", "restart"):
        raise ConfigError(f"unknown action {args.action!r}: there are start, stop and restart")
    if args.show:
        from llmbench.postprocess_results import show

        return show(args.show)

    from llmbench.sweep_display import SweepDisplay

    display = SweepDisplay(quiet=args.quiet, progress=not args.no_progress)
    if args.preset and not args.action:
        return _named_sweep(args, display)
    _notes(args, display)
    if args.action:
        return _serve(args, display)
    return _sweep(args, display)[0]


def _notes(args: argparse.Namespace, display: SweepDisplay) -> None:
    if args.backend is None:
        args.backend = "sim"
        if args.action is None:
            display.note("no --backend given: measuring the simulated server (--backend sim)")
        elif args.action != "stop":
            display.note("no --backend given: starting the simulated server (--backend sim)")
    if args.use_thread:
        display.note("--use_thread changes nothing: clients are neither processes nor threads here")


def _named_sweep(args: argparse.Namespace, display: SweepDisplay) -> int:
    """All sweeps of a preset, one after the other, then its figures of all their results."""
    import importlib

    from llmbench.errors import LlmbenchError, MissingExtraError
    from llmbench.sweep_result import worst_exit_code

    codes: list[int] = []
    told: set[str] = set()
    measured: list[Path] = []
    planned = _sweeps_of(args)
    for at, settings in enumerate(planned, 1):
        one = argparse.Namespace(**vars(args))
        for name, value in settings.items():
            if getattr(one, name) in (None, False):
                setattr(one, name, value)
        display.note(
            f"{args.preset} {at}/{len(planned)}: {one.model or 'the default model'} on {one.backend}"
        )
        try:
            code, directory = _sweep(one, display)
        except LlmbenchError as error:
            if len(planned) == 1:
                raise
            display.note("not measured, as above" if str(error) in told else f"not measured: {error}")
            told.add(str(error))
            codes.append(error.exit_code)
            continue
        codes.append(code)
        if directory not in measured and directory.is_dir():
            measured.append(directory)
        if code in (130, 143, 129):
            return code
    preset = _preset(args.preset)
    for figure, more in preset.figures.items() if measured and not args.dry_run else ():
        drawn = importlib.import_module(f"llmbench.plots.{figure}")
        arguments = ["--data_dirs", *map(str, measured), "--out_dir", f"./plots/{figure}", *more]
        try:
            drawn.main(arguments)
        except MissingExtraError as error:
            display.note(f"no figures: {error}")
            break
        except ConfigError as error:  # nothing to draw it of: no point was measured, say
            display.note(f"no figure {figure}: {error}")
    return worst_exit_code(codes)


def _preset(name: str) -> NamedSweep:
    import difflib

    from llmbench.sweep_presets import SWEEPS

    if name not in SWEEPS:
        near = difflib.get_close_matches(name, SWEEPS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(SWEEPS)}"
        raise ConfigError(f"--preset {name}: no such sweep: {hint}")
    return SWEEPS[name]


def _sweeps_of(args: argparse.Namespace) -> list[dict[str, Any]]:
    """The settings of each sweep. Of several backends or models, the one that the flags name; where they name another
    one, what the preset does with its first is done with that."""
    found = [dict(each) for each in _preset(args.preset).sweeps]
    for name in ("backend", "model"):
        given = getattr(args, name)
        if given is None:
            continue
        known = [each for each in found if each.get(name) == given]
        found = known or [each | {name: given} for each in found if each.get(name) == found[0].get(name)]
    return found


def _sweep(args: argparse.Namespace, display: SweepDisplay) -> tuple[int, Path]:
    """The exit code and where the results are."""
    from llmbench.gates import Gate
    from llmbench.sweep_measurement import measure_with
    from llmbench.sweeping import execute, served_model

    settings = _settings(args)
    options = _launch_options(args)
    endpoints = _endpoints(args, settings, options)
    settings["client_only"] = bool(endpoints)
    gates = [Gate.parse(each) for each in args.slo]
    if endpoints:
        _check_nothing_to_start(args)
        settings.setdefault("num_replicas", [len(endpoints)])
    served = served_model(endpoints[0]) if endpoints and settings.get("model") is None else None
    spec = _spec(settings, served)
    if args.dry_run:
        _show_plan(spec, display)
        return 0, spec.result_dir
    result = execute(
        spec,
        endpoints,
        measure=measure_with(
            {name: getattr(args, name) for name in _RUN_OPTIONS} | {"goodput": dict(args.goodput) or None}
        ),
        display=display,
        launch_options=options,
        started_endpoint=None if endpoints else _started_endpoint(args),
        server_timeout_s=args.server_timeout,
        max_error_rate=args.max_error_rate,
        gates=gates,
    )
    code = result.exit_code
    if code == 0 and args.strict and any(point.verdict not in (None, "VALID") for point in result.points):
        code = 3
    return code, spec.result_dir


def _settings(args: argparse.Namespace) -> dict[str, Any]:
    """What was typed. An absent switch counts as not given."""
    typed = {name: getattr(args, name) for name in _SETTINGS}
    return {name: value for name, value in typed.items() if value is not None and value is not False}


def _spec(settings: dict[str, Any], served: str | None = None) -> SweepSpec:
    from llmbench.sweep_plan import SweepSpec

    return SweepSpec.of(served_model=served, **settings)


_STARTING = (
    "server",
    "server_command",
    "server_binary",
    "server_python",
    "server_env",
    "model_path",
    "server_args",
)
"""The flags that make no sense for a server that runs already."""


def _launch_options(args: argparse.Namespace) -> LaunchOptions:
    from llmbench.launchers import LaunchOptions
    from llmbench.sweep_plan import SweepSpec

    path = args.server_ready_path
    if path is not None and not path.startswith("/"):
        raise ConfigError(f"--server_ready_path {path!r} must start with /")
    return LaunchOptions(
        kind=args.server,
        binary=args.server_binary,
        python=args.server_python,
        command=args.server_command,
        args=tuple(args.server_args),
        env=dict(args.server_env),
        model_path=args.model_path,
        port=args.server_port,
        ready_path=path,
        deployment=args.deployment_name or SweepSpec.deployment_name,
        resettable=args.reset_cache,
    )


def _check_nothing_to_start(args: argparse.Namespace) -> None:
    given = next((name for name in _STARTING if getattr(args, name)), None)
    if given is not None:
        verb = "are" if given.endswith("args") else "is"
        raise ConfigError(f"--{given} {verb} for a server that llmbench starts, and this one runs already")


def _started_endpoint(args: argparse.Namespace) -> Endpoint:
    """Headers, key and path for a server that is yet to be started."""
    args.host, args.port = "127.0.0.1", 8000
    return flags.endpoint_from(args)


def _endpoints(args: argparse.Namespace, settings: dict[str, Any], options: LaunchOptions) -> list[Endpoint]:
    """The replicas of the running server that the flags name; none when one is to be started. Fills in its settings
    where known."""
    from llmbench import backends, launchers
    from llmbench.server_actions import running_urls

    has_address = any((args.base_url, args.host, args.port, args.unix_socket))
    if not has_address:
        startable = launchers.kind_of(args.backend, options) is not None
        if startable and not args.client_only:
            return []
        if args.client_only and (urls := running_urls(settings, wanted=startable)):
            args.base_url, *args.replica_urls = urls
            has_address = True
    # Services of the net have no address of their own, and 127.0.0.1:443 is none of them.
    if not has_address and not args.template and backends.get(args.backend).default_port == 443:
        flag = "--aml_api_url" if args.backend == "aml" else "--base-url"
        raise ConfigError(f"the backend {args.backend} needs the address of the endpoint: {flag} URL")
    if args.base_url:
        args.base_url, *args.replica_urls = _without_request_path(args, [args.base_url, *args.replica_urls])
    import dataclasses

    endpoints = flags.endpoints_from(args)
    if args.openai_api_key:
        key = {"api_key": args.openai_api_key, "api_key_name": "--openai_api_key"}
        endpoints = [dataclasses.replace(each, **key) for each in endpoints]
    return endpoints


def _without_request_path(args: argparse.Namespace, urls: list[str]) -> list[str]:
    """The old flag took the full address of a request, which says what --endpoint says."""
    found = []
    for url in urls:
        path = next((each for each in _URL_PATHS if url.rstrip("/").endswith(each)), "")
        args.endpoint = args.endpoint or path or None
        found.append(url.rstrip("/").removesuffix(path) if path else url)
    return found


def _serve(args: argparse.Namespace, display: SweepDisplay) -> int:
    """start, stop and restart."""
    from llmbench.server_actions import ServerActions

    spec = _spec(_settings(args) | {"client_only": False})
    actions = ServerActions(spec, _launch_options(args), display)
    if args.action == "stop":
        actions.stop()
    else:
        actions.start(args.server_timeout, again=args.action == "restart")
    return 0


def _show_plan(spec: SweepSpec, display: SweepDisplay) -> None:
    from llmbench.sweep_measurement import result_path
    from llmbench.sweep_plan import plan
    from llmbench.sweep_tables import clients_of

    for server in plan(spec):
        how = "running server" if spec.client_only else "start a server"
        display.note(f"{how}: {spec.model}, {server.settings.describe()}")
        for point in server.points:
            exists = " (exists)" if result_path(spec, point).exists() and not spec.overwrite_results else ""
            exists += f", repeat {point.repeat}" if spec.repeats > 1 else ""
            display.note(
                f"  prompt {point.combination.prompt_length}, generation {point.combination.gen_length}, "
                f"{clients_of(point.combination)}, "
                f"{point.warmup_requests} + {point.num_requests} requests{exists}"
            )


if __name__ == "__main__":
    from llmbench.cli import execute as run_command

    sys.exit(run_command("python -m llmbench.run_benchmark", main))
