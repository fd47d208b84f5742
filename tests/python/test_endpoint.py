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
        ({"url": 5}, "the URL must be a string such as"),
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


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"url": "http://h/v1/chat/completions", "backend": "openai-chat"}, "/v1/chat/completions"),
        ({"url": "https://h/score", "backend": "aml"}, "/score"),
        ({"url": "https://h/p/score/", "backend": "aml"}, "/p/score"),
        ({"url": "http://h", "path": "/chat?api-version=1"}, "/chat?api-version=1"),
        (
            {"url": "http://h", "backend": "azure-content-safety"},
            "/contentsafety/text:analyze?api-version=2024-09-01",
        ),
        ({"url": "http://h", "backend": "tensorrt_llm_triton"}, "/v2/models/ensemble/generate_stream"),
        ({"url": "http://h", "backend": "triton", "model": "a b"}, "/v2/models/a%20b/generate_stream"),
        ({"url": "http://h", "backend": "fastgen-rest", "deployment": "d"}, "/mii/d"),
        ({"url": "http://h", "backend": "fastgen-rest", "model": "m"}, "/mii/m"),
        ({"url": "http://h", "path": "/deployments/${model}/chat", "model": "m"}, "/deployments/m/chat"),
    ],
)
def test_paths(options: dict[str, Any], path: str) -> None:
    assert Endpoint(**options).request_path == path


def test_a_name_that_is_wanted_in_the_path() -> None:
    endpoint = Endpoint("http://h", backend="fastgen-rest")
    assert endpoint.display_url == "http://h:80/mii/${deployment}"
    with pytest.raises(ConfigError, match="give --deployment"):
        endpoint.path_for()
    assert endpoint.path_for(model="found") == "/mii/found"


def test_a_model_list_beside_a_full_address() -> None:
    endpoint = Endpoint("http://h/gateway/v1/chat/completions", backend="openai-chat")
    assert endpoint.full_path("/v1/models") == "/gateway/v1/models"


def test_metrics() -> None:
    assert Endpoint("http://h:8000/v1", backend="vllm").metrics_url == "http://h:8000/metrics"
    assert Endpoint("http://[::1]:8000", backend="triton").metrics_url == "http://[::1]:8002/metrics"
    assert Endpoint("http://h", backend="ollama").metrics_url is None


@pytest.mark.parametrize(
    ("options", "header"),
    [
        ({"backend": "vllm"}, ("Authorization", "Bearer hidden")),
        ({"backend": "anthropic"}, ("x-api-key", "hidden")),
        ({"backend": "azure-content-safety"}, ("Ocp-Apim-Subscription-Key", "hidden")),
        ({"backend": "openai-chat", "api_key_header": "api-key"}, ("api-key", "hidden")),
        ({"backend": "azure-maas", "api_key_header": "Authorization"}, ("Authorization", "hidden")),
        (
            {"backend": "anthropic", "api_key_header": "Authorization=Bearer"},
            ("Authorization", "Bearer hidden"),
        ),
    ],
)
def test_where_the_key_goes(options: dict[str, Any], header: tuple[str, str]) -> None:
    endpoint = Endpoint("http://h", api_key="hidden", **options)
    assert header in endpoint.wire_headers()
    assert "hidden" not in repr(endpoint) + repr(endpoint.to_dict())


def test_headers_of_the_preset() -> None:
    assert ("anthropic-version", "2023-06-01") in Endpoint("http://h", backend="anthropic").wire_headers()
    newer = Endpoint("http://h", backend="anthropic", headers={"Anthropic-Version": "2026-01-01"})
    assert newer.wire_headers() == [("Anthropic-Version", "2026-01-01")]
    pinned = Endpoint("http://h", backend="aml", deployment="blue")
    assert ("azureml-model-deployment", "blue") in pinned.wire_headers()


def test_secrets_in_the_path_are_blanked() -> None:
    endpoint = Endpoint("http://h", path="/x?api_key=hidden-1&v=2")
    assert endpoint.secrets() == ("hidden-1",)
    assert "hidden" not in repr(endpoint) + repr(endpoint.to_dict()) + endpoint.display_url
