"""Figures, one to a module: a function of its module's name that takes Axes and returns Axes, and a `main`."""

from __future__ import annotations

SWEEP_FIGURES: dict[str, str] = {
    "throughput_latency": "latency against throughput over the clients of a sweep",
}
RESULT_FIGURES: dict[str, str] = {
    "latency_cdf": "cumulative distribution of a latency, for single results",
    "percentiles": "latency by percentile far into the tail, for single results",
}
FIGURES: dict[str, str] = {**SWEEP_FIGURES, **RESULT_FIGURES}
"""What `llmbench plot` lists, in this order."""

OLD_NAMES: dict[str, str] = {"plot_th_lat": "throughput_latency"}
"""Names figures had before, still taken."""
