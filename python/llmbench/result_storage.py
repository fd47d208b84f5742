"""NAME.llmbench as a file: its rows, its `run` row; and JSON that is whole or not there."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llmbench import secrecy
from llmbench.errors import ResultsError

if TYPE_CHECKING:
    from llmbench._core import RecordTable

SCHEMA_VERSION = 1


def load_table(path: Path) -> RecordTable:
    from llmbench import _core

    try:
        return _core.RecordTable.load(str(path))
    except _core.CoreError as error:
        raise ResultsError(str(error)) from None


def read_run(path: Path) -> dict[str, Any]:
    """The `run` row of a .llmbench file."""
    try:
        with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
            row = database.execute("SELECT json FROM run").fetchone()
    except sqlite3.Error as error:
        raise ResultsError(f"{path} is not a result file: {error}") from None
    try:
        stored = json.loads(row[0], parse_constant=lambda name: None) if row else {}
    except (ValueError, RecursionError) as error:
        raise ResultsError(f"{path}: its run row is damaged: {error}") from None
    return stored if isinstance(stored, dict) else {}


def write_run(path: Path, stored: Mapping[str, Any]) -> None:
    """Rewrites the `run` row."""
    text = json_text(stored)
    try:
        with contextlib.closing(sqlite3.connect(path)) as database, database:
            if database.execute("UPDATE run SET json = ?", (text,)).rowcount == 0:
                database.execute("INSERT INTO run(json) VALUES (?)", (text,))
    except sqlite3.Error as error:
        raise _unwritable(path, error) from None


def blank_secrets(path: Path, secrets: tuple[str, ...]) -> bool:
    """Blanks secrets that a server repeated in its answers, so that their bytes are nowhere in the file; whether there
    were any."""
    if not secrets:
        return False
    found = 0
    try:
        with contextlib.closing(sqlite3.connect(path)) as database, database:
            database.execute("PRAGMA secure_delete = ON")
            places = [("request", "error")]
            if database.execute("SELECT 1 FROM sqlite_master WHERE name = 'text'").fetchone():
                places.append(("text", "text"))
            for table, column in places:
                for secret in secrets:
                    found += database.execute(
                        f"UPDATE {table} SET {column} = replace({column}, ?, ?) WHERE instr({column}, ?)",
                        (secret, secrecy.REDACTED, secret),
                    ).rowcount
    except sqlite3.Error as error:
        raise _unwritable(path, error) from None
    return found > 0


def mark_cooldown(path: Path, from_s: float) -> None:
    """Gives the requests from there on, of the load's cool-down, their phase."""
    try:
        with contextlib.closing(sqlite3.connect(path)) as database, database:
            database.execute(
                "UPDATE request SET phase = 'cooldown' WHERE phase != 'warmup' AND ifnull(sent_ns, scheduled_ns) >= ?",
                (round(from_s * 1e9),),
            )
    except sqlite3.Error as error:
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: sqlite3.Error) -> ResultsError:
    return ResultsError(f"cannot write {path}: {error}; free some space or use another --result-dir")


def json_text(stored: Mapping[str, Any]) -> str:
    return json.dumps(finite(stored), ensure_ascii=False, allow_nan=False)


def write_json(path: Path, content: Mapping[str, Any]) -> Path:
    """Whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(content, file, ensure_ascii=False, allow_nan=False, indent=1)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise ResultsError(f"cannot write {path}: {error.strerror or error}") from None
    return path


def finite(value: Any) -> Any:
    """A copy of plain data as JSON can hold it: NaN and infinities become None, NumPy's numbers Python's."""
    if isinstance(value, Mapping):
        return {str(key): finite(each) for key, each in value.items()}
    if isinstance(value, np.ndarray):
        return finite(value.tolist())
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
