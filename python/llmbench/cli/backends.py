"""`llmbench backends`: the presets, and what each can and cannot report."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from typing import Any

from llmbench.backends import ALIASES, BACKENDS, Backend, get
from llmbench.cli import flags

_COLUMNS = ("backend", "streams", "TTFT", "exact tokens from", "finish", "cached", "metrics")
_WIDTHS = (20, 7, 4, 17, 6, 6, 7)


def main(argv: list[str]) -> int:
    parser = flags.Parser(
        prog="llmbench backends",
        description="Lists the presets for --backend, and what each can report; with a name, all about that one.",
    )
    parser.add_argument("name", nargs="?", help="one backend")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print them as JSON")
    form.add_argument("--markdown", action="store_true", help="print the table as docs/backends.md has it")
    args = parser.parse_args(argv)
    presets = [get(args.name)] if args.name else list(BACKENDS.values())
    if args.json:
        print(json.dumps([describe(preset) for preset in presets], indent=1))
    elif args.markdown:
        print(markdown(presets))
    elif args.name:
        print(_about(presets[0]))
    else:
        print(_table(presets))
    return 0


def describe(preset: Backend) -> dict[str, Any]:
    """What `--json` prints of one backend."""
    return {
        "name": preset.name,
        "aliases": [alias for alias, name in ALIASES.items() if name == preset.name],
        "description": preset.description,
        "method": preset.method,
        "path": preset.path,
        "whole_path": preset.whole_path or preset.path,
        "wire_format": preset.wire_format,
        "takes": list(preset.takes),
        "streams": preset.streams,
        "whole": preset.whole,
        "ttft": preset.streams,
        "tokens_from": preset.reports if preset.counts else None,
        "finish_reason": preset.finish_reasons,
        "cached_tokens": preset.cached_tokens,
        "model_list": preset.models_path,
        "health": preset.health_path,
        "metrics": preset.metrics_path,
        "metrics_port": preset.metrics_port,
        "default_port": preset.default_port,
        "ignore_eos": preset.forces_length or None,
        "key_header": preset.key_header,
        "key_env": preset.key_env,
        "quirks": list(preset.quirks),
        "start": preset.start or None,
    }


def markdown(presets: Sequence[Backend]) -> str:
    """The table as a page has it."""
    lines = [" | ".join(_COLUMNS), " | ".join("---" for _ in _COLUMNS)]
    lines += [" | ".join((f"`{row[0]}`", *row[1:])) for row in map(_row, presets)]
    return "\n".join(f"| {line} |" for line in lines)


def _table(presets: Sequence[Backend]) -> str:
    lines = [_line(_COLUMNS), *(_line(_row(preset)) for preset in presets), ""]
    lines += textwrap.wrap("Other names: " + ", ".join(f"{a} = {b}" for a, b in ALIASES.items()) + ".", 80)
    lines += textwrap.wrap(
        "Where no exact counts come from the server, --tokenizer counts the answers after the run. "
        "llmbench backends NAME tells all about one.",
        80,
    )
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return " ".join(f"{cell:<{width}}" for cell, width in zip(cells, _WIDTHS, strict=True)).rstrip()


def _row(preset: Backend) -> tuple[str, ...]:
    def mark(yes: bool) -> str:
        return "yes" if yes else "–"

    metrics = (
        "–" if preset.metrics_path is None else f":{preset.metrics_port}" if preset.metrics_port else "yes"
    )
    return (
        preset.name,
        mark(preset.streams),
        mark(preset.streams),
        preset.reports if preset.counts else "–",
        mark(preset.finish_reasons),
        mark(preset.cached_tokens),
        metrics,
    )


def _about(preset: Backend) -> str:
    facts = [
        ("request", f"{preset.method} {preset.path}"),
        ("not streamed", "not possible" if not preset.whole else preset.whole_path or ""),
        ("wire format", preset.wire_format),
        ("takes", ", ".join(preset.takes)),
        ("streams", "yes" if preset.streams else "no: no TTFT, latencies are of whole answers"),
        ("exact tokens", preset.reports if preset.counts else "none; --tokenizer counts the answers"),
        ("ignores EOS by", preset.forces_length or "no way: lengths vary"),
        ("asked before", preset.models_path or preset.health_path or "nothing"),
        ("metrics", preset.metrics_path or "none"),
        ("port", str(preset.default_port)),
        ("key", f"{preset.key_header}{f', from {preset.key_env}' if preset.key_env else ''}"),
        ("start", preset.start),
    ]
    lines = [f"{preset.name}: {preset.description}"]
    lines += [f"  {name:<14} {fact}" for name, fact in facts if fact]
    for quirk in preset.quirks:
        lines += textwrap.wrap(
            quirk, 76, initial_indent="  - ", subsequent_indent="    ", break_on_hyphens=False
        )
    return "\n".join(lines)
