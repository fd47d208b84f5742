"""`tp_sizes` under its old name."""

from __future__ import annotations

import sys

from llmbench.plots.tp_sizes import main, tp_sizes

__all__ = ["main", "tp_sizes"]

if __name__ == "__main__":
    from llmbench.cli import execute

    sys.exit(execute("python -m llmbench.plots.plot_tp_sizes", main))
