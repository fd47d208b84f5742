"""Sweeps of real servers on this machine, installed, started and stopped by llmbench; their counts against the
servers' own; docs/real-runs.md.

    python benchmarks/servers/real_runs.py                      # all: minutes, and a download of 2.6 GB the first time
    python benchmarks/servers/real_runs.py --only llamacpp --docs /tmp/docs
    python benchmarks/servers/real_runs.py --install            # only what is downloaded, for a measurement later

What is installed is kept and found again. A server that cannot be installed, started or measured is told at the end,
with the way on, and the others are measured all the same. The exit code is then 1, as it is where a server's counters
and the results differ by one request or one token.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "python")]

from servers import llamacpp, transformers_cpu, vllm_cpu  # noqa: E402

CLIENTS = (1, 2, 4, 8)
COUNTERS = ("requests", "prompt_tokens", "output_tokens")
SERVER_TIMEOUT_S = 300
SWEEP_TIMEOUT_S = 900
"""For all points of one server, its starts included; an idle machine of two cores needs two minutes."""
GRACE_S = 60
"""To stop the server in, after that."""


class RealRunError(Exception):
    """A server could not be installed or measured; the message says why and how to go on."""


@dataclass(frozen=True)
class RealRun:
    """One server: how it is called, and what it is swept with."""

    name: str
    title: str
    about: str
    backend: str
    flags: tuple[str, ...]
    requests: int
    """Of each point."""
    clients: tuple[int, ...] = CLIENTS


def vllm_run() -> RealRun:
    return RealRun(
        "vllm",
        "vLLM on the CPU",
        "A Llama of two layers with random weights and a vocabulary of 129 280, so the text is nonsense and the server "
        "is vLLM's own: its scheduler, continuous batching, OpenAI front end and metrics.",
        "vllm",
        ("--tp_size", "1", "2", *vllm_flags(), "--ignore_eos"),
        requests=32,
    )


def vllm_flags() -> tuple[str, ...]:
    binary, model = vllm_cpu.install()
    return (
        *("--server", "vllm", "--model", vllm_cpu.SERVED_MODEL),
        *("--server_binary", str(binary), "--model_path", str(model)),
        f"--server_args={' '.join((*vllm_cpu.FLAGS, '--enforce-eager'))}",
        *("--server_env", *(f"{name}={value}" for name, value in vllm_cpu.ENVIRONMENT.items())),
        *("--mean_prompt_length", "128", "--mean_max_new_tokens", "32"),
    )


def vllm_chat_run() -> RealRun:
    return RealRun(
        "vllm-chat",
        "The same vLLM over `/v1/chat/completions`",
        "Its template puts words around each prompt, which count.",
        "vllm-chat",
        (*vllm_flags(), "--ignore_eos"),
        requests=32,
        clients=(4,),
    )


def vllm_responses_run() -> RealRun:
    return RealRun(
        "vllm-responses",
        "The same vLLM over `/v1/responses`",
        "OpenAI's newer API, with its typed events.",
        "openai-responses",
        vllm_flags(),
        requests=32,
        clients=(4,),
    )


def vllm_messages_run() -> RealRun:
    return RealRun(
        "vllm-messages",
        "The same vLLM over `/v1/messages`",
        "Anthropic's API, which vLLM has too.",
        "anthropic",
        vllm_flags(),
        requests=32,
        clients=(4,),
    )


def transformers_run() -> RealRun:
    python, model = transformers_cpu.install()
    return RealRun(
        "transformers",
        "`transformers serve` on the CPU",
        "The same tiny model without vLLM: one request after the other, and no counters to compare with.",
        "openai-chat",
        (
            *("--server", "transformers", "--model", transformers_cpu.MODEL),
            *("--server_python", str(python), "--model_path", str(model)),
            f"--server_args={' '.join(transformers_cpu.FLAGS)}",
            *("--server_env", *(f"{name}={value}" for name, value in transformers_cpu.ENVIRONMENT.items())),
            *("--mean_prompt_length", "32", "--mean_max_new_tokens", "16"),
        ),
        requests=16,
        clients=(1, 2),
    )


def llamacpp_run() -> RealRun:
    python = llamacpp.install()
    return RealRun(
        "llamacpp",
        "llama.cpp with SmolLM2-135M",
        "Real weights in four bits, on llama.cpp's server with four slots: with eight clients, four wait.",
        "llamacpp",
        (
            *("--model", llamacpp.MODEL),
            *("--server_python", str(python), "--model_path", str(llamacpp.weights(python))),
            "--server_args=--parallel 4 --ctx-size 4096 --threads 1",
            *("--mean_prompt_length", "32", "--mean_max_new_tokens", "16", "--max_prompt_length", "64"),
            "--ignore_eos",
        ),
        requests=16,
    )


RUNS: dict[str, Callable[[], RealRun]] = {
    "vllm": vllm_run,
    "vllm-chat": vllm_chat_run,
    "vllm-responses": vllm_responses_run,
    "vllm-messages": vllm_messages_run,
    "transformers": transformers_run,
    "llamacpp": llamacpp_run,
}


def words(run: RealRun) -> list[str]:
    """What a reader would type, with the paths of this machine."""
    return [
        *("--backend", run.backend, *run.flags),
        *("--num_clients", *map(str, run.clients), "--num_requests", str(run.requests), "--stream"),
    ]


def installed(name: str) -> RealRun:
    try:
        return RUNS[name]()
    except (vllm_cpu.InstallError, llamacpp.InstallError, OSError) as error:
        raise RealRunError(
            f"cannot be installed: {error}\nThe same command tries that again and keeps what is there"
        ) from error


def results_of(run: RealRun, directory: Path) -> Path:
    return directory / f"{run.name}_{run.backend}"


def sweep(run: RealRun, directory: Path) -> str:
    """Runs the sweep and its figure; returns what the sweep said."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT / "python"), os.environ.get("PYTHONPATH")))),
    }
    command = [
        *(sys.executable, "-m", "llmbench.run_benchmark", *words(run)),
        *("--out_json_dir", str(directory / run.name), "--overwrite_results", "--no-progress"),
        *("--server_timeout", str(SERVER_TIMEOUT_S)),
    ]
    told = []
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        # Interrupted, it stops its server; killed, it leaves that to the server's guard.
        limits = [
            threading.Timer(SWEEP_TIMEOUT_S, process.send_signal, (signal.SIGINT,)),
            threading.Timer(SWEEP_TIMEOUT_S + GRACE_S, process.kill),
        ]
        begun = time.monotonic()
        try:
            for limit in limits:
                limit.start()
            assert process.stdout is not None
            for line in process.stdout:
                print(line, end="", flush=True)
                told.append(line)
            process.wait()
        finally:
            for limit in limits:
                limit.cancel()
    if process.returncode != 0:
        late = time.monotonic() - begun >= SWEEP_TIMEOUT_S
        why = f"was not done after {SWEEP_TIMEOUT_S} s" if late else f"ended with {process.returncode}"
        logs = ", ".join(map(str, sorted(results_of(run, directory).glob("server-*.log")))) or "none"
        raise RealRunError(
            f"its sweep {why}; the server's output: {logs}\n"
            f"To try it alone: python benchmarks/servers/real_runs.py --only {run.name}"
        )
    if len(run.clients) > 1:
        subprocess.run(
            [
                *(sys.executable, "-m", "llmbench.plots.throughput_latency"),
                *("--data_dirs", str(results_of(run, directory))),
                *("--out_dir", str(directory / "plots" / run.name)),
            ],
            env=environment,
            check=True,
        )
    return "".join(told)


