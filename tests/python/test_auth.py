"""Keys that a command prints."""

from __future__ import annotations

import json
import shlex
import sys
import time
from pathlib import Path

import pytest
from support.scripted_server import ScriptedServer, healthy, models

import llmbench as lb
from llmbench import auth
from llmbench.endpoint import Endpoint
from llmbench.errors import ConfigError


def command(code: str) -> str:
    return shlex.join([sys.executable, "-c", code])


@pytest.mark.parametrize(
    ("text", "token", "headers", "left"),
    [
        ("sk-hidden\n", "sk-hidden", {}, None),
        ("X-Api-Key: hidden\nX-Team:  a b \n", None, {"X-Api-Key": "hidden", "X-Team": "a b"}, None),
        ('{"token": "t", "expires_in": 100}', "t", {}, 100),
        ('{"token": "t", "expires_in": "100"}', "t", {}, 100),
        ('{"accessToken": "t", "expires_on": 4102444800, "tokenType": "Bearer"}', "t", {}, 4102444800),
        ('{"token": "t", "expiration": "2100-01-01T00:00:00Z"}', "t", {}, 4102444800),
        ('{"token": "t", "expiration": "2100-01-01T01:00:00+01:00"}', "t", {}, 4102444800),
        ('{"status": {"token": "t", "expirationTimestamp": "2100-01-01T00:00:00Z"}}', "t", {}, 4102444800),
        ('{"authorizationToken": "t", "expiration": 4102444800.5}', "t", {}, 4102444800.5),
        ('{"token": "t", "expiration": "soon"}', "t", {}, None),
        ('{"token": "t"}', "t", {}, None),
    ],
)
def test_what_commands_print(
    text: str, token: str | None, headers: dict[str, str], left: float | None
) -> None:
    found = auth.parse(text)
    assert (found.token.get_secret_value() if found.token else None) == token
    assert {name: value.get_secret_value() for name, value in found.headers.items()} == headers
    if left is None:
        assert found.expires_at is None
    else:
        expected = time.time() + left if left < 1e6 else left
        assert found.expires_at == pytest.approx(expected, abs=30)
    assert "hidden" not in repr(found)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "printed nothing"),
        ("two words of hidden", "neither one token"),
        ("hidden-1\nhidden-2", "neither one token"),
        ("{hidden", "looks like JSON"),
        ('{"key": "hidden"}', "without one of token"),
        ('{"token": 7}', "without one of token"),
    ],
)
def test_what_is_no_key(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        auth.parse(text)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("run", "told"),
    [
        ("", "is empty"),
        ("'unclosed", "cannot be split"),
        ("/no/such/program print-token", "there is no program /no/such/program"),
        ("/", "cannot be run"),
        (
            command(
                "import sys; print('hidden'); print('log in hidden first', file=sys.stderr); sys.exit(3)"
            ),
            "ended with exit code 3: log in first",
        ),
        (command("import sys; sys.exit(4)"), "ended with exit code 4"),
    ],
)
def test_commands_that_fail(run: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        auth.credential_from(run)
    assert told in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_a_command_that_waits_for_somebody_is_ended() -> None:
    with pytest.raises(ConfigError, match="did not end within"):
        auth.credential_from(command("import time; time.sleep(600)"), timeout_s=0.2)


def test_no_shell_runs_it() -> None:
    run = f"{command('import sys; print(sys.argv[1])')} '$HOME;x|y'"
    found = auth.credential_from(run)
    assert found.token is not None
    assert found.token.get_secret_value() == "$HOME;x|y"


def test_a_token_that_lasts_is_used_again(tmp_path: Path) -> None:
    count = tmp_path / "count"
    code = (
        f"import json; open({str(count)!r}, 'a').write('x'); "
        "print(json.dumps({'token': 't', 'expires_in': 3600}))"
    )
    for needed, runs in ((0.0, 1), (60.0, 1), (7200.0, 2), (0.0, 2)):
        auth.credential_from(command(code), needed)
        assert len(count.read_text()) == runs
    unknown = f"open({str(count)!r}, 'a').write('x'); print('t')"
    before = len(count.read_text())
    auth.credential_from(command(unknown))
    auth.credential_from(command(unknown))
    assert len(count.read_text()) == before + 2


def test_an_endpoint_is_authorized_by_its_command() -> None:
    endpoint = Endpoint("http://host", auth_command=command("print('sk-hidden-1')"))
    assert endpoint.wire_headers() == []
    ready = endpoint.authorized()
    assert ready.wire_headers() == [("Authorization", "Bearer sk-hidden-1")]
    assert ready.secrets() == ("sk-hidden-1",)
    assert ready.expiry_warning(1e9) is None
    assert "hidden" not in repr(ready) + repr(ready.to_dict())
    assert Endpoint("http://host").authorized() == Endpoint("http://host")


def test_headers_of_a_command_are_secret_whatever_they_are_called() -> None:
    ready = Endpoint("http://host", auth_command=command("print('X-Team: hidden-2')")).authorized()
    assert ready.wire_headers() == [("X-Team", "hidden-2")]
    assert ready.secrets() == ("hidden-2",)
    assert "hidden" not in repr(ready) + json.dumps(ready.to_dict())


def test_a_key_that_ends_before_the_run_is_told() -> None:
    code = "import json; print(json.dumps({'token': 'sk-hidden', 'expires_in': 90}))"
    ready = Endpoint("http://host", auth_command=command(code)).authorized()
    assert ready.expiry_warning(30) is None
    assert ready.expiry_warning(None) is None
    warning = ready.expiry_warning(600)
    assert warning is not None
    assert "before the run's planned end in 600 s" in warning


def test_a_run_tells_when_its_key_will_end(caplog: pytest.LogCaptureFixture) -> None:
    code = "import json; print(json.dumps({'token': 'sk-hidden', 'expires_in': 0.1}))"
    with ScriptedServer(healthy, get=models("m")) as server:
        result = lb.run(
            lb.Endpoint(server.url, auth_command=command(code)),
            lb.workloads.random(4, 2, 4),
            lb.load.constant(20),
            duration=0.3,
            save=False,
            progress=False,
        )
    assert server.requests[0].headers["authorization"] == "Bearer sk-hidden"
    (warning,) = [line for line in result.verdict.warnings if "--auth-command" in line]
    assert warning in caplog.text
    assert "hidden" not in caplog.text + json.dumps(result.to_json())
