"""`effective_throughput` under its old name."""

from __future__ import annotations

import sys

from llmbench.plots.effective_throughput import effective_throughput, main

__all__ = ["effective_throughput", "main"]

if __name__ == "__main__":
    from llmbench.cli import execute

    sys.exit(execute("python -m llmbench.plots.plot_effective_throughput", main))
