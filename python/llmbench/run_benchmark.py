"""`python -m llmbench.run_benchmark`, the same as `llmbench sweep`: server settings × client settings.

    python -m llmbench.run_benchmark --tp_size 1 2 --num_clients 1 2 4 8 --stream

starts the simulated server for each server setting, measures every client setting and keeps one result per combination
in results_sim/. With `--backend openai --base-url URL` a running server is measured instead. Stopped at any moment, the
same command goes on where it was.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llmbench.cli import flags
from llmbench.errors import ConfigError, ServerUnreachableError

if TYPE_CHECKING:
    from pathlib import Path

    from llmbench.endpoint import Endpoint
    from llmbench.launchers import LaunchOptions
    from llmbench.servers import ServerRecord
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


def parser(prog: str = "python -m llmbench.run_benchmark") -> flags.Parser:
    made = flags.Parser(
        prog=prog,
        description="Measures every combination of server and client settings; several values of a flag sweep it.",
        conflict_handler="resolve",
    )
    made.add_argument(
        "action",
        nargs="?",
        metavar="start|stop|restart",
        help="only start, stop or restart the server of this deployment, and measure nothing",
    )
    flags.add_target(made)
    made.set_defaults(host=None, port=None)
    _add_own_target(made)
    _add_server(made)
    _add_client(made)
    _add_order(made)
    _add_engine(made)
    _add_results(made)
    return made


def _add_own_target(made: flags.Parser) -> None:
    group = made.add_argument_group("sweep target")
    group.add_argument(
        "--backend",
        metavar="NAME",
        help="a preset of `llmbench backends` (default sim, the simulated server); one with a server that llmbench can "
        "start is started unless an address is given",
    )
    group.add_argument(
        "--model",
        metavar="NAME",
        help="a well-known one brings its preset of lengths and TP sizes (default: the first a running server lists, "
        "else meta-llama/Llama-2-7b-hf)",
    )
    group.add_argument(
        "--base-url",
        "--openai_api_url",
        "--aml_api_url",
        nargs="+",
        action=flags.BaseUrls,
        metavar="URL",
        help="a running server; its full request path may be given. Several are replicas: --balancing shares the "
        "requests out",
    )
    group.add_argument(
        "--openai_api_key",
        "--aml_api_key",
        metavar="KEY",
        help="better --api-key-env: other users can see arguments",
    )
    group.add_argument(
        "--deployment_name", metavar="NAME", help="names a server left running (default benchmark-deployment)"
    )


def _add_server(made: flags.Parser) -> None:
    group = made.add_argument_group("server settings")
    _sweeping(group, "--tp_size", "tensor-parallel degree (default 1, or the model's preset)")
    _sweeping(group, "--max_ragged_batch_size", "tokens and sequences of a batch (default 768)")
    _sweeping(group, "--num_replicas", "copies of the model (default 1)")
    group.add_argument("--fp6", action="store_true", help="6-bit weights")
    group.add_argument(
        "--client_only",
        action="store_true",
        help="use the running server; its settings only label the results",
    )
    group.add_argument(
        "--server",
        metavar="KIND",
        help="what to start, where that is not the backend's own: vllm, fastgen, sglang, tgi, triton, llamacpp, "
        "transformers or sim",
    )
    group.add_argument(
        "--server_command",
        metavar="'CMD'",
        help="start this instead; {model} {model_path} {port} {host} {tp} {replicas} {replica} {batch} are filled in",
    )
    group.add_argument("--server_binary", metavar="FILE", help="the server's program (default: on PATH)")
    group.add_argument(
        "--server_python", metavar="FILE", help="the interpreter that has the server (default: this one)"
    )
    group.add_argument(
        "--server_env",
        nargs="+",
        action="extend",
        type=_variable,
        default=[],
        metavar="K=V",
        help="environment of the started server",
    )
    group.add_argument(
        "--model_path",
        metavar="PATH",
        help="what the server loads, where that is not --model: a directory, a GGUF file, a Triton model repository",
    )
    group.add_argument(
        "--server_port",
        type=flags.count,
        metavar="N",
        help="of the first started process; replicas have the next ones (default: free ones)",
    )
    group.add_argument(
        "--server_ready_path", metavar="PATH", help="asked until it answers 200 (default: the server's own)"
    )
    group.add_argument(
        "--server_args",
        type=_words,
        default=[],
        metavar="'ARGS'",
        help="further arguments for the started server, such as '--gpu H100'",
    )
    group.add_argument(
        "--server_timeout", type=flags.positive, default=600.0, metavar="S", help="for a server to get ready"
    )


def _add_client(made: flags.Parser) -> None:
    group = made.add_argument_group("client settings")
    _sweeping(group, "--mean_prompt_length", "tokens (default 2600, or the model's preset)")
    _sweeping(group, "--mean_max_new_tokens", "tokens to generate (default 60, or the model's preset)")
    _sweeping(group, "--num_clients", "requests in flight (default 1 2 4 6 8 12 16 20 24 28 32)")
    group.add_argument(
        "--num_requests", type=flags.count, metavar="N", help="per point (default clients × 4 + 32)"
    )
    group.add_argument(
        "--max_prompt_length", type=flags.count, metavar="N", help="longest prompt (default 4000)"
    )
    group.add_argument(
        "--prompt_length_var",
        type=flags.amount,
        metavar="X",
        help="standard deviation / mean of lengths (default 0.3)",
    )
    group.add_argument(
        "--max_new_tokens_var", type=flags.amount, metavar="X", help="the same of generation (default 0.3)"
    )
    group.add_argument(
        "--warmup", type=flags.whole, metavar="N", help="requests per client before each point (default 1)"
    )
    group.add_argument("--stream", action="store_true", help="stream answers: first-token and token times")
    group.add_argument(
        "--use_thread", action="store_true", help="accepted; clients are neither processes nor threads here"
    )
    group.add_argument(
        "--seed", type=flags.whole, metavar="N", help="of lengths, words and start times (default 42)"
    )
    group.add_argument("--temperature", type=flags.amount, metavar="X", help="sampling (default 1.0)")
    group.add_argument("--top_p", type=flags.share, metavar="X", help="sampling (default 0.9)")
    group.add_argument("--n", type=flags.count, metavar="N", help="answers per request (default 1)")
    group.add_argument(
        "--ignore_eos", action="store_true", help="ask the server not to stop before the asked length"
    )


def _add_order(made: flags.Parser) -> None:
    group = made.add_argument_group("order")
    group.add_argument(
        "--preset",
        metavar="NAME",
        help="a whole sweep by name, with its figures: run_all, run_example, run_aml, run_fp6; flags win over it",
    )
    group.add_argument(
        "--order",
        choices=("grid", "random"),
        help="of the points: as the flags have it, or by chance, which guards against drift (default grid)",
    )
    group.add_argument(
        "--repeats",
        type=flags.count,
        metavar="N",
        help="measure each point N times; the second time goes to <results>/repeat2/ (default 1)",
    )
    group.add_argument(
        "--reset_cache",
        action="store_true",
        help="ask the server to empty its prefix cache before each point (vllm, sglang); prompts are new at each "
        "point in any case",
    )


def _add_engine(made: flags.Parser) -> None:
    group = made.add_argument_group("engine")
    group.add_argument("--connect", choices=("pooled", "new", "sticky"), default="pooled", help="connections")
    group.add_argument(
        "--balancing",
        choices=("round-robin", "random", "least-in-flight", "sticky"),
        default="round-robin",
        help="which of several replicas a request goes to (default %(default)s)",
    )
    group.add_argument("--workers", type=flags.count, default=1, metavar="N", help="client threads")
    group.add_argument("--connect-timeout", type=flags.seconds, default=10.0, metavar="S", help="0: none")
    group.add_argument(
        "--first-token-timeout", type=flags.seconds, default=0.0, metavar="S", help="0: none (default 0)"
    )
    group.add_argument(
        "--idle-timeout", type=flags.seconds, default=120.0, metavar="S", help="without a byte; 0: none"
    )
    group.add_argument(
        "--request-timeout", type=flags.seconds, default=0.0, metavar="S", help="in all; 0: none (default 0)"
    )
    group.add_argument(
        "--drain", type=flags.seconds, default=5.0, metavar="S", help="for running requests at the end"
    )
    group.add_argument(
        "--retries", type=flags.whole, default=0, metavar="N", help="per failed request (default 0)"
    )


def _add_results(made: flags.Parser) -> None:
    group = made.add_argument_group("results")
    group.add_argument(
        "--out_json_dir", metavar="DIR", help="results go to DIR_<backend>/ (default ./results/)"
    )
    group.add_argument(
        "--overwrite_results", action="store_true", help="measure points again that have a result"
    )
    group.add_argument(
        "--goodput",
        nargs="+",
        action="extend",
        type=flags.slo_limit,
        default=[],
        metavar="METRIC:MS",
        help="limits per request, such as ttft:200",
    )
    group.add_argument(
        "--slo",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY<=N",
        help="limits such as 'p99_ttft_ms<=500': the best point under each is named at the end",
    )
    group.add_argument(
        "--gpu-cost-per-hour",
        type=flags.amount,
        metavar="USD",
        help="of one GPU, for cost per million tokens",
    )
    group.add_argument(
        "--machine-cost", type=flags.amount, metavar="USD", help="per hour, of the whole server, instead"
    )
    group.add_argument(
        "--max-error-rate", type=flags.share, default=0.01, metavar="X", help="share of failures allowed"
    )
    group.add_argument("--strict", action="store_true", help="exit 3 unless every point's verdict is VALID")
    group.add_argument("--save-text", action="store_true", help="keep generated texts")
    group.add_argument("--dry-run", action="store_true", help="show the plan and do nothing")
    group.add_argument(
        "--show", nargs="+", metavar="FILE", help="print the summary of saved results and measure nothing"
    )
    group.add_argument("--quiet", action="store_true", help="print errors only")
    group.add_argument("--no-progress", action="store_true", help="no progress bar")


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of arguments: {error}") from None


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name or "\0" in text:
        raise argparse.ArgumentTypeError(f"{text!r} is no NAME=VALUE")
    return name, value


def _sweeping(group: Any, flag: str, text: str) -> None:
    group.add_argument(flag, nargs="+", type=flags.count, metavar="N", help=text)


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
            display.note(f"not measured: {error}")
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
    from llmbench import launchers

    has_address = any((args.base_url, args.host, args.port, args.unix_socket))
    if not has_address:
        startable = launchers.kind_of(args.backend, options) is not None
        if startable and not args.client_only:
            return []
        if args.client_only and (urls := _running_server(settings, wanted=startable)):
            args.base_url, *args.replica_urls = urls
            has_address = True
    if args.preset and args.backend == "aml" and not has_address:
        raise ConfigError(f"--preset {args.preset} needs the address of the endpoint: --aml_api_url URL")
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


def _running_server(settings: dict[str, Any], *, wanted: bool) -> list[str]:
    """The addresses of the server that `start` left running, one a process; its settings label the results. Raises
    ServerUnreachableError where there is none and one is wanted."""
    from llmbench import servers
    from llmbench.sweep_plan import SweepSpec

    deployment = settings.get("deployment_name", SweepSpec.deployment_name)
    found = servers.running(deployment)
    if not found and not wanted:
        return []
    if not found:
        raise ServerUnreachableError(
            f"no server of the deployment {deployment} is running: start one with the action `start`, or give its "
            "address with --base-url"
        )
    record = found[-1]
    for name, value in record.settings.items():
        given = settings.setdefault(name, value if name == "model" else [value])
        if given not in (value, [value]):
            shown = " ".join(map(str, given)) if isinstance(given, list) else given
            raise ConfigError(
                f"--{name} {shown}: the running server of {deployment} has {value}; leave the flag out, or `restart`"
            )
    return [each.url for each in found]


def _serve(args: argparse.Namespace, display: SweepDisplay) -> int:
    """start, stop and restart."""
    from llmbench import launchers, servers
    from llmbench.sweep_plan import plan
    from llmbench.sweeping import check_writable, signals_as_interrupts

    settings = _settings(args)
    spec = _spec(settings | {"client_only": False})
    found = servers.running(spec.deployment_name)
    if args.action == "start" and found:
        raise ConfigError(
            f"a server of the deployment {spec.deployment_name} is running at {found[0].url} already: "
            "`stop` or `restart` it, or choose another --deployment_name"
        )
    if args.action == "stop":
        _stop(found, spec, display)
        return 0
    planned = plan(spec)
    if len(planned) != 1:
        raise ConfigError(
            f"`{args.action}` starts one server, and these settings make {len(planned)}: give one value each of "
            "--tp_size, --max_ragged_batch_size and --num_replicas"
        )
    server_settings = planned[0].settings
    launch = launchers.prepare(spec.backend, _launch_options(args))
    launch.check(server_settings)
    if args.action == "restart":
        _stop(found, spec, display)
    check_writable(spec.result_dir)
    display.note(f"starting {spec.model} on {spec.backend}: {server_settings.describe()}")
    with signals_as_interrupts():
        server = servers.Deployment.start(
            launch.plan(server_settings).commands,
            spec.result_dir,
            f"server-{server_settings.file_stem()}",
            deployment=spec.deployment_name,
            settings=server_settings.to_dict(),
            detached=True,
        )
        try:
            server.wait_ready(args.server_timeout)
        except BaseException:
            server.stop()
            raise
    server.detach()
    for each in server.servers:
        display.note(
            f"{spec.deployment_name} is ready at {each.url}, process group {each.pid}; log {each.log_path}"
        )
    return 0


def _stop(found: Sequence[ServerRecord], spec: SweepSpec, display: SweepDisplay) -> None:
    from llmbench import servers

    servers.end_all(found)
    for record in found:
        display.note(f"stopped {record.name} at {record.url}")
    if not found:
        display.note(f"no server of the deployment {spec.deployment_name} is running")


def _show_plan(spec: SweepSpec, display: SweepDisplay) -> None:
    from llmbench.sweep_measurement import result_path
    from llmbench.sweep_plan import plan

    for server in plan(spec):
        how = "running server" if spec.client_only else "start a server"
        display.note(f"{how}: {spec.model}, {server.settings.describe()}")
        for point in server.points:
            exists = " (exists)" if result_path(spec, point).exists() and not spec.overwrite_results else ""
            exists += f", repeat {point.repeat}" if spec.repeats > 1 else ""
            display.note(
                f"  prompt {point.combination.prompt_length}, generation {point.combination.gen_length}, "
                f"{point.combination.num_clients} clients, "
                f"{point.warmup_requests} + {point.num_requests} requests{exists}"
            )


if __name__ == "__main__":
    from llmbench.cli import execute as run_command

    sys.exit(run_command("python -m llmbench.run_benchmark", main))
