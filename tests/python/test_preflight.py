"""What is found out before a run, against servers that answer in every wrong way."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import tls
from support.scripted_server import CLOSE, RESET, STALL, ScriptedServer, Step, answer, head, models

from llmbench import preflight
from llmbench.backends import get
from llmbench.endpoint import Endpoint
from llmbench.errors import ConfigError, LlmbenchError, ServerUnreachableError


def serving(steps: Iterable[Step]) -> ScriptedServer:
    return ScriptedServer(lambda request: [], get={"/v1/models": list(steps)})


def refused(server: ScriptedServer, kind: type[LlmbenchError], **options: Any) -> str:
    with pytest.raises(kind) as caught:
        preflight.check(Endpoint(server.url, **options), timeout_s=0.5)
    assert type(caught.value) is kind or kind is ServerUnreachableError
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_first_model_of_the_list_is_taken() -> None:
    with ScriptedServer(lambda request: [], get=models("alpha", "beta")) as server:
        facts = preflight.check(Endpoint(server.url))
        assert facts.model == "alpha"
        assert facts.models == ("alpha", "beta")
        assert preflight.check(Endpoint(server.url + "/v1", model="beta")).model == "beta"


def test_the_context_length_is_kept() -> None:
    listed = {"object": "list", "data": [{"id": "m", "max_model_len": 4096}, 7, {"id": None}]}
    with serving(answer(200, listed, {"Server": "uvicorn"})) as server:
        facts = preflight.check(Endpoint(server.url))
    assert (facts.context_length, facts.software, facts.models) == (4096, "uvicorn", ("m",))


def test_the_simulated_server_without_a_name_takes_any_model() -> None:
    with ScriptedServer(lambda request: [], get=models("llmbench-sim")) as server:
        assert preflight.check(Endpoint(server.url, model="m")).model == "m"


def test_an_unknown_model_gets_the_servers_list() -> None:
    with ScriptedServer(lambda request: [], get=models("alpha", "be\x1bta")) as server:
        message = refused(server, ConfigError, model="gamma")
    assert message == "the server has no model 'gamma'; it has alpha, be ta"


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "set OPENAI_API_KEY"),
        ({"api_key": "sk-hidden-1", "api_key_name": "MY_KEY"}, "check API key (env MY_KEY)"),
        ({"api_key": "sk-hidden-1"}, "check API key"),
        ({"headers": {"X-Api-Key": "sk-hidden-1"}}, "check the header X-Api-Key"),
    ],
)
def test_a_key_is_wanted(status: int, options: dict[str, Any], told: str) -> None:
    with serving(answer(status, {"error": "you sent sk-hidden-1"})) as server:
        message = refused(server, ConfigError, **options)
    assert told in message
    assert "hidden" not in message


@pytest.mark.parametrize(
    ("steps", "kind", "told"),
    [
        (answer(200, "<html>It works!</html>"), ConfigError, "HTML page"),
        (answer(200, b"<!doctype html>"), ConfigError, "HTML page"),
        (answer(200, {"hello": 1}), ConfigError, "did not answer with a model list"),
        (answer(200, b""), ConfigError, "an empty body"),
        (answer(200, {"data": []}), ConfigError, "lists no models"),
        (answer(404, {}), ConfigError, "name one with --model"),
        (answer(307, b"", {"Location": "http://u:hidden@elsewhere/"}), ConfigError, "redirects to http://"),
        (answer(400, {"error": {"message": "no\nsuch\x07 thing"}}), ConfigError, "'no such thing'"),
        (answer(500, {"error": {"message": "it broke"}}), ServerUnreachableError, "500: 'it broke'"),
        (answer(503, b""), ServerUnreachableError, "--wait-ready"),
        (answer(429, b"slow down"), ServerUnreachableError, "429: 'slow down'"),
        ([b"NOT HTTP\r\n\r\n"], ConfigError, "does not speak HTTP"),
        ([CLOSE], ServerUnreachableError, "try https"),
        ([RESET], ServerUnreachableError, "closed the connection"),
        ([STALL], ServerUnreachableError, "within 0.5 s"),
    ],
)
def test_wrong_answers(steps: list[Step], kind: type[LlmbenchError], told: str) -> None:
    with serving(steps) as server:
        message = refused(server, kind)
    assert told in message
    assert "hidden" not in message


@pytest.mark.parametrize("backend", ["sim", "vllm", "openai"])
def test_what_is_asked_about_a_wrong_answer_reads_well_for_every_description(backend: str) -> None:
    with serving(answer(200, {"hello": 1})) as server:
        message = refused(server, ConfigError, backend=backend)
    described = get(backend).description
    assert message.endswith(f": check the port, and whether --backend {backend} ({described}) is right")


def test_a_server_without_a_list_is_taken_at_its_word() -> None:
    with serving(answer(404, {})) as server:
        assert preflight.check(Endpoint(server.url, model="m")).model == "m"


def test_a_broken_list_beside_good_health_is_left_to_the_run() -> None:
    broken = answer(500, b"Internal Server Error")
    with ScriptedServer(
        lambda request: [], get={"/v1/models": broken, "/health": answer(200, b"")}
    ) as server:
        assert preflight.check(Endpoint(server.url, model="./m")).model == "./m"
        assert "500" in refused(server, ServerUnreachableError)  # no model to ask for
    with ScriptedServer(
        lambda request: [], get={"/v1/models": broken, "/health": answer(503, b"")}
    ) as server:
        assert "500" in refused(server, ServerUnreachableError, model="./m")
    with ScriptedServer(lambda request: [], get={"/v1/models": broken, "/health": [CLOSE]}) as server:
        assert "500" in refused(server, ServerUnreachableError, model="./m")


@pytest.mark.parametrize(
    ("listed", "is_cache"),
    [
        ([{"id": "org/a", "owned_by": "org"}, {"id": "gpt2", "owned_by": ""}], True),
        ([{"id": "org/a:q4.gguf", "owned_by": "org"}], True),
        ([{"id": "org/a", "owned_by": "org"}, {"id": "org/b", "owned_by": "vllm"}], False),
        ([{"id": "org/a", "owned_by": "vllm"}], False),
        ([{"id": "org/a"}], False),
        ([{"id": "gpt-4o", "owned_by": "openai"}], False),
    ],
)
def test_a_list_of_the_hubs_cache_does_not_say_what_is_missing(
    listed: list[dict[str, str]], is_cache: bool
) -> None:
    with serving(answer(200, {"object": "list", "data": listed})) as server:
        if is_cache:
            assert preflight.check(Endpoint(server.url, model="./m")).model == "./m"
            assert preflight.check(Endpoint(server.url)).model == listed[0]["id"]
        else:
            assert "has no model './m'" in refused(server, ConfigError, model="./m")


def test_nothing_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ServerUnreachableError, match=f"127.0.0.1:{port}.*is the server up"):
        preflight.check(Endpoint(f"http://127.0.0.1:{port}"))
    with pytest.raises(ServerUnreachableError, match="the socket /no/such/socket"):
        preflight.check(Endpoint("http://localhost", unix_socket="/no/such/socket"))


def test_unknown_host() -> None:
    with pytest.raises(ServerUnreachableError, match=r"cannot find the host 'no-such-host.invalid'"):
        preflight.check(Endpoint("http://no-such-host.invalid"))


def test_wait_ready_polls_until_the_server_is_there() -> None:
    answers = [answer(503, b""), answer(500, b""), *[models("m")["/v1/models"]] * 9]
    asked: list[int] = []

    class Warming(dict[str, Any]):
        def get(self, path: str, default: Any = None) -> Any:
            asked.append(1)
            return answers[len(asked) - 1]

    with ScriptedServer(lambda request: [], get=Warming({"": []})) as server:
        assert preflight.check(Endpoint(server.url), wait_ready_s=20).model == "m"
    assert len(asked) == 3


def test_wait_ready_gives_up_and_says_how_long() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    begun = time.monotonic()
    with pytest.raises(ServerUnreachableError, match=r"waited 0.3 s"):
        preflight.check(Endpoint(f"http://127.0.0.1:{port}"), wait_ready_s=0.3)
    assert time.monotonic() - begun < 10


def test_wait_ready_does_not_wait_for_a_wrong_key() -> None:
    with serving(answer(401, b"")) as server, pytest.raises(ConfigError):
        preflight.check(Endpoint(server.url), wait_ready_s=600)


def test_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen()

    def serve() -> None:
        with listener, listener.accept()[0] as peer:
            peer.recv(65536)
            peer.sendall(b"".join(models("m")["/v1/models"]))  # type: ignore[arg-type]

    thread = threading.Thread(target=serve)
    thread.start()
    assert preflight.check(Endpoint("http://localhost", unix_socket=path)).model == "m"
    thread.join(10)


def test_the_environments_proxy_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with ScriptedServer(lambda request: [], get=models("m")) as server:
        assert preflight.check(Endpoint(server.url)).model == "m"


def test_a_refusing_proxy_is_named_without_its_password() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ServerUnreachableError, match=rf"through the proxy .*127\.0\.0\.1:{port}") as caught:
        preflight.check(Endpoint("http://host", proxy=f"http://me:hidden-1@127.0.0.1:{port}"))
    assert "hidden" not in str(caught.value)


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[tuple[ScriptedServer, str]]:
    ca_file = tmp_path / "ca.pem"
    with ScriptedServer(lambda request: [], tls=tls.server_context(ca_file), get=models("m")) as server:
        yield server, str(ca_file)


def test_tls(secure: tuple[ScriptedServer, str]) -> None:
    server, ca_file = secure
    assert preflight.check(Endpoint(server.url, ca_file=ca_file)).model == "m"
    assert preflight.check(Endpoint(server.url, insecure=True)).model == "m"
    with pytest.raises(ServerUnreachableError, match="--ca-file"):
        preflight.check(Endpoint(server.url))
    with pytest.raises(LlmbenchError, match=r"try https|does not speak HTTP"):
        preflight.check(Endpoint(server.url.replace("https", "http")))


def test_an_expired_certificate(tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    context: ssl.SSLContext = tls.server_context(ca_file, expired=True)
    with (
        ScriptedServer(lambda request: [], tls=context, get=models("m")) as server,
        pytest.raises(ServerUnreachableError, match="expired"),
    ):
        preflight.check(Endpoint(server.url, ca_file=str(ca_file)))


def test_a_ca_file_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(ConfigError, match="CA file"):
        preflight.check(Endpoint("https://127.0.0.1:1", ca_file=str(tmp_path / "ca.pem")))


def test_https_asked_of_a_plain_server() -> None:
    with (
        ScriptedServer(lambda request: [], on_connect=lambda number: [head(400), CLOSE]) as server,
        pytest.raises(ServerUnreachableError, match="does the server speak http"),
    ):
        preflight.check(Endpoint(server.url.replace("http", "https")), timeout_s=5)


# Servers of other kinds


INFO = {"model_id": "t/m", "max_total_tokens": 4096, "version": "3"}
ALONE: dict[str, dict[str, Any]] = {
    "TGI": {"/info": INFO},
    "SGLang": {"/get_model_info": {"model_path": "s/m", "is_generation": True}},
    "llama.cpp": {"/props": {"default_generation_settings": {}}, "/api/tags": {"models": []}},
    "Ollama": {"/api/tags": {"models": [{"name": "o:latest"}]}},
    "Triton": {"/v2/health/ready": b""},
    "vLLM": {"/v1/models": {"data": [{"id": "m", "owned_by": "vllm"}]}},
    "an OpenAI-style server": {"/v1/models": {"data": [{"id": "m", "owned_by": "me"}]}},
    "JetStream": {"/v1/health": {"is_live": "True"}},
    "Sax": {"/health": {"model_status": {"status": "AVAILABLE"}}},
}


def other(pages: dict[str, Any]) -> ScriptedServer:
    return ScriptedServer(lambda request: [], get={path: answer(200, page) for path, page in pages.items()})


@pytest.mark.parametrize("software", list(ALONE))
def test_servers_are_recognized(software: str) -> None:
    with other(ALONE[software]) as server:
        seen = preflight.recognize(Endpoint(server.url))
        assert seen is not None
        assert seen.software.name == software


@pytest.mark.parametrize(
    ("software", "backend", "told"),
    [
        ("TGI", "sglang", "did you mean --backend tgi?"),
        ("TGI", "ollama", "did you mean --backend tgi?"),
        ("Ollama", "tgi", "did you mean --backend ollama?"),
        ("vLLM", "tgi", "did you mean --backend vllm?"),
        ("vLLM", "sglang", "this answers like vLLM (GET /v1/models), not like SGLang's native protocol"),
        ("SGLang", "tgi", "did you mean --backend sglang?"),
        ("llama.cpp", "tgi", "did you mean --backend llamacpp?"),
        ("Triton", "ollama", "did you mean --backend tensorrt_llm_triton?"),
        ("vLLM", "tensorrt_llm_triton", "did you mean --backend vllm?"),
        ("JetStream", "openai", "did you mean --backend jetstream-v1?"),
    ],
)
def test_the_wrong_backend_is_told_what_answered(software: str, backend: str, told: str) -> None:
    with other(ALONE[software]) as server:
        assert told in refused(server, ConfigError, backend=backend, model="m")
        assert server.requests == []


@pytest.mark.parametrize(("software", "backend"), [("TGI", "openai-chat"), ("Ollama", "openai")])
def test_a_server_that_speaks_it_too_is_taken(software: str, backend: str) -> None:
    with other(ALONE[software]) as server:
        assert preflight.check(Endpoint(server.url, backend=backend, model="m")).model == "m"


def test_a_wrong_page_is_explained_too() -> None:
    with (
        other({"/info": {"hello": 1}, **ALONE["Ollama"]}) as server,
        pytest.raises(ConfigError, match="did you mean --backend ollama"),
    ):
        preflight.check(Endpoint(server.url, backend="tgi"))


@pytest.mark.parametrize(
    ("backend", "pages", "model", "context"),
    [
        ("tgi", {"/info": INFO}, "t/m", 4096),
        ("sglang", ALONE["SGLang"], "s/m", None),
        ("ollama", ALONE["Ollama"], "o:latest", None),
        ("anthropic", {"/v1/models": {"data": [{"id": "c"}]}}, "c", None),
        (
            "vllm",
            {"/v1/models": {"data": [{"id": "a", "max_model_len": 7}, {"id": "b", "max_model_len": 9}]}},
            "a",
            7,
        ),
        ("tensorrt_llm_triton", {"/v2/models/ensemble/ready": b""}, None, None),
        ("vllm-generate", {"/health": b""}, None, None),
        ("jetstream-v1", {"/v1/health": {"is_live": "True"}}, None, None),
        ("fastgen-rest", {"/healthz": b"ok"}, None, None),
        ("aml", {}, None, None),
        ("fastgen", {}, None, None),
    ],
)
def test_what_each_backend_asks(
    backend: str, pages: dict[str, Any], model: str | None, context: int | None
) -> None:
    with other(pages) as server:
        facts = preflight.check(Endpoint(server.url, backend=backend))
    assert (facts.model, facts.context_length) == (model, context)


def test_the_context_length_is_the_chosen_models() -> None:
    listed = {"data": [{"id": "a", "max_model_len": 7}, {"id": "b", "max_model_len": 9}]}
    with other({"/v1/models": listed}) as server:
        assert preflight.check(Endpoint(server.url, model="b")).context_length == 9


def test_the_models_name_is_checked_only_where_requests_carry_it() -> None:
    with other({"/info": INFO}) as server:
        assert preflight.check(Endpoint(server.url, backend="tgi", model="mine")).model == "mine"
    with other(ALONE["Ollama"]) as server:
        assert preflight.check(Endpoint(server.url, backend="ollama", model="o")).model == "o"
        with pytest.raises(ConfigError, match="it has o:latest"):
            preflight.check(Endpoint(server.url, backend="ollama", model="x"))


def test_triton_without_the_model() -> None:
    missing = answer(400, {"error": "no model"})
    pages = {"/v2/models/m/ready": missing, "/v2/health/ready": answer(200, b"")}
    with ScriptedServer(lambda request: [], get=pages) as server:
        message = refused(server, ConfigError, backend="triton", model="m")
    assert "/v2/models/m/ready answered 400" in message


@pytest.mark.parametrize("backend", ["aml", "fastgen", "naive_transformers"])
def test_servers_without_a_page_are_connected_to(backend: str) -> None:
    with ScriptedServer(lambda request: []) as server:
        assert preflight.check(Endpoint(server.url, backend=backend)).model is None
        assert server.requests == []
    with pytest.raises(ServerUnreachableError, match="is the server up"):
        preflight.check(Endpoint(server.url, backend=backend), wait_ready_s=0.1)
