"""The `llmbench` command: finds the sub-command's module, runs its `main`, and turns errors into one line
and an exit code."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence

COMMANDS: dict[str, str] = {
    "run": "one measurement of a running server",
    "sweep": "server settings × client settings; resumes where it stopped",
    "sim": "the simulated LLM server",
    "selftest": "this machine's load ceiling and timing error",
    "ping": "one request, shown event by event",
    "backends": "the servers it knows, and what each can report",
    "plot": "one figure from results",
    "doctor": "what is installed and what is missing",
}
"""What `llmbench --help` lists, in this order; each is the module of that name in this package."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `llmbench ARGV…` and returns its exit code."""
    args = list(sys.argv[1:] if argv is None else argv)
    if not args or args[0] in ("-h", "--help", "help"):
        print(_usage())
        return 0 if args else 2
    if args[0] in ("-V", "--version", "version"):
        from llmbench import __version__

        print(f"llmbench {__version__}")
        return 0
    name = args[0].replace("_", "-")
    if name not in _available():
        near = difflib.get_close_matches(name, _available(), n=1)
        hint = f"did you mean {near[0]}?" if near else "llmbench --help lists them"
        print(f"llmbench: unknown command {args[0]!r}: {hint}", file=sys.stderr)
        return 2
    module = importlib.import_module(f"llmbench.cli.{name.replace('-', '_')}")
    return execute(f"llmbench {name}", module.main, args[1:])


def execute(prog: str, command: Callable[[list[str]], int], args: Sequence[str] | None = None) -> int:
    """Runs one command's `main`, errors as one line on stderr; what `python -m llmbench.NAME` calls too."""
    try:
        return command(list(sys.argv[1:] if args is None else args))
    except KeyboardInterrupt as interrupt:
        told = f": {interrupt}" if interrupt.args else ""
        print(f"{prog}: interrupted{told}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output went away (`| head`): nothing more can be said to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 2
    except Exception as error:
        from llmbench.errors import LlmbenchError

        if not isinstance(error, LlmbenchError):
            raise
        print(f"{prog}: {error}", file=sys.stderr)
        return error.exit_code


def _available() -> list[str]:
    return [name for name in COMMANDS if importlib.util.find_spec(f"llmbench.cli.{name.replace('-', '_')}")]


def _usage() -> str:
    lines = [f"  {name:<10} {COMMANDS[name]}" for name in _available()]
    return "\n".join(
        [
            "usage: llmbench COMMAND [flags]",
            "",
            "Measures LLM inference servers from the outside.",
            "",
            *lines,
            "",
            "llmbench COMMAND --help lists a command's flags. To try it without a server:",
            "",
            "  llmbench sim &",
            "  llmbench run --max-concurrency 16 --num-prompts 200",
        ]
    )
