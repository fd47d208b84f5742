"""The servers of Google's inference benchmarks: JetStream, Sax, and plain transformers behind a predict route."""

from __future__ import annotations

from llmbench.backends.backend import Backend

NAIVE_TRANSFORMERS = Backend(
    "naive_transformers",
    "/predict",
    "transformers",
    body={"instances": [{"prompt": "${prompt}", "max_length": "${max_length}", "top_k": "${top_k}"}]},
    streams=False,
    repeats_prompt=True,
    key_env=None,
    default_port=7080,
    description="transformers behind a predict route",
    reports="tokenizer",
    finish_reasons=False,
    quirks=(
        "max_length counts prompt and output together: --tokenizer makes it exact.",
        "Such servers mostly take one request at a time.",
        "The answer repeats the prompt, which is taken off.",
    ),
)
JETSTREAM = Backend(
    "jetstream",
    "/generate",
    "jetstream",
    body={"prompt": "${prompt}", "max_tokens": "${max_tokens}", "stream": "${streamed}"},
    key_env=None,
    metrics_path="/metrics",
    metrics_port=9988,
    description="JetStream behind its HTTP adapter",
    reports="tokenizer",
    finish_reasons=False,
    quirks=(
        "Builds of the adapter that cannot stream answer in one piece all the same, and TTFT is then absent.",
        "Sampling is set on the server.",
        "Metrics are on the port given by --prometheus_port.",
    ),
)
JETSTREAM_V1 = Backend(
    "jetstream-v1",
    "/v1/generate",
    "jetstream-v1",
    body={
        "max_tokens": "${max_tokens}",
        "text_content": {"text": "${prompt}"},
        "token_content": {"token_ids": "${token_ids}"},
    },
    takes=("text", "token ids"),
    whole=False,
    health_path="/v1/health",
    key_env=None,
    metrics_path="/metrics",
    metrics_port=9988,
    default_port=8080,
    description="JetStream's own HTTP server",
    reports="tokenIds",
    finish_reasons=False,
    quirks=(
        "It always streams, and refuses every other field with 422, sampling too.",
        "Metrics are on the port given by --prometheus_port.",
    ),
    start="python -m jetstream.entrypoints.http.api_server --config=InterleavedCPUTestServer --port 8080 "
    "--prometheus_port 9988",
)
SAX = Backend(
    "sax",
    "/generate",
    "sax",
    body={
        "model": "${model}",
        "prompt": "${prompt}",
        "n": 1,
        "best_of": 1,
        "use_beam_search": False,
        "temperature": "${temperature}",
        "top_p": "${top_p}",
        "top_k": "${top_k}",
        "max_tokens": "${max_tokens}",
        "stream": False,
    },
    streams=False,
    key_env=None,
    health_path="/health",
    description="Sax behind an HTTP front",
    reports="tokenizer",
    finish_reasons=False,
    quirks=(
        "The model is its cell path: --model /sax/test/llama7b.",
        "There are three fronts: for the prediction server use --endpoint /predict and a template for its body.",
    ),
)
