"""Builds nothing, runs every fuzz target of a build for a while, and prints a table of what came of it.

    python tests/fuzz/run.py build/fuzz --seconds 600 --jobs 2

Each target starts from the streams of tests/golden/wire (or the rules beside this file) and from what earlier runs
found worth keeping, in BUILD/corpus. An input that breaks one is left in BUILD/findings, and the exit status is 1.
`make fuzz` builds the targets and calls this.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
STREAMS = HERE.parent / "golden" / "wire"
BY_FORMAT = ("response_reader", "field_decoder")
"""Targets whose seeds begin with a line that names the wire format."""


@dataclass(frozen=True)
class Outcome:
    target: str
    executions: int
    coverage: int
    corpus: int
    seconds: float
    peak_mib: int
    findings: list[Path]
    last_words: str
    """Of a target that was broken."""


def targets(build: Path) -> list[Path]:
    return sorted(path for path in (build / "tests" / "fuzz").glob("*_fuzz") if os.access(path, os.X_OK))


def name_of(program: Path) -> str:
    return program.name.removesuffix("_fuzz")


def write_seeds(target: str, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    if target == "wire_rules":
        for rules in (HERE / "rules").glob("*.json"):
            (directory / rules.name).write_bytes(rules.read_bytes())
        return
    if target == "grpc_frames":
        for body in STREAMS.glob("*.grpc"):
            (directory / body.name).write_bytes(body.read_bytes())
        return
    if target == "openai_decoder":
        bodies = b"\n".join(path.read_bytes() for path in streams())
        for payload in set(re.findall(rb"(?m)^data: ?(.*)", bodies)):
            (directory / hashlib.sha1(payload).hexdigest()).write_bytes(payload)
        return
    for stream in streams():
        data = stream.read_bytes()
        if target in BY_FORMAT:
            wire_format = json.loads(stream.with_suffix(".json").read_text())["format"]
            data = f"{wire_format}\n".encode() + (data if target == "response_reader" else body_of(data))
        (directory / stream.name).write_bytes(data)


def streams() -> list[Path]:
    return sorted(STREAMS.glob("*.http"))


def body_of(response: bytes) -> bytes:
    """The body, its chunks put together where it has any: what decoders see."""
    head, _, body = response.partition(b"\r\n\r\n")
    if b"chunked" not in head.lower():
        return body
    whole = b""
    while True:
        size, separator, rest = body.partition(b"\r\n")
        digits = size.partition(b";")[0]
        if not separator or not re.fullmatch(rb"[0-9A-Fa-f]+", digits) or int(digits, 16) == 0:
            return whole
        whole += rest[: int(digits, 16)]
        body = rest[int(digits, 16) + 2 :]


def fuzz(program: Path, build: Path, seconds: int) -> Outcome:
    target = name_of(program)
    seeds, corpus = build / "seeds" / target, build / "corpus" / target
    findings = build / "findings" / target
    write_seeds(target, seeds)
    for directory in (corpus, findings):
        directory.mkdir(parents=True, exist_ok=True)
    before = set(findings.iterdir())
    started = time.monotonic()
    done = subprocess.run(
        [
            str(program),
            f"-max_total_time={seconds}",
            "-timeout=10",
            "-rss_limit_mb=2048",
            "-max_len=8192",
            "-print_final_stats=1",
            f"-dict={HERE / 'wire.dict'}",
            f"-artifact_prefix={findings}/",
            str(corpus),
            str(seeds),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    elapsed = time.monotonic() - started
    log = done.stdout.decode(errors="replace")
    (build / f"{target}.log").write_text(log)

    def last(pattern: str) -> int:
        found = re.findall(pattern, log)
        return int(found[-1]) if found else 0

    failed = done.returncode != 0
    return Outcome(
        target,
        executions=last(r"stat::number_of_executed_units:\s*(\d+)") or last(r"#(\d+)\s"),
        coverage=last(r"\bcov: (\d+)"),
        corpus=len(list(corpus.iterdir())),
        seconds=elapsed,
        peak_mib=last(r"stat::peak_rss_mb:\s*(\d+)"),
        findings=sorted(set(findings.iterdir()) - before),
        last_words="\n".join(log.splitlines()[-25:]) if failed else "",
    )


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("build", type=Path, help="the build tree of the preset fuzz")
    parser.add_argument("--seconds", type=int, default=600, help="of each target (%(default)s)")
    parser.add_argument("--jobs", type=int, default=1, help="targets at a time (%(default)s)")
    parser.add_argument("--only", nargs="+", metavar="TARGET", help="these alone")
    arguments = parser.parse_args(argv)
    build = arguments.build.resolve()
    programs = [p for p in targets(build) if not arguments.only or name_of(p) in arguments.only]
    if not programs:
        print(f"run.py: {build} holds no fuzz target; build the target fuzzers there first", file=sys.stderr)
        return 2
    batches = -(-len(programs) // arguments.jobs)
    print(
        f"{len(programs)} targets, {arguments.seconds} s each: about {batches * arguments.seconds / 60:.0f} min"
    )
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        outcomes = list(pool.map(lambda program: fuzz(program, build, arguments.seconds), programs))

    print("| target | runs | runs/s | edges covered | corpus | peak memory | findings |")
    print("|---|---:|---:|---:|---:|---:|---|")
    for o in outcomes:
        found = ", ".join(str(path) for path in o.findings) or ("stopped" if o.last_words else "none")
        print(
            f"| {o.target} | {o.executions:,} | {o.executions / o.seconds:,.0f} | {o.coverage:,} | {o.corpus:,} "
            f"| {o.peak_mib} MiB | {found} |"
        )
    broken = [o for o in outcomes if o.last_words]
    for o in broken:
        print(f"\n{o.target}:\n{o.last_words}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
