"""Text Generation Inference, its native protocol."""

from __future__ import annotations

from typing import Any

from llmbench.backends.backend import Backend


def _values(values: dict[str, Any]) -> dict[str, Any]:
    """TGI has no temperature of 0 but a switch, and refuses a top_p of 1 and a top_k of 0."""
    sampled = values.get("temperature", 1) != 0
    values = values | {"do_sample": sampled}
    left_out = [] if sampled else ["temperature", "top_p", "top_k", "typical_p"]
    left_out += [name for name in ("top_p", "typical_p") if values.get(name, 0) >= 1]
    left_out += ["top_k"] if values.get("top_k", 1) <= 0 else []
    return {name: value for name, value in values.items() if name not in left_out}


TGI = Backend(
    "tgi",
    "/generate_stream",
    "tgi",
    whole_path="/generate",
    body={
        "inputs": "${prompt}",
        "parameters": {
            "max_new_tokens": "${max_tokens}",
            "do_sample": "${do_sample}",
            "temperature": "${temperature}",
            "top_p": "${top_p}",
            "top_k": "${top_k}",
            "typical_p": "${typical_p}",
            "repetition_penalty": "${repetition_penalty}",
            "frequency_penalty": "${frequency_penalty}",
            "seed": "${seed}",
            "stop": "${stop}",
            "details": True,
        },
    },
    values=_values,
    models_path="/info",
    models_at="/model_id",
    context_at="/max_total_tokens",
    metrics_path="/metrics",
    default_port=3000,
    description="Text Generation Inference",
    reports="generated_tokens",
    messages_preset="openai-chat",
    quirks=(
        "No way to ignore EOS: lengths vary with the model, so compare by tokens, not by requests.",
        "A temperature of 0 is sent as do_sample false, and a top_p of 1 is left out: the server refuses both.",
        "Streams answer 200 even when the server is overloaded; the error is the first event.",
        "Special tokens count as tokens and bring no text.",
    ),
    start="text-generation-launcher --model-id meta-llama/Llama-3.1-8B-Instruct --port 3000",
)
