"""Counting the tokens of answers after a run, where the server did not say how many they were."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

from llmbench.errors import ResultsError

_BLOCK = 4096


def count_answers(path: Path, counter: Any, *, keep_texts: bool) -> int:
    """Gives every answered request without a count of the server's the number of tokens that `counter`, a tokenizer,
    finds in its text; returns how many there were. Without `keep_texts` the texts are then taken out of the file."""
    try:
        with contextlib.closing(sqlite3.connect(path)) as database:
            with database:
                counted = _count(database, counter)
                if not keep_texts:
                    database.execute("PRAGMA secure_delete = ON")
                    database.execute("DROP TABLE IF EXISTS text")
            if not keep_texts:
                database.execute("VACUUM")
    except sqlite3.Error as error:
        raise ResultsError(
            f"cannot write {path}: {error}; free some space or use another --result-dir"
        ) from None
    return counted


def _count(database: sqlite3.Connection, counter: Any) -> int:
    if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'text'").fetchone():
        return 0
    uncounted = database.execute(
        "SELECT request.id, text.text FROM request JOIN text ON text.request_id = request.id "
        "WHERE request.outcome IN ('ok', 'cut') AND COALESCE(request.token_source, '') "
        "NOT IN ('usage', 'token_ids') "
        "ORDER BY request.id"
    )
    number = 0
    while block := uncounted.fetchmany(_BLOCK):
        found = counter.encode_batch([text for _, text in block], add_special_tokens=False)
        database.executemany(
            "UPDATE request SET output_tokens = ?, token_source = 'tokenizer' WHERE id = ?",
            [(len(tokens.ids), request) for tokens, (request, _) in zip(found, block, strict=True)],
        )
        number += len(block)
    return number
