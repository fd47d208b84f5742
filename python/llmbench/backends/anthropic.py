"""Anthropic's messages, as the hosted API, vLLM, llama.cpp and Ollama serve them."""

from __future__ import annotations

from typing import Any

from llmbench.backends.backend import Backend

_ENOUGH = 1024
"""Output tokens to ask for where the workload names no limit: the protocol demands one."""


def _values(values: dict[str, Any]) -> dict[str, Any]:
    """System messages stand beside the conversation, not in it."""
    system = [each["content"] for each in values["messages"] if each.get("role") == "system"]
    rest = [each for each in values["messages"] if each.get("role") != "system"]
    values = {"max_tokens": _ENOUGH} | values | {"messages": rest}
    if system:
        values["system"] = "\n\n".join(map(str, system))
    return values


ANTHROPIC = Backend(
    "anthropic",
    "/v1/messages",
    "anthropic-messages",
    body={
        "model": "${model}",
        "max_tokens": "${max_tokens}",
        "system": "${system}",
        "messages": "${messages}",
        "temperature": "${temperature}",
        "**": "${sampling}",
        "stream": "${stream}",
    },
    takes=("messages",),
    values=_values,
    headers={"anthropic-version": "2023-06-01"},
    key_header="x-api-key",
    key_env="ANTHROPIC_API_KEY",
    models_path="/v1/models",
    metrics_path="/metrics",
    description="Anthropic messages",
    cached_tokens=True,
    quirks=(
        "The key goes into x-api-key; a server that wants a bearer token: --api-key-header Authorization=Bearer.",
        "The protocol has no way to ignore EOS.",
    ),
)
