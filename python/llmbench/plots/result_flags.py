"""The flags every figure of single results has, and the way from result files to figure files."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmbench.cli.flags import Parser

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def result_parser(figure: str, description: str, *, metric: bool = True) -> Parser:
    """The parser of `python -m llmbench.plots.<figure>`, for the figure to add its own flags to. `metric`: it draws
    one latency.
    """
    parser = Parser(prog=f"python -m llmbench.plots.{figure}", description=description)
    parser.add_argument("results", nargs="+", metavar="FILE", help="results, NAME.llmbench")
    if metric:
        parser.add_argument(
            "--metric", default="ttft", metavar="NAME", help="what is measured: ttft, tpot, e2el, …"
        )
    parser.add_argument(
        "--out_dir", default=f"./plots/{figure}", metavar="DIR", help="where the PNG and SVG files go"
    )
    return parser


def draw_each(args: argparse.Namespace, figure: str, draw: Callable[[Any], Axes]) -> int:
    """Draws a figure for each of the files, saves it as `<file>_<figure>` and says where."""
    from llmbench.plots import style
    from llmbench.results import load_result

    for path in args.results:
        axes = draw(load_result(path))
        png, svg = style.save(axes, Path(args.out_dir), f"{Path(path).stem[:200]}_{figure}")
        print(f"saved {png} and {svg.suffix}")
    return 0


def draw_results(args: argparse.Namespace, draw: Callable[[dict[str, Any]], Axes]) -> int:
    """Loads the files, draws, saves as `<files>_<metric>` and says where."""
    from llmbench.plots import style
    from llmbench.results import load_result

    stems = [Path(path).stem for path in args.results]
    # Files of one name in different directories are told apart by their directories.
    labels = stems if len(set(stems)) == len(stems) else [str(path) for path in args.results]
    axes = draw({label: load_result(path) for label, path in zip(labels, args.results, strict=True)})
    name = stems[0] if len(stems) == 1 else f"{stems[0]}_and_{len(stems) - 1}_more"
    png, svg = style.save(axes, Path(args.out_dir), f"{name[:200]}_{args.metric}")
    print(f"saved {png} and {svg.suffix}")
    return 0
