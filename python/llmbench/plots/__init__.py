"""Figures, one to a module: a function of its module's name that takes Axes and returns Axes, and a `main`."""

from __future__ import annotations

FIGURES: dict[str, str] = {
    "throughput_latency": "latency against throughput over the clients of a sweep",
    "latency_cdf": "share of requests answered within a time, for single results",
    "percentiles": "latency by percentile far into the tail, for single results",
}
"""What `llmbench plot` lists, in this order."""

OLD_NAMES: dict[str, str] = {"plot_th_lat": "throughput_latency"}
"""Names figures had before, still taken."""
