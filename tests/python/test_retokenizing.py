"""Tokens counted after the run."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support import result_file

from llmbench import retokenizing
from llmbench.errors import ResultsError


class Words:
    """A tokenizer whose tokens are words."""

    def encode_batch(self, texts: list[str], add_special_tokens: bool) -> list[Any]:
        assert not add_special_tokens
        return [SimpleNamespace(ids=text.split()) for text in texts]


ROWS = [
    {"id": 0, "output_tokens": 7, "token_source": "usage"},
    {"id": 1, "output_tokens": 2, "token_source": "events"},
    {"id": 2, "output_tokens": None, "token_source": None},
    {"id": 3, "output_tokens": 9, "token_source": "events", "outcome": "http_5xx"},
    {"id": 4, "output_tokens": 4, "token_source": "token_ids"},
    {"id": 5, "output_tokens": 1, "token_source": "events", "outcome": "cut"},
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = result_file.write(tmp_path / "a.llmbench", ROWS)
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE text(request_id INTEGER PRIMARY KEY, text TEXT NOT NULL)")
        texts = [(row["id"], "secret words here"[: 17 - 2 * i]) for i, row in enumerate(ROWS[:5])]
        database.executemany("INSERT INTO text VALUES (?,?)", [*texts, (5, "")])
    database.close()
    return path


def counts(path: Path) -> list[tuple[int | None, str | None]]:
    with sqlite3.connect(path) as database:
        found = database.execute("SELECT output_tokens, token_source FROM request ORDER BY id").fetchall()
    database.close()
    return found


def test_what_the_server_did_not_count_is_counted(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retokenizing, "_BLOCK", 2)
    assert retokenizing.count_answers(file, Words(), keep_texts=True) == 3
    assert counts(file) == [
        (7, "usage"),
        (3, "tokenizer"),
        (2, "tokenizer"),
        (9, "events"),
        (4, "token_ids"),
        (0, "tokenizer"),
    ]
    assert b"secret words" in file.read_bytes()


def test_texts_are_kept_only_where_asked_for(file: Path) -> None:
    assert retokenizing.count_answers(file, Words(), keep_texts=False) == 3
    assert b"secret" not in file.read_bytes()
    assert retokenizing.count_answers(file, Words(), keep_texts=False) == 0


def test_what_both_have_counted_is_compared(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retokenizing, "_BLOCK", 1)
    # "secret words here" for 7 and "secret wo" for 4.
    expected = {"requests": 2, "server": 11, "tokenizer": 5}
    assert retokenizing.compare_counts(file, Words()) == expected
    retokenizing.count_answers(file, Words(), keep_texts=True)
    assert retokenizing.compare_counts(file, Words()) == expected
    retokenizing.count_answers(file, Words(), keep_texts=False)
    assert retokenizing.compare_counts(file, Words()) is None


def test_a_file_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"not a database, and longer than one would think" * 50)
    with pytest.raises(ResultsError, match="cannot write"):
        retokenizing.count_answers(tmp_path / "x", Words(), keep_texts=True)
