"""Reading result files: what comes back, as which arrays, and what is said of files that are no results."""

from __future__ import annotations

import gc
import sqlite3
import weakref
from pathlib import Path

import numpy as np
import pytest
from support import result_file

from llmbench import _core

# fmt: off
OUTCOMES = [
    "ok", "cut", "dns", "connect_refused", "timeout_connect", "tls_verify", "tls_expired", "tls_handshake",
    "tls_client_cert", "client_limit", "empty_reply", "reset_before_headers", "reset_mid_stream",
    "truncated", "truncated_no_done", "timeout_send", "timeout_first_byte", "timeout_idle", "timeout_total",
    "protocol", "header_too_large", "http_status", "http_4xx", "http_429", "http_503", "http_5xx",
    "redirect", "content_type", "content_encoding", "empty_stream", "event_too_large", "sse_json_invalid",
    "bad_event", "schema", "server_error_event",
]
# fmt: on


def test_outcomes_are_those_of_the_documentation() -> None:
    assert list(_core.OUTCOMES) == OUTCOMES
    assert _core.ABSENT_NS == -(2**63)


@pytest.fixture
def result_path(tmp_path: Path) -> Path:
    rows = [
        {
            "id": 1,
            "workload": 4,
            "sent_ns": 1000,
            "first_token_ns": 1500,
            "end_ns": 3000,
            "finish_reason": "a_reason_of_more_than_24_letters",
            "output_tokens": 3,
            "token_source": "usage",
            "events": 2,
            "flags": result_file.REUSED_CONNECTION,
        },
        {"id": 0, "phase": "drain", "outcome": "timeout_idle", "error": "no byte for 120 s", "endpoint": "b"},
        {"id": -1, "phase": "warmup", "sent_ns": -500},
    ]
    events = {1: result_file.blob(1000, [(1500, 1, 1), (2500, 2, 3)])}
    return result_file.write(tmp_path / "a.llmbench", rows, events)


def test_rows_come_in_schedule_order_with_every_column(result_path: Path) -> None:
    requests = _core.RecordTable.load(str(result_path)).requests
    assert set(requests.dtype.names or ()) == set(result_file.COLUMNS) - {"error"}
    assert requests.dtype.itemsize == 224
    assert requests["id"].tolist() == [-1, 0, 1]
    assert [("warmup", "measure", "drain")[p] for p in requests["phase"]] == ["warmup", "drain", "measure"]
    assert [_core.OUTCOMES[o] for o in requests["outcome"]] == ["ok", "timeout_idle", "ok"]
    assert requests["sent_ns"].tolist() == [-500, _core.ABSENT_NS, 1000]
    assert requests["workload"].tolist() == [-1, -1, 4]
    assert requests["output_tokens"].tolist() == [-1, -1, 3]
    assert requests["token_source"].tolist() == [0, 0, 1]
    assert requests["finish_reason"].tolist() == [b"", b"", b"a_reason_of_more_than_24"]
    assert requests["endpoint"].tolist() == [0, 1, 0]
    assert requests["flags"].tolist() == [0, 0, result_file.REUSED_CONNECTION]


def test_events_and_texts(result_path: Path) -> None:
    table = _core.RecordTable.load(str(result_path))
    assert table.event_offsets.tolist() == [0, 0, 0, 2]
    assert table.event_times_ns.tolist() == [1500, 2500]
    assert table.event_tokens.tolist() == [1, 2]
    assert table.event_flags.tolist() == [1, 3]
    assert table.errors == ["", "no byte for 120 s", ""]
    assert table.texts == []
    assert table.endpoints == ["http://127.0.0.1", "b"]


def test_arrays_are_read_only_views_that_keep_their_table(result_path: Path) -> None:
    table = _core.RecordTable.load(str(result_path))
    alive = weakref.ref(table)
    requests = table.requests
    assert not requests.flags.writeable
    assert not requests.flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        requests["sent_ns"][0] = 0
    assert np.shares_memory(requests, table.requests)
    del table
    gc.collect()
    assert alive() is not None
    assert requests["id"].tolist() == [-1, 0, 1]
    del requests
    gc.collect()
    assert alive() is None


def test_a_result_without_requests(tmp_path: Path) -> None:
    table = _core.RecordTable.load(str(result_file.write(tmp_path / "a.llmbench", [])))
    assert len(table.requests) == 0
    assert table.event_offsets.tolist() == [0]
    assert len(table.event_times_ns) == 0
    assert table.errors == []


def test_a_torn_blob_gives_the_events_before_the_tear(tmp_path: Path) -> None:
    whole = result_file.blob(0, [(10, 1, 1), (300, 1, 1), (700, 1, 1)])
    path = result_file.write(tmp_path / "a.llmbench", [{"id": 0, "sent_ns": 0, "events": 3}], {0: whole[:-1]})
    assert _core.RecordTable.load(str(path)).event_times_ns.tolist() == [10, 300]


def test_a_file_cut_short_is_an_error_unless_it_is_to_be_salvaged(tmp_path: Path) -> None:
    rows = [{"id": i, "sent_ns": 0, "finish_reason": "stop" * 6} for i in range(2000)]
    path = result_file.write(tmp_path / "a.llmbench", rows)
    whole = _core.RecordTable.load(str(path), salvage=True)
    assert (len(whole.requests), whole.damage) == (2000, "")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(_core.CoreError, match="malformed"):
        _core.RecordTable.load(str(path))
    saved = _core.RecordTable.load(str(path), salvage=True)
    assert 0 < len(saved.requests) < 2000
    assert "are missing" in saved.damage


def test_what_is_not_utf8_is_replaced(tmp_path: Path) -> None:
    path = result_file.write(tmp_path / "a.llmbench", [{"id": 0, "outcome": "protocol"}])
    with sqlite3.connect(path) as db:
        db.execute("UPDATE request SET error = CAST(x'61ff' AS TEXT)")
    db.close()
    assert _core.RecordTable.load(str(path)).errors == ["a�"]


def test_files_that_are_no_results(tmp_path: Path) -> None:
    with pytest.raises(_core.CoreError, match=r"no result file .*missing.llmbench"):
        _core.RecordTable.load(str(tmp_path / "missing.llmbench"))

    text = tmp_path / "text.llmbench"
    text.write_text("no database " * 100)
    with pytest.raises(
        _core.CoreError, match=r"text.llmbench cannot be read as a result: file is not a database"
    ):
        _core.RecordTable.load(str(text))

    foreign = tmp_path / "foreign.llmbench"
    with sqlite3.connect(foreign) as db:
        db.execute("CREATE TABLE t(x)")
    db.close()
    with pytest.raises(_core.CoreError, match="a database of something else"):
        _core.RecordTable.load(str(foreign))

    newer = result_file.write(tmp_path / "newer.llmbench", [], version=2)
    with pytest.raises(_core.CoreError, match=r"schema version 2.*update llmbench"):
        _core.RecordTable.load(str(newer))
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(p.name for p in (foreign, newer, text))
