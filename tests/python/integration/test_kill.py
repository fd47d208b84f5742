"""What is left of a run that was killed or interrupted."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.command import Command, environment
from support.scripted_server import Pause, Request, ScriptedServer, Step, healthy, models

LOAD = (
    *("--model", "m", "--num-prompts", "100000", "--max-concurrency", "8"),
    *("--random-input-len", "4", "--random-output-len", "4", "--no-progress"),
)


def paced(request: Request) -> Iterator[Step]:
    """Some four hundred answers a second from eight connections."""
    yield Pause(0.02)
    yield from healthy(request)


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


@pytest.fixture
def result(tmp_path: Path) -> Callable[[], Path]:
    def find() -> Path:
        [path] = (tmp_path / "results").glob("*.llmbench")
        return path

    return find


def test_kill_loses_at_most_the_last_second(
    command: Command, result: Callable[[], Path], tmp_path: Path
) -> None:
    with ScriptedServer(paced, get=models("m")) as server:
        run = subprocess.Popen(
            command.line("run", "--base-url", server.url, *LOAD),
            cwd=tmp_path,
            env=environment(),
            stdout=subprocess.DEVNULL,
        )
        try:
            wait_until(lambda: bool(server.requests))
            started = server.requests[0].received_s
            wait_until(lambda: server.requests[-1].received_s > started + 4)
        finally:
            killed = time.monotonic()
            run.kill()
            run.wait()

    connection = sqlite3.connect(result())
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    kept = {
        f"{number}"
        for (number,) in connection.execute(
            "SELECT id FROM request WHERE outcome = 'ok' AND end_ns IS NOT NULL"
        )
    }
    [(stored,)] = connection.execute("SELECT * FROM run").fetchall()
    connection.close()
    assert json.loads(stored)["status"] == "running"
    # A commit a second, and the same again for a busy machine; an answer takes a moment after its request.
    safe = {r.id.rsplit("-", 1)[1] for r in server.requests if r.received_s < killed - 2.5}
    assert len(safe) > 20
    assert safe <= kept


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_an_interrupted_run_keeps_its_results(
    command: Command, result: Callable[[], Path], tmp_path: Path, number: signal.Signals, code: int
) -> None:
    with ScriptedServer(paced, get=models("m")) as server:
        run = subprocess.Popen(
            command.line("run", "--base-url", server.url, "--save-result", *LOAD),
            cwd=tmp_path,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_until(lambda: len(server.requests) > 50)
        run.send_signal(number)
        output, errors = run.communicate(timeout=60)
        asked = len(server.requests)
    assert run.returncode == code, errors
    assert "Traceback" not in errors
    assert "interrupted" in (output + errors).lower()
    connection = sqlite3.connect(result())
    counts = dict(connection.execute("SELECT outcome, count(*) FROM request GROUP BY outcome"))
    connection.close()
    # What was in flight was waited for, and nothing was asked that has no row.
    assert counts == {"ok": asked}
    saved = json.loads(result().with_suffix(".json").read_text())
    assert saved["completed"] == asked
    assert sorted(path.suffix for path in (tmp_path / "results").iterdir()) == [".json", ".llmbench"]
