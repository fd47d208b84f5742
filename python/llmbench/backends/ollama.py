"""Ollama, generate and chat."""

from __future__ import annotations

from dataclasses import replace

from llmbench.backends.backend import Backend

_OPTIONS = {
    "num_predict": "${max_tokens}",
    "temperature": "${temperature}",
    "seed": "${seed}",
    "repeat_penalty": "${repetition_penalty}",
    "**": "${sampling}",
}

OLLAMA = Backend(
    "ollama",
    "/api/generate",
    "ollama",
    body={
        "model": "${model}",
        "prompt": "${prompt}",
        "stream": "${stream}",
        "raw": True,
        "keep_alive": "10m",
        "options": _OPTIONS,
    },
    key_env=None,
    models_path="/api/tags",
    models_at="/models/-/name",
    default_port=11434,
    description="Ollama",
    reports="eval_count",
    messages_preset="ollama-chat",
    quirks=(
        "No way to ignore EOS, and no metrics.",
        "OLLAMA_NUM_PARALLEL is 1 by default, so most of a concurrent load waits in the queue.",
        "The first request after a pause loads the model: --warmup-requests 1.",
        "Prompts go raw, past the model's template; ollama-chat uses it.",
    ),
    start="ollama serve   # then: ollama pull llama3.1",
)
OLLAMA_CHAT = replace(
    OLLAMA,
    name="ollama-chat",
    path="/api/chat",
    wire_format="ollama-chat",
    body={
        "model": "${model}",
        "messages": "${messages}",
        "stream": "${stream}",
        "keep_alive": "10m",
        "options": _OPTIONS,
    },
    takes=("messages",),
    description="Ollama's chat",
    messages_preset=None,
    quirks=OLLAMA.quirks[:3],
)
