"""Sweeps and request tables made up for figures, and the comparison with committed pictures."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.axes import Axes
from matplotlib.image import imread, imsave

from llmbench.combination import Combination
from llmbench.sweep_file import ResponseDetail, write_json

BASELINES = Path(__file__).parent / "baselines"
TOLERANCE = 6.0
"""Root mean square difference of two pictures, of 255, after 4 × 4 pixels were averaged into one."""

TINY = Combination("acme/tiny-1b", 1, 768, 1, 2600, 60, 1)

MakeSweep = Callable[..., Path]
Rows = npt.NDArray[np.void]


@pytest.fixture(autouse=True)
def closed_figures() -> Iterator[None]:
    """Where pyplot is loaded it keeps every figure, and warns of the twentieth."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture
def make_sweep() -> MakeSweep:
    """Writes the results of a batching server that decodes at most `cap` requests at once, and returns the
    directory.
    """

    def make(
        directory: Path,
        *,
        clients: Sequence[int] = (1, 2, 4, 8, 16, 32),
        combination: Combination = TINY,
        step_s: float = 0.012,
        slowdown_s: float = 0.001,
        cap: int = 10**9,
        verdicts: dict[int, str] | None = None,
        old: bool = False,
    ) -> Path:
        for count in clients:
            running = min(count, cap)
            latency = 60 * (step_s + slowdown_s * running) * count / running
            details = [
                ResponseDetail(
                    1e9 + turn * latency, 1e9 + (turn + 1) * latency, 2600, 60, [latency / 60] * 60
                )
                for turn in range(3)
                for _ in range(count)
            ]
            rate = count / latency
            summary: dict[str, Any] = {
                "verdict": {"status": (verdicts or {}).get(count, "VALID")},
                "intervals": {
                    "mean_e2el_ms": {"low": 950 * latency, "high": 1050 * latency},
                    "request_throughput": {"low": 0.97 * rate, "high": 1.03 * rate},
                },
            }
            named = Combination(**{**vars(combination), "num_clients": count})
            write_json(
                directory / named.file_name,
                combination=named,
                args={"backend": directory.name},
                details=details,
                llmbench={} if old else summary,
                duration_s=3 * latency,
            )
        return directory

    return make


TIMES = (
    "scheduled_ns", "slot_ns", "connected_ns", "sent_ns", "first_byte_ns", "first_token_ns", "first_answer_ns",
    "last_token_ns", "end_ns",
)  # fmt: skip


@pytest.fixture
def request_table() -> Callable[..., Rows]:
    """Makes rows with a lognormal TTFT, in ascending order, and one second of decoding for 101 tokens."""
    return _request_table


def _request_table(count: int, *, median_ms: float = 50.0, spread: float = 0.3, failed: int = 0) -> Rows:
    fields = [(name, np.int64) for name in (*TIMES, "output_tokens", "phase", "outcome")]
    rows = np.zeros(count + failed, dtype=fields)
    rows["phase"] = 1
    rows["output_tokens"] = 101
    rows["sent_ns"] = np.arange(count + failed) * 10_000_000
    for name in ("scheduled_ns", "slot_ns", "connected_ns"):
        rows[name] = rows["sent_ns"]
    normal = np.sort(np.random.default_rng(7).standard_normal(count + failed))
    first = rows["sent_ns"] + (median_ms * np.exp(spread * normal) * 1e6).astype(np.int64)
    for name in ("first_byte_ns", "first_token_ns", "first_answer_ns"):
        rows[name] = first
    rows["last_token_ns"] = rows["end_ns"] = first + 10**9
    rows["outcome"][count:] = 17
    rows["first_token_ns"][count:] = -(2**63)
    return rows


@pytest.fixture
def picture() -> Callable[[Axes], npt.NDArray[np.float64]]:
    return _picture


@pytest.fixture
def difference_to() -> Callable[[Axes, str], float]:
    """How far a figure is from `baselines/NAME.png`."""
    return _difference_to


def _picture(axes: Axes) -> npt.NDArray[np.float64]:
    """The figure in RGB, 0 to 255, drawn so that fonts differ as little as they can from machine to machine."""
    buffer = io.BytesIO()
    with mpl.rc_context({"text.hinting": "no_hinting"}):
        axes.figure.figure.savefig(buffer, dpi=60, format="png")
    buffer.seek(0)
    return np.asarray(imread(buffer), dtype=np.float64)[:, :, :3] * 255


def _difference_to(axes: Axes, name: str) -> float:
    found = _picture(axes)
    wanted = np.asarray(imread(BASELINES / f"{name}.png"), dtype=np.float64)[:, :, :3] * 255
    assert found.shape == wanted.shape
    height, width = (size // 4 * 4 for size in found.shape[:2])
    blocks = (found - wanted)[:height, :width].reshape(height // 4, 4, width // 4, 4, 3).mean(axis=(1, 3))
    return float(np.sqrt((blocks**2).mean()))


@pytest.fixture
def check_picture() -> Callable[[Axes, str], None]:
    """Compares a figure with `baselines/NAME.png`; LLMBENCH_WRITE_BASELINES=1 writes it instead."""

    def check(axes: Axes, name: str) -> None:
        if os.environ.get("LLMBENCH_WRITE_BASELINES"):
            imsave(BASELINES / f"{name}.png", (_picture(axes) / 255).round(4))
        assert _difference_to(axes, name) <= TOLERANCE

    return check