def points(run: RealRun, directory: Path) -> list[dict[str, Any]]:
    """What each result says, and what the server counted meanwhile, in the order of the sweep."""
    import numpy as np

    import llmbench as lb

    found = []
    for path in results_of(run, directory).glob("*.json"):
        saved = json.loads(path.read_text())
        args, ours = saved["args"], saved["llmbench"]
        rows = lb.load_result(path.with_suffix(".llmbench")).requests
        counters = ours["server"].get("counters") or {}
        cached = np.clip(rows["cached_tokens"], 0, None).sum() if counters.get("kind") == "llamacpp" else 0
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
    title = run.title.replace("`", "")
    lines += [f"![{title}: throughput and latency](images/real/{image})" for image in images]
    return "\n".join(lines) + "\n"


def _shown_command(run: RealRun) -> str:
    """The command with this machine's paths replaced."""
    names = {"--server_binary": "$VLLM", "--model_path": "$MODEL", "--server_python": "$PYTHON"}
    shown = []
    typed = words(run)
    for before, word in zip(("", *typed), typed, strict=False):
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
    parser.add_argument("--install", action="store_true", help="install what is missing, and measure nothing")
    parser.add_argument("--directory", type=Path, default=ROOT / "build" / "real", help="where results go")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="where the page and its images go")
    options = parser.parse_args(argv)
    options.directory.mkdir(parents=True, exist_ok=True)
    images = options.docs / "images" / "real"
    images.mkdir(parents=True, exist_ok=True)
    wrong: list[str] = []
    failed: list[str] = []
    for name in [options.only] if options.only else list(RUNS):
        begun = time.monotonic()
        try:
            run = installed(name)
            if not options.install:
                wrong += [f"{name}, {line}" for line in measure(run, options.directory, images)]
        except RealRunError as error:
            failed.append(f"{name} {error}")
        print(f"{name}: {time.monotonic() - begun:.0f} s", flush=True)
    if not failed and not options.install:
        write_page(options.directory, options.docs / "real-runs.md")
    for line in (*wrong, *failed):
        print(line, file=sys.stderr)
    if failed and not options.install:
        print(f"{options.docs / 'real-runs.md'} is left as it was", file=sys.stderr)
    return 1 if wrong or failed else 0


