"""Triton Inference Server with TensorRT-LLM, through its generate extension."""

from __future__ import annotations

from typing import Any

from llmbench.backends.backend import Backend


def _values(values: dict[str, Any]) -> dict[str, Any]:
    """Greedy is the likeliest one token at any temperature above 0; an end token that no model has is no end."""
    if values.get("temperature") == 0:
        values = values | {"temperature": 1.0, "top_p": 1.0, "top_k": 1}
    return values | {"end_id": -1} if values.get("ignore_eos") else values


TRITON = Backend(
    "tensorrt_llm_triton",
    "/v2/models/${model}/generate_stream",
    "triton",
    whole_path="/v2/models/${model}/generate",
    body={
        "text_input": "${prompt}",
        "max_tokens": "${max_tokens}",
        "temperature": "${temperature}",
        "top_p": "${top_p}",
        "top_k": "${top_k}",
        "min_p": "${min_p}",
        "beam_width": 1,
        "bad_words": "",
        "stop_words": "",
        "random_seed": "${seed}",
        "length_penalty": "${length_penalty}",
        "repetition_penalty": "${repetition_penalty}",
        "presence_penalty": "${presence_penalty}",
        "frequency_penalty": "${frequency_penalty}",
        "end_id": "${end_id}",
        "stream": "${stream}",
    },
    values=_values,
    key_env=None,
    health_path="/v2/models/${model}/ready",
    metrics_path="/metrics",
    metrics_port=8002,
    default_model="ensemble",
    description="TensorRT-LLM on Triton",
    reports="tokenizer",
    finish_reasons=False,
    forces_length="end_id -1, on most versions",
    quirks=(
        "The model's name is in the path: --model ensemble (the default), tensorrt_llm_bls or tensorrt_llm.",
        'Texts of a model with accumulate_tokens are cumulative: --wire-rules \'{"text_mode": "cumulative"}\'.',
        (
            "Without exclude_input_in_output on the server the answer repeats the prompt: "
            "--wire-rules '{\"strip_prompt\": true}'."
        ),
        (
            "A field that the model's configuration does not have is a 400: take it out with --extra-body "
            "'{\"beam_width\": null}'."
        ),
        "Metrics are on a port of their own, 8002.",
    ),
    start="tritonserver --model-repository=/models   # with the TensorRT-LLM backend's ensemble",
)
