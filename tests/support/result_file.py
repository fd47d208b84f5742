"""Result files written with the standard library alone, from the documented schema: what the core must read."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# fmt: off
COLUMNS = (
    "id", "phase", "workload", "endpoint", "model", "session", "turn", "worker", "connection", "attempts",
    "scheduled_ns", "slot_ns", "connected_ns", "sent_ns", "send_done_ns", "first_byte_ns", "first_token_ns",
    "first_answer_ns", "last_token_ns", "end_ns", "dns_ns", "connect_ns", "tls_ns", "status", "outcome",
    "finish_reason", "error", "prompt_tokens", "cached_tokens", "asked_tokens", "output_tokens",
    "reasoning_tokens", "token_source", "events", "merged_events", "bytes_in", "bytes_out", "flags",
)
# fmt: on

KERNEL, MERGED = 1, 2
REUSED_CONNECTION, NOT_STREAMED = 1, 4

Row = Mapping[str, Any]
"""Column values of one request; the others are NULL, or 0 where a row always has a number."""
Event = tuple[int, int, int]
"""(time in ns, tokens, flags)"""

ALWAYS = {
    "phase": "measure",
    "outcome": "ok",
    "endpoint": "http://127.0.0.1",
    "model": "m",
    "worker": 0,
    "attempts": 1,
    "dns_ns": 0,
    "connect_ns": 0,
    "tls_ns": 0,
    "status": 200,
    "events": 0,
    "merged_events": 0,
    "bytes_in": 0,
    "bytes_out": 0,
    "flags": 0,
}


def varint(value: int) -> bytes:
    """LEB128."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def blob(origin_ns: int, events: Sequence[Event]) -> bytes:
    """The `event` table's blob: per event varint(Δ ns), varint(tokens << 3 | flags)."""
    out = bytearray()
    previous = origin_ns
    for time_ns, tokens, flags in events:
        out += varint(time_ns - previous) + varint(tokens << 3 | flags)
        previous = time_ns
    return bytes(out)


def write(
    path: Path,
    rows: Sequence[Row],
    events: Mapping[int, bytes] | None = None,
    *,
    run_json: str = "{}",
    version: int = 1,
) -> Path:
    """A result file with these requests and these blobs by request id."""
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version={version}")
        db.execute("CREATE TABLE run(json TEXT NOT NULL)")
        db.execute("INSERT INTO run VALUES (?)", (run_json,))
        db.execute("CREATE TABLE request(id INTEGER PRIMARY KEY, " + ", ".join(COLUMNS[1:]) + ")")
        db.execute("CREATE TABLE event(request_id INTEGER PRIMARY KEY, events BLOB)")
        db.execute("CREATE TABLE sample(t_ns, source, name, value)")
        insert = f"INSERT INTO request VALUES ({','.join('?' * len(COLUMNS))})"
        db.executemany(insert, [[{**ALWAYS, **row}.get(name) for name in COLUMNS] for row in rows])
        db.executemany("INSERT INTO event VALUES (?,?)", (events or {}).items())
    db.close()
    return path
