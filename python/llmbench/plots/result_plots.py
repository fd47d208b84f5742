"""`result.plot`: the figures of one result, as methods."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from llmbench.plots.latency_samples import HasRequests


class ResultPlots:
    """Each method draws on the given Axes, or on new ones, and returns them. matplotlib loads when first
    used.
    """

    def __init__(self, result: HasRequests) -> None:
        self._result = result

    def latency_cdf(self, ax: Axes | None = None, *, metric: str = "ttft", log: bool = False) -> Axes:
        """The share of requests that were served within a time."""
        from llmbench.plots.latency_cdf import latency_cdf

        return latency_cdf(self._result, ax, metric=metric, log=log)

    def percentiles(self, ax: Axes | None = None, *, metric: str = "ttft", log: bool = False) -> Axes:
        """Latency by percentile, far into the tail."""
        from llmbench.plots.percentiles import percentiles

        return percentiles(self._result, ax, metric=metric, log=log)
