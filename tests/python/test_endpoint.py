"""Where requests go, and what of it may be seen."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from llmbench.endpoint import Endpoint
from llmbench.errors import ConfigError


@pytest.mark.parametrize(
    ("url", "origin", "path"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000", "/v1/completions"),
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000", "/v1/completions"),
        ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000", "/v1/completions"),
        ("http://127.0.0.1:8000/v1/", "http://127.0.0.1:8000", "/v1/completions"),
        ("https://api.example.com/v1", "https://api.example.com:443", "/v1/completions"),
        ("http://example.com/gateway/a", "http://example.com:80", "/gateway/a/v1/completions"),
        ("http://example.com/gateway/v1", "http://example.com:80", "/gateway/v1/completions"),
        ("localhost:8000", "http://localhost:8000", "/v1/completions"),
        ("HTTP://Example.com", "http://example.com:80", "/v1/completions"),
        ("http://[::1]:8000", "http://[::1]:8000", "/v1/completions"),
    ],
)
def test_urls(url: str, origin: str, path: str) -> None:
    endpoint = Endpoint(url)
    assert endpoint.origin == origin
    assert endpoint.request_path == path
    assert endpoint.display_url == origin + path


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"url": "ftp://host"}, "http:// or https://"),
        ({"url": "http://"}, "no host"),
        ({"url": "http://host:99999"}, "99999"),
        ({"url": "http://host:0"}, "port 0"),
        ({"url": "http://host:x"}, "valid port"),
        ({"url": "http://host/v1?key=hidden"}, "query"),
        ({"url": "http://user:hidden@host"}, "user name or password"),
        ({"url": "http://[::1:8000"}, "cannot be read"),
        ({"backend": "vlm"}, "did you mean vllm"),
        ({"path": "v1"}, "must start with /"),
        ({"path": "/a b"}, "%-encoded"),
        ({"headers": {"bad name": "x"}}, "bad name"),
        ({"headers": {"X-A": "hidden\r\nX-B: c"}}, "X-A"),
        ({"headers": {"X-A": "hidden€"}}, "X-A"),
        ({"api_key": "hidden\n"}, "Authorization"),
    ],
)
def test_what_cannot_be_is_refused_without_telling_secrets(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Endpoint(**{"url": "http://host", **options})
    assert told in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_secrets_are_sent_and_shown_nowhere() -> None:
    endpoint = Endpoint(
        "http://host",
        api_key="sk-hidden-1",
        headers={"X-Api-Key": "hidden-2", "Cookie": "s=hidden-3", "X-Plain": "seen"},
        extra_body={"user": "seen", "auth": {"access_token": "hidden-4"}},
        proxy="http://me:hidden-5@proxy:3128",
    )
    sent = dict(endpoint.wire_headers())
    assert sent["Authorization"] == "Bearer sk-hidden-1"
    assert sent["X-Api-Key"] == "hidden-2"
    for shown in (repr(endpoint), str(endpoint), repr(endpoint.to_dict()), endpoint.display_url):
        assert "hidden" not in shown
    assert "seen" in repr(endpoint)
    assert set(endpoint.secrets()) == {"sk-hidden-1", "hidden-2", "s=hidden-3", "hidden-4", "hidden-5"}


def test_an_authorization_header_goes_before_the_key() -> None:
    endpoint = Endpoint("http://host", api_key="key-one", headers={"authorization": "Basic dXNlcg=="})
    assert endpoint.wire_headers() == [("authorization", "Basic dXNlcg==")]
    assert "dXNlcg==" in endpoint.secrets()


def test_it_is_frozen_and_goes_to_other_processes() -> None:
    endpoint = Endpoint("http://host", api_key="sk-hidden")
    with pytest.raises(AttributeError):
        endpoint.url = "http://other"  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(endpoint)) == endpoint


def test_an_empty_key_is_none() -> None:
    assert Endpoint("http://host", api_key="").wire_headers() == []