def measure(run: RealRun, directory: Path, images: Path) -> list[str]:
    """Sweeps one server and writes its section and images; says what was counted wrongly."""
    for before in (results_of(run, directory), directory / "plots" / run.name):
        shutil.rmtree(before, ignore_errors=True)
    section = directory / f"{run.name}.md"
    section.unlink(missing_ok=True)
    shown = sweep(run, directory)
    found = points(run, directory)
    drawn = []
    for figure in sorted((directory / "plots" / run.name).glob("*.png")):
        tp = figure.stem.partition("-tp")[2].partition("-")[0]
        drawn.append(f"{run.name}-tp{tp}.png")
        shutil.copy(figure, images / drawn[-1])
    section.write_text(page(run, found, shown, drawn))
    (directory / f"{run.name}.json").write_text(json.dumps(found[0]["environment"]))
    return differences(found)


def write_page(directory: Path, path: Path) -> None:
    """Puts together the sections that there are."""
    done = [name for name in RUNS if (directory / f"{name}.md").exists()]
    machine = json.loads((directory / f"{done[0]}.json").read_text())
    path.write_text(
        f"""# Real servers

Servers from PyPI, installed, started, measured and stopped by llmbench on one machine without a GPU, by
`make real`: {machine["cores_usable"]} cores, {machine["cpu"]}, Linux {machine["kernel"].partition("-")[0]},
Python {machine["python"]}; {time.strftime("%Y-%m-%d")}, load average {machine["load_average"]} when it began.

Server and client share those few cores, so the figures say nothing about a server on the hardware it is made for, and
many verdicts are CLIENT-LIMITED, as they should be. The runs show that everything works from start to stop, tensor
parallelism included, and that every request and every token is counted.

The last columns compare each result with the server's own counters at `/metrics`, read before and after the point:
requests / prompt tokens / output tokens, warm-up included. If they differ, the verdict is INVALID and `make real`
fails. llama.cpp does not count requests, and of prompt tokens only those that were not in its cache;
`transformers serve` has no counters.

"""
        + "\n".join((directory / f"{name}.md").read_text() for name in done)
    )


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # the sweep got it too, and has stopped its server
        sys.exit(130)
