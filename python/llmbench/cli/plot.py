"""`llmbench plot NAME`: one figure from results; the same as `python -m llmbench.plots.NAME`."""

from __future__ import annotations

import difflib
import importlib

from llmbench.errors import ConfigError
from llmbench.plots import FIGURES, OLD_NAMES, RESULT_FIGURES, SWEEP_FIGURES


def main(args: list[str]) -> int:
    if not args or args[0] in ("-h", "--help"):
        print(_usage())
        return 0 if args else 2
    name = args[0].replace("-", "_")
    name = OLD_NAMES.get(name, name)
    if name not in FIGURES:
        near = difflib.get_close_matches(name, [*FIGURES, *OLD_NAMES], n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(FIGURES)}"
        raise ConfigError(f"unknown figure {args[0]!r}: {hint}")
    module = importlib.import_module(f"llmbench.plots.{name}")
    code: int = module.main(args[1:])
    return code


def _usage() -> str:
    width = max(map(len, FIGURES))

    def listed(figures: dict[str, str]) -> list[str]:
        return [f"  {name:<{width}}  {what}" for name, what in figures.items()]

    return "\n".join(
        [
            "usage: llmbench plot FIGURE [flags]",
            "",
            "Draws a figure as PNG and SVG.",
            "",
            "of sweeps:",
            *listed(SWEEP_FIGURES),
            "",
            "of single results:",
            *listed(RESULT_FIGURES),
            "",
            "llmbench plot FIGURE --help lists its flags; docs/figures.md shows every figure.",
        ]
    )
