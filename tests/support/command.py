"""The command line as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def environment(**more: str) -> dict[str, str]:
    """The environment of a child process that imports llmbench from this checkout, or as it is installed."""
    paths = [os.environ.get("PYTHONPATH", ""), str(ROOT / "python")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path), **more}


class Command:
    """`command("run", "--base-url", …)` runs `llmbench run --base-url …` in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def line(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "llmbench", *arguments]

    def __call__(
        self,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        preexec_fn: Callable[[], None] | None = None,
        timeout: float = 120,
    ) -> subprocess.CompletedProcess[str]:
        """What it said is checked to hold no traceback."""
        done = subprocess.run(
            self.line(*arguments),
            cwd=self.directory,
            env=environment(**(env or {})),
            preexec_fn=preexec_fn,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert "Traceback" not in done.stdout + done.stderr, done.stderr
        return done
