"""The flags every figure of a sweep has: where the results are and where the figure goes."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from llmbench.cli.flags import Parser

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def sweep_parser(figure: str, description: str) -> Parser:
    """The parser of `python -m llmbench.plots.<figure>`, for the figure to add its own flags to."""
    parser = Parser(prog=f"python -m llmbench.plots.{figure}", description=description)
    group = parser.add_argument_group("results")
    group.add_argument(
        "--log_dir",
        default="./results",
        metavar="DIR",
        help="results are in DIR_<backend>/ or DIR/<backend>/",
    )
    group.add_argument(
        "--backend",
        nargs="+",
        default=[],
        metavar="NAME",
        help="the backends to compare (default: all there are)",
    )
    group.add_argument(
        "--data_dirs",
        nargs="+",
        default=[],
        metavar="DIR",
        help="result directories by name, instead of --backend",
    )
    parser.add_argument_group("figure").add_argument(
        "--out_dir", default=f"./plots/{figure}", metavar="DIR", help="where the PNG and SVG files go"
    )
    return parser


def directories(args: argparse.Namespace) -> list[Path]:
    """The result directories that were asked for. Raises ConfigError when one is not there."""
    from llmbench.result_dirs import result_dirs

    return result_dirs(args.log_dir, backends=args.backend, data_dirs=args.data_dirs)


def save_all(figures: Iterable[tuple[Axes, str]], out_dir: str) -> int:
    """Writes each figure under its name as PNG and SVG and says so; returns the exit code."""
    from llmbench.plots import style

    for axes, stem in figures:
        png, svg = style.save(axes, Path(out_dir), stem)
        print(f"saved {png} and {svg.suffix}")
    return 0
