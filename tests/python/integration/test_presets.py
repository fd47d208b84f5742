"""Every backend through the whole engine, against the simulated server speaking that server's words: what was
counted is what was written, however it was cut and dressed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import llmbench as lb
from llmbench import _core
from llmbench.backends import BACKENDS
from llmbench.errors import ConfigError
from llmbench.results import Result
from llmbench.truth import compare, read_truth

pytestmark = pytest.mark.integration

DIALECTS = {
    "openai": "openai",
    "openai-completions": "openai",
    "openai-chat": "openai",
    "openai-responses": "openai",
    "anthropic": "openai",
    "vllm": "openai",
    "vllm-chat": "openai",
    "vllm-generate": "vllm-generate",
    "tgi": "tgi",
    "tensorrt_llm_triton": "triton",
    "sglang": "sglang",
    "llamacpp": "llamacpp",
    "ollama": "ollama",
    "ollama-chat": "ollama",
    "fastgen": "fastgen-grpc",
    "fastgen-grpc": "fastgen-grpc",
    "fastgen-rest": "fastgen-rest",
    "mii-generate": "mii",
    "mii-openai": "mii",
    "mii-openai-chat": "mii",
    "aml": "aml",
    "azure-maas": "openai",
    "azure-maas-chat": "openai",
    "azure-content-safety": "azure-content-safety",
    "naive_transformers": "transformers",
    "jetstream": "jetstream",
    "jetstream-v1": "jetstream-v1",
    "sax": "sax",
    "sim": "openai",
}
SPOKEN = next(option["choices"] for option in _core.sim_options() if option["name"] == "dialect")
NAMES = [name for name, dialect in DIALECTS.items() if dialect in SPOKEN]
STREAMING = [name for name in NAMES if BACKENDS[name].streams]
# The first of those that are answered alike.
DISTINCT = list({(DIALECTS[name], BACKENDS[name].wire_format): name for name in reversed(STREAMING)}.values())
FRAMINGS = {each["name"]: each.get("framing") for each in _core.wire_formats()}
# Cuts, dresses and refusals are those of HTTP/1.1.
HTTP1 = [name for name in NAMES if FRAMINGS[BACKENDS[name].wire_format] != "grpc"]
REQUESTS, TOKENS = 4, 6
# What only servers with these words can vary.
LENGTH_REASONS = {"length", "max_tokens", "max_output_tokens", "limit"}

DRESSES: dict[str, dict[str, Any]] = {
    "plain": {},
    "bytes": {"slice_bytes": 1},
    "bunched": {"events_per_write": 3},
    "several-tokens": {"tokens_per_event": 2},
    "unicode": {"text": "unicode", "slice_bytes": 3},
    "escaped": {"text": "escaped", "extras": "duplicates,numbers,strings"},
    "dressed": {"line_ending": "crlf", "dress": "blanks,bom,comments,extensions,ids,nospace,trailers"},
    "closing": {"framing": "close", "tail": "apart"},
}


@contextmanager
def simulated(dialect: str, **options: Any) -> Iterator[str]:
    """A simulated server in this process; when the block ends its truth log is complete."""
    server = _core.SimServer({"dialect": dialect, "port": 0, "fixed": True, **options})
    server.start()
    try:
        yield server.urls[0]
    finally:
        server.stop()


def measured(url: str, name: str, **options: Any) -> Result:
    preset = BACKENDS[name]
    model = None if preset.models_path else "m"
    return lb.run(
        lb.Endpoint(url, backend=name, model=model, **options.pop("endpoint", {})),
        lb.workloads.random(8, TOKENS, REQUESTS, seed=3),
        lb.load.closed(2),
        save=False,
        progress=False,
        **options,
    )


def written(log: Path) -> dict[int, int]:
    """How many tokens the server wrote to each request."""
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    return {int(entry["request_id"].rsplit("-", 1)[1]): sum(entry["tokens"]) for entry in entries}


def counts(result: Result) -> dict[int, int]:
    rows = result.requests
    return dict(zip(rows["id"].tolist(), rows["output_tokens"].tolist(), strict=True))


def reasons(result: Result) -> set[str]:
    found: Mapping[str, int] = result.summary.finish_reasons
    return set(found)


def test_every_backend_is_here() -> None:
    assert {*DIALECTS, "template"} == set(BACKENDS)


@pytest.mark.parametrize(
    ("name", "dress"),
    [
        (name, dress)
        for name in STREAMING
        for dress in DRESSES
        if dress == "plain" or (name in DISTINCT and name in HTTP1)
    ],
)
def test_streams(name: str, dress: str, tmp_path: Path) -> None:
    log = tmp_path / "truth.jsonl"
    options = {"ttft_ms": 15, "itl_ms": 3, "truth": str(log), **DRESSES[dress]}
    with simulated(DIALECTS[name], **options) as url:
        result = measured(url, name)
    assert (result.summary.completed, result.summary.failed) == (REQUESTS, 0), result.error_messages
    compared = compare(result, read_truth(log))  # as many events in each answer as were written
    assert result.summary.usage_apart == 0, "usage and what the events say they hold"
    preset = BACKENDS[name]
    if preset.counts:
        assert counts(result) == written(log)
        assert set(counts(result).values()) == {TOKENS}
        assert not {"events", "none"} & result.summary.token_sources.keys()
    else:
        assert result.summary.token_sources == {"events": REQUESTS}
    if preset.finish_reasons:
        assert reasons(result) <= LENGTH_REASONS
        assert reasons(result)
    if dress == "plain":
        # Generous: the point is that the two clocks are one, not how fast this machine is today.
        assert abs(np.median(compared.ttft_errors_ms)) < 20
        assert abs(np.median(compared.gap_errors_ms)) < 5


@pytest.mark.parametrize("name", [name for name in NAMES if BACKENDS[name].whole])
def test_answers_in_one_piece(name: str, tmp_path: Path) -> None:
    log = tmp_path / "truth.jsonl"
    with simulated(DIALECTS[name], ttft_ms=5, itl_ms=1, truth=str(log)) as url:
        result = measured(url, name, stream=False)
    assert (result.summary.completed, result.summary.failed) == (REQUESTS, 0), result.error_messages
    latencies = result.summary.latencies
    assert latencies["ttft"].n == 0
    assert latencies["e2el"].n == REQUESTS
    preset = BACKENDS[name]
    if preset.counts:
        assert counts(result) == written(log)
    if preset.finish_reasons:
        assert reasons(result) <= LENGTH_REASONS


def test_a_backend_that_only_streams_says_so() -> None:
    with simulated("jetstream-v1") as url, pytest.raises(ConfigError, match="always streams"):
        measured(url, "jetstream-v1", stream=False)


@pytest.mark.parametrize("name", [name for name in BACKENDS if name != "template"])
def test_a_limit_on_first_tokens_wants_a_stream(name: str) -> None:
    streams = (True, False) if BACKENDS[name].whole else (True,)
    for stream in streams:
        if stream and BACKENDS[name].streams:
            continue
        with pytest.raises(ConfigError, match="has no first token"):
            measured("http://127.0.0.1:1", name, stream=stream, first_token_timeout=1)


def test_a_backend_that_cannot_stream_says_so() -> None:
    with simulated("aml", ttft_ms=2, itl_ms=1) as url:
        result = measured(url, "aml")
    assert result.summary.latencies["ttft"].n == 0
    warnings = " ".join(result.verdict.warnings)
    assert "answers in one piece" in warnings
    assert "--tokenizer counts the answers" in warnings


@pytest.mark.parametrize("name", [name for name in NAMES if BACKENDS[name].forces_length])
def test_lengths_are_forced(name: str, tmp_path: Path) -> None:
    log = tmp_path / "truth.jsonl"
    options = {"ttft_ms": 3, "itl_ms": 0.5, "eos_probability": 0.3, "truth": str(log)}
    with simulated(DIALECTS[name], **options) as url:
        result = measured(url, name, ignore_eos=True)
    assert result.summary.failed == 0, result.error_messages
    assert set(written(log).values()) == {TOKENS}


CONTINUOUS = {"stream_options": {"include_usage": True, "continuous_usage_stats": True}}


@pytest.mark.parametrize(
    ("name", "body"), [("vllm", CONTINUOUS), ("vllm-chat", CONTINUOUS), ("tgi", {}), ("llamacpp", {})]
)
def test_a_server_that_counts_wrongly(name: str, body: Mapping[str, Any], tmp_path: Path) -> None:
    log = tmp_path / "truth.jsonl"
    options = {"ttft_ms": 3, "itl_ms": 0.5, "faults": "wrong-usage=1", "truth": str(log)}
    with simulated(DIALECTS[name], **options) as url:
        result = measured(url, name, endpoint={"extra_body": body})
    assert set(written(log).values()) == {TOKENS}
    assert set(counts(result).values()) == {2 * TOKENS}
    assert int(result.events.tokens.sum()) == REQUESTS * TOKENS
    assert (result.summary.usage_checked, result.summary.usage_apart) == (REQUESTS, REQUESTS)
    assert "than the server's usage says" in " ".join(result.verdict.reasons)


@pytest.mark.parametrize("name", [name for name in NAMES if BACKENDS[name].counts])
def test_answers_that_end_early_are_told(name: str, tmp_path: Path) -> None:
    options = {"ttft_ms": 3, "itl_ms": 0.5, "output_tokens": TOKENS - 2}
    with simulated(DIALECTS[name], **options) as url:
        result = measured(url, name)
    assert set(counts(result).values()) == {TOKENS - 2}
    assert f"{REQUESTS} of {REQUESTS} answers ended before the asked length" in " ".join(
        result.verdict.warnings
    )


@pytest.mark.parametrize("name", HTTP1)
@pytest.mark.parametrize("fault", ["429", "500", "400"])
def test_refusals(name: str, fault: str) -> None:
    with simulated(DIALECTS[name], faults=f"{fault}=1") as url:
        result = measured(url, name)
    errors = result.summary.errors
    assert result.summary.completed == 0
    if name == "tgi":  # its streams answer 200 whatever happens, and then say what did
        assert set(errors) == {"server_error_event"}
    else:
        assert set(errors) == {{"429": "http_429", "500": "http_5xx", "400": "http_4xx"}[fault]}


@pytest.mark.parametrize("name", [name for name in DISTINCT if name in HTTP1])
@pytest.mark.parametrize("fault", ["error-first", "error-mid", "reset-mid", "eof-mid"])
def test_streams_that_break(name: str, fault: str) -> None:
    with simulated(DIALECTS[name], ttft_ms=2, itl_ms=1, faults=f"{fault}=1") as url:
        result = measured(url, name)
    assert result.summary.completed == 0
    classes = set(result.summary.errors)
    if fault == "reset-mid":
        assert classes <= {"reset_mid_stream", "truncated"}
    elif fault == "eof-mid":
        assert classes == {"truncated"}
    else:
        # Where a server has no words for it, it breaks off or says it by status.
        assert classes <= {"server_error_event", "http_5xx", "truncated", "truncated_no_done"}


class Words:
    """A tokenizer whose tokens are words."""

    def encode_batch(self, texts: list[str], add_special_tokens: bool = False) -> list[Any]:
        from types import SimpleNamespace

        return [SimpleNamespace(ids=text.split()) for text in texts]


UNCOUNTED = [name for name in NAMES if BACKENDS[name].reports == "tokenizer"]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("name", UNCOUNTED)
def test_a_tokenizer_counts_what_the_server_does_not(name: str, stream: bool, tmp_path: Path) -> None:
    log = tmp_path / "truth.jsonl"
    with simulated(DIALECTS[name], ttft_ms=3, itl_ms=0.5, truth=str(log)) as url:
        result = measured(url, name, stream=stream, tokenizer=Words(), save_text=True)
        without = measured(url, name, stream=stream, tokenizer=Words())
    assert set(result.summary.token_sources) <= {"tokenizer", "usage"}
    assert all(result.texts)
    if "tokenizer" in result.summary.token_sources:
        assert list(counts(result).values()) == [len(text.split()) for text in result.texts]
    # The prompt is not part of the answer, however the server gives it.
    assert max(counts(result).values()) <= TOKENS
    assert not without.texts
    assert without.summary.token_sources == result.summary.token_sources


@pytest.mark.parametrize(
    ("dialect", "name", "told"),
    [
        ("tgi", "ollama", "did you mean --backend tgi?"),
        ("ollama", "tgi", "did you mean --backend ollama?"),
        ("openai", "sglang", "not like SGLang's native protocol"),
        ("sglang", "tgi", "did you mean --backend sglang?"),
        ("llamacpp", "tgi", "did you mean --backend llamacpp?"),
        ("jetstream-v1", "ollama", "did you mean --backend jetstream-v1?"),
    ],
)
def test_the_wrong_server_says_what_it_is(dialect: str, name: str, told: str) -> None:
    with simulated(dialect) as url, pytest.raises(ConfigError) as caught:
        measured(url, name)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("dialect", "name", "told"),
    [
        ("sglang", "vllm-generate", "did you mean --backend sglang?"),
        ("tgi", "mii-generate", "did you mean --backend tgi?"),
        ("mii", "vllm-generate", "did you mean --backend mii-generate?"),
        ("triton", "naive_transformers", "did you mean --backend tensorrt_llm_triton?"),
        ("openai", "jetstream", "did you mean --backend openai?"),
        ("openai", "fastgen", "did you mean --backend openai?"),
        ("tgi", "fastgen", "did you mean --backend tgi?"),
    ],
)
def test_the_wrong_server_is_told_after_the_run_where_nothing_was_asked_before(
    dialect: str, name: str, told: str
) -> None:
    with simulated(dialect) as url:
        result = measured(url, name)
    assert result.summary.completed == 0
    (message,) = result.error_messages.values()
    assert told in message


def test_a_right_server_that_fails_is_not_called_another() -> None:
    with simulated("vllm-generate", faults="400=1") as url:
        result = measured(url, "vllm-generate")
    assert "did you mean" not in str(result.error_messages)


def test_a_template_reads_what_a_preset_reads(tmp_path: Path) -> None:
    log = tmp_path / "truth.jsonl"
    described = lb.backends.Backend.from_template(
        {
            "name": "mine",
            "path": "/completion",
            "body": {"prompt": "${prompt}", "n_predict": "${max_tokens}", "stream": "${stream}"},
            "framing": "sse",
            "done": {"/stop": True},
            "text": "/content",
            "finish_reason": "/stop_type",
            "output_tokens": "/tokens_predicted",
            "prompt_tokens": "/tokens_evaluated",
        }
    )
    with simulated("llamacpp", ttft_ms=5, itl_ms=1, truth=str(log)) as url:
        result = lb.run(
            lb.Endpoint(url, backend=described),
            lb.workloads.random(8, TOKENS, REQUESTS),
            lb.load.closed(2),
            save=False,
            progress=False,
        )
    assert (result.summary.completed, result.summary.failed) == (REQUESTS, 0), result.error_messages
    assert counts(result) == written(log)
    assert reasons(result) == {"limit"}
    assert len(compare(result, read_truth(log)).ttft_ms) == REQUESTS


def test_rules_are_laid_over_a_preset() -> None:
    """Triton repeats the prompt and all text so far, as its configuration may have it."""
    options = {"ttft_ms": 3, "itl_ms": 1, "text_mode": "cumulative", "echo": "on"}
    rules = {"text_mode": "cumulative", "strip_prompt": True}
    with simulated("triton", **options) as url:
        plain = measured(url, "tensorrt_llm_triton", save_text=True)
        read = measured(url, "tensorrt_llm_triton", save_text=True, endpoint={"wire_rules": rules})
    assert all(len(short) < len(long) for short, long in zip(read.texts, plain.texts, strict=True))
    assert read.summary.token_sources == {"events": REQUESTS}
    assert set(counts(read).values()) == {TOKENS}


def test_rules_that_cannot_be_are_refused_before_the_run() -> None:
    with simulated("tgi") as url, pytest.raises(ConfigError, match="text_mode"):
        measured(url, "tgi", endpoint={"wire_rules": {"text_mode": "sideways"}})
