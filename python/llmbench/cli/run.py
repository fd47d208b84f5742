"""`llmbench run`: one measurement of a running server."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from llmbench.cli import flags
from llmbench.errors import ResultsError
from llmbench.gates import Gate

if TYPE_CHECKING:
    from llmbench.endpoint import Endpoint
    from llmbench.load import Load
    from llmbench.results import Result
    from llmbench.workloads import Workload

_GATE_KEYS = (
    "completed",
    "failed",
    "error_rate",
    "duration",
    "request_throughput",
    "request_goodput",
    "goodput_share",
    "output_throughput",
    "total_token_throughput",
    "total_input_tokens",
    "total_output_tokens",
)


_EPILOG = """\
examples:
  llmbench run --port 8000 --max-concurrency 16 --num-prompts 200
  llmbench run --port 8000 --request-rate 8 --duration 60 --goodput ttft:200
  llmbench run --backend openai-chat --base-url https://api.openai.com \\
      --model gpt-4.1-mini --request-rate 1 --num-prompts 60

exit codes:
  0 fine, 1 no request succeeded, 2 wrong usage, 3 verdict or SLO not met,
  4 too many requests failed, 74 results not written, 130 interrupted"""


def parser() -> flags.Parser:
    parser = flags.Parser(
        prog="llmbench run",
        usage="%(prog)s [flags]",
        description="Measures a running server once and writes the result. Durations are in seconds, latencies in "
        "milliseconds. docs/metrics.md defines every number.",
        epilog=_EPILOG,
    )
    flags.add_target(parser)
    flags.add_data(parser)
    flags.add_load(parser)
    flags.add_metrics(parser)
    flags.add_results(parser)
    return parser


def main(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    gates = _gates(args)
    load = flags.load_from(args)
    endpoints = flags.endpoints_from(args)
    metrics_pages = flags.metrics_pages_from(args, endpoints)
    if load.num_requests is not None and args.num_prompts is None:
        args.num_prompts = load.num_requests
    workload = flags.workload_from(args)
    if args.dry_run:
        return _dry_run(args, endpoints, workload, load)
    from llmbench import runner

    failure: ResultsError | None = None
    try:
        result = runner.run(
            endpoints,
            workload,
            load,
            num_requests=_num_requests(args),
            duration=args.duration,
            warmup_requests=args.warmup_requests,
            warmup_duration=args.warmup_duration,
            cooldown_duration=args.cooldown_duration,
            goodput=dict(args.goodput),
            percentiles=_percentiles(args, gates),
            percentile_metrics=args.percentile_metrics,
            itl=args.itl,
            steady_state=args.steady_state,
            connect=args.connect,
            balancing=args.balancing,
            workers=args.workers,
            connect_timeout=args.connect_timeout,
            first_token_timeout=args.first_token_timeout,
            idle_timeout=args.idle_timeout,
            request_timeout=args.request_timeout,
            drain=args.drain,
            retries=args.retries,
            ignore_eos=args.ignore_eos,
            sampling=flags.sampling_from(args),
            stream=not args.no_stream,
            seed=args.seed,
            label=args.label,
            metadata=dict(args.metadata),
            result_dir=args.result_dir,
            result_filename=args.result_filename,
            save=not args.no_save,
            save_result=args.save_result,
            save_detailed=args.save_detailed,
            save_text=args.save_text,
            progress=False if args.quiet or args.no_progress or args.json else None,
            max_error_rate=args.max_error_rate,
            num_gpus=args.num_gpus,
            gpu_cost_per_hour=args.gpu_cost_per_hour,
            machine_cost=args.machine_cost,
            wait_ready=args.wait_ready,
            until_ci=args.until_ci,
            scrape_metrics=metrics_pages,
            shared_server=args.shared_server,
            tokenizer=args.tokenizer,
        )
    except ResultsError as error:
        if error.result is None:
            raise
        # Measured, and only not kept: what was found is shown all the same.
        result, failure = error.result, error  # type: ignore[assignment]
    missed = _missed(gates, result)
    _show(args, result, missed)
    if failure is not None:
        print(f"llmbench run: {failure}", file=sys.stderr)
    return exit_code(result, args, missed, failure)


def exit_code(
    result: Result, args: argparse.Namespace, missed: list[str], failure: ResultsError | None = None
) -> int:
    """The first that applies."""
    from llmbench.interrupts import EXIT_CODES

    if result.interrupted:
        return EXIT_CODES.get(result.interrupted_by, 130)  # type: ignore[call-overload, no-any-return]
    if failure is not None:
        return failure.exit_code
    if not result.summary.completed:
        return 1
    if (result.summary.error_rate or 0.0) > args.max_error_rate:
        return 4
    if missed or (args.strict and not result.verdict.valid):
        return 3
    return 0


def _num_requests(args: argparse.Namespace) -> int | None:
    if args.num_prompts is None and args.duration is None:
        return 1000
    number: int | None = args.num_prompts
    return number


def _show(args: argparse.Namespace, result: Result, missed: list[str]) -> None:
    if args.json:
        json.dump(
            result.to_json(detailed=args.save_detailed, texts=args.save_text), sys.stdout, ensure_ascii=False
        )
        print()
    elif not args.quiet:
        from llmbench import report

        report.show(result)
        for path in (result.path, result.json_path):
            if path is not None:
                print(path)
    if args.quiet or args.json:
        # Nobody has seen the report: an exit code alone would leave its cause to be guessed.
        for line in _complaints(args, result):
            print(f"llmbench run: {line}", file=sys.stderr)
    for line in missed:
        print(f"llmbench run: SLO missed: {line}", file=sys.stderr)


def _complaints(args: argparse.Namespace, result: Result) -> Iterator[str]:
    """Why the exit code will not be 0."""
    summary = result.summary
    if summary.failed and (not summary.completed or (summary.error_rate or 0.0) > args.max_error_rate):
        name = max(summary.errors, key=lambda each: summary.errors[each])
        text = result.error_messages.get(name)
        share = f"{summary.failed} of {summary.failed + summary.completed} requests failed"
        yield f"{share}, mostly {name}{f': {text}' if text else ''}"
    elif not summary.completed:
        yield "no request ended"
    elif args.strict and not result.verdict.valid:
        yield f"{result.verdict.status}: {'; '.join(result.verdict.reasons)}"


# SLOs


def _gates(args: argparse.Namespace) -> list[Gate]:
    return [Gate.parse(text, latencies=args.percentile_metrics, rates=_GATE_KEYS) for text in args.slo]


def _percentiles(args: argparse.Namespace, gates: list[Gate]) -> tuple[float, ...]:
    """Those asked for, and those an SLO names."""
    named = [gate.percent for gate in gates]
    return tuple(dict.fromkeys([*args.metric_percentiles, *(each for each in named if each is not None)]))


def _missed(gates: list[Gate], result: Result) -> list[str]:
    """The conditions that do not hold; a number that does not exist meets none."""
    values = result.to_json()
    values["error_rate"] = result.summary.error_rate
    values["goodput_share"] = result.summary.get("goodput_share")
    missed = []
    for gate in gates:
        value = values.get(gate.number)
        if value is None:
            missed.append(f"{gate}: there is no such number in this result")
        elif not gate.met(value):
            missed.append(f"{gate}: it is {value:.6g}")
    return missed


# --dry-run


def _dry_run(args: argparse.Namespace, endpoints: list[Endpoint], workload: Workload, load: Load) -> int:
    """Says what would be done, from the same objects that would do it."""
    endpoint = endpoints[0]
    body = workload.bodies(
        endpoint.preset,
        model=endpoint.model or "the first model the server lists",
        stream=not args.no_stream,
        seed=args.seed,
        deployment=endpoint.deployment,
        ignore_eos=args.ignore_eos,
        sampling=flags.sampling_from(args),
        extra_body=endpoint.extra_body,
    )[0]
    plan: dict[str, Any] = {
        "url": endpoint.display_url,
        "endpoint": endpoint.to_dict(),
        "urls": [each.display_url for each in endpoints],
        "load": load.to_dict(),
        "workload": workload.to_dict(),
        "num_requests": _num_requests(args),
        "duration": args.duration,
        "first_body": _shown(endpoint, body),
    }
    if args.json:
        print(json.dumps(plan, ensure_ascii=False))
        return 0
    amount = [f"{plan['num_requests']} requests"] if plan["num_requests"] else []
    amount += [f"{args.duration:g} s"] if args.duration else []
    shared = f", {args.balancing}" if len(endpoints) > 1 else ""
    print(f"would send to  {', '.join(plan['urls'])}{shared}")
    print(f"load           {load.describe()}, {', '.join(amount)}")
    print(f"workload       {workload!r}")
    print(
        f"headers        {json.dumps(plan['endpoint']['headers'])}{', with a key' if endpoint.api_key else ''}"
    )
    print(f"first body     {json.dumps(plan['first_body'], ensure_ascii=False)}")
    return 0


def _shown(endpoint: Endpoint, body: bytes) -> Any:
    from llmbench import secrecy

    if endpoint.preset.encode is not None:
        return f"{len(body)} bytes that are not JSON, {body[:64].hex(' ')}…"
    return _shortened(secrecy.redact(json.loads(body)))


def _shortened(value: Any, length: int = 200) -> Any:
    if isinstance(value, str):
        return value if len(value) <= length else f"{value[:length]}… ({len(value)} characters)"
    if isinstance(value, dict):
        return {key: _shortened(each, length) for key, each in value.items()}
    if isinstance(value, list):
        shown = [_shortened(each, length) for each in value[:20]]
        return shown if len(value) <= 20 else [*shown, f"… ({len(value)} in all)"]
    return value
