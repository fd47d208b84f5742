"""The documentation, held against the software: links, commands, flags, names of outcomes, columns and keys."""

from __future__ import annotations

import json
import re
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import llmbench as lb
from llmbench import _core
from llmbench.plots import FIGURES

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")], key=lambda page: page.relative_to(ROOT).as_posix()
)
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]
COMMANDS = {
    "llmbench run": ["-m", "llmbench", "run"],
    "llmbench sim": ["-m", "llmbench", "sim"],
    "llmbench selftest": ["-m", "llmbench", "selftest"],
    "llmbench ping": ["-m", "llmbench", "ping"],
    "llmbench backends": ["-m", "llmbench", "backends"],
    "llmbench sweep": ["-m", "llmbench", "sweep"],
    "llmbench plot": ["-m", "llmbench.plots.throughput_latency"],
    "python -m llmbench.run_benchmark": ["-m", "llmbench.run_benchmark"],
    **{f"python -m llmbench.plots.{name}": ["-m", f"llmbench.plots.{name}"] for name in FIGURES},
    "python -m llmbench.plots.selftest": ["-m", "llmbench.plots.selftest"],
    **{
        f"python benchmarks/{name}": [str(ROOT / "benchmarks" / name)]
        for name in (
            "ceiling/compare.py",
            "ceiling/waits.py",
            "profile.py",
            "rivals/compare.py",
            "servers/llamacpp.py",
        )
    },
}
# Commands of servers, whose flags are not ours.
SERVERS = ("vllm serve", "llama-server", "python -m llama_cpp")


def _text(name: str) -> str:
    return (ROOT / name).read_text()


def _blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)


def _without_blocks(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)


def _typed(text: str) -> Iterator[list[str]]:
    """The words of each command after a `$` prompt; a line that ends in a backslash goes on."""
    for block in _blocks(text, "console"):
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith("$ "):
                words = shlex.split(line[2:], comments=True)
                yield words[:-1] if words[-1] == "&" else words


@cache
def _flags(command: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, *COMMANDS[command], "--help"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return {flag.replace("_", "-") for flag in re.findall(r"--[a-z][a-z0-9_-]*", done.stdout)}


def _anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", _without_blocks(text), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    page = ROOT / name
    for link in re.findall(r"\]\(([^)\s]+)\)", _without_blocks(page.read_text())):
        if re.match(r"https?://", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{name} links to {link}"
        if anchor:
            assert anchor in _anchors(target.read_text()), f"{name} links to {link}"


@pytest.mark.parametrize("name", NAMES)
def test_commands_in_console_blocks_exist_with_their_flags(name: str) -> None:
    targets = set(re.findall(r"^([a-z]+):", _text("Makefile"), re.M))
    for words in _typed(_text(name)):
        line = shlex.join(words)
        if words[0] == "make":
            assert set(words[1:]) <= targets, f"{name}: {line}"
            continue
        command = next((known for known in COMMANDS if line.startswith(known)), None)
        if command is None:
            assert words[0] not in ("llmbench", "python"), f"{name}: {line}"
            continue
        given = {word.partition("=")[0].replace("_", "-") for word in words if word.startswith("--")}
        assert given <= _flags(command), f"{name}: {line}"


@pytest.mark.parametrize("name", NAMES)
def test_flags_in_the_text_exist(name: str) -> None:
    named = {
        flag.replace("_", "-")
        for code in re.findall(r"`([^`\n]+)`", _without_blocks(_text(name)))
        for flag in re.findall(r"(?:^|\s)(--[a-z][a-z0-9_-]*)", code)
        if not code.startswith(("cmake", "ctest", "pip", "make", "build/", *SERVERS))
    }
    known = set().union(*(_flags(command) for command in COMMANDS)) if named else set()
    assert named <= known, f"{name} names flags that no command has: {sorted(named - known)}"


def test_every_outcome_is_explained_and_no_other() -> None:
    text = _text("docs/faults.md")
    explained = [
        name
        for row in re.findall(r"^\| (`.+?`) \|", text, re.M)
        for name in re.findall(r"`([a-z0-9_]+)`", row)
    ]
    assert sorted([*explained, "ok", "cut"]) == sorted(_core.OUTCOMES)


# Result files: what docs/results.md says, held against a small run.


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> lb.Result:
    with lb.sim.Server(ttft_ms=5, itl_ms=1) as server:
        return lb.run(
            lb.Endpoint(server.url, backend="vllm", model="sim"),
            lb.workloads.random(input_tokens=16, output_tokens=4, n=8),
            lb.load.closed(2),
            goodput={"ttft": 200},
            result_dir=tmp_path_factory.mktemp("results"),
            save_result=True,
            save_detailed=True,
            save_text=True,
        )


@pytest.fixture(scope="module")
def page() -> str:
    return _text("docs/results.md")


def _columns(database: sqlite3.Connection, table: str) -> set[str]:
    return {row[1] for row in database.execute(f"PRAGMA table_info({table})")}


def test_tables_and_columns(result: lb.Result, page: str) -> None:
    with closing(sqlite3.connect(f"file:{result.path}?mode=ro", uri=True)) as database:
        tables = {row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        tables_part, request_part = page.split("### `request`")
        assert set(re.findall(r"^\| `(\w+)` \|", tables_part, re.M)) == tables
        for table, columns in re.findall(r"^\| `(\w+)` \| `(.+?)`: ", tables_part, re.M):
            assert set(columns.split(", ")) == _columns(database, table)
        request_part = request_part.split("### ")[0].split("| bit of")[0]
        rows = re.findall(r"^\| (`.+?`) \|", request_part, re.M)
        assert {column for row in rows for column in re.findall(r"`(\w+)`", row)} == _columns(
            database, "request"
        )


def test_the_example_query_and_the_blob_decoder_work(result: lb.Result, page: str) -> None:
    query, decoder = _blocks(page, "python")[1:3]
    namespace: dict[str, Any] = {}
    exec(query.replace("results/a.llmbench", str(result.path)), namespace)
    exec(decoder, namespace)
    with closing(namespace["db"]) as database:
        rows = database.execute(
            "SELECT event.events, sent_ns FROM request JOIN event ON request_id = id ORDER BY id"
        )
        decoded = [event for row in rows for event in namespace["events"](*row)]
    assert len(decoded) == 8 * 4
    np.testing.assert_array_equal([time for time, _, _ in decoded], result.events.times_ns)


def test_json_keys(result: lb.Result, page: str) -> None:
    saved = json.loads(result.path.with_suffix(".json").read_text())
    part = re.sub(r"\s+", " ", page.split("## `NAME.json`")[1].split("\n| ")[0])
    for pattern in (r"read it: `(.+?)`", r"`--save-detailed` adds `(.+?)`"):
        keys = re.search(pattern, part)
        assert keys
        assert set(keys[1].split()) <= set(saved)
    rows = re.findall(r"^\| (`.+?`) \|", page.split("## `NAME.json`")[1].split("\n##")[0], re.M)
    assert {key for row in rows for key in re.findall(r"`(\w+)`", row)} == set(saved["llmbench"])
    for metric in ("ttft_ms", "tpot_ms", "itl_ms", "e2el_ms"):
        for kind in ("mean", "median", "std", "p99"):
            assert f"{kind}_{metric}" in saved
