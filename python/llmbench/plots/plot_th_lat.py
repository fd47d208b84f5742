"""`throughput_latency` under its old name."""

from __future__ import annotations

import sys

from llmbench.plots.throughput_latency import main, throughput_latency

__all__ = ["main", "throughput_latency"]

if __name__ == "__main__":
    from llmbench.cli import execute

    sys.exit(execute("python -m llmbench.plots.plot_th_lat", main))
