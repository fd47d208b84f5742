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
