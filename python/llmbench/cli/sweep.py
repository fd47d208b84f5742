"""`llmbench sweep`, the same as `python -m llmbench.run_benchmark`."""

from __future__ import annotations

from collections.abc import Sequence

from llmbench import run_benchmark


def main(argv: Sequence[str]) -> int:
    return run_benchmark.main(argv, prog="llmbench sweep")
