"""`llmbench sim`: the simulated LLM server in the foreground, until SIGINT or SIGTERM."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from llmbench import _core
from llmbench.cli.flags import Parser
from llmbench.errors import ConfigError, LlmbenchError, ResultsError

DEFAULT_PORT = 8000
_MOST_CHOICES = 9
"""As many as stand beside a flag; more are listed in its help."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LOOK_FOR_PARENT_S = 0.25


def parser() -> argparse.ArgumentParser:
    """The core's table of options as flags, and the few that concern this process."""
    result = Parser(
        prog="llmbench sim",
        usage="%(prog)s [flags]",
        description="A simulated LLM server that speaks the OpenAI API and the protocols of other servers. It models "
        "continuous batching of well-known models on well-known GPUs, or, with --fixed, sends every token at its "
        "planned time. docs/simulator.md explains it.",
    )
    groups: dict[str, argparse._ArgumentGroup] = {}
    for option in _core.sim_options():
        group = groups.setdefault(option["group"], result.add_argument_group(option["group"]))
        _add_flag(group, option)
    process = result.add_argument_group("this process")
    process.add_argument(
        "--die-with-parent",
        "--exit-with-parent",
        action="store_true",
        help="end when the process that started it has ended",
    )
    process.add_argument(
        "--ready-fd",
        type=int,
        metavar="FD",
        help="file descriptor to write the ports and URLs to, as JSON",
    )
    process.add_argument(
        "--port-file", type=Path, metavar="FILE", help="file to write the ports to, one per line"
    )
    return result


def main(args: list[str]) -> int:
    given = vars(parser().parse_args(args))
    die_with_parent: bool = given.pop("die_with_parent")
    ready_fd: int | None = given.pop("ready_fd")
    port_file: Path | None = given.pop("port_file")
    parent = os.getppid()
    options = {name: value for name, value in given.items() if value is not None}
    options.setdefault("port", str(DEFAULT_PORT))

    # Blocked before the core starts its threads, which inherit the mask: the signals are ours to wait for.
    old_mask = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        server = _start(options)
        try:
            _announce(server, ready_fd, port_file)
            _wait(parent if die_with_parent else None)
        finally:
            server.stop()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old_mask)
    return 0


def _add_flag(group: argparse._ArgumentGroup, option: dict[str, Any]) -> None:
    flag = "--" + option["name"].replace("_", "-")
    default = option["default"]
    text = option["help"].replace("%", "%%")
    if option["kind"] == "bool":
        # None when not given, so that the core's own default and its rules decide.
        action = argparse.BooleanOptionalAction
        state = "on" if default == "true" else "off"
        group.add_argument(flag, action=action, default=None, help=f"{text} (default {state})")
        return
    if option["name"] == "port":
        default = str(DEFAULT_PORT)
    choices: list[str] = option["choices"]
    metavar = {"int": "N", "float": "X"}.get(option["kind"], "TEXT") if not choices else None
    if len(choices) > _MOST_CHOICES:
        metavar, text = "NAME", f"{text}: {', '.join(choices)}"
    group.add_argument(
        flag,
        metavar=metavar,
        choices=choices or None,
        help=f"{text} (default {default})" if default else text,
    )


def _start(options: dict[str, Any]) -> _core.SimServer:
    try:
        server = _core.SimServer(options)
        server.start()
    except _core.CoreError as error:
        kind = {"config": ConfigError, "results": ResultsError}.get(error.code, LlmbenchError)
        raise kind(str(error)) from None
    return server


def _announce(server: _core.SimServer, ready_fd: int | None, port_file: Path | None) -> None:
    ports = [int(url.rpartition(":")[2]) for url in server.urls]
    for url in server.urls:
        print(f"llmbench sim: {url} ({server.description})", flush=True)
    if port_file is not None:
        unfinished = port_file.with_name(port_file.name + ".tmp")
        try:
            unfinished.write_text("".join(f"{port}\n" for port in ports))
            unfinished.replace(port_file)
        except OSError as error:
            raise ResultsError(f"cannot write the port file {port_file}: {error.strerror}") from None
    if ready_fd is not None:
        try:
            with os.fdopen(ready_fd, "w") as ready:
                json.dump({"ports": ports, "urls": server.urls}, ready)
        except OSError as error:
            raise ConfigError(f"--ready-fd {ready_fd} cannot be written to: {error.strerror}") from None


def _wait(parent: int | None) -> None:
    """Until a signal comes, or the parent has ended.

    PR_SET_PDEATHSIG would tell of the end of the *thread* that started us, which need not be the end of its process:
    look at the parent's id instead.
    """
    if parent is None:
        signal.sigwait(_SIGNALS)
        return
    while os.getppid() == parent:
        came = signal.sigtimedwait(_SIGNALS, _LOOK_FOR_PARENT_S)
        # A process that was stopped and continued, and slept past its time, is told of signal 0.
        if came is not None and came.si_signo in _SIGNALS:
            return
    print("llmbench sim: the parent process has ended", file=sys.stderr)
