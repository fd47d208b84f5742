"""`transformers serve` on the CPU with the tiny model of vllm_cpu.py, its weights drawn once and kept.

    python benchmarks/servers/transformers_cpu.py         # installs, and prints the interpreter and the model

It needs what vLLM's environment has already, and one package more. The text is nonsense; the server is the real one.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))  # as a program, and not as a module of the package

from servers import vllm_cpu

MODEL = "tiny"
FLAGS = ("--device", "cpu")
ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
"""One thread: several would wait for each other longer than the tiny model takes."""

_DRAW = """
import sys
import torch
from transformers import AutoConfig, AutoModelForCausalLM
torch.manual_seed(1)
config = AutoConfig.from_pretrained(sys.argv[1])
AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(sys.argv[2])
"""


def install(cache: Path | None = None) -> tuple[Path, Path]:
    """The interpreter that has transformers, and the directory of a model. Raises vllm_cpu.InstallError."""
    binary, unweighted = vllm_cpu.install(cache)
    python, model = binary.with_name("python"), unweighted.with_name("model-with-weights")
    ready = model / "ready"  # written last, so that an interrupted installation is done again
    if not ready.exists():
        vllm_cpu.pip(python, "accelerate")
        shutil.rmtree(model, ignore_errors=True)
        vllm_cpu.run(str(python), "-c", _DRAW, str(unweighted), str(model))
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(unweighted / name, model / name)
        ready.touch()
    return python, model


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="Install transformers' server for the CPU, and a tiny model for it."
    )
    parser.add_argument("--cache", type=Path, help=f"where it is kept (default {vllm_cpu.default_cache()})")
    options = parser.parse_args(argv)
    try:
        python, model = install(options.cache)
    except vllm_cpu.InstallError as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps({"python": str(python), "model": str(model), "environment": ENVIRONMENT}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
