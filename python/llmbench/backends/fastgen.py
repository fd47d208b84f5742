"""DeepSpeed-MII and FastGen: gRPC, the REST gateway, and the FastAPI server. The OpenAI front end is in openai.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from llmbench.backends.backend import Backend

_SMALLEST = 1024
"""What the server takes for max_length by itself; prompts at or above it are refused."""
_KWARGS = {
    "max_length": "${max_length}",
    "max_new_tokens": "${max_tokens}",
    "ignore_eos": "${ignore_eos}",
    "do_sample": "${do_sample}",
    "temperature": "${temperature}",
    "top_p": "${top_p}",
    "top_k": "${top_k}",
    "stop": "${stop}",
}


def _values(values: dict[str, Any]) -> dict[str, Any]:
    """A temperature of 0 is a switch here, and the limit on prompt and output leaves room for a prompt that was
    counted with another tokenizer."""
    if values.get("temperature") == 0:
        values = {
            name: value for name, value in values.items() if name not in ("temperature", "top_p", "top_k")
        }
        values["do_sample"] = False
    values |= {name: float(values[name]) for name in ("temperature", "top_p") if name in values}
    if "max_length" in values:
        prompt = values["max_length"] - values["max_tokens"]
        values["max_length"] = max(_SMALLEST, 2 * prompt + values["max_tokens"])
    return values


def _message(body: Mapping[str, Any]) -> bytes:
    from llmbench import grpc_body

    return grpc_body.render(body["request"], body.get("query_kwargs") or {})


FASTGEN = Backend(
    "fastgen",
    "/modelresponse.ModelResponse/GeneratorReplyStream",
    "fastgen-grpc",
    whole_path="/modelresponse.ModelResponse/GeneratorReply",
    body={"request": ["${prompt}"], "query_kwargs": {**_KWARGS, "stream": "${streamed}"}},
    values=_values,
    encode=_message,
    key_env=None,
    default_port=50050,
    description="DeepSpeed-FastGen over gRPC",
    reports="generated_tokens",
    forces_length="ignore_eos",
    quirks=(
        "HTTP/2 without TLS; 50050 is the load balancer, replicas are at 50051 and up.",
        "The balancer has 256 threads: what is over that waits in it.",
        "max_length (prompt and output) is sent with room to spare: the server's own 1024 refuses long prompts.",
    ),
    start='python -c \'import mii; mii.serve("meta-llama/Llama-2-7b-hf", deployment_name="d")\'',
)
FASTGEN_REST = Backend(
    "fastgen-rest",
    "/mii/${deployment}",
    "fastgen-rest",
    body={"prompts": ["${prompt}"], **_KWARGS},
    streams=False,
    key_env=None,
    values=_values,
    health_path="/healthz",
    default_port=51080,
    description="DeepSpeed-FastGen's REST gateway",
    reports="generated_length",
    forces_length="ignore_eos",
    quirks=(
        "The deployment's name is in the path: --deployment NAME.",
        (
            "The gateway closes the connection after every answer and forks for each, which costs more than the "
            "engine: measure latency with fastgen."
        ),
    ),
    start='python -c \'import mii; mii.serve("meta-llama/Llama-2-7b-hf", deployment_name="d", '
    "enable_restful_api=True, restful_api_port=51080)'",
)
MII_GENERATE = Backend(
    "mii-generate",
    "/generate",
    "mii-generate",
    body={
        "prompt": "${prompt}",
        "max_tokens": "${max_tokens}",
        "**": "${sampling}",
        "stream": "${stream}",
    },
    key_env=None,
    health_path="/health",
    description="DeepSpeed-MII's FastAPI server",
    reports="tokenizer",
    finish_reasons=False,
    messages_preset="mii-openai-chat",
    quirks=("The server tells neither token counts nor finish reasons, and has no way to ignore EOS.",),
    start="python -m mii.entrypoints.api_server --model meta-llama/Llama-2-7b-hf --port 8000",
)
FASTGEN_GRPC = replace(FASTGEN, name="fastgen-grpc", description="the same as fastgen")
