"""A run that goes on: waits for the engine's threads without holding Python up, shows how far they are, and ends them
when that is asked for."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llmbench import _core, progress, secrecy
from llmbench.errors import (
    ClientLimitError,
    ConfigError,
    EngineError,
    LlmbenchError,
    ResultsError,
    ServerUnreachableError,
)
from llmbench.interrupts import Interrupts
from llmbench.precision import Watch
from llmbench.run_plan import RunPlan

_WAIT_S = 0.1
"""A signal is seen within this time: Python runs handlers between two waits."""
_PROGRESS_S = 0.25


class Running:
    """The engine under one plan."""

    def __init__(self, plan: RunPlan) -> None:
        self.plan = plan
        self._prepared: _core.Run
        """By `prepare`."""
        self._started: _core.Run | None = None
        self._wanted = ""
        self._interrupts: Interrupts | None = None
        self._signum: int | None = None
        self._precise = False
        """Whether it was ended because the target of `until_ci` was reached."""

    def stop(self) -> None:
        """Stops sending and lets running requests finish, from any thread, also before the engine started."""
        self._demand("stop")

    def cancel(self) -> None:
        """Cuts running requests, too."""
        self._demand("cancel")

    def take_signals_from(self, interrupts: Interrupts) -> None:
        """Another thread receives the signals: this one must not."""
        self._interrupts = interrupts

    def prepare(self, config: _core.RunConfig) -> None:
        """Makes the engine, which claims `config.result_path`."""
        with core_errors(self.plan.secrets()):
            self._prepared = _core.Run(config)

    def run(self, path: Path) -> int | None:
        """Starts the engine, which writes to `path`, and waits for its end; returns the signal that ended it early."""
        plan, options, engine = self.plan, self.plan.options, self._prepared
        display = progress.display(options.progress, options.num_requests, plan.load_s, plan.load.describe())
        interrupts = self._interrupts or Interrupts(self.stop, self.cancel)
        with contextlib.nullcontext() if self._interrupts else interrupts:
            try:
                with core_errors(plan.secrets()):
                    engine.start()
                self._started = engine
                if self._wanted:
                    self._demand(self._wanted)
                with display, self._until_precise(path):
                    self._wait(engine, display, interrupts)
            except KeyboardInterrupt:
                self._abandon(engine)
                raise
        self._signum = interrupts.signum
        return self._signum

    def finish(self) -> tuple[dict[str, Any], ResultsError | None]:
        """What the engine reports of itself, and why its rows could not be stored."""
        try:
            client = dict(self._prepared.finish())
        except _core.CoreError as error:
            return {}, ResultsError(str(error))
        if self._precise and self._signum is None:
            client |= {"interrupted": False, "stopped_because": "until-ci"}
        return client, None

    def digest(self) -> _core.RunDigest | None:
        """The rows that `finish` has stored, while they are in memory; None where they are too many for that."""
        return self._prepared.digest()

    def _until_precise(self, path: Path) -> contextlib.AbstractContextManager[object]:
        """Watches for the target of `until_ci`, where there is one, while the run goes on."""
        if self.plan.target is None:
            return contextlib.nullcontext()
        return Watch(path, self.plan.target, self._stop_precise)

    def _stop_precise(self) -> None:
        # A signal may have stopped the run already, which then counts.
        self._precise = not self._wanted
        self.stop()

    def _wait(self, engine: _core.Run, display: progress.Display, interrupts: Interrupts) -> None:
        shown = 0.0
        while True:
            try:
                over = engine.wait(_WAIT_S)
                now = time.monotonic()
                if over or now - shown >= _PROGRESS_S:
                    shown = now
                    snapshot = self._snapshot(engine)
                    display.update(snapshot)
                    if self.plan.options.on_progress is not None:
                        self.plan.options.on_progress(snapshot)
                if over:
                    return
            except KeyboardInterrupt:
                # Raised by a handler that is not ours: a notebook's, say. Ours has already counted its signal.
                if interrupts.cancelled:
                    raise
                interrupts.note(signal.SIGINT)

    def _snapshot(self, engine: _core.Run) -> dict[str, Any]:
        snapshot = engine.snapshot()
        snapshot.setdefault("planned", self.plan.options.num_requests)
        snapshot["duration_s"] = self.plan.load_s
        if snapshot["phase"] == "measure":
            snapshot["phase"] = self.plan.phase_at(snapshot["elapsed_s"])
        snapshot["stopping"] = bool(self._wanted)
        return snapshot

    def _abandon(self, engine: _core.Run) -> None:
        """The second Ctrl-C: ends everything, and leaves a valid file behind."""
        engine.cancel()
        with contextlib.suppress(_core.CoreError, LlmbenchError, KeyboardInterrupt):
            if engine.wait(2.0):
                engine.finish()

    def _demand(self, what: str) -> None:
        # Called from signal handlers, which may interrupt the thread that holds the lock: no waiting for it.
        if what == "cancel" or not self._wanted:
            self._wanted = what
        engine = self._started
        if engine is None:
            return
        if what == "cancel":
            engine.cancel()
        else:
            engine.stop()


@contextlib.contextmanager
def core_errors(known_secrets: tuple[str, ...]) -> Iterator[None]:
    """The core's errors as those of llmbench.errors."""
    try:
        yield
    except _core.CoreError as error:
        kind = {
            "config": ConfigError,
            "unreachable": ServerUnreachableError,
            "limit": ClientLimitError,
            "results": ResultsError,
        }.get(getattr(error, "code", ""), EngineError)
        raise kind(secrecy.scrub(str(error), known_secrets)) from None
