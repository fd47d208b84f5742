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


def compare_counts(path: Path, counter: Any) -> dict[str, int] | None:
    """How many tokens the server and `counter`, a tokenizer, find in the answers that both have counted; None without
    any."""
    try:
        with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
            if not _has_texts(database):
                return None
            counted = database.execute(
                "SELECT text.text, request.output_tokens FROM request JOIN text ON text.request_id = request.id "
                "WHERE request.outcome = 'ok' AND request.token_source IN ('usage', 'token_ids')"
            )
            requests = server = tokenizer = 0
            while block := counted.fetchmany(_BLOCK):
                found = counter.encode_batch([text for text, _ in block], add_special_tokens=False)
                requests += len(block)
                server += sum(tokens for _, tokens in block)
                tokenizer += sum(len(tokens.ids) for tokens in found)
    except sqlite3.Error as error:
        raise ResultsError(f"cannot read {path}: {error}") from None
    return {"requests": requests, "server": server, "tokenizer": tokenizer} if requests else None


def _has_texts(database: sqlite3.Connection) -> bool:
    return bool(database.execute("SELECT 1 FROM sqlite_master WHERE name = 'text'").fetchone())


def _count(database: sqlite3.Connection, counter: Any) -> int:
    if not _has_texts(database):
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
