"""What a sweep runs when the flags do not say: the general defaults, a preset for each well-known model, and whole
sweeps by name.

A bare sweep takes the general defaults. Naming a model takes that model's preset; every flag wins over both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

DEFAULT_MODEL = "meta-llama/Llama-2-7b-hf"
DEFAULT_NUM_CLIENTS = (1, 2, 4, 6, 8, 12, 16, 20, 24, 28, 32)


@dataclass(frozen=True)
class SweepPreset:
    """The server and client settings worth measuring for one model. Lengths are tokens."""

    tp_sizes: tuple[int, ...] = (1,)
    max_ragged_batch_sizes: tuple[int, ...] = (768,)
    num_replicas: tuple[int, ...] = (1,)
    prompt_lengths: tuple[int, ...] = (2600,)
    generation_lengths: tuple[int, ...] = (60,)
    num_clients: tuple[int, ...] = DEFAULT_NUM_CLIENTS
    max_prompt_length: int = 4000


GENERAL = SweepPreset()


def _classic(*tp_sizes: int) -> SweepPreset:
    return SweepPreset(tp_sizes=tp_sizes, prompt_lengths=(1200, 2600), generation_lengths=(60, 128))


def _short_context(*tp_sizes: int) -> SweepPreset:
    return SweepPreset(
        tp_sizes=tp_sizes, prompt_lengths=(1200, 1900), generation_lengths=(60, 128), max_prompt_length=2000
    )


def _current(*tp_sizes: int) -> SweepPreset:
    """Today's instruction models: longer answers, and prompts of a chat turn and of a document."""
    return SweepPreset(
        tp_sizes=tp_sizes, prompt_lengths=(512, 2600), generation_lengths=(128, 512), max_prompt_length=8000
    )


MODELS: dict[str, SweepPreset] = {
    "meta-llama/Llama-2-7b-hf": _classic(1),
    "meta-llama/Llama-13b-hf": _classic(1, 2, 4),
    "meta-llama/Llama-2-13b-hf": _classic(1, 2, 4),
    "meta-llama/Llama-2-70b-hf": _classic(4, 8),
    "mistralai/Mixtral-8x7B-v0.1": _classic(4),
    "tiiuae/falcon-40B": _short_context(2, 4),
    "tiiuae/falcon-180B": _short_context(8),
    "microsoft/phi-2": _short_context(1),
    "meta-llama/Llama-3.1-8B-Instruct": _current(1),
    "meta-llama/Llama-3.1-70B-Instruct": _current(4, 8),
    "meta-llama/Llama-3.1-405B-Instruct-FP8": _current(8),
    "meta-llama/Llama-3.2-1B-Instruct": _current(1),
    "meta-llama/Llama-3.2-3B-Instruct": _current(1),
    "meta-llama/Llama-3.3-70B-Instruct": _current(4, 8),
    "Qwen/Qwen2.5-7B-Instruct": _current(1),
    "Qwen/Qwen2.5-32B-Instruct": _current(2, 4),
    "Qwen/Qwen2.5-72B-Instruct": _current(4, 8),
    "Qwen/Qwen3-8B": _current(1),
    "Qwen/Qwen3-32B": _current(2, 4),
    "Qwen/Qwen3-30B-A3B": _current(1, 2),
    "Qwen/Qwen3-235B-A22B": _current(8),
    "mistralai/Mistral-7B-Instruct-v0.3": _current(1),
    "mistralai/Mistral-Small-24B-Instruct-2501": _current(1, 2),
    "mistralai/Mixtral-8x22B-Instruct-v0.1": _current(8),
    "google/gemma-3-27b-it": _current(1, 2),
    "microsoft/phi-4": _current(1),
    "openai/gpt-oss-20b": _current(1),
    "openai/gpt-oss-120b": _current(1, 2, 4),
    "deepseek-ai/DeepSeek-V3": _current(8),
    "deepseek-ai/DeepSeek-R1": _current(8),
}

_BY_LOWER_NAME = {name.lower(): preset for name, preset in MODELS.items()}


def preset_of(model: str | None) -> SweepPreset:
    """The preset of a named model; the general defaults for no model or an unknown one. Case does not matter, and
    neither does a missing organisation (`Llama-2-7b-hf`) or the old shorthand `falcon-180B`."""
    if model is None:
        return GENERAL
    name = model.lower()
    if name in _BY_LOWER_NAME:
        return _BY_LOWER_NAME[name]
    if "/" not in name:
        for full_name, preset in _BY_LOWER_NAME.items():
            if full_name.rpartition("/")[2] == name:
                return preset
    return GENERAL


@dataclass(frozen=True)
class NamedSweep:
    """One or several sweeps with the figures drawn of them: `--preset NAME`."""

    about: str
    sweeps: tuple[Mapping[str, Any], ...]
    """The settings of each, as `SweepSpec.of` takes them."""
    figures: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Names of figures, with further arguments for each."""


def _run_all() -> tuple[Mapping[str, Any], ...]:
    """The seven models on both servers, and one that generates for long."""
    classic = (
        "meta-llama/Llama-2-7b-hf",
        "meta-llama/Llama-2-13b-hf",
        "meta-llama/Llama-2-70b-hf",
        "mistralai/Mixtral-8x7B-v0.1",
        "tiiuae/falcon-40B",
        "tiiuae/falcon-180B",
        "microsoft/phi-2",
    )
    long = {"tp_size": 4, "mean_prompt_length": 500, "mean_max_new_tokens": (150, 500, 1024)}
    settings = [{"model": model} for model in classic] + [{"model": "mistralai/Mixtral-8x7B-v0.1", **long}]
    return tuple(
        {"backend": backend, **each, "stream": True} for backend in ("fastgen", "vllm") for each in settings
    )


SWEEPS: dict[str, NamedSweep] = {
    "run_all": NamedSweep(
        "seven models on fastgen and vllm, as on 8 × A100 80 GB; hours",
        _run_all(),
        {"throughput_latency": (), "effective_throughput": ()},
    ),
    "run_example": NamedSweep(
        "Llama-2-7b on fastgen, TP 1, prompts of 2600 tokens, answers of 60",
        (
            {
                "backend": "fastgen",
                "model": "meta-llama/Llama-2-7b-hf",
                "tp_size": 1,
                "num_replicas": 1,
                "max_ragged_batch_size": 768,
                "mean_prompt_length": 2600,
                "mean_max_new_tokens": 60,
                "stream": True,
            },
        ),
        {"throughput_latency": (), "effective_throughput": ()},
    ),
    "run_aml": NamedSweep(
        "an Azure ML endpoint, 256 requests a point (needs its URL and key, --deployment_name and --model)",
        (
            {
                "backend": "aml",
                "mean_prompt_length": 2600,
                "mean_max_new_tokens": 60,
                "num_requests": 256,
            },
        ),
        {"throughput_latency": ()},
    ),
    "run_fp6": NamedSweep(
        "Llama-2-70b in 6 bits on fastgen, one GPU, 128 requests a point",
        (
            {
                "backend": "fastgen",
                "model": "NousResearch/Llama-2-70b-hf",
                "tp_size": 1,
                "fp6": True,
                "num_requests": 128,
                "stream": True,
            },
        ),
        {"throughput_latency": ()},
    ),
}
"""What the shell scripts of old ran, by their names."""
