"""SGLang, its native protocol."""

from __future__ import annotations

from llmbench.backends.backend import Backend

SGLANG = Backend(
    "sglang",
    "/generate",
    "sglang",
    body={
        "text": "${prompt}",
        "input_ids": "${token_ids}",
        "sampling_params": {
            "max_new_tokens": "${max_tokens}",
            "temperature": "${temperature}",
            "**": "${sampling}",
            "ignore_eos": "${ignore_eos}",
        },
        "stream": "${stream}",
    },
    takes=("text", "token ids"),
    models_path="/get_model_info",
    models_at="/model_path",
    metrics_path="/metrics",
    default_port=30000,
    description="SGLang's native protocol",
    reports="completion_tokens",
    cached_tokens=True,
    messages_preset="openai-chat",
    forces_length="sampling_params.ignore_eos",
    quirks=(
        (
            "Every event repeats the answer so far; a server that streams increments: "
            '--wire-rules \'{"text_mode": "delta"}\'.'
        ),
        "The prefix cache is on: empty it between runs with POST /flush_cache, or the second run is the faster one.",
        "An abort is an answer of 200 whose finish reason has the type abort; it counts as failed.",
    ),
    start="python -m sglang.launch_server --model-path meta-llama/Llama-3.1-8B-Instruct --port 30000 --enable-metrics",
)
