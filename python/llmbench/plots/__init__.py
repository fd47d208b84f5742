"""Figures, one to a module: a function of its module's name that takes Axes and returns Axes, and a `main`."""

from __future__ import annotations

SWEEP_FIGURES: dict[str, str] = {
    "throughput_latency": "latency against throughput over the clients of a sweep",
    "effective_throughput": "requests per second that meet an SLA, against clients",
    "latency_percentile": "percentiles of the gaps between tokens, by backend",
    "replica_scaling": "throughput against the number of replicas",
    "tp_sizes": "latency against TFLOPs per GPU, a series per TP size",
    "pareto": "throughput per GPU against speed per user",
}
RESULT_FIGURES: dict[str, str] = {
    "latency_cdf": "cumulative distribution of a latency",
    "percentiles": "latency by percentile, far into the tail",
    "timeline": "load, requests, tokens and TTFT second by second",
    "token_timeline": "when each token of each request came",
}
FIGURES: dict[str, str] = {**SWEEP_FIGURES, **RESULT_FIGURES}
"""What `llmbench plot` lists, in this order."""

OLD_NAMES: dict[str, str] = {
    "plot_th_lat": "throughput_latency",
    "plot_effective_throughput": "effective_throughput",
    "plot_latency_percentile": "latency_percentile",
    "plot_repl_scale": "replica_scaling",
    "plot_tp_sizes": "tp_sizes",
}
"""Names figures had before, still taken."""
