"""The presets and the bodies they render."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from llmbench import backends
from llmbench.backends import BACKENDS
from llmbench.errors import ConfigError

CONVERSATION = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]


def body(backend: str, prompt: Any = "hi", max_tokens: int | None = 8, **options: Any) -> Any:
    rendered = backends.get(backend).render(prompt, max_tokens, **{"model": "m", **options})
    assert isinstance(rendered, bytes)
    return json.loads(rendered)


@pytest.mark.parametrize("name", ["openai", "openai-completions", "vllm", "sim"])
def test_completions(name: str) -> None:
    assert BACKENDS[name].path == "/v1/completions"
    assert body(name) == {
        "model": "m",
        "prompt": "hi",
        "max_tokens": 8,
        "temperature": 0.0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


@pytest.mark.parametrize("name", ["openai-chat", "vllm-chat"])
def test_chat(name: str) -> None:
    assert BACKENDS[name].path == "/v1/chat/completions"
    assert body(name) == {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "max_completion_tokens": 8,
        "temperature": 0.0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert body(name, CONVERSATION)["messages"] == CONVERSATION


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"stream": False}, {"stream": False, "stream_options": None}),
        ({"ignore_eos": True}, {"ignore_eos": True}),
        ({"sampling": {"temperature": 0.7, "top_p": 0.9}}, {"temperature": 0.7, "top_p": 0.9}),
        ({"sampling": {"temperature": None}}, {"temperature": None}),
        ({"model": None}, {"model": None}),
        ({"extra_body": {"n": 2, "temperature": 1}}, {"n": 2, "temperature": 1}),
        ({"extra_body": {"stream_options": None}}, {"stream_options": None, "stream": True}),
        (
            {"extra_body": {"stream_options": {"continuous_usage_stats": True}}},
            {"stream_options": {"include_usage": True, "continuous_usage_stats": True}},
        ),
    ],
)
def test_options(options: dict[str, Any], expected: dict[str, Any]) -> None:
    rendered = body("vllm", **options)
    assert {name: rendered.get(name) for name in expected} == expected


def test_no_limit_is_no_field() -> None:
    assert "max_tokens" not in body("openai", max_tokens=None)


def test_token_ids_and_odd_text_survive() -> None:
    assert body("openai", [1, 2, 3])["prompt"] == [1, 2, 3]
    text = '\u2028 \x00 "\\ é 漢 \U0001f600'
    assert body("openai", text)["prompt"] == text
    assert backends.get("openai").render("\ud800", 1, model="m").isascii()


@pytest.mark.parametrize(
    ("name", "prompt", "told"),
    [
        ("openai", CONVERSATION, "openai-chat"),
        ("vllm-chat", [1, 2], "token ids"),
        ("vllm", CONVERSATION, "vllm-chat"),
    ],
)
def test_what_a_backend_does_not_take(name: str, prompt: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        body(name, prompt)


def test_unknown_names_get_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean openai-chat"):
        backends.get("open-ai-chat")
    with pytest.raises(ConfigError, match="there are openai, "):
        backends.get("zzz")


def test_a_variant_of_a_preset() -> None:
    variant = dataclasses.replace(BACKENDS["openai-chat"], max_tokens_field="max_tokens")
    assert backends.get(variant) is variant
    assert json.loads(variant.render("hi", 3, model="m"))["max_tokens"] == 3


MESSAGES = [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize("name", ["openai", "openai-chat", "vllm", "vllm-chat"])
@pytest.mark.parametrize(
    "extra", [None, {"prompt": "other", "messages": []}, {"note": "\x00the prompt goes here\x00"}]
)
def test_the_renderer_gives_what_render_gives(name: str, extra: dict[str, object] | None) -> None:
    backend = BACKENDS[name]
    fields = {"model": "m", "sampling": {"top_p": 0.5}, "extra_body": extra}
    render = backend.renderer(**fields)
    for prompt in ["plain", 'quotes " and \\', "línea\nñ 😀 \u2028", MESSAGES if backend.chat else [1, 2, 3]]:
        for max_tokens in (None, 5, 7, 5):
            assert render(prompt, max_tokens) == backend.render(prompt, max_tokens, **fields)
