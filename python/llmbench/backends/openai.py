"""Servers that speak OpenAI's protocols: the hosted API, vLLM, Azure's serverless models, MII's front end, and
the simulated server."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from llmbench.backends.backend import Backend

_COMPLETIONS = {
    "model": "${model}",
    "prompt": "${prompt}",
    "${max_tokens_field}": "${max_tokens}",
    "temperature": "${temperature}",
    "**": "${sampling}",
    "ignore_eos": "${ignore_eos}",
    "stream": "${stream}",
    "stream_options": "${stream_options}",
}
_CHAT = {"model": "${model}", "messages": "${messages}"} | {
    key: value for key, value in _COMPLETIONS.items() if key not in ("model", "prompt")
}
_FIELD = "ignore_eos, where the server knows it; hosted services refuse it"


def without(body: dict[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key not in names}


OPENAI = Backend(
    "openai",
    "/v1/completions",
    "openai-completions",
    body=_COMPLETIONS,
    takes=("text", "token ids"),
    models_path="/v1/models",
    context_at="/data/-/max_model_len",
    metrics_path="/metrics",
    description="OpenAI completions",
    cached_tokens=True,
    messages_preset="openai-chat",
    forces_length=_FIELD,
    quirks=(
        (
            "stream_options.include_usage is asked for, which gives exact token counts; a server that refuses the "
            "field (transformers serve) needs --extra-body '{\"stream_options\": null}'."
        ),
    ),
)
OPENAI_CHAT = replace(
    OPENAI,
    name="openai-chat",
    path="/v1/chat/completions",
    wire_format="openai-chat",
    body=_CHAT,
    takes=("messages",),
    max_tokens_field="max_completion_tokens",
    description="OpenAI chat completions",
    messages_preset=None,
    quirks=(
        *OPENAI.quirks,
        (
            "The length is asked for as max_completion_tokens; older servers and transformers serve know only "
            "max_tokens: --max-tokens-field max_tokens."
        ),
        "Time to the first token is the time to the first text or reasoning, never to the empty role chunk.",
    ),
)
OPENAI_RESPONSES = Backend(
    "openai-responses",
    "/v1/responses",
    "openai-responses",
    body={
        "model": "${model}",
        "input": "${input}",
        "max_output_tokens": "${max_tokens}",
        "temperature": "${temperature}",
        "**": "${sampling}",
        "store": False,
        "stream": "${stream}",
    },
    takes=("text", "messages"),
    models_path="/v1/models",
    context_at="/data/-/max_model_len",
    metrics_path="/metrics",
    description="OpenAI responses",
    cached_tokens=True,
    messages_preset="openai-responses",
    quirks=(
        "Nothing is kept on the server: store is false.",
        "The protocol has no way to ignore EOS, and hosted models refuse fewer than 16 output tokens.",
    ),
)

VLLM = replace(
    OPENAI,
    name="vllm",
    description="vLLM's completions",
    messages_preset="vllm-chat",
    forces_length="ignore_eos",
    quirks=(
        (
            'Exact tokens per chunk, also of cut answers: --extra-body \'{"stream_options": '
            '{"continuous_usage_stats": true}}\'.'
        ),
        "Unknown fields are ignored: a misspelt name in --extra-body changes nothing and says nothing.",
        "Cached tokens are told only with --enable-prompt-tokens-details on the server.",
        "Overload shows as TTFT, not as 429: the queue has no end by default.",
    ),
    start="vllm serve meta-llama/Llama-3.1-8B-Instruct --port 8000",
)
VLLM_CHAT = replace(
    OPENAI_CHAT,
    name="vllm-chat",
    description="vLLM's chat completions",
    forces_length="ignore_eos",
    quirks=VLLM.quirks,
    start=VLLM.start,
)
VLLM_GENERATE = Backend(
    "vllm-generate",
    "/generate",
    "vllm-generate",
    body={
        "prompt": "${prompt}",
        "n": 1,
        "**": "${sampling}",
        "temperature": "${temperature}",
        "top_p": "${top_p}",
        "max_tokens": "${max_tokens}",
        "ignore_eos": "${ignore_eos}",
        "stream": "${stream}",
    },
    repeats_prompt=True,
    health_path="/health",
    description="vLLM's old demo server",
    reports="tokenizer",
    finish_reasons=False,
    messages_preset="vllm-chat",
    forces_length="ignore_eos",
    quirks=(
        "Every event repeats the prompt and the whole answer so far; the difference is what counts.",
        "A field that the installed version does not know is HTTP 500: use_beam_search went in 0.6.3.",
    ),
    start="python -m vllm.entrypoints.api_server --model meta-llama/Llama-3.1-8B-Instruct --port 8000",
)

AZURE_MAAS = replace(
    OPENAI,
    name="azure-maas",
    key_env=None,
    models_path=None,
    context_at=None,
    metrics_path=None,
    default_port=443,
    description="Azure serverless models, completions",
    cached_tokens=False,
    messages_preset="azure-maas-chat",
    forces_length="",
    body=without(_COMPLETIONS, "ignore_eos"),
    quirks=(
        "The key goes as a bearer token; for services that want it bare: --api-key-header Authorization.",
        "The newer address: --endpoint '/chat/completions?api-version=2024-05-01-preview'.",
        "Unknown fields are refused unless --header extra-parameters=pass-through.",
        "Which models report usage when streaming varies.",
    ),
)
AZURE_MAAS_CHAT = replace(
    AZURE_MAAS,
    name="azure-maas-chat",
    path="/v1/chat/completions",
    wire_format="openai-chat",
    body=without(_CHAT, "ignore_eos"),
    takes=("messages",),
    description="Azure serverless models, chat",
    messages_preset=None,
)

MII_OPENAI = replace(
    OPENAI,
    name="mii-openai",
    body=without(_COMPLETIONS, "ignore_eos", "stream_options"),
    takes=("text",),
    metrics_path=None,
    context_at=None,
    description="DeepSpeed-MII's OpenAI front end",
    reports="tokenizer",
    cached_tokens=False,
    messages_preset="mii-openai-chat",
    forces_length="",
    quirks=(
        "No usage when streaming; without streaming it is counted anew from the text.",
        "ignore_eos is forced off by the server: only min_tokens (--extra-body) keeps answers from being short.",
    ),
    start="python -m mii.entrypoints.openai_api_server --model meta-llama/Llama-2-7b-hf --port 8000",
)
MII_OPENAI_CHAT = replace(
    MII_OPENAI,
    name="mii-openai-chat",
    path="/v1/chat/completions",
    wire_format="openai-chat",
    body=without(_CHAT, "ignore_eos", "stream_options"),
    takes=("messages",),
    description="DeepSpeed-MII's OpenAI front end, chat",
    messages_preset=None,
)

SIM = replace(
    OPENAI,
    name="sim",
    description="the simulated server, llmbench sim",
    messages_preset="openai-chat",
    forces_length="ignore_eos",
    quirks=("It speaks the protocols of most presets: llmbench sim --dialect NAME.",),
    start="llmbench sim --port 8000",
)
