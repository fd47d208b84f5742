"""`latency_percentile` under its old name."""

from __future__ import annotations

import sys

from llmbench.plots.latency_percentile import latency_percentile, main

__all__ = ["latency_percentile", "main"]

if __name__ == "__main__":
    from llmbench.cli import execute

    sys.exit(execute("python -m llmbench.plots.plot_latency_percentile", main))
