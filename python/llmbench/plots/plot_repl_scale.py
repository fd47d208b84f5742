"""`replica_scaling` under its old name."""

from __future__ import annotations

import sys

from llmbench.plots.replica_scaling import main, replica_scaling

__all__ = ["main", "replica_scaling"]

if __name__ == "__main__":
    from llmbench.cli import execute

    sys.exit(execute("python -m llmbench.plots.plot_repl_scale", main))
