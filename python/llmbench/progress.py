"""What is shown while a measurement runs: a bar and one line of live numbers, in a terminal or in a notebook."""

from __future__ import annotations

import html
import importlib
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from llmbench.ceilings import BUSY

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

_RATE_WINDOW_S = 2.0
_NOTEBOOK_WIDTH = 120
"""Of a cell, in characters."""
ECHO_WIDTH = 4
"""Left free at the end of a line: a terminal writes ^C there, and two of them must not break it."""
_PHASES = {"warmup": "warming up", "cooldown": "cooling down", "drain": "draining"}


class Display(Protocol):
    def __enter__(self) -> Display: ...
    def __exit__(self, *_: object) -> None: ...
    def update(self, snapshot: Mapping[str, Any]) -> None:
        """Shows the engine's live numbers; called a few times a second."""


def display(wanted: bool | None, planned: int | None, duration: float | None, title: str) -> Display:
    """A display for a load of `planned` requests or `duration` seconds; `wanted` None: where somebody is looking."""
    if wanted is False:
        return NoDisplay()
    if in_notebook():
        return NotebookDisplay(planned, duration, title)
    if wanted or sys.stderr.isatty():
        return TerminalDisplay(planned, duration, title)
    return NoDisplay()


def in_notebook() -> bool:
    if "IPython" not in sys.modules:
        return False
    shell = importlib.import_module("IPython").get_ipython()
    return type(shell).__name__ == "ZMQInteractiveShell"


class NoDisplay:
    def __enter__(self) -> NoDisplay:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, snapshot: Mapping[str, Any]) -> None:
        pass


class _Numbers:
    """The live numbers in words."""

    def __init__(self, planned: int | None, duration: float | None, title: str) -> None:
        self.planned = planned
        self.duration = duration
        self.title = title
        self._seen: deque[tuple[float, int]] = deque()
        self.share = 0.0
        self.head = title
        self.parts = ["connecting"]

    def take(self, snapshot: Mapping[str, Any]) -> None:
        elapsed = max(0.0, float(snapshot.get("elapsed_s") or 0.0))
        ended = int(snapshot.get("completed") or 0) + int(snapshot.get("failed") or 0)
        shares = [0.0]
        if self.planned:
            shares.append(ended / self.planned)
        if self.duration:
            shares.append(elapsed / self.duration)
        self.share = min(1.0, max(shares))
        count = f"{ended}/{self.planned}" if self.planned else str(ended)
        ending = snapshot.get("stopping") or snapshot.get("phase") == "drain"
        left = "" if ending else self._left(elapsed)
        self.head = f"{self._phase(snapshot)} {count} requests, {_clock(elapsed)}{left}"
        parts = [f"{self._rate(int(snapshot.get('output_events') or 0)):.0f} tokens/s"]
        if snapshot.get("stopping"):
            parts.insert(0, "finishing what runs; interrupt again to end now")
        parts.append(f"{snapshot.get('in_flight') or 0} in flight")
        parts.append(f"{snapshot.get('failed') or 0} failed")
        if snapshot.get("ttft_p50_ms") is not None:
            parts.append(
                f"TTFT p50 {_short(snapshot['ttft_p50_ms'])} p99 {_short(snapshot['ttft_p99_ms'])} ms"
            )
        if snapshot.get("worker_busy") is not None:
            parts.append(_client(float(snapshot["worker_busy"])))
        self.parts = parts

    def lines(self, width: int) -> list[str]:
        """What stands below the bar, on as many lines as it takes."""
        lines = [self.parts[0]]
        for part in self.parts[1:]:
            longer = f"{lines[-1]} · {part}"
            if len(longer) <= width:
                lines[-1] = longer
            else:
                lines.append(part)
        return lines

    def _phase(self, snapshot: Mapping[str, Any]) -> str:
        if snapshot.get("stopping"):
            return "stopping"
        return _PHASES.get(str(snapshot.get("phase")), "measuring")

    def _left(self, elapsed: float) -> str:
        return f", {_clock(elapsed / self.share - elapsed)} left" if 0.02 < self.share < 1 else ""

    def _rate(self, events: int) -> float:
        now = time.monotonic()
        self._seen.append((now, events))
        while len(self._seen) > 2 and now - self._seen[1][0] >= _RATE_WINDOW_S:
            self._seen.popleft()
        then, before = self._seen[0]
        return (events - before) / (now - then) if now > then else 0.0


class TerminalDisplay:
    """A bar and what goes with it on standard error, gone when the run is over."""

    def __init__(self, planned: int | None, duration: float | None, title: str) -> None:
        self._numbers = _Numbers(planned, duration, title)
        self._live: Live | None = None
        self._lines = 1
        """Below the bar; never fewer again, so that nothing jumps when numbers become shorter."""

    def __enter__(self) -> TerminalDisplay:
        from rich.console import Console
        from rich.live import Live

        # Repainted by `update` alone: no thread of its own beside the engine's.
        self._live = Live(
            self._paint(),
            console=Console(stderr=True),
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
        )
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def update(self, snapshot: Mapping[str, Any]) -> None:
        self._numbers.take(snapshot)
        if self._live is not None:
            self._live.update(self._paint(), refresh=True)

    def _paint(self) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        numbers = self._numbers
        line = Table.grid(padding=(0, 1))
        line.add_row(
            ProgressBar(total=1.0, completed=numbers.share, width=24), Text(numbers.head, no_wrap=True)
        )
        words = numbers.lines((self._live.console.width if self._live is not None else 80) - ECHO_WIDTH)
        self._lines = max(self._lines, len(words))
        words += [""] * (self._lines - len(words))
        return Group(line, *(Text(each, style="dim", no_wrap=True, overflow="ellipsis") for each in words))


class NotebookDisplay:
    """A bar in the cell's output, updated in place and gone when the run is over."""

    def __init__(self, planned: int | None, duration: float | None, title: str) -> None:
        self._numbers = _Numbers(planned, duration, title)
        self._bar = NotebookBar()

    def __enter__(self) -> NotebookDisplay:
        self._paint()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.clear()

    def update(self, snapshot: Mapping[str, Any]) -> None:
        self._numbers.take(snapshot)
        self._paint()

    def _paint(self) -> None:
        numbers = self._numbers
        self._bar.show(numbers.share, numbers.head, numbers.lines(_NOTEBOOK_WIDTH))


class NotebookBar:
    """A bar with text beside and below it: one output of a notebook's cell, which needs no widgets."""

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, share: float, head: str, lines: Sequence[str] = ()) -> None:
        painted = (
            f'<div style="font-family:monospace"><progress max="1" value="{share:.3f}" '
            f'style="width:20em"></progress> {"<br>".join(map(html.escape, (head, *lines)))}</div>'
        )
        self._put({"text/html": painted, "text/plain": head})

    def clear(self) -> None:
        if self._handle is not None:
            self._put({"text/html": "", "text/plain": ""})

    def _put(self, painted: dict[str, str]) -> None:
        if self._handle is None:
            display = importlib.import_module("IPython.display").display
            self._handle = display(painted, raw=True, display_id=True)
        else:
            self._handle.update(painted, raw=True)


def _client(busy: float) -> str:
    """How busy the client's busiest worker is, and how many times this load it could still take: at least, because
    a busier worker needs less for each event."""
    room = BUSY / busy if busy > 0 else float("inf")
    return f"client {busy:.0%}" + (f", headroom {room:.1f}×" if room < 100 else "")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _short(value: float) -> str:
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"
