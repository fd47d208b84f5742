"""Which names look secret, and how values are blanked."""

from __future__ import annotations

import pytest

from llmbench.secrecy import REDACTED, is_secret_name, redact, redact_url, scrub


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "Proxy-Authorization",
        "api-key",
        "X-API-Key",
        "apikey",
        "api_key",
        "Ocp-Apim-Subscription-Key",
        "Cookie",
        "X-Auth-Token",
        "access_token",
        "client_secret",
        "password",
        "X-Amz-Security-Token",
        "token",
        "Token",
        "hf_token",
        "tokenValue",
        "token-value",
        "accessToken",
        "refresh_token",
        "X-Token-Signature",
        "new_token",
        "session_token_v2",
        "x-token-spare",
        "token_secret",
    ],
)
def test_secret_names(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "max_tokens",
        "max_completion_tokens",
        "min_tokens",
        "stop_token_ids",
        "return_token_ids",
        "user",
        "X-Request-Id",
        "prompt_cache_key",
        "model",
        "top_k",
        "tokenizer",
        "tokenizer_id",
        "tokenizer.name",
        "tokenization",
        "tokens",
        "tokens_per_sec",
        "token_count",
        "token_count_source",
        "token_counts",
        "token_source",
        "token_ids",
        "token_type_ids",
        "token_gen_time",
        "prompt_token_ids",
        "prompt_token_count",
        "first_token",
        "first_token_ms",
        "first_token_timeout",
        "first_token_timeout_s",
        "time_to_first_token_ms",
        "skip_head_token_num",
        "stop_token",
        "eos_token",
        "eos_token_id",
        "max_token",
        "MAX_NEW_TOKEN",
        "latency_per_output_token",
        "per_output_token_latency",
        "normalized_time_per_output_token_ms",
        "sla_prompt_tokens_per_sec",
        "count_tokens",
    ],
)
def test_plain_names(name: str) -> None:
    assert not is_secret_name(name)


def test_redact_goes_deep_and_leaves_the_rest() -> None:
    value = {"n": 1, "auth": [{"token": "a", "b": None}], "api_key": None, "url": "http://u:p@h/x"}
    assert redact(value) == {
        "n": 1,
        "auth": [{"token": REDACTED, "b": None}],
        "api_key": None,
        "url": f"http://{REDACTED}@h/x",
    }
    assert value["auth"] == [{"token": "a", "b": None}]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://host:1/a?b=c#d", "http://host:1/a?b=c#d"),
        ("http://user:pass@host:1/a", f"http://{REDACTED}@host:1/a"),
        ("http://host/a?sig=x&b=c", f"http://host/a?sig={REDACTED}&b=c"),
        ("http://u:p@[::1/x", f"http://{REDACTED}@[::1/x"),
    ],
)
def test_redact_url(url: str, shown: str) -> None:
    assert redact_url(url) == shown


def test_scrub() -> None:
    assert scrub({"a": ["key sk-12345!", 7]}, ("sk-12345",)) == {"a": [f"key {REDACTED}!", 7]}
