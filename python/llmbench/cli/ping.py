"""`llmbench ping`: one request, shown event by event."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from llmbench.cli import flags

if TYPE_CHECKING:
    from llmbench.backends import Backend
    from llmbench.results import Result

_KERNEL, _MERGED, _REASONING = 1, 2, 4
_TOKEN_SOURCES = (None, "usage", "token_ids", "tokenizer", "events")
_TIMES = (
    ("sent_ns", "request sent"),
    ("first_byte_ns", "first byte"),
    ("first_token_ns", "first token"),
    ("first_answer_ns", "first answer token"),
    ("last_token_ns", "last token"),
    ("end_ns", "response complete"),
)


def parser() -> flags.Parser:
    parser = flags.Parser(
        prog="llmbench ping",
        usage="%(prog)s [flags]",
        description="Sends one request and shows every event of the answer.",
    )
    flags.add_target(parser)
    group = parser.add_argument_group("request")
    group.add_argument("--prompt", default="Say hello.", metavar="TEXT", help="the prompt")
    group.add_argument("--output-len", type=flags.count, default=16, metavar="N", help="tokens to ask for")
    group.add_argument(
        "--timeout", type=flags.positive, default=60.0, metavar="S", help="seconds for the whole request"
    )
    group.add_argument("--no-stream", action="store_true", help="do not stream")
    group.add_argument(
        "--wait-ready",
        type=flags.seconds,
        default=0.0,
        metavar="S",
        help="seconds to wait for the server to be ready (default 0)",
    )
    form = group.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print the answer as JSON")
    form.add_argument(
        "--raw", action="store_true", help="send the request once more, and show the bytes sent and received"
    )
    return parser


def main(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    from llmbench import load, runner, workloads

    endpoint = flags.endpoint_from(args)
    workload = workloads.from_prompts([args.prompt], args.output_len, name="ping")
    result = runner.run(
        endpoint,
        workload,
        load.burst(1),
        connect="new",
        request_timeout=args.timeout,
        stream=not args.no_stream,
        save=False,
        save_text=True,
        progress=False,
        wait_ready=args.wait_ready,
    )
    answer = describe(result)
    if args.json:
        print(json.dumps(answer, ensure_ascii=False))
    else:
        _show(answer, endpoint.preset)
    if args.raw:
        from llmbench.cli import raw_exchange

        raw_exchange.show(
            endpoint, workload, answer["model"], stream=not args.no_stream, timeout_s=args.timeout
        )
    return 0 if answer["outcome"] == "ok" else 1


def describe(result: Result) -> dict[str, Any]:
    """The one request of the result; times are milliseconds from the moment it was sent."""
    from llmbench import _core
    from llmbench.request_rows import ABSENT_NS

    row = result.requests[0]
    sent = int(row["sent_ns"])
    events = result.events
    outcome = _core.OUTCOMES[row["outcome"]]
    error = result.table.errors[0] if result.table.errors else ""
    return {
        "url": (result.config.get("endpoint") or {}).get("url"),
        "model": result.config.get("model"),
        "address": result.client.get("address"),
        "outcome": outcome,
        "status": int(row["status"]),
        "error": result.error_messages.get(outcome) or error,
        "dns_ms": int(row["dns_ns"]) / 1e6,
        "connect_ms": int(row["connect_ns"]) / 1e6,
        "tls_ms": int(row["tls_ns"]) / 1e6,
        "times_ms": {
            name: (int(row[column]) - sent) / 1e6 for column, name in _TIMES if int(row[column]) != ABSENT_NS
        },
        "events": [
            {
                "at_ms": (int(at) - sent) / 1e6,
                "tokens": int(tokens) or None,
                "kernel_stamp": bool(flag & _KERNEL),
                "merged": bool(flag & _MERGED),
                "reasoning": bool(flag & _REASONING),
            }
            for at, tokens, flag in zip(events.times_ns, events.tokens, events.flags, strict=True)
        ],
        "prompt_tokens": _count(row["prompt_tokens"]),
        "cached_tokens": _count(row["cached_tokens"]),
        "output_tokens": _count(row["output_tokens"]),
        "token_source": _TOKEN_SOURCES[int(row["token_source"])],
        "finish_reason": bytes(row["finish_reason"]).rstrip(b"\0").decode("utf-8", "replace") or None,
        "text": result.texts[0] if result.texts else "",
    }


def _count(value: Any) -> int | None:
    return int(value) if value >= 0 else None


def _show(answer: dict[str, Any], preset: Backend) -> None:
    model = f", model {answer['model']}" if answer["model"] else ""
    print(f"{answer['url']} ({preset.name}){model}, at {answer['address']}")
    opened = [
        f"{name} {answer[f'{name}_ms']:.2f} ms" for name in ("dns", "connect", "tls") if answer[f"{name}_ms"]
    ]
    if opened:
        print(f"connection opened: {', '.join(opened)}")
    print(f"outcome {answer['outcome']}, HTTP {answer['status']}{_said(answer['error'])}")
    for name, at in answer["times_ms"].items():
        print(f"{at:12.3f} ms  {name}")
    before = None
    for number, event in enumerate(answer["events"], 1):
        gap = f"+{event['at_ms'] - before:.3f}" if before is not None else ""
        marks = [name for name in ("merged", "reasoning") if event[name]]
        marks += [] if event["kernel_stamp"] else ["no kernel time"]
        tokens = f"{event['tokens']} token{'s' if event['tokens'] != 1 else ''}" if event["tokens"] else ""
        print(
            f"{event['at_ms']:12.3f} ms  event {number:<4} {gap:>10}  {' '.join([tokens, *marks]).strip()}".rstrip()
        )
        before = event["at_ms"]
    print(f"{preset.name} {can_report(preset)}")
    counts = [f"{answer[name]} {name.replace('_', ' ')}" for name in _COUNTS if answer[name] is not None]
    source = f" (counted by {answer['token_source']})" if answer["token_source"] else ""
    ended = f"; finished by {answer['finish_reason']}" if answer["finish_reason"] else ""
    print(f"usage: {', '.join(counts) or 'none reported'}{source}{ended}")
    if answer["text"]:
        print(f"text: {answer['text']!r}")


def can_report(preset: Backend) -> str:
    """What of an answer the backend's servers tell, in one line."""
    told = {
        "TTFT": preset.streams,
        f"exact tokens ({preset.reports})" if preset.counts else "exact tokens": preset.counts,
        "finish reasons": preset.finish_reasons,
        "cached tokens": preset.cached_tokens,
        "metrics": preset.metrics_path is not None,
    }
    can = [name for name, yes in told.items() if yes]
    cannot = [name for name, yes in told.items() if not yes]
    said = [f"can report {', '.join(can)}"] if can else []
    return "; ".join(said + ([f"cannot report {', '.join(cannot)}"] if cannot else []))


_COUNTS = ("prompt_tokens", "cached_tokens", "output_tokens")


def _said(error: str) -> str:
    line = "".join(each if each.isprintable() else " " for each in error)
    return f": {line[:300]}" if line else ""
