"""`python -m llmbench.postprocess_results -i FILE…` prints the summary of saved sweep results again, ours or of old."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from llmbench.cli import flags


def main(argv: Sequence[str] | None = None) -> int:
    parser = flags.Parser(
        prog="python -m llmbench.postprocess_results",
        description="Prints the summary of saved sweep results again.",
    )
    parser.add_argument(
        "-i",
        "--input_path",
        nargs="+",
        action="extend",
        required=True,
        metavar="FILE",
        help="result files of a sweep",
    )
    return show(parser.parse_args(sys.argv[1:] if argv is None else argv).input_path)


def show(paths: Sequence[str]) -> int:
    """Prints one summary per file. Raises ResultsError for a file that is no result."""
    from llmbench.sweep_display import SweepDisplay
    from llmbench.sweep_file import read_json

    display = SweepDisplay(progress=False)
    for path in paths:
        result = read_json(path)
        if len(paths) > 1:
            display.note(path)
        display.summary(result)
    return 0


if __name__ == "__main__":
    from llmbench.cli import execute

    sys.exit(execute("python -m llmbench.postprocess_results", main))
