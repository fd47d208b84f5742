"""Finding a server's program and asking which version it is."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from llmbench.errors import ConfigError
from llmbench.launchers.launcher import LaunchOptions, Program

_PATIENCE_S = 60.0
_VERSIONS = """
import importlib.metadata, json, sys
found = {"python": sys.version.split()[0]}
for name in sys.argv[1:]:
    try:
        found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
print(json.dumps(found))
"""


def python_program(
    options: LaunchOptions,
    *,
    title: str,
    package: str,
    module: Sequence[str],
    binary: str | None = None,
    binary_words: Sequence[str] = (),
    others: Sequence[str] = ("torch", "transformers"),
    install: str,
    imported: str | None = None,
) -> Program:
    """A server that is a Python package (`imported`, where that is not its name): `--server-binary`,
    `--server-python`, its script on PATH, or our own interpreter where the package is there. Raises ConfigError where
    the package is not in the interpreter found."""
    if options.binary is not None:
        path = executable(options.binary, "--server-binary")
        argv: tuple[str, ...] = (path, *binary_words)
        python = interpreter_of(path)
    elif options.python is not None:
        python = executable(options.python, "--server-python")
        argv = (python, "-m", *module)
    elif binary is not None and (found := shutil.which(binary)):
        argv, python = (found, *binary_words), interpreter_of(found)
    else:
        python = sys.executable
        argv = (python, "-m", *module)
        if importlib.util.find_spec(imported or package) is None:
            on_path = f"no {binary} on PATH and " if binary else ""
            raise ConfigError(
                f"{title} is not installed here ({on_path}no package {package} in {sys.executable}): {install}, or "
                f"name where it is with --server-python{' or --server-binary' if binary else ''}"
            )
    if python is None:  # a wrapper or a native program: it can be started, and says nothing about itself
        return Program(argv)
    versions = versions_in(python, (package, *others))
    if package not in versions and options.binary is None:
        raise ConfigError(
            f"{title} is not installed for {python} (no package {package}): {install}, or name another interpreter "
            "with --server-python"
        )
    return Program(argv, versions, python)


def native_program(
    options: LaunchOptions, *, title: str, binary: str, install: str, version_flag: str | None = "--version"
) -> Program:
    """A server that is a binary: `--server-binary`, or on PATH."""
    path = executable(options.binary, "--server-binary") if options.binary else shutil.which(binary)
    if path is None:
        raise ConfigError(
            f"{title} is not installed here (no {binary} on PATH): {install}, or name it with --server-binary"
        )
    return Program((path,), {} if version_flag is None else version_of(path, version_flag))


def executable(name: str, flag: str) -> str:
    """The path of a program that the user named. Raises ConfigError where it cannot be run."""
    found = shutil.which(str(Path(name).expanduser()) if os.sep in name else name)
    if found is None:
        exists = os.sep in name and Path(name).expanduser().exists()
        raise ConfigError(
            f"{flag} {name}: {'it is not executable' if exists else 'there is no such program'}: give its full path"
        )
    return found


def interpreter_of(script: str) -> str | None:
    """The interpreter that a script names in its first line, where that is a Python."""
    try:
        with Path(script).open("rb") as file:
            first = file.readline(512).decode(errors="replace")
    except OSError:
        return None
    if not first.startswith("#!"):
        return None
    words = first[2:].split()
    if words and Path(words[0]).name == "env":
        words = [word for word in words[1:] if not word.startswith("-")]
    if not words or not Path(words[0]).name.startswith("python"):
        return None
    return shutil.which(words[0])


def versions_in(python: str, packages: Sequence[str]) -> dict[str, str]:
    """The versions of those of the packages that this interpreter has, and its own."""
    told = _output([python, "-c", _VERSIONS, *packages])
    try:
        found = json.loads(told.splitlines()[-1]) if told else {}
    except ValueError:
        found = {}
    if not isinstance(found, Mapping) or "python" not in found:
        raise ConfigError(f"{python} does not run as a Python interpreter: give another with --server-python")
    return {str(name): str(version) for name, version in found.items()}


def version_of(binary: str, flag: str) -> dict[str, str]:
    """What a program calls its version, by its name; nothing where it does not tell."""
    lines = [line.strip() for line in _output([binary, flag]).splitlines()]
    told = next((line for line in lines if any(character.isdigit() for character in line)), "")
    return {Path(binary).name: told[:200]} if told else {}


def _output(argv: Sequence[str]) -> str:
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=_PATIENCE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout
