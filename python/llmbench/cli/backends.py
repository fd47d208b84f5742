"""`llmbench backends`: the presets, and what each can report."""

from __future__ import annotations

import json

from llmbench.backends import BACKENDS
from llmbench.cli import flags


def main(argv: list[str]) -> int:
    parser = flags.Parser(prog="llmbench backends", description="Lists the presets for --backend.")
    parser.add_argument("--json", action="store_true", help="print them as JSON")
    args = parser.parse_args(argv)
    rows = [
        {
            "name": preset.name,
            "path": f"POST {preset.path}",
            "model_list": preset.models_path,
            "tokens_from": preset.reports,
            "description": preset.description,
        }
        for preset in BACKENDS.values()
    ]
    if args.json:
        print(json.dumps(rows, indent=1))
        return 0
    print(f"{'backend':<20} {'request':<28} {'tokens from':<12} what it is")
    for row in rows:
        print(f"{row['name']:<20} {row['path']:<28} {row['tokens_from']:<12} {row['description']}")
    return 0
