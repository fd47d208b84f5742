"""`llmbench doctor`: what is installed and missing, what of this machine limits a measurement, and which servers run.
Those that a killed command left behind are ended."""

from __future__ import annotations

import importlib.metadata
import json
import resource
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from llmbench.cli import flags

if TYPE_CHECKING:
    from llmbench.server_records import ServerRecord

_NEEDED = ("numpy", "matplotlib", "rich", "pydantic", "ruamel.yaml")
_OPTIONAL = {
    "pandas": "Result.to_pandas() (llmbench[pandas])",
    "tokenizers": "exact prompt lengths with --tokenizer (llmbench[tokenizers])",
    "jupyterlab": "notebooks (llmbench[notebook])",
}


def main(argv: list[str]) -> int:
    parser = flags.Parser(
        prog="llmbench doctor",
        description="Says what is installed and missing, and which started servers are running; ends those that a "
        "killed command left behind. Sends nothing.",
    )
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    args = parser.parse_args(argv)
    found = examine()
    if args.json:
        print(json.dumps(found, indent=1))
    else:
        width = max(map(len, (*found["machine"], *found["packages"])))
        for name, value in found["machine"].items():
            print(f"{name.removesuffix('_bytes'):<{width}} {_shown(name, value)}")
        for name, version in found["packages"].items():
            missing = "missing" + (
                f", for {_OPTIONAL[name]}" if name in _OPTIONAL else ": pip install llmbench"
            )
            print(f"{name:<{width}} {version or missing}")
        for server in found["servers"]:
            print(f"{'server':<{width}} {server['name']} at {server['url']}, {server['state']}")
        for line in found["advice"]:
            print(f"note: {line}")
    return 0 if all(found["packages"][name] for name in _NEEDED) else 2


def _shown(name: str, value: Any) -> str:
    if value is None:
        return "unknown"
    return f"{value / 2**30:.1f} GiB" if name.endswith("_bytes") else str(value)


def examine() -> dict[str, Any]:
    from llmbench import environment

    machine = environment.collect()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    machine["open_files"] = f"{soft} (up to {hard})"
    packages = {name: _version(name) for name in (*_NEEDED, *_OPTIONAL)}
    return {
        "machine": {name: value for name, value in machine.items() if name not in packages},
        "packages": packages,
        "servers": list(_servers()),
        "advice": list(_advice(machine, hard)),
    }


def _servers() -> Iterator[dict[str, Any]]:
    """Every server on record, after those without an owner were ended."""
    from llmbench import server_records

    for record in server_records.end_orphans():
        yield {
            **_told(record),
            "state": f"left behind by a killed command and ended now; its log: {record.log}",
        }
    for record in server_records.records():
        if not record.processes():
            continue
        stop = f"python -m llmbench.run_benchmark stop --deployment_name {record.deployment}"
        state = f"running, `{stop}` ends it" if record.detached else f"in use by process {record.owner_pid}"
        yield {**_told(record), "state": state}


def _told(record: ServerRecord) -> dict[str, Any]:
    return {
        "name": record.name,
        "url": record.url,
        "deployment": record.deployment,
        "process_group": record.pgid,
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _advice(machine: dict[str, Any], open_files: int) -> Iterator[str]:
    if sys.platform != "linux":
        yield "llmbench needs Linux"
    if machine["cores_usable"] < 2:
        yield "one processor core: the client's threads share it, and its timing suffers under load"
    if machine["cgroup_cpus"] is not None and machine["cgroup_cpus"] < 1:
        yield f"the cgroup allows {machine['cgroup_cpus']:g} of a core: the kernel will stop the client now and then"
    if machine["governor"] not in (None, "performance"):
        yield f"the frequency governor is {machine['governor']}: performance gives steadier times"
    if machine["load_average"] > machine["cores_usable"] / 2:
        yield f"the machine is busy (load {machine['load_average']}): measure on an idle one"
    if 0 <= open_files < 4096:
        yield f"at most {open_files} open files: no more than about {max(0, open_files - 128)} requests in flight"
