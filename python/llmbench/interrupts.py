"""Two-stage interruption: the first signal asks a run to stop and drain, the second ends it now.

In the main thread SIGINT, SIGTERM and SIGHUP are caught while a run goes on, and their handlers put back afterwards; in
any other thread Python delivers no signals, and whoever owns the run calls its stop.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


class Interrupts:
    """`with Interrupts(stop, cancel):` calls `stop` on the first signal; on the second `cancel`, then raises
    KeyboardInterrupt."""

    def __init__(self, stop: Callable[[], None], cancel: Callable[[], None]) -> None:
        self._stop = stop
        self._cancel = cancel
        self._previous: dict[int, Any] = {}
        self.signum: int | None = None
        """The first signal, once there was one."""
        self.cancelled = False
        """Whether there was a second."""

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                # A signal that was ignored on purpose (nohup) stays ignored.
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            # A handler that was not set from Python reads as None and cannot be put back.
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        self._previous.clear()

    def note(self, number: int) -> None:
        """An interruption, however it came."""
        if self.signum is None:
            self.signum = number
            self._stop()
        else:
            self.cancelled = True
            self._cancel()
            raise KeyboardInterrupt

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self.note(number)
