"""Two-stage interruption, with real signals to this process."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from llmbench.interrupts import EXIT_CODES, SIGNALS, Interrupts


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_stops_and_the_second_cancels(number: signal.Signals) -> None:
    calls: list[str] = []
    before = [signal.getsignal(each) for each in SIGNALS]
    with Interrupts(lambda: calls.append("stop"), lambda: calls.append("cancel")) as interrupts:
        assert interrupts.signum is None
        os.kill(os.getpid(), number)
        assert calls == ["stop"]
        assert interrupts.signum == number
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        assert calls == ["stop", "cancel"]
        assert interrupts.cancelled
    assert [signal.getsignal(each) for each in SIGNALS] == before


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupts(pytest.fail, pytest.fail):
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_in_another_thread_nothing_is_installed() -> None:
    seen: list[object] = []

    def enter() -> None:
        with Interrupts(pytest.fail, pytest.fail):
            seen.append(signal.getsignal(signal.SIGINT))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [before]


def test_exit_codes() -> None:
    assert [EXIT_CODES[number] for number in SIGNALS] == [130, 143, 129]
