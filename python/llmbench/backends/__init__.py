"""The presets: which path a server is asked at, how a request's body looks, and which decoder reads the
answer. A file of this package is a family of servers."""

from __future__ import annotations

import difflib
from dataclasses import replace

from llmbench.backends import anthropic, azure, fastgen, google, llamacpp, ollama, openai, sglang, tgi, triton
from llmbench.backends.backend import Backend, Prompt
from llmbench.backends.template import UNDESCRIBED
from llmbench.errors import ConfigError

__all__ = ["ALIASES", "BACKENDS", "Backend", "Prompt", "get"]

BACKENDS: dict[str, Backend] = {
    preset.name: preset
    for preset in (
        openai.OPENAI,
        replace(openai.OPENAI, name="openai-completions", description="the same as openai"),
        openai.OPENAI_CHAT,
        openai.OPENAI_RESPONSES,
        anthropic.ANTHROPIC,
        openai.VLLM,
        openai.VLLM_CHAT,
        openai.VLLM_GENERATE,
        tgi.TGI,
        triton.TRITON,
        sglang.SGLANG,
        llamacpp.LLAMACPP,
        ollama.OLLAMA,
        ollama.OLLAMA_CHAT,
        fastgen.FASTGEN,
        fastgen.FASTGEN_GRPC,
        fastgen.FASTGEN_REST,
        fastgen.MII_GENERATE,
        openai.MII_OPENAI,
        openai.MII_OPENAI_CHAT,
        azure.AML,
        openai.AZURE_MAAS,
        openai.AZURE_MAAS_CHAT,
        azure.CONTENT_SAFETY,
        google.NAIVE_TRANSFORMERS,
        google.JETSTREAM,
        google.JETSTREAM_V1,
        google.SAX,
        Backend(**UNDESCRIBED),
        openai.SIM,
    )
}
"""Every preset by name."""

ALIASES: dict[str, str] = {
    "tensorrt-llm": "tensorrt_llm_triton",
    "tensorrt_llm": "tensorrt_llm_triton",
    "triton": "tensorrt_llm_triton",
    "llama.cpp": "llamacpp",
    "deepspeed-mii": "mii-generate",
    "mii": "mii-generate",
    "lmdeploy": "openai",
    "scalellm": "openai",
    "naive-transformers": "naive_transformers",
    "transformers": "naive_transformers",
    "openai-completion": "openai",
    "anthropic-messages": "anthropic",
}
"""Other names of presets, mostly those that vLLM's `bench serve` has."""


def get(name: str | Backend) -> Backend:
    """The preset of that name, or with that alias. Errors name the nearest one."""
    if isinstance(name, Backend):
        return name
    preset = BACKENDS.get(ALIASES.get(name, name))
    if preset is not None:
        return preset
    # Two letters of four that agree, as in "nope" and "openai", are chance.
    near = difflib.get_close_matches(name, [*BACKENDS, *ALIASES], n=1, cutoff=0.65)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(BACKENDS)}"
    raise ConfigError(f"unknown backend {name!r}: {hint}") from None
