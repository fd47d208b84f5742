"""llama.cpp's llama-server, its native protocol."""

from __future__ import annotations

from llmbench.backends.backend import Backend

LLAMACPP = Backend(
    "llamacpp",
    "/completion",
    "llamacpp",
    body={
        "prompt": "${prompt}",
        "n_predict": "${max_tokens}",
        "temperature": "${temperature}",
        "repeat_penalty": "${repetition_penalty}",
        "**": "${sampling}",
        "ignore_eos": "${ignore_eos}",
        "cache_prompt": False,
        "stream": "${stream}",
    },
    takes=("text", "token ids"),
    models_path="/v1/models",
    context_at="/data/-/meta/n_ctx_train",
    metrics_path="/metrics",
    default_port=8080,
    description="llama.cpp's native protocol",
    reports="tokens_predicted",
    messages_preset="openai-chat",
    forces_length="ignore_eos",
    quirks=(
        (
            "The prompt cache is switched off (cache_prompt false), or repeated prompts would cost nothing; "
            "--extra-body '{\"cache_prompt\": true}' measures it."
        ),
        "Requests over the number of slots (--parallel) wait without end.",
        "A connection is closed after 100 requests, which is not an error.",
        "Metrics need --metrics on the server, and reading them resets its rates.",
    ),
    start="llama-server -m model.gguf --port 8080 --parallel 8 --metrics",
)
